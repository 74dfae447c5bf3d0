//! Sends: checked, admitted in order, passed to their chat's owner; and the owner's answers.
//!
//! A send passes its chat's block, the window, the user's rate and the credits of its owner's partition, in this order.
//! Whatever refuses it with a retry blocks its chat (invariant 2). Without a credit the connection is read no further and
//! the send is kept, so that nothing behind it can overtake it.

use bytes::Bytes;
use fabric::core::ConnId;
use fabric::count::Tally as _;
use fabric::tier::{Egress, Send as Sending};
use fabric::time::Now;
use fabric::trace::trace_id;
use schema::encode::SendTarget;
use schema::envelope::{Stages, Trace};
use schema::errors::{ErrorCode, Retry};
use schema::frame::{FrameRef, VerifiedFrame};
use schema::ids::{ChatId, UserId};
use schema::limits::CLIENT_MSG_ID_BYTES;
use schema::wire::EntryKind;

use super::blocked::BLOCKED_CHATS;
use super::fields::{Target, checked};
use super::{KeptSend, partition_bit};
use crate::conn::wheel::{TICK_MS, tick_of};
use crate::conn::{PAUSE_CREDIT, Phase};
use crate::shard::Shard;
use crate::ways::send_request;
use crate::wire::ServerEvent;

/// How long a send waits for a credit, ns.
pub(crate) const CREDIT_WAIT_NS: u64 = 1_000_000_000;
/// In a session's first so many ticks every send is taken as a resend: its client may not know yet what was stored.
const RETRY_TICKS: u32 = (60_000 / TICK_MS) as u32;
/// One in so many sends carries stage times.
const SAMPLE: u32 = 64;

impl Shard {
    /// A send frame. `owned`: the same frame, where it is owned already.
    pub(crate) fn send(
        &mut self,
        now: Now,
        index: u32,
        frame: FrameRef<'_>,
        owned: Option<&VerifiedFrame>,
        egress: &mut dyn Egress,
    ) {
        let Some(send) = frame.root().body_as_send() else { return };
        let id = send.client_msg_id().map_or(&[][..], |id| id.bytes());
        let target = match checked(&send) {
            Ok(target) => target,
            Err(code) => {
                self.metrics.invalid_events.inc();
                let id = if id.len() <= *CLIENT_MSG_ID_BYTES.end() { id } else { &[] };
                return self.error(now, index, code, id, 0);
            }
        };
        let (chat, to) = self.resolve(index, target, id);
        if let Err((code, retry_after_ms)) = self.admit(now, index, chat, id) {
            return self.refuse(now, index, chat, id, code, retry_after_ms, egress);
        }
        let retry = send.retry() || tick_of(now) - self.conns[index].since < RETRY_TICKS;
        let partition = self.partition_of(chat);
        self.sampled = self.sampled.wrapping_add(1);
        let timed = self.sampled.is_multiple_of(self.timed_every());
        let accepted_ns = if timed { now.mono_ns } else { 0 };
        if self.credits[usize::from(partition)] == 0 {
            let frame = owned.cloned().unwrap_or_else(|| frame.to_frame_in(&mut self.arena));
            let deadline_ns = now.mono_ns + CREDIT_WAIT_NS;
            self.wait_for_credit(index, KeptSend { frame, chat, to, retry, partition, deadline_ns, accepted_ns });
        } else {
            self.forward(index, (frame, owned), (chat, to), (retry, accepted_ns), egress);
        }
    }

    /// A send that will be handled next, where its chat is known without asking.
    pub(crate) fn announce(&mut self, index: u32, frame: FrameRef<'_>, egress: &mut dyn Egress) {
        let Some(send) = frame.root().body_as_send() else { return };
        let last_to = self.conns[index].active.as_ref().and_then(|active| active.last_to);
        let derived = last_to.filter(|(to, _)| to.get() == send.to()).map(|(_, chat)| chat);
        let chat = send.chat_id().map(ChatId::from).or(derived);
        if let (Some(chat), Some(id)) = (chat, send.client_msg_id()) {
            egress.expect(chat, self.user(index).0, id.bytes());
        }
    }

    /// One message of so many is timed: whichever is traced is among them.
    fn timed_every(&self) -> u32 {
        self.config.traces.as_ref().map_or(SAMPLE, |traces| traces.every.min(SAMPLE))
    }

    /// Of a message that is timed; 0 = it is not traced.
    fn trace_id(&mut self) -> u128 {
        let Some(traces) = &self.config.traces else { return 0 };
        let timed_of_traced = (traces.every / self.timed_every()).max(1);
        self.timed = self.timed.wrapping_add(1);
        let is_traced = self.timed.is_multiple_of(timed_of_traced.into());
        let seed = self.config.incarnation ^ u64::from(self.config.shard).rotate_left(48);
        if is_traced { trace_id(seed, self.timed) } else { 0 }
    }

