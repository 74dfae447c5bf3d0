//! A judged send becomes an entry: id, frame, record, and its place in the filling block.

use bytes::Bytes;
use fabric::time::Now;
use schema::encode::{EntryFields, Extras};
use schema::errors::ErrorCode;
use schema::ids::{ChatKind, MessageId, UserId};
use schema::timeuuid;
use schema::wire::{EntryKind, Send};
use smallvec::SmallVec;

use super::account::{AccountChange, account_extras};
use super::amend::{Amends, is_amendment};
use super::ask::Ask;
use super::batch::What;
use super::chats::Head;
use super::dedupe::Known;
use super::memory::direct_members;
use super::roster::Change;
use crate::journal::{AppendError, AppendRecord, Record};
use crate::partition::Partition;

/// A send that may be stored.
pub(super) enum Judged {
    /// A message.
    Plain,
    /// A group's change.
    Change(Change),
    /// An entry of the sender's account log.
    Account(AccountChange),
    /// An entry that does something to others of its chat.
    Acting(Amends),
}

/// What a new entry of this kind is for its block.
pub(super) const fn what_of(kind: EntryKind) -> What {
    if is_amendment(kind) || matches!(kind, EntryKind::timer) { What::Acting } else { What::Entry }
}

/// A new entry: its chat's number, its place there, and its frame, with where the client_msg_id begins in it.
type Appended = (u32, Head, (Bytes, usize));

impl Partition {
    /// Puts a judged send into the filling block. What it changes counts from now on for what is ordered behind it.
    pub(super) fn append_judged(
        &mut self,
        now: Now,
        ask: &Ask<'_>,
        chat: Result<u32, Option<UserId>>,
        send: &Send<'_>,
        judged: Judged,
    ) -> Result<Appended, ErrorCode> {
        match judged {
            Judged::Plain => self.append_entry(now, ask, chat, send, &Judged::Plain),
            Judged::Change(change) => {
                let judged = Judged::Change(change);
                let appended = self.append_entry(now, ask, chat.map_err(|_| None), send, &judged)?;
                if let (Some(group), Judged::Change(change)) =
                    (&mut self.memory.chats.get_mut(appended.0).group, judged)
                {
                    group.order(appended.1.seq, change);
                }
                Ok(appended)
            }
            Judged::Account(change) => {
                let judged = Judged::Account(change);
                let appended = self.append_entry(now, ask, chat.map_err(|_| None), send, &judged)?;
                if let (Some(account), Judged::Account(change)) =
                    (self.memory.chats.get_mut(appended.0).account_mut(), judged)
                {
                    account.order(appended.1.seq, timeuuid::unix_ms(appended.1.message), change);
                }
                Ok(appended)
            }
            Judged::Acting(amends) => {
                let appended = self.append_entry(now, ask, chat, send, &Judged::Acting(amends))?;
                self.order_act(appended.0, send, appended.1.seq, amends);
                Ok(appended)
            }
        }
    }

    /// The entry's frame. Most messages have no extras, and a frame that needs no builder.
    fn entry_frame(
        &mut self,
        fields: &EntryFields<'_>,
        send: &Send<'_>,
        judged: &Judged,
        ttl_s: u32,
    ) -> (Bytes, usize) {
        let users: SmallVec<[UserId; 4]> = send.users().into_iter().flatten().filter_map(UserId::new).collect();
        let extras = match judged {
            Judged::Plain if users.is_empty() && ttl_s == 0 && send.forwarded() == 0 => {
                return self.encoder.entry_with_id(fields);
            }
            Judged::Plain => Extras { users: &users, ttl_s, forwarded: send.forwarded(), ..Extras::default() },
            Judged::Account(_) => account_extras(send),
            Judged::Change(change) => Extras { users: &change.users, role: change.role, ..Extras::default() },
            &Judged::Acting(Amends { refers_seq, replaces_seq, ttl_s }) => {
                Extras { users: &users, ttl_s, refers_seq, replaces_seq, ..Extras::default() }
            }
        };
        self.encoder.entry_with_id_and(fields, &extras)
    }

