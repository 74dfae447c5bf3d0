//! What people do with messages that are there: edit, delete, answer, react, let them disappear; what is refused; and what
//! everybody makes of it in the end.

use bytes::Bytes;
use client::NewSend;
use client::conversation::Message;
use client::core::{Amendment, Failure, SendError};
use client::driver::Place;
use schema::encode::SendTarget;
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{ChatId, MessageId, UserId};
use schema::limits::TTL_S;
use schema::wire::EntryKind;
use storage_writer::store::{HistoryRange, Store};

use super::device::Device;
use super::model::{Wish, body_of};
use super::plan::pick;
use super::talk::{Line, Wanted};
use super::world::World;

/// Whether messages may be made to disappear in a chat. Where nobody hears of a message and it disappears, nobody can say what
/// was there; so not everywhere, and who keeps no rule writes elsewhere.
pub const fn is_mortal(chat: ChatId) -> bool {
    chat.0[0].is_multiple_of(3)
}

impl World {
    /// The latest wall time that any part of this world has ever had, ms since 1970.
    pub fn latest_ms(&self) -> u64 {
        let (now, most) = self.wall;
        self.env.now().wall_ms().saturating_add_signed(most - now)
    }

    /// Whether an entry may have disappeared.
    pub fn has_gone(&self, chat: ChatId, message: MessageId) -> bool {
        let found = self.model.talks.get(&chat).and_then(|talk| talk.seq_of(message));
        found.is_some_and(|seq| self.model.may_be_gone(chat, seq, self.latest_ms()))
    }

    /// A message to be sent, sometimes with something to it.
    pub fn new_message(&mut self, chat: ChatId, id: &Bytes, target: SendTarget) -> NewSend {
        // Last words have to be heard.
        if !self.calm && self.env.rng.one_in(6) {
            let refers_to = if self.env.rng.one_in(2) { self.some_message(chat, None) } else { None };
            let mentions = if self.env.rng.one_in(2) { self.some_mentions(chat) } else { Vec::new() };
            let forwarded = self.env.rng.below(3) as u8;
            self.model.wanted.insert(id.clone(), (chat, Wanted::Message { refers_to, mentions, forwarded }));
        }
        self.message_of(id, target)
    }

    fn message_of(&self, id: &Bytes, target: SendTarget) -> NewSend {
        let plain = NewSend::message(id.clone(), target, body_of(id).into());
        match self.model.wanted.get(id) {
            Some((_, Wanted::Message { refers_to, mentions, forwarded })) => {
                NewSend { refers_to: *refers_to, mentions: mentions.clone(), forwarded: *forwarded, ..plain }
            }
            _ => plain,
        }
    }

    /// Gives to a device's core what was wanted under a client_msg_id, again. `None` if it is not running.
    pub fn hand_over(&mut self, at: usize, chat: ChatId, id: &Bytes) -> Option<Result<ChatId, SendError>> {
        let change = self.model.wishes.get(id).and_then(|wish| wish.change.clone());
        let wanted = self.model.wanted.get(id).map(|(_, wanted)| wanted.clone());
        let (id, message) = (id.clone(), self.message_of(id, SendTarget::Chat(chat)));
        self.tell(at, |core, cx| match (change, wanted) {
            (Some(change), _) => core.change(cx, id, change),
            (None, Some(Wanted::Amendment(amendment))) => core.amend(cx, id, amendment),
            (None, Some(Wanted::Account(change))) => core.change_account(cx, id, change),
            _ => core.send(cx, message),
        })
    }

    /// Members mostly; somebody else where that is found out.
    fn some_mentions(&mut self, chat: ChatId) -> Vec<UserId> {
        let mut users: Vec<UserId> = match self.model.groups.get(&chat) {
            Some(group) => group.members(group.seq()).into_keys().collect(),
            None => self.model.pairs.get(&chat).map(|&(a, b)| vec![a, b]).unwrap_or_default(),
        };
        if users.is_empty() || self.env.rng.one_in(12) {
            users = vec![pick(&mut self.env.rng, &self.plan.devices).0];
        }
        let mut users = vec![pick(&mut self.env.rng, &users), pick(&mut self.env.rng, &users)];
        users.dedup();
        users
    }

    /// A message of a chat; `by`: mostly one of this user's.
    fn some_message(&mut self, chat: ChatId, by: Option<UserId>) -> Option<MessageId> {
        let lines = self.model.talks.get(&chat)?.lines();
        let messages: Vec<_> = lines.filter(|(_, line)| line.kind == EntryKind::message).collect();
        let own = messages.iter().filter(|(_, line)| by.is_some_and(|user| line.sender == user));
        let own: Vec<MessageId> = own.map(|(_, line)| line.message).collect();
        let all: Vec<MessageId> = messages.iter().map(|(_, line)| line.message).collect();
        let among = if own.is_empty() || self.env.rng.one_in(8) { all } else { own };
        // What was said lately, mostly: it may still be amended, and again.
        let from = if self.env.rng.one_in(4) { 0 } else { among.len().saturating_sub(4) };
        (!among.is_empty()).then(|| pick(&mut self.env.rng, &among[from..]))
    }

