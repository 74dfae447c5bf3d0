//! Connections: hello, welcome, heartbeats, the end, and coming back.

use fabric::entropy::Entropy;
use schema::encode::WelcomeFields;
use schema::errors::{ErrorCode, Retry, Scope};
use schema::frame::{FrameRef, frame_len};
use schema::ids::{DeviceId, UserId};
use schema::limits::PROTOCOL_VERSIONS;
use schema::wire::{self, Body};

use super::asks::is_fill;
use super::{Cause, Core, Cx, End, Event, Gap, NS_PER_MS, Output, Phase, Refusal};
use crate::store::Change;

/// Marks that may have been refused are said again no sooner, ms.
const MARKS_AGAIN_MS: u32 = 100;

/// A random number below `bound` (0 when `bound` is 0).
pub(super) fn below(entropy: &mut dyn Entropy, bound: u64) -> u64 {
    if bound == 0 { 0 } else { entropy.next_u64() % bound }
}

/// The wait before attempt `attempt` (0, 1 …), ms: doubling, capped, half of it random, never less than asked for.
pub(super) fn backoff_ms(entropy: &mut dyn Entropy, (first, longest): (u32, u32), attempt: u8, asked_ms: u32) -> u32 {
    let full = u64::from(first.max(1)) << attempt.min(20);
    let full = full.min(u64::from(longest.max(1)));
    let wait = full / 2 + below(entropy, full / 2 + 1);
    let asked = u64::from(asked_ms);
    // What the server asks for is spread too, or all its clients come back at once.
    wait.max(if asked == 0 { 0 } else { asked + below(entropy, asked / 2 + 1) }) as u32
}

/// What the wire says, in the table's words; numbers of a newer table are taken as "try again later, here".
pub(super) fn refusal(code: u16, retry: u8, retry_after_ms: u32) -> Refusal {
    let retry = match retry {
        0 => Retry::Never,
        1 => Retry::Same,
        3 => Retry::AfterReconnect,
        _ => Retry::Backoff,
    };
    Refusal { code, retry, retry_after_ms }
}

impl Core {
    /// The connection stands: says hello.
    pub(super) fn greet(&mut self, cx: &mut Cx<'_>, token: &[u8]) {
        self.phase = Phase::Greeting;
        self.partial = Vec::new();
        self.last_in_ns = cx.now.mono_ns;
        self.ping_ns = cx.now.mono_ns + u64::from(self.config.answer_timeout_ms) * NS_PER_MS;
        cx.counters.connects += 1;
        let at = cx.out.len();
        if self.me.is_some() {
            // Behind Hello, so that the server does not first send what is here already.
            self.say_again(cx.now);
            self.flush(cx);
        }
        let marks = cx.out[at..].iter().filter(|output| matches!(output, Output::Write(_))).count() as u32;
        let me = self.me.map(|(user, device)| (user, device, marks));
        let hello = cx.encoder.hello_again(token, self.config.agent.as_bytes(), 0, self.synced_ms, me);
        cx.out.insert(at, Output::Write(hello));
    }

    /// Cuts what came into frames.
    pub(super) fn received(&mut self, cx: &mut Cx<'_>, bytes: &[u8]) {
        self.last_in_ns = cx.now.mono_ns;
        if self.partial.is_empty() {
            let used = self.frames(cx, bytes);
            if self.has_connection() && used < bytes.len() {
                self.partial = bytes[used..].to_vec();
            }
        } else {
            let mut buffer = core::mem::take(&mut self.partial);
            buffer.extend_from_slice(bytes);
            let used = self.frames(cx, &buffer);
            if self.has_connection() && used < buffer.len() {
                buffer.drain(..used);
                self.partial = buffer;
            }
        }
    }

    fn frames(&mut self, cx: &mut Cx<'_>, bytes: &[u8]) -> usize {
        let mut used = 0;
        while self.has_connection() {
            let rest = &bytes[used..];
            match frame_len(rest, self.config.receive_limit_bytes) {
                Ok(Some(len)) if len <= rest.len() => {
                    used += len;
                    match FrameRef::verify_from_server(&rest[..len]) {
                        Ok(frame) => self.frame(cx, frame),
                        Err(_) => self.bad_frame(cx),
                    }
                }
                Ok(_) => break,
                Err(_) => self.bad_frame(cx),
            }
        }
        used
    }

