//! A user's chats, newest first: all partitions are asked, and their parts merged.

use core::time::Duration;

use fabric::tier::Egress;
use fabric::time::Now;
use schema::encode::ChatSettings;
use schema::envelope::{Body, Class, Header, ListedChat, SyncCursor};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, ChatKind, UserId};
use schema::limits::{PAGE_CHATS, PAGE_CHATS_MAX};

use super::hidden::without_hidden;
use super::merges::{Asked, Page};
use super::sync::of_merge;
use super::ticks::Asker;
use crate::partition::{Partition, PendingRead, ReadWork};
use crate::store::StoredEntry;

/// Frames of chats in one answer, bytes; one always fits. Under any frame limit that large entries have.
const PAGE_BYTES: usize = 48 * 1024;

/// Who gets a part.
#[derive(Clone, Copy, Debug)]
enum Whose {
    /// The merge of this number, here.
    Own(u64),
    /// A sibling's.
    Sibling { asker: u16, request_id: u64 },
}

/// A part that waits for last entries that only the store has.
#[derive(Debug)]
pub(crate) struct PendingChats {
    asker: Asker,
    places: Vec<(SyncCursor, u32)>,
    more: bool,
    whose: Whose,
}

impl Partition {
    /// Asks all partitions, this one included, for a page of a user's chats.
    pub(crate) fn handle_chats(
        &mut self,
        now: Now,
        header: &Header,
        user: UserId,
        client_request: u64,
        (before, limit): (Option<SyncCursor>, u32),
        egress: &mut dyn Egress,
    ) {
        let account = ChatId::account(user);
        let (reply, request_id) = (header.reply, header.request_id);
        let limit = if limit == 0 { PAGE_CHATS } else { limit.min(PAGE_CHATS_MAX) };
        let asked = Asked { reply, request_id, client_request, account, limit: limit as usize };
        let due = now.plus(Duration::from_millis(self.config.sync_timeout_ms));
        let Some(id) = self.lists.start(due, self.partitions, asked) else {
            return self.refuse_read(Class::Sync, (reply, request_id), account, ErrorCode::Overloaded, egress);
        };
        let blind = self.memory.account(account).is_some_and(|account| account.facts().read_receipts_off);
        let probe = Body::ChatsProbe { user, before, limit, partition: self.number, blind };
        self.ask_siblings(id, &probe, egress);
        self.gather_chats(now, Asker { user, blind }, (before, limit), Whose::Own(id), egress);
    }

    /// A sibling asks for this partition's part.
    pub(crate) fn handle_chats_probe(
        &mut self,
        now: Now,
        header: &Header,
        asker: Asker,
        (before, limit): (Option<SyncCursor>, u32),
        partition: u16,
        egress: &mut dyn Egress,
    ) {
        let whose = Whose::Sibling { asker: partition, request_id: header.request_id };
        self.gather_chats(now, asker, (before, limit.min(PAGE_CHATS_MAX)), whose, egress);
    }

    /// A part has come.
    pub(crate) fn chats_part(
        &mut self,
        id: u64,
        partition: u16,
        chats: Vec<ListedChat>,
        more: bool,
        egress: &mut dyn Egress,
    ) {
        let Some((asked, Page { chats, next })) = self.lists.part(id, partition, chats, more) else { return };
        let mut bytes = 0;
        let fits = chats.iter().take_while(|chat| {
            bytes += chat.frame.len();
            bytes <= PAGE_BYTES
        });
        let count = fits.count().max(1).min(chats.len());
        let more = next.is_some() || count < chats.len();
        let account = self.memory.account(asked.account);
        let set = |chat: ChatId| account.map_or(ChatSettings::default(), |account| account.chat(chat));
        let mut shown = Vec::with_capacity(count);
        for ListedChat { at, frame } in &chats[..count] {
            let hidden = account.and_then(|account| account.hidden.get(&at.chat));
            let without = hidden.and_then(|hidden| without_hidden(&mut self.encoder, frame, hidden));
            shown.push((without.unwrap_or_else(|| frame.clone()), set(at.chat)));
        }
        let frames = shown.iter().map(|(frame, set)| (frame.as_ref(), *set));
        let frame = self.encoder.chats(asked.client_request, frames, more);
        self.answer_with((asked.reply, asked.request_id), frame, egress);
    }

    /// Finds this partition's newest chats of a user below a cursor. Last entries that memory does not have are read first.
    fn gather_chats(
        &mut self,
        now: Now,
        asker: Asker,
        (before, limit): (Option<SyncCursor>, u32),
        whose: Whose,
        egress: &mut dyn Egress,
    ) {
        let place = |&index: &u32| {
            let chat = self.memory.chats.get(index);
            (SyncCursor { last_ms: chat.last_ms(), chat: chat.id }, index)
        };
        // A user's own log is no chat to show in a list.
        let is_shown = |&&index: &&u32| self.memory.chats.get(index).kind != ChatKind::Account;
        let of_user = self.memory.chats.of_user(asker.user).iter().filter(is_shown).map(place);
        let mut places: Vec<(SyncCursor, u32)> =
            of_user.filter(|&(at, _)| before.is_none_or(|before| at < before)).collect();
        places.sort_unstable_by_key(|place| core::cmp::Reverse(place.0));
        let more = places.len() > limit as usize;
        places.truncate(limit as usize);
        let mut cold = Vec::new();
        for &(SyncCursor { chat, .. }, index) in &places {
            let head = self.memory.chats.get(index).visible_head(asker.user);
            if self.memory.lowest(index, true).is_none_or(|lowest| lowest > head) {
                cold.push((chat, head));
            }
        }
        let pending = PendingChats { asker, places, more, whose };
        if !cold.is_empty() && self.reads.len() < self.config.waiting_reads {
            self.start_read(PendingRead::Chats(Box::new(pending)), ReadWork::Entries(cold));
        } else {
            self.chats_gathered(now, pending, &[], egress);
        }
    }

    /// Tells the chats, with the last entries that the store had to say.
    pub(crate) fn chats_gathered(
        &mut self,
        now: Now,
        pending: PendingChats,
        stored: &[(ChatId, StoredEntry)],
        egress: &mut dyn Egress,
    ) {
        let PendingChats { asker, places, more, whose } = pending;
        let mut chats = Vec::with_capacity(places.len());
        for (at, index) in places {
            // While it was read, another may have become the last.
            let head = self.memory.chats.get(index).visible_head(asker.user);
            let last = stored.iter().find(|(chat, entry)| *chat == at.chat && entry.seq == head);
            let last = last.map(|(_, entry)| entry.frame.as_ref());
            chats.push(ListedChat { at, frame: self.listed_chat(now, index, asker, last) });
        }
        match whose {
            Whose::Own(id) => self.chats_part(id, self.number, chats, more, egress),
            Whose::Sibling { asker, request_id } => {
                let part = Body::ChatsPart { chats, more, partition: self.number };
                egress.to_partition(asker, of_merge(request_id, part));
            }
        }
    }
}
