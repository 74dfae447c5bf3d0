//! What applications do: send, handle what they got, mark as read, look at history, send old things again.

use bytes::Bytes;
use client::core::SendError;
use schema::encode::SendTarget;
use schema::ids::ChatId;
use schema::wire::MarkStatus;

use super::case::Part;
use super::device::Sought;
use super::plan::pick;
use super::world::World;

impl World {
    /// One operation of some device.
    pub fn operate(&mut self) {
        let Some(at) = self.some_device() else { return };
        // Guests only look: who is shown the door shall leave nothing behind.
        let what = if self.devices[at].is_guest() { 57 + self.env.rng.below(39) } else { self.env.rng.below(100) };
        let part = match what {
            36..45 => Some(Part::Amendments),
            45..50 => Some(Part::Accounts),
            50..57 => Some(Part::Groups),
            57..60 => Some(Part::Questions),
            80..88 => Some(Part::Reads),
            88..96 => Some(Part::History),
            96.. => Some(Part::Resends),
            _ => None,
        };
        if part.is_some_and(|part| self.plan.is_without(part)) {
            return;
        }
        match what {
            0..36 => self.send_some(at),
            36..45 => self.amend_some(at),
            45..50 => self.change_account_some(at),
            50..57 => self.change_some(at),
            57..60 => self.ask_some(at),
            60..80 => {
                let most = self.devices[at].app.unhandled.len() as u64;
                let count = self.env.rng.between(0, most);
                self.handle(at, count);
            }
            80..88 => self.read(at),
            88..96 => self.look_back(at),
            _ => self.send_again(at),
        }
    }

    fn pair_of(&mut self, at: usize) -> Option<(ChatId, schema::ids::UserId)> {
        let chats: Vec<_> = self.model.pairs_of(self.devices[at].user).collect();
        (!chats.is_empty()).then(|| pick(&mut self.env.rng, &chats))
    }

    fn send_some(&mut self, at: usize) {
        let burst = if self.env.rng.one_in(8) { self.env.rng.between(2, 12) } else { 1 };
        for _ in 0..burst {
            let user = self.devices[at].user;
            let group = if self.env.rng.one_in(3) { self.group_of(user) } else { None };
            match (group, self.pair_of(at)) {
                (Some(group), _) => self.send_to_group(at, group),
                (None, Some(pair)) => self.send(at, pair),
                (None, None) => return,
            };
        }
    }

    /// Sends one message. Returns whether it was taken.
    pub fn send(&mut self, at: usize, (chat, peer): (ChatId, schema::ids::UserId)) -> Option<Bytes> {
        let device = &self.devices[at];
        let core = device.core.as_ref()?;
        let exists = self.model.head(chat) > 0;
        let target = match (core.identity().is_some(), exists && self.env.rng.one_in(2)) {
            (_, true) => SendTarget::Chat(chat),
            (true, false) => SendTarget::User(peer),
            (false, false) => return None,
        };
        let (user, number) = (device.user, device.device);
        let id = self.new_id(user, number);
        self.devices[at].app.sends.push((chat, id.clone()));
        self.env.note("send", [at as u64, super::clients::chat_number(chat), self.ids]);
        let new = self.new_message(chat, &id, target);
        match self.tell(at, |core, cx| core.send(cx, new)) {
            Some(Ok(taken)) => assert_eq!(taken, chat, "a send goes to its chat"),
            refused => panic!("invariant accepted: a send was not taken: {refused:?}"),
        }
        self.operations += 1;
        Some(id)
    }

    /// The application has handled the first `count` of what it got.
    pub fn handle(&mut self, at: usize, count: u64) {
        for _ in 0..count {
            // A crash in between forgets the rest.
            let Some((chat, seq)) = self.devices[at].app.unhandled.pop_front() else { return };
            self.marks(at, chat, MarkStatus::delivered, seq);
            self.tell(at, |core, cx| core.handled(cx, chat, seq));
            self.operations += 1;
        }
    }

    pub(super) fn read(&mut self, at: usize) {
        let handed: Vec<_> = self.devices[at].app.last.iter().map(|(&chat, &seq)| (chat, seq)).collect();
        if !handed.is_empty() {
            let (chat, seq) = pick(&mut self.env.rng, &handed);
            self.read_chat(at, chat, seq);
        }
    }

    /// A device's user has read a chat up to there.
    pub fn read_chat(&mut self, at: usize, chat: ChatId, seq: u64) {
        self.devices[at].app.unhandled.retain(|&(of, unhandled)| of != chat || unhandled > seq);
        let cursor = self.devices[at].core.as_ref().and_then(|core| core.cursor(chat)).unwrap_or(seq);
        self.reads(at, chat, seq.min(cursor));
        self.marks(at, chat, MarkStatus::read, seq);
        self.tell(at, |core, cx| core.mark_read(cx, chat, seq));
        self.operations += 1;
    }

    fn look_back(&mut self, at: usize) {
        let chats: Vec<_> = self.model.chats_of(self.devices[at].user).collect();
        if chats.is_empty() {
            return;
        }
        let chat = pick(&mut self.env.rng, &chats);
        let head = self.model.head(chat);
        if head == 0 {
            return;
        }
        // Mostly where something was amended: there pages change.
        let lines = self.model.talks.get(&chat).into_iter().flat_map(|talk| talk.lines());
        let amended = lines.filter(|(_, line)| !line.edits.is_empty() || line.blanked.is_some()).map(|(seq, _)| seq);
        let amended: Vec<u64> = amended.collect();
        let after = if amended.is_empty() || self.env.rng.one_in(2) {
            self.env.rng.below(head)
        } else {
            pick(&mut self.env.rng, &amended) - 1
        };
        let limit = self.env.rng.between(1, 40) as u32;
        self.look_back_from(at, chat, after, limit);
    }

    /// Asks for history.
    pub fn look_back_from(&mut self, at: usize, chat: ChatId, after: u64, limit: u32) {
        let (asked_ms, steps) = (self.env.now().wall_ms(), self.env.clock.steps());
        let known = self.model.known(chat);
        if let Some(Ok(request)) = self.tell(at, |core, cx| core.history(cx, chat, after, limit)) {
            self.devices[at].app.histories.insert(request, Sought { chat, after, asked_ms, steps, known });
            self.operations += 1;
        }
    }

    /// Sends something that was sent long ago under the same client_msg_id: it has its place already.
    fn send_again(&mut self, at: usize) {
        let device = &self.devices[at];
        // It leaves at once, in a session so young that the gateway takes it for a resend.
        let young = self.env.ns() < device.welcomed_ns + 40_000_000_000;
        if !young || !device.core.as_ref().is_some_and(|core| core.is_connected() && core.outbox_len() == 0) {
            return;
        }
        let app = &device.app;
        let sent: Vec<_> = app.sends.iter().filter(|(_, id)| app.sent.contains(id)).collect();
        if sent.is_empty() {
            return;
        }
        let (chat, id) = sent[self.env.rng.below(sent.len() as u64) as usize].clone();
        self.resent.insert(id.clone());
        let taken = self.hand_over(at, chat, &id);
        match taken {
            Some(Ok(_)) => {
                self.env.counts.add("operation_send_again", 1);
                self.operations += 1;
            }
            Some(Err(SendError::DuplicateId)) | None => {}
            Some(Err(error)) => panic!("invariant accepted: a send was not taken: {error}"),
        }
    }
}