    fn resolve(&mut self, index: u32, target: Target, id: &[u8]) -> (ChatId, Option<UserId>) {
        let (user, _) = self.user(index);
        let to = match target {
            Target::NewGroup => return (ChatId::group(user, id), None),
            Target::Account => return (ChatId::account(user), None),
            Target::To(SendTarget::Chat(chat)) => return (chat, None),
            Target::To(SendTarget::User(to)) => to,
        };
        let active = self.conns[index].active();
        if let Some((last, chat)) = active.last_to
            && last == to
        {
            return (chat, Some(to));
        }
        let chat = ChatId::direct(user, to);
        active.last_to = Some((to, chat));
        (chat, Some(to))
    }

    fn admit(&mut self, now: Now, index: u32, chat: ChatId, id: &[u8]) -> Result<(), (ErrorCode, u32)> {
        let user = self.user(index).0;
        let active = self.conns[index].active();
        if active.blocked.as_ref().is_some_and(|blocked| !blocked.passes(chat, id)) {
            return Err((ErrorCode::AfterRefused, 0));
        }
        if active.in_flight >= self.config.limits.in_flight_per_session {
            return Err((ErrorCode::WindowExceeded, 0));
        }
        if !self.rates.unlimited() {
            let rate = active.rate.get_or_insert_with(|| self.rates.of(user, now.mono_ns));
            self.rates.take(rate, now.mono_ns).map_err(|wait_ms| (ErrorCode::RateLimited, wait_ms))?;
        }
        Ok(())
    }

    /// Refuses a send here. Unless it is behind a refused one already, its chat is blocked by it.
    #[allow(clippy::too_many_arguments)] // one answer's parts
    pub(crate) fn refuse(
        &mut self,
        now: Now,
        index: u32,
        chat: ChatId,
        id: &[u8],
        code: ErrorCode,
        retry_after_ms: u32,
        egress: &mut dyn Egress,
    ) {
        match code {
            ErrorCode::AfterRefused => self.metrics.refused_after_refused.inc(),
            ErrorCode::WindowExceeded => self.metrics.refused_window.inc(),
            ErrorCode::RateLimited => self.metrics.refused_rate.inc(),
            _ => self.metrics.refused_no_credit.inc(),
        };
        if code != ErrorCode::AfterRefused && code.info().retry != Retry::Never {
            let blocked = self.conns[index].active().blocked(self.config.hash_seed);
            blocked.refuse_here(chat, id);
            if blocked.len() > BLOCKED_CHATS {
                return self.close(now, index, ErrorCode::Overloaded, egress);
            }
        }
        self.error(now, index, code, id, retry_after_ms);
    }