    pub(super) fn bad_frame(&mut self, cx: &mut Cx<'_>) {
        cx.counters.bad_frames += 1;
        self.abandon(cx, Cause::BadFrame, 0);
    }

    fn frame(&mut self, cx: &mut Cx<'_>, frame: FrameRef<'_>) {
        cx.counters.frames_in += 1;
        let root = frame.root();
        let known = match root.body_type() {
            Body::Welcome => root.body_as_welcome().map(|welcome| self.welcome(cx, welcome)),
            Body::Error => root.body_as_error().map(|error| self.error(cx, error)),
            Body::Goodbye => root.body_as_goodbye().map(|goodbye| {
                let why = refusal(goodbye.code(), goodbye.retry(), goodbye.retry_after_ms());
                self.dismissed(cx, why);
            }),
            // Nothing else makes sense before Welcome.
            _ if self.phase != Phase::Ready => None,
            Body::Entry => {
                self.entry(cx, frame);
                Some(())
            }
            Body::SendAck => root.body_as_send_ack().map(|ack| self.send_ack(cx, ack)),
            Body::Receipt => root.body_as_receipt().map(|receipt| self.receipt(cx, receipt)),
            Body::Covered => root.body_as_covered().map(|covered| self.covered(cx, covered)),
            Body::HistoryPage => root.body_as_history_page().map(|page| self.page(cx, page)),
            Body::ChatInfo => root.body_as_chat_info().map(|info| self.chat_told(cx, info)),
            Body::Chats => root.body_as_chats().map(|page| self.chats_told(cx, page)),
            Body::MessageStatus => root.body_as_message_status().map(|status| self.status_told(cx, status)),
            Body::Account => root.body_as_account().map(|account| self.account_told(cx, account)),
            Body::Ticks => root.body_as_ticks().map(|ticks| self.ticks(cx, ticks)),
            Body::Synced => root.body_as_synced().map(|synced| self.synced(cx, synced.server_time_ms())),
            Body::Ping => root.body_as_ping().map(|ping| cx.out.push(Output::Write(cx.encoder.pong(ping.nonce())))),
            Body::Pong => root.body_as_pong().map(|_| self.pong()),
            Body::Window => root.body_as_window().map(|window| self.window = window.window()),
            _ => None,
        };
        if known.is_none() {
            cx.counters.unknown_frames += 1;
        }
    }

    fn welcome(&mut self, cx: &mut Cx<'_>, welcome: wire::Welcome<'_>) {
        if self.phase != Phase::Greeting {
            cx.counters.unknown_frames += 1;
            return;
        }
        if !PROTOCOL_VERSIONS.contains(&welcome.version()) {
            return self.end(cx, End::Version(welcome.version()));
        }
        let Some(user) = UserId::new(welcome.user_id()) else { return self.bad_frame(cx) };
        let device = DeviceId(welcome.device_id());
        let was = self.me;
        match was {
            Some((own_user, own_device)) if (own_user, own_device) != (user, device) => {
                return self.end(cx, End::WrongStore(own_user, own_device));
            }
            Some(_) => {}
            None => {
                self.me = Some((user, device));
                if self.config.durable {
                    cx.out.push(Output::Persist(Change::Identity { user, device }));
                }
            }
        }
        self.phase = Phase::Ready;
        // 0 in the server's settings means unlimited; a later Window frame of 0 means: stop.
        self.window = if welcome.window() == 0 { u32::MAX } else { welcome.window() };
        self.pace.grant(welcome.sends_per_second(), welcome.burst());
        self.frame_limit_bytes = welcome.frame_limit_bytes();
        self.ping_interval_ms = welcome.ping_interval_ms().max(1);
        // The first ping comes at a random time, so that clients that came together do not ping together.
        let interval_ns = u64::from(self.ping_interval_ms) * NS_PER_MS;
        self.ping_ns = cx.now.mono_ns + interval_ns / 2 + below(cx.entropy, interval_ns / 2);
        cx.out.push(Output::Event(Event::Welcome(Box::new(welcome_fields(welcome, user, device)))));
        if was.is_none() {
            self.say_again(cx.now);
        }
        self.resume_sends(cx);
    }