    /// A device amends something, sometimes several times at once.
    pub fn amend_some(&mut self, at: usize) {
        let user = self.devices[at].user;
        let chats: Vec<ChatId> = self.model.chats_of(user).filter(|&chat| self.model.known(chat) > 0).collect();
        if chats.is_empty() {
            return;
        }
        let chat = pick(&mut self.env.rng, &chats);
        let burst = if self.env.rng.one_in(3) { self.env.rng.between(2, 5) } else { 1 };
        let by = (burst > 1 || !self.env.rng.one_in(4)).then_some(user);
        let Some(message) = self.some_message(chat, by) else { return };
        // Of another chat, or of none.
        let message = if self.env.rng.one_in(40) { MessageId([7; 16]) } else { message };
        for _ in 0..burst {
            // A crash in between forgets the rest.
            if self.devices[at].core.is_some() {
                self.amend(at, chat, message);
            }
        }
    }

    fn amend(&mut self, at: usize, chat: ChatId, message: MessageId) {
        let device = &self.devices[at];
        let id = self.new_id(device.user, device.device);
        let amendment = self.some_amendment(chat, message, &id);
        if self.model.groups.contains_key(&chat) {
            self.wish_for(chat, &id, None);
        }
        self.env.note("amend", [at as u64, u64::from(amendment.kind().0), self.ids]);
        self.model.wanted.insert(id.clone(), (chat, Wanted::Amendment(amendment)));
        self.devices[at].app.sends.push((chat, id.clone()));
        match self.hand_over(at, chat, &id) {
            Some(Ok(taken)) => assert_eq!(taken, chat, "an amendment goes to its chat"),
            refused => panic!("invariant accepted: an amendment was not taken: {refused:?}"),
        }
        self.operations += 1;
    }