    /// Passes an admitted send on. There must be a credit. `owned`: the same frame, where it is owned already.
    fn forward(
        &mut self,
        index: u32,
        (frame, owned): (FrameRef<'_>, Option<&VerifiedFrame>),
        (chat, to): (ChatId, Option<UserId>),
        (retry, accepted_ns): (bool, u64),
        egress: &mut dyn Egress,
    ) {
        let (user, device) = self.user(index);
        let reply = self.address(index);
        let (partition, slot) = (self.partition_of(chat), self.slot_of(chat));
        let active = self.conns[index].active();
        let before = if active.in_flight == 0 { 0 } else { active.sent_to };
        active.sent_to = before | partition_bit(partition);
        active.in_flight += 1;
        if let Some(send) = frame.root().body_as_send() {
            if let Some(blocked) = &mut active.blocked {
                blocked.passed(chat, send.client_msg_id().map_or(&[][..], |id| id.bytes()));
            }
            if send.kind().0 >= EntryKind::setting.0 {
                self.account_change(index, &send);
            }
        }
        let partition = usize::from(partition);
        let credits = &mut self.credits[partition];
        assert!(*credits > 0, "a send is forwarded with a credit");
        *credits -= 1;
        self.metrics.sends.one();
        let stages = Stages { accepted: accepted_ns, ..Stages::default() };
        let trace = (accepted_ns > 0).then(|| Trace { id: self.trace_id(), stages });
        let request_id = send_request(self.generations[partition], partition as u16);
        let trace = trace.as_ref();
        let send = Sending { reply, frame, owned, user, device, chat, slot, to, retry, request_id, trace };
        egress.send(&send, &mut self.arena);
    }

    /// Passes on a send that has waited.
    fn forward_kept(&mut self, index: u32, kept: &KeptSend, egress: &mut dyn Egress) {
        let &KeptSend { ref frame, chat, to, retry, accepted_ns, .. } = kept;
        self.forward(index, (frame.as_ref(), Some(frame)), (chat, to), (retry, accepted_ns), egress);
    }

    fn wait_for_credit(&mut self, index: u32, kept: KeptSend) {
        self.metrics.credit_waits.inc();
        let id = self.conns.id(index);
        self.waiters[usize::from(kept.partition)].push_back((id, kept.deadline_ns));
        self.conns[index].active().kept = Some(Box::new(kept));
        self.pause(index, PAUSE_CREDIT);
    }

    /// The connection's kept send, if `waiter` still means it.
    pub(crate) fn take_kept(&mut self, (id, deadline_ns): (ConnId, u64)) -> Option<(u32, KeptSend)> {
        let index = self.conns.find(id.index, id.generation)?;
        let active = self.conns[index].active.as_mut()?;
        let kept = active.kept.take_if(|kept| kept.deadline_ns == deadline_ns)?;
        Some((index, *kept))
    }

    /// An answer to a send came: its credit is free, whether or not the session is still there.
    pub(crate) fn return_credit(&mut self, now: Now, partition: usize, egress: &mut dyn Egress) {
        let credits = &mut self.credits[partition];
        debug_assert!(*credits < self.config.credits_per_partition, "a credit returns once");
        *credits = (*credits + 1).min(self.config.credits_per_partition);
        self.serve_waiters(now, partition, egress);
    }

    /// Passes on what waits, as far as there are credits.
    pub(crate) fn serve_waiters(&mut self, now: Now, partition: usize, egress: &mut dyn Egress) {
        while self.credits[partition] > 0 && !self.is_holding() {
            let Some(waiter) = self.waiters[partition].pop_front() else { return };
            if let Some((index, kept)) = self.take_kept(waiter) {
                self.forward_kept(index, &kept, egress);
                self.resume_credit(now, index, egress);
            }
        }
    }

    /// Refuses sends that have waited too long for a credit.
    pub(crate) fn expire_waiters(&mut self, now: Now, egress: &mut dyn Egress) {
        if self.is_holding() {
            return;
        }
        for partition in 0..self.waiters.len() {
            while let Some(&waiter) = self.waiters[partition].front()
                && waiter.1.max(self.unowned_until_ns[partition]) <= now.mono_ns
            {
                self.waiters[partition].pop_front();
                let Some((index, kept)) = self.take_kept(waiter) else { continue };
                let send = kept.frame.root().body_as_send();
                let id = send.and_then(|send| send.client_msg_id()).map_or(&[][..], |id| id.bytes());
                self.refuse(now, index, kept.chat, id, ErrorCode::Overloaded, 0, egress);
                self.resume_credit(now, index, egress);
            }
        }
    }

    /// A send is durable.
    pub(crate) fn sent(&mut self, now: Now, index: u32, event: &ServerEvent<'_>, egress: &mut dyn Egress) {
        let &ServerEvent::Sent { client_msg_id: id, chat, seq, .. } = event else { return };
        let (seed, limit) = (self.config.hash_seed, self.config.limits.cursors_per_session as usize);
        if self.conns[index].phase != Phase::Ready {
            return;
        }
        let active = self.conns[index].active();
        debug_assert!(active.in_flight > 0, "an answer to a send of this session");
        active.in_flight = active.in_flight.saturating_sub(1);
        if let Some(blocked) = &mut active.blocked {
            blocked.taken_by_owner(chat);
        }
        let evicted = active.cursors(seed).own(chat, seq, tick_of(now), limit);
        self.metrics.cursors_evicted.add(evicted as u64);
        self.metrics.sent.one();
        self.emit(now, index, event);
        if self.conns[index].active().changes.is_some() {
            self.account_changed(now, index, id, true, egress);
        }
    }

    /// A send is refused by its owner.
    #[allow(clippy::too_many_arguments)] // one answer's parts
    pub(crate) fn send_refused(
        &mut self,
        now: Now,
        index: u32,
        chat: ChatId,
        id: &Bytes,
        code: ErrorCode,
        retry_after_ms: u32,
        egress: &mut dyn Egress,
    ) {
        if self.conns[index].phase != Phase::Ready {
            return;
        }
        self.metrics.refused_by_owner.inc();
        let active = self.conns[index].active();
        debug_assert!(active.in_flight > 0, "an answer to a send of this session");
        active.in_flight = active.in_flight.saturating_sub(1);
        if code != ErrorCode::AfterRefused && code.info().retry != Retry::Never {
            active.blocked(self.config.hash_seed).refused_by_owner(chat, id);
        }
        let changes = active.changes.is_some();
        self.error(now, index, code, id, retry_after_ms);
        if changes {
            self.account_changed(now, index, id, false, egress);
        }
    }
}