    /// Positions marked lately may have been lost with the connection or the server: they are said again. So are those of
    /// chats with sends under way: an answer may have been lost, and without it what follows cannot be told from a gap.
    fn say_again(&mut self, now: fabric::time::Now) {
        for at in 0..self.chats.len() {
            if self.chats[at].age > 0 || self.chats[at].lane.is_some() {
                let chat = &mut self.chats[at];
                (chat.mark, chat.mark_read) = (true, chat.read > 0);
                self.remark(now, at);
            }
        }
    }

    /// What was missed is here; next time the server is told since when to look. Told the application first: a crash between
    /// the two asks for more again rather than for too little.
    fn synced(&mut self, cx: &mut Cx<'_>, server_time_ms: u64) {
        self.attempt = 0;
        self.synced_ms = server_time_ms;
        cx.out.push(Output::Event(Event::Synced { server_time_ms }));
        if self.config.durable {
            cx.out.push(Output::Persist(Change::Synced { server_time_ms }));
        }
    }

    /// As `mark_later`, without storing anything.
    pub(super) fn remark(&mut self, now: fabric::time::Now, at: usize) {
        self.mark_later(now, at, false);
        self.chats[at].mark = true;
    }

    fn pong(&mut self) {
        self.attempt = 0;
        for chat in &mut self.chats {
            chat.age = chat.age.saturating_sub(1);
        }
    }

    /// The server ends the session.
    pub(super) fn dismissed(&mut self, cx: &mut Cx<'_>, why: Refusal) {
        match why.known() {
            Some(ErrorCode::WrongIdentity) if let Some((user, device)) = self.me => {
                self.end(cx, End::WrongStore(user, device));
            }
            Some(ErrorCode::TokenExpired) if !self.config.token_renewable => self.end(cx, End::TokenExpired),
            _ if why.retry == Retry::Never => self.end(cx, End::Server(why)),
            _ => self.abandon(cx, Cause::Server(why), why.retry_after_ms),
        }
    }

    fn error(&mut self, cx: &mut Cx<'_>, error: wire::Error<'_>) {
        let why = refusal(error.code(), error.retry(), error.retry_after_ms());
        let id = error.client_msg_id().map_or(&[][..], |id| id.bytes());
        if error.scope() == Scope::Session as u8 {
            self.dismissed(cx, why);
        } else if !id.is_empty() {
            self.refused(cx, id, why);
        } else {
            if why.retry != Retry::Never {
                self.doubt_marks(cx.now, why.retry_after_ms);
            }
            if !self.ask_refused(cx, why) {
                cx.out.push(Output::Event(Event::Complaint(why)));
            }
        }
    }

    /// Something without an address was refused for now. It may have been a mark: the last ones are said again.
    fn doubt_marks(&mut self, now: fabric::time::Now, after_ms: u32) {
        let marks_wait = self.flush_ns > 0;
        for at in (0..self.chats.len()).filter(|&at| self.chats[at].age > 0).collect::<Vec<_>>() {
            self.chats[at].mark_read = self.chats[at].read > 0;
            self.remark(now, at);
        }
        if !marks_wait && self.flush_ns > 0 {
            self.flush_ns = now.mono_ns + u64::from(after_ms.max(MARKS_AGAIN_MS)) * NS_PER_MS;
        }
    }

    /// Timers.
    pub(super) fn tick(&mut self, cx: &mut Cx<'_>) {
        let now_ns = cx.now.mono_ns;
        if self.has_connection() && now_ns >= self.ping_ns {
            self.heartbeat(cx);
        }
        if self.phase == Phase::Ready {
            self.release(cx);
            self.fill_gaps(cx);
        }
    }

