//! What users tell each other and themselves: how far the members of a chat are, never more than they tell and told anew
//! to who was away; and what their account logs say.

use bytes::Bytes;
use fabric::tier::Egress;
use schema::encode::MemberFields;
use schema::envelope::Header;
use schema::errors::ErrorCode;
use schema::ids::{ChatId, UserId};
use schema::limits::PAGE_MEMBERS;
use schema::wire::{Role, Send};

use super::account::AccountChange;
use super::ask::Ask;
use super::chats::{Chat, Member};
use crate::partition::Partition;
use crate::store::AccountState;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub user: UserId,
    /// They are told of nobody what they have read.
    pub blind: bool,
}

impl Chat {
    /// A member as `asker` is told of them. Those of direct chats have no seats: they are always there, and equal.
    pub(super) fn told(&self, at: usize, asker: Asker) -> MemberFields {
        let member = &self.members[at];
        let read_seq = match () {
            () if member.user == asker.user => member.read,
            () if asker.blind => 0,
            () => self.shown(at),
        };
        let role = self.group.as_ref().map_or(Role::member, |group| group.state.seats[at].role);
        MemberFields { user: member.user, delivered_seq: member.delivered, read_seq, role }
    }

    /// Whether a member is in the chat now.
    pub(super) fn is_there(&self, at: usize) -> bool {
        self.group.as_ref().is_none_or(|group| group.state.seats[at].is_present())
    }

    /// Whether a member whose place is `at` may have to be told that others came further since then.
    pub(super) fn ticked_since(&self, at: usize, since_ms: u64) -> bool {
        let others = || self.members.iter().enumerate().any(|(other, member)| other != at && member.delivered > 0);
        since_ms > 0 && self.ticked_ms >= since_ms && self.is_there(at) && others()
    }
}

impl Partition {
    /// How far the others are: a Ticks frame, if it says something. Of very many those who are furthest.
    pub(super) fn ticks(&mut self, index: u32, asker: Asker) -> Option<Bytes> {
        let chat = self.memory.chats.get(index);
        let own = chat.member(asker.user).filter(|&at| chat.is_there(at))?;
        let counts = |&(at, member): &(usize, &Member)| at != own && member.delivered > 0 && chat.is_there(at);
        let others = chat.members.iter().enumerate().filter(counts);
        let mut members: Vec<MemberFields> = others.map(|(at, _)| chat.told(at, asker)).collect();
        if members.is_empty() {
            return None;
        }
        if members.len() > PAGE_MEMBERS as usize {
            members.sort_unstable_by_key(|member| core::cmp::Reverse((member.read_seq, member.delivered_seq)));
            members.truncate(PAGE_MEMBERS as usize);
        }
        members.sort_unstable_by_key(|member| member.user);
        let chat = chat.id;
        Some(self.encoder.ticks(chat, &members))
    }

    /// Whether a device may write this to its user's account log.
    pub(super) fn judge_account(
        &self,
        index: Option<u32>,
        ask: &Ask<'_>,
        send: &Send<'_>,
    ) -> Result<AccountChange, ErrorCode> {
        let change = AccountChange::of_send(send).ok_or(ErrorCode::InvalidField)?;
        let nothing = AccountState::default();
        let account = index.and_then(|index| self.memory.chats.get(index).account());
        account.map_or(&nothing, |account| account.current()).judge(&change, ask.device)?;
        Ok(change)
    }

    /// The settings and devices of a user.
    pub(crate) fn handle_account(
        &mut self,
        header: &Header,
        user: UserId,
        client_request: u64,
        chat: Option<ChatId>,
        egress: &mut dyn Egress,
    ) {
        let nothing = AccountState::default();
        let state = self.memory.account(ChatId::account(user)).unwrap_or(&nothing);
        let frame = state.frame(&mut self.encoder, client_request, chat);
        self.answer_with((header.reply, header.request_id), frame, egress);
    }
}