    /// Gives a send its seq and id and puts it into the filling block. `chat`: its number, or whom a new one is with.
    /// Returns its chat's number, its place there and its frame, with where the client_msg_id begins in it.
    fn append_entry(
        &mut self,
        now: Now,
        ask: &Ask<'_>,
        chat: Result<u32, Option<UserId>>,
        send: &Send<'_>,
        judged: &Judged,
    ) -> Result<Appended, ErrorCode> {
        let new_kind = match judged {
            Judged::Change(_) => ChatKind::Group,
            Judged::Account(_) => ChatKind::Account,
            Judged::Plain | Judged::Acting(_) => ChatKind::Direct,
        };
        let (before, kind, ttl_s) = chat.map_or((Head::NONE, new_kind, 0), |index| {
            let chat = self.memory.chats.get(index);
            (chat.ordered, chat.kind, chat.current_ttl_s())
        });
        let floor = (before.seq > 0).then_some(before.message);
        let message = self.generator.next(now.wall_ticks, floor).map_err(|_| ErrorCode::ClockBehind)?;
        let seq = before.seq + 1;
        let fields = EntryFields {
            chat: ask.chat,
            message,
            seq,
            sender: ask.user,
            device: ask.device,
            kind: send.kind(),
            content_type: send.content_type(),
            body: send.body().map_or(&[], |body| body.bytes()),
            client_msg_id: ask.client_msg_id,
            refers_to: send.refers_to().map(MessageId::from),
            after_seq: send.after_seq(),
            timestamp_ms: timeuuid::unix_ms(message),
        };
        let (frame, id_at) = self.entry_frame(&fields, send, judged, ttl_s);
        let members = (seq == 1 && kind != ChatKind::Group).then(|| {
            let peer = match chat {
                Ok(index) => self.memory.chats.get(index).members.iter().map(|m| m.user).find(|&user| user != ask.user),
                Err(to) => to,
            };
            [ask.user, peer.unwrap_or(ask.user)]
        });
        let record = Record::Append(AppendRecord {
            chat: ask.chat,
            chat_kind: kind,
            entry_kind: send.kind(),
            sender: ask.user,
            device: ask.device,
            dedupe: ask.key,
            members,
            seq,
            message,
            frame: &frame,
        });
        let len = record.encoded_len();
        self.log.append(&record).map_err(|error| self.append_refused(error))?;
        self.filling_bytes += len;
        let index = chat.unwrap_or_else(|to| {
            let members = match kind {
                ChatKind::Direct | ChatKind::Account => direct_members(ask.user, to.unwrap_or(ask.user)),
                ChatKind::Group => SmallVec::new(), // the change says who they are, once it is durable
            };
            self.memory.chats.add(ask.chat, kind, members)
        });
        Ok((index, Head { seq, message }, (frame, id_at)))
    }

    fn append_refused(&self, error: AppendError) -> ErrorCode {
        match error {
            AppendError::Full => ErrorCode::Overloaded,
            AppendError::TooLarge => ErrorCode::InvalidField,
            AppendError::Poisoned => ErrorCode::StorageUnavailable,
            AppendError::Stopped => ErrorCode::GoingAway,
        }
    }

    /// An entry is in the filling block.
    pub(super) fn entry_ordered(
        &mut self,
        now: Now,
        (index, head): (u32, Head),
        ask: &Ask<'_>,
        frame: (Bytes, usize),
        what: What,
    ) {
        let chat = self.memory.chats.get_mut(index);
        chat.ordered = head;
        if chat.group.is_some() {
            let members = chat.members.len();
            self.audience.charge(now, index, ask.user, members);
        }
        self.memory.dedupe.ordered(ask.key, Known { seq: head.seq, message: head.message, chat: index });
        self.refusals.taken(ask.reply, ask.chat);
        self.filling.entries += 1;
        self.filling.last_ticks = timeuuid::ticks(head.message);
        let mut item = ask.item(what, index, (head.seq, head.message), frame);
        if let Some(trace) = &mut item.trace {
            trace.stages.ordered = now.mono_ns;
        }
        self.filling.items.push(item);
    }
}
