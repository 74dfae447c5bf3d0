//! Drives the devices' cores: performs what they ask for, hands events to the model and the application.

use bytes::Bytes;
use client::core::{Cause, Core, Cx, End, Event, Input, Member, Output};
use client::driver::Place;
use client::store::ClientStore;
use fabric::sim::{Side, StreamId};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, UserId};
use schema::wire::MarkStatus;

use super::device::{Device, Sought};
use super::tokens::token;
use super::world::World;

impl World {
    /// Calls a device's core and performs its outputs. `None` if it is not running.
    pub fn tell<T>(&mut self, at: usize, then: impl FnOnce(&mut Core, &mut Cx<'_>) -> T) -> Option<T> {
        let mut core = self.devices[at].core.take()?;
        let mut out = Vec::new();
        let mut cx = Cx {
            now: self.env.now(),
            encoder: &mut self.encoder,
            entropy: &mut self.client_entropy,
            counters: &mut self.client_counters,
            out: &mut out,
        };
        let answer = then(&mut core, &mut cx);
        self.devices[at].core = Some(core);
        self.perform(at, out);
        Some(answer)
    }

    fn perform(&mut self, at: usize, outputs: Vec<Output>) {
        for output in outputs {
            if let Some(left) = &mut self.devices[at].crash_in {
                if *left == 0 {
                    return self.crash_device(at);
                }
                *left -= 1;
            }
            let device = &mut self.devices[at];
            match output {
                Output::Persist(change) => {
                    device.unsynced |= !change.is_lazy();
                    device.store.append(&change).expect("a memory store takes everything");
                }
                Output::Write(frame) => {
                    if core::mem::take(&mut device.unsynced) {
                        device.store.sync().expect("a memory store syncs");
                    }
                    if let Some(stream) = device.stream {
                        self.env.net.send(self.env.ns(), stream, Side::Client, &frame);
                    }
                }
                Output::Connect { after_ms } => {
                    assert!(device.connect_ns.is_none(), "one connection at a time");
                    let wait_ns = u64::from(after_ms) * 1_000_000;
                    device.connect_ns = Some(self.env.later(wait_ns, wait_ns + 1_000_000));
                }
                Output::Close => self.hang_up(at),
                Output::Event(event) => self.event(at, event),
            }
        }
        if self.devices[at].unsynced && self.env.rng.one_in(2) {
            self.devices[at].unsynced = false;
            self.devices[at].store.sync().expect("a memory store syncs");
        }
    }

    /// Closes a device's connection, if it has one.
    pub fn hang_up(&mut self, at: usize) {
        self.unhush(at);
        if let Some(stream) = self.devices[at].stream.take() {
            self.streams.remove(&stream);
            self.env.stalls.remove(&stream);
            self.env.net.close(self.env.ns(), stream, Side::Client);
        }
    }

    /// A device's process ends without a word; sometimes its host too, so that nobody tells the server.
    pub fn crash_device(&mut self, at: usize) {
        self.env.fault("fault_client_crash", at as u64);
        self.unhush(at);
        if self.env.rng.one_in(4) {
            if let Some(stream) = self.devices[at].stream.take() {
                self.streams.remove(&stream);
            }
        } else {
            self.hang_up(at);
        }
        let start_ns = self.env.later(1_000_000, 600_000_000);
        let kept = self.env.rng.below(self.devices[at].store.volatile_len() as u64 + 1) as usize;
        self.devices[at].crash(kept, start_ns);
    }

    /// Starts a device that was down.
    pub fn start_device(&mut self, at: usize) {
        self.env.note("device starts", [at as u64, 0, 0]);
        self.log_in_again(at);
        self.devices[at].start();
        self.tell(at, |core, cx| core.handle(cx, Input::Start));
    }

    /// The connection a core asked for.
    pub fn connect_device(&mut self, at: usize) {
        self.devices[at].connect_ns = None;
        let refused = self.server.is_none() || (!self.calm && self.env.rng.one_in(20));
        self.env.note("connect", [at as u64, u64::from(!refused), 0]);
        if refused {
            self.tell(at, |core, cx| core.handle(cx, Input::ConnectFailed));
            return;
        }
        let stream = self.env.net.connect(self.env.ns());
        self.streams.insert(stream, at);
        self.devices[at].barred = self.is_revoked(&self.devices[at]);
        self.veil(at);
        let device = &mut self.devices[at];
        device.stream = Some(stream);
        let token = token(device.user, device.device, device.issued_s);
        self.tell(at, |core, cx| core.handle(cx, Input::Connected { token: token.as_bytes() }));
    }

    /// Bytes came for a client.
    pub fn client_received(&mut self, stream: StreamId, bytes: &Bytes) {
        if let Some(&at) = self.streams.get(&stream) {
            self.tell(at, |core, cx| core.handle(cx, Input::Bytes(bytes)));
        }
    }

    /// A client's connection ended.
    pub fn client_closed(&mut self, stream: StreamId) {
        if let Some(at) = self.streams.remove(&stream) {
            self.env.stalls.remove(&stream);
            self.unhush(at);
            self.devices[at].stream = None;
            self.tell(at, |core, cx| core.handle(cx, Input::Disconnected));
        }
    }

    fn event(&mut self, at: usize, event: Event) {
        let device = &mut self.devices[at];
        match event {
            Event::Welcome(_) => self.welcomed(at),
            Event::Postponed { client_msg_id, refusal } => {
                self.env.note("postponed", [at as u64, send_number(&client_msg_id), refusal.code.into()]);
                self.unhush(at);
            }
            Event::Entry(entry) => self.entry(at, &entry),
            Event::Sent { client_msg_id, chat, message, seq, timestamp_ms } => {
                self.env.note("sent", [at as u64, send_number(&client_msg_id), seq]);
                let again = !device.app.outcomes.insert(client_msg_id.clone());
                assert!(!again || self.resent.contains(&client_msg_id), "invariant outcome: a send has two outcomes");
                device.app.sent.insert(client_msg_id.clone());
                let place = Place { chat, message, seq, timestamp_ms };
                self.model.acked((device.user, device.device), &client_msg_id, &place);
                self.fold_own(at, &client_msg_id, &place);
                self.heard_of_account(at, &client_msg_id, true);
            }
            Event::Failed { client_msg_id, failure } => self.failed(at, &client_msg_id, failure),
            Event::Receipt { chat, user, seq, status, .. } => self.receipt(at, chat, user, seq, status),
            Event::Covered { chat, first_seq, last_seq } => {
                // In a group it is what was outside of a membership, or it has disappeared; that nothing else was is seen in
                // the end.
                let excused = self.model.groups.contains_key(&chat) || super::amending::is_mortal(chat);
                assert!(excused, "invariant durable: {chat} {first_seq}..={last_seq} is said to have expired");
                self.env.counts.add("client_covered", 1);
            }
            Event::Synced { server_time_ms } => self.synced(at, server_time_ms),
            Event::History(page) => self.history_page(at, &page),
            Event::Chat(info) => self.told_chat(at, *info),
            Event::Chats(page) => self.told_chats(at, *page),
            Event::Status(status) => self.told_status(at, *status),
            Event::Ticks { chat, members } => self.ticks(at, chat, &members),
            Event::Account(account) => self.told_account(at, *account),
            Event::AskFailed { request, failure } => self.ask_failed(at, request, failure),
            Event::Complaint(refusal) => {
                // It may be the late answer to a question about what has disappeared.
                let lost = refusal.known() == Some(ErrorCode::UnknownChat);
                assert!(!lost, "invariant durable: a mark was refused: {refusal}");
                self.env.counts.add("client_complaints", 1);
            }
            Event::Disconnected { cause, .. } => {
                device.synced = false;
                assert!(cause != Cause::BadFrame, "invariant protocol: the server sent a bad frame");
            }
            Event::Ended(end) => self.ended(at, end),
            Event::Spooled { .. } => panic!("invariant protocol: nothing is spooled here"),
        }
    }

    fn welcomed(&mut self, at: usize) {
        self.devices[at].welcomed_ns = self.env.ns();
        self.check_barred(at);
    }

    fn entry(&mut self, at: usize, entry: &client::Entry) {
        let device = &self.devices[at];
        let (chat, seq) = (entry.chat(), entry.seq());
        // Whoever comes when everything rests is shown all of it as it is.
        let known = if device.audits { self.model.known(chat) } else { 0 };
        if entry.sender() == device.user && entry.device() == device.device {
            self.env.counts.add("client_own_entries", 1);
        }
        self.model.see(entry, known);
        self.check_barred(at);
        self.env.note("entry", [at as u64, chat_number(chat), seq]);
        self.devices[at].app.entry(entry);
        let id = Bytes::copy_from_slice(entry.client_msg_id());
        self.heard_of_account(at, &id, false);
    }

    fn synced(&mut self, at: usize, server_time_ms: u64) {
        self.env.note("synced", [at as u64, server_time_ms, 0]);
        self.devices[at].synced = true;
        self.devices[at].app.synced_first_ns.get_or_insert(self.env.ns());
    }

    fn ended(&mut self, at: usize, end: End) {
        if matches!(end, End::Server(refusal) if refusal.known() == Some(ErrorCode::TokenRevoked)) {
            return self.revoked(at);
        }
        let replaced = matches!(end, End::Server(refusal) if refusal.known() == Some(ErrorCode::SessionReplaced));
        assert!(replaced && self.devices[at].copied, "invariant protocol: a client ended: {end}");
        self.env.counts.add("client_replaced", 1);
        self.env.note("replaced", [at as u64, 0, 0]);
        let start_ns = if self.devices[at].is_copy() { u64::MAX } else { self.env.later(1_000_000, 800_000_000) };
        // The core asked for the close itself; there is nothing unsaved that an orderly end would not have saved.
        self.hang_up(at);
        let device: &mut Device = &mut self.devices[at];
        device.store.sync().expect("a memory store syncs");
        device.down(start_ns);
    }

    /// What rose while the device was away, as receipts would have told it.
    fn ticks(&mut self, at: usize, chat: ChatId, members: &[Member]) {
        self.check_ticks_told(at, chat, members);
        for member in members {
            for (seq, status) in [(member.delivered_seq, MarkStatus::delivered), (member.read_seq, MarkStatus::read)] {
                let known = self.devices[at].app.receipts.get(&(chat, member.user)).copied().unwrap_or_default();
                if seq > if status == MarkStatus::read { known.1 } else { known.0 } {
                    self.receipt(at, chat, member.user, seq, status);
                }
            }
        }
    }

    fn receipt(&mut self, at: usize, chat: ChatId, user: UserId, seq: u64, status: MarkStatus) {
        self.check_barred(at);
        let known = self.devices[at].app.receipts.entry((chat, user)).or_default();
        let mark = if status == MarkStatus::read { &mut known.1 } else { &mut known.0 };
        assert!(seq > *mark, "invariant watermark: {user} fell from {mark} to {seq} in {chat}");
        *mark = seq;
        known.0 = known.0.max(known.1);
        let known = *known;
        let ever = self.devices[at].app.ticked.entry((chat, user)).or_default();
        *ever = (ever.0.max(known.0), ever.1.max(known.1));
        self.watermarks.entry((chat, user)).and_modify(|top| *top = seq.max(*top)).or_insert(seq);
        if status == MarkStatus::read {
            let marked = self.model.read_of(chat, user);
            assert!(seq <= marked, "invariant watermark: {user} has read {seq} of {chat} but only marked {marked}");
            self.told_read(at, (chat, user), seq);
        }
    }

    fn history_page(&mut self, at: usize, page: &client::core::HistoryPage) {
        self.env.counts.add("client_history_pages", 1);
        let Some(sought) = self.devices[at].app.histories.get(&page.request).copied() else { return };
        let Sought { chat, after, asked_ms, steps, known } = sought;
        assert_eq!(chat, page.chat, "invariant history: another chat was asked for");
        for entry in &page.entries {
            self.model.see(entry, known);
            let gone = entry.expires_ms().is_some_and(|ms| ms <= asked_ms) && steps == self.env.clock.steps();
            assert!(!gone, "invariant disappearing: {entry:?} is shown to who asked after its time, at {asked_ms}");
        }
        let (first, last) = page.covers;
        let seqs: Vec<u64> = page.entries.iter().map(client::Entry::seq).collect();
        if first <= last && last > 0 {
            assert!(first == after + 1, "invariant history: asked after {after}, covers from {first}");
            if self.model.groups.contains_key(&chat) || super::amending::is_mortal(chat) {
                // What this user could see of it is known for sure in the end.
                let (user, made_ms) = (self.devices[at].user, self.latest_ms());
                self.told.pages.push((user, chat, page.covers, seqs, made_ms));
            } else {
                let all = seqs.iter().copied().eq(first..=last);
                assert!(all, "invariant history: {chat} covers {first}..={last} with {seqs:?}");
            }
            // A request may be answered by several pages.
            self.devices[at].app.histories.insert(page.request, Sought { after: last, ..sought });
        } else {
            assert!(seqs.is_empty(), "invariant history: entries of {chat} outside of what is covered");
        }
    }
}

/// A send's number in traces.
pub fn send_number(client_msg_id: &[u8]) -> u64 {
    let text = std::str::from_utf8(client_msg_id).unwrap_or_default();
    text.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A chat's number in traces.
pub fn chat_number(chat: ChatId) -> u64 {
    u64::from_be_bytes(chat.0[..8].try_into().expect("16 bytes")) >> 40
}