    fn heartbeat(&mut self, cx: &mut Cx<'_>) {
        let now_ns = cx.now.mono_ns;
        let interval_ns = u64::from(self.ping_interval_ms) * NS_PER_MS;
        let answer_ns = u64::from(self.config.answer_timeout_ms) * NS_PER_MS;
        // A silent server is dead; so is one that lives but has owed an answer to a send for several timeouts.
        let silent = now_ns > self.last_in_ns + interval_ns + answer_ns;
        let stalled =
            self.outbox.as_ref().is_some_and(|o| o.in_flight > 0 && now_ns > o.last_answer_ns + 3 * answer_ns);
        if self.phase == Phase::Greeting || silent || stalled {
            return self.abandon(cx, Cause::Silent, 0);
        }
        self.ping_ns = now_ns + interval_ns;
        cx.counters.pings += 1;
        cx.out.push(Output::Write(cx.encoder.ping(now_ns)));
        self.let_go(now_ns);
    }

    /// Frees what an idle core does not need.
    fn let_go(&mut self, now_ns: u64) {
        if self.outbox.as_ref().is_some_and(|outbox| outbox.len() == 0 && outbox.pause_until_ns <= now_ns) {
            self.outbox = None;
            self.chats.iter_mut().for_each(|chat| chat.lane = None);
        }
        if self.extra.as_ref().is_some_and(|extra| extra.is_empty()) {
            self.extra = None;
        }
        if self.dirty.is_empty() {
            self.dirty = Vec::new();
        }
    }

    /// Closes a connection that is no good and plans the next.
    pub(super) fn abandon(&mut self, cx: &mut Cx<'_>, cause: Cause, asked_ms: u32) {
        cx.out.push(Output::Close);
        self.lost(cx, cause, asked_ms);
    }

    /// The connection is gone: what was in flight waits again, what was held will be pushed again.
    pub(super) fn lost(&mut self, cx: &mut Cx<'_>, cause: Cause, asked_ms: u32) {
        cx.counters.disconnects += 1;
        self.partial = Vec::new();
        self.rewind_sends();
        if let Some(extra) = &mut self.extra {
            extra.held = Vec::new();
            extra.gaps = Vec::new();
            extra.asks.retain(|ask| !is_fill(ask.request));
            extra.asked = false;
        }
        self.retry_later(cx, cause, asked_ms);
    }

    pub(super) fn retry_later(&mut self, cx: &mut Cx<'_>, cause: Cause, asked_ms: u32) {
        self.phase = Phase::Connecting;
        let after_ms = backoff_ms(cx.entropy, self.config.backoff_ms, self.attempt, asked_ms);
        self.attempt = self.attempt.saturating_add(1);
        cx.out.push(Output::Event(Event::Disconnected { cause, retry_in_ms: after_ms }));
        cx.out.push(Output::Connect { after_ms });
    }

    pub(super) fn end(&mut self, cx: &mut Cx<'_>, end: End) {
        if self.has_connection() {
            cx.out.push(Output::Close);
        }
        self.phase = Phase::Ended;
        self.partial = Vec::new();
        self.extra = None;
        cx.out.push(Output::Event(Event::Ended(end)));
    }

    /// Asks for what is missing under gaps that have stood long enough.
    fn fill_gaps(&mut self, cx: &mut Cx<'_>) {
        let now_ns = cx.now.mono_ns;
        let Some(extra) = &mut self.extra else { return };
        if extra.asked && now_ns >= extra.ask_due_ns {
            self.ask_timed_out(cx);
        }
        let Some(extra) = &mut self.extra else { return };
        let due: Vec<_> = extra
            .gaps
            .iter_mut()
            .filter(|gap| now_ns >= gap.due_ns)
            .map(|gap: &mut Gap| {
                gap.due_ns = u64::MAX;
                gap.chat
            })
            .collect();
        for chat in due {
            self.ask_for_gap(cx, chat);
        }
    }
}

fn welcome_fields(welcome: wire::Welcome<'_>, user: UserId, device: DeviceId) -> WelcomeFields {
    WelcomeFields {
        version: welcome.version(),
        features: welcome.features(),
        session_id: welcome.session_id(),
        server_incarnation: welcome.server_incarnation(),
        user,
        device,
        server_time_ms: welcome.server_time_ms(),
        frame_limit_bytes: welcome.frame_limit_bytes(),
        window: welcome.window(),
        sends_per_second: welcome.sends_per_second(),
        burst: welcome.burst(),
        ping_interval_ms: welcome.ping_interval_ms(),
        idle_timeout_ms: welcome.idle_timeout_ms(),
    }
}