    fn some_amendment(&mut self, chat: ChatId, message: MessageId, id: &Bytes) -> Amendment {
        if is_mortal(chat) && self.env.rng.one_in(5) {
            // Of most that stay long there is only one of that length.
            let long = 3_600 + self.env.rng.below(100_000) as u32;
            let ttl_s = pick(&mut self.env.rng, &[0, 5, 20, long, long, long, long, 1]);
            return Amendment::Timer { chat, ttl_s };
        }
        match self.env.rng.below(20) {
            0..10 => {
                let mentions = if self.env.rng.one_in(4) { self.some_mentions(chat) } else { Vec::new() };
                Amendment::Edited { chat, message, content_type: 0, body: body_of(id).into(), mentions }
            }
            10..13 => Amendment::Deleted { chat, message },
            _ => {
                let reactions: [&'static [u8]; 5] = [b"+1", b"heart", b"", "\u{1f44d}".as_bytes(), b"\xff"];
                let valid = if self.env.rng.one_in(10) { 5 } else { 4 };
                let choice = self.env.rng.below(valid);
                Amendment::Reacted { chat, message, reaction: Bytes::from_static(reactions[choice as usize]) }
            }
        }
    }

    /// An amendment in a direct chat has failed for good.
    pub fn amendment_failed(&mut self, user: UserId, id: &Bytes, failure: Failure) {
        let Some(&(chat, _)) = self.model.wanted.get(id) else {
            panic!("invariant accepted: a send failed for good: {failure}")
        };
        let place = self.model.seq_of(chat, id);
        assert!(place.is_none(), "invariant idempotent: {id:?} is refused ({failure}), and has its place at {place:?}");
        let Failure::Refused(refusal) = failure else { panic!("invariant accepted: a send failed: {failure}") };
        let code = refusal.known().expect("the server's codes are known");
        let fits = self.may_be_refused(user, id, code, None);
        let kind = self.model.kind_of(id);
        assert!(fits, "invariant amendments: {user}'s {kind:?} in {chat} was refused with {code}");
        self.env.counts.add(&format!("direct_refused.{code}"), 1);
    }

    /// Whether there may be this reason to refuse what was wanted under a client_msg_id. `wish`: when it was, in a group.
    pub fn may_be_refused(&self, user: UserId, id: &Bytes, code: ErrorCode, wish: Option<&Wish>) -> bool {
        let Some((chat, wanted)) = self.model.wanted.get(id) else { return false };
        let chat = *chat;
        let surely_admin = wish.is_some_and(|wish| self.model.was_surely(user, wish, true));
        if let Wanted::Account(change) = wanted {
            return self.account_may_be_refused(id, code, change);
        }
        let Wanted::Amendment(amendment) = wanted else {
            return code == ErrorCode::UnknownMember && self.may_be_strange(chat, wanted, wish);
        };
        let kind = amendment.kind();
        let about = amendment.message();
        let found = about.and_then(|about| self.model.talks.get(&chat)?.message(about));
        // An admin of the group deletes what they like, when they like.
        let free = kind == EntryKind::deleted && surely_admin;
        let late = |line: &Line, window_ms: u64| self.latest_ms().saturating_sub(line.ms) > window_ms;
        match (code, amendment) {
            (ErrorCode::NoChange, Amendment::Timer { ttl_s, .. }) => *ttl_s == 0 || self.was_also_set(chat, *ttl_s, id),
            (ErrorCode::NotAnAdmin, Amendment::Timer { .. }) => wish.is_some() && !surely_admin,
            (ErrorCode::InvalidTimer, Amendment::Timer { ttl_s, .. }) => *ttl_s > 0 && !TTL_S.contains(ttl_s),
            (ErrorCode::InvalidReaction, Amendment::Reacted { reaction, .. }) => {
                core::str::from_utf8(reaction).is_err()
            }
            (ErrorCode::UnknownMember, Amendment::Edited { .. }) => self.may_be_strange(chat, wanted, wish),
            (ErrorCode::UnknownMessage, _) => {
                let gone =
                    |seq| !self.model.sees(user, chat, seq) || self.model.may_be_gone(chat, seq, self.latest_ms());
                about.is_some() && found.is_none_or(|(seq, _)| gone(seq))
            }
            (ErrorCode::NotTheSender, Amendment::Edited { .. } | Amendment::Deleted { .. }) => {
                !free && found.is_some_and(|(_, line)| line.sender != user)
            }
            (ErrorCode::TooLate, Amendment::Edited { .. }) => {
                found.is_some_and(|(_, line)| late(line, self.model.rules.edit_ms))
            }
            (ErrorCode::TooLate, Amendment::Deleted { .. }) => {
                !free && found.is_some_and(|(_, line)| late(line, self.model.rules.delete_ms))
            }
            (ErrorCode::MessageDeleted, _) => self.was_to_be_deleted(chat, about, id),
            _ => false,
        }
    }

    /// Whether somebody is mentioned who may not be in the chat.
    fn may_be_strange(&self, chat: ChatId, wanted: &Wanted, wish: Option<&Wish>) -> bool {
        let is_in = |user: UserId| match wish {
            Some(wish) => self.model.was_surely(user, wish, false),
            None => self.model.pairs.get(&chat).is_some_and(|&(a, b)| user == a || user == b),
        };
        !wanted.mentions().iter().all(|&user| is_in(user))
    }

    /// Whether anybody else wanted this timer.
    fn was_also_set(&self, chat: ChatId, wanted_s: u32, refused: &Bytes) -> bool {
        let sets =
            |wanted: &Wanted| matches!(wanted, Wanted::Amendment(Amendment::Timer { ttl_s, .. }) if *ttl_s == wanted_s);
        self.model.wanted.iter().any(|(id, (of, wanted))| id != refused && *of == chat && sets(wanted))
    }

    /// Whether anybody wanted to delete it, but for who was refused.
    fn was_to_be_deleted(&self, chat: ChatId, about: Option<MessageId>, refused: &Bytes) -> bool {
        let deletes = |wanted: &Wanted| matches!(wanted, Wanted::Amendment(Amendment::Deleted { message, .. }) if Some(*message) == about);
        about.is_some()
            && self.model.wanted.iter().any(|(id, (of, wanted))| id != refused && *of == chat && deletes(wanted))
    }

    /// What a device's own send makes of its messages: it does not come as an entry.
    pub fn fold_own(&mut self, at: usize, id: &Bytes, place: &Place) {
        if self.model.kind_of(id).0 >= EntryKind::created.0 {
            return;
        }
        let (wanted, message) = (self.model.wanted.get(id), self.message_of(id, SendTarget::Chat(place.chat)));
        let device = &mut self.devices[at];
        let talk = device.app.talks.entry(place.chat).or_default();
        match wanted {
            Some((_, Wanted::Amendment(amendment))) => talk.amended(device.user, place, amendment),
            _ => talk.sent((device.user, device.device), place, &message, 0),
        }
    }

    /// Every device's messages are what the logs make of them, and entries were shown as they were.
    pub fn check_talks(&mut self) {
        let (edited, blanked) = self.model.shown.check(&self.model);
        let mut compared = 0;
        for device in self.devices.iter().filter(|device| device.is_live()) {
            let chats: Vec<ChatId> = self.model.chats_of(device.user).collect();
            for chat in chats {
                let Some(first) = self.sees_from(device.user, chat) else { continue };
                compared += self.check_talk(device, chat, first);
            }
        }
        let gone: usize = self
            .model
            .talks
            .iter()
            .map(|(&chat, talk)| {
                talk.lines().filter(|&(seq, _)| self.model.may_be_gone(chat, seq, self.latest_ms())).count()
            })
            .sum();
        let all = [
            ("shown_edited", edited),
            ("shown_blank", blanked),
            ("messages_compared", compared),
            ("entries_gone", gone as u64),
        ];
        all.into_iter().for_each(|(name, count)| self.env.counts.add(name, count));
    }

    /// From which entry on a user sees everything of a chat; `None` where they left it once.
    fn sees_from(&self, user: UserId, chat: ChatId) -> Option<u64> {
        self.model.groups.get(&chat).map_or(Some(1), |group| group.sees_from(user))
    }

    fn check_talk(&self, device: &Device, chat: ChatId, first: u64) -> u64 {
        let me = (device.user, device.device);
        let (now_ms, Some(talk)) = (self.latest_ms(), self.model.talks.get(&chat)) else { return 0 };
        let due = talk.lines().filter(|&(seq, line)| {
            line.kind == EntryKind::message && seq >= first && !self.model.may_be_gone(chat, seq, now_ms)
        });
        // Whoever joined after the timer was set may not know how long own messages stay.
        let unsure = |message: &Message<'_>| first > 1 && (message.sender, message.device) == me && message.ttl_s == 0;
        let knows = |message: &Message<'_>| !(unsure(message) && self.model.may_be_gone(chat, message.seq, now_ms));
        let had = device.app.talks.get(&chat).into_iter().flat_map(|talk| talk.messages(now_ms));
        let mut had = had.filter(knows);
        let mut compared = 0;
        for (seq, line) in due {
            let Some(message) = had.next() else {
                panic!("invariant folds: {me:?} lacks seq {seq} of {chat}: {line:?}")
            };
            let ttl = message.ttl_s == line.ttl_s || unsure(&message);
            let same = message.seq == seq && ttl && self.is_as(chat, &message, line);
            assert!(same, "invariant folds: {me:?} has {message:?} in {chat}, and seq {seq} is {line:?}");
            compared += 1;
        }
        let more = had.next();
        assert!(more.is_none(), "invariant folds: {me:?} has {more:?} of {chat} besides");
        compared
    }

    fn is_as(&self, chat: ChatId, message: &Message<'_>, line: &Line) -> bool {
        let edit = line.edits.last().copied().filter(|_| line.blanked.is_none()).unwrap_or(0);
        let by = if edit == 0 { Some(&line.client_msg_id) } else { None };
        let said = by.or_else(|| self.model.place(chat, edit).map(|place| &place.client_msg_id));
        let body = match (line.blanked, said) {
            (None, Some(id)) => self.model.body_of(id),
            _ => Vec::new(),
        };
        let reactions =
            line.reactions.iter().map(|(&user, said)| (user, &said[..])).filter(|(_, said)| !said.is_empty());
        message.message == line.message
            && message.sender == line.sender
            && message.body == body
            && message.edited_seq == edit
            && message.deleted_ms == line.blanked.map_or(0, |(_, ms)| ms)
            && message.reactions().eq(reactions)
    }

    /// What is blank in a log is blank in the store, as soon as what blanked it is there.
    pub fn check_store(&mut self) {
        let mut blank = 0;
        for (&chat, talk) in &self.model.talks {
            let range =
                HistoryRange { after_seq: 0, up_to_seq: u64::MAX, limit_entries: usize::MAX, limit_bytes: usize::MAX };
            let stored = self.env.store.history(chat, range).expect("healed stores can be read");
            for entry in &stored {
                let Some((by, _)) = talk.line(entry.seq).and_then(|line| line.blanked) else { continue };
                if stored.binary_search_by_key(&by, |entry| entry.seq).is_err() {
                    continue;
                }
                let frame = FrameRef::verify(&entry.frame).expect("stored entries are frames");
                let body = frame.root().body_as_entry().and_then(|entry| entry.body());
                let left = body.map_or(0, |body| body.len());
                assert!(
                    left == 0,
                    "invariant amendments: the store keeps {left} bytes of seq {} of {chat}, blanked by {by}",
                    entry.seq
                );
                blank += 1;
            }
        }
        self.env.counts.add("store_blank", blank);
    }
}
