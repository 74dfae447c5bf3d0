//! Sends: taken, written in order per chat within what the server grants, answered, written again.

use bytes::Bytes;
use schema::encode::SendTarget;
use schema::errors::{ErrorCode, Retry};
use schema::ids::{ChatId, MessageId, UserId};
use schema::limits::{CLIENT_MSG_ID_BYTES, FRAME_LIMIT_BYTES};
use schema::wire::{self, SendStatus};

use super::groups::Parts;
use super::lane::{self, Lane, Outbox, Pending, SEND_OVERHEAD_BYTES, State};
use super::session::backoff_ms;
use super::{Cause, Core, Cx, Event, Failure, GroupChange, NS_PER_MS, NewSend, Output, Phase, Refusal, SendError};
use crate::store::{Change, StoredExtras, StoredSend};

impl Core {
    /// Takes a send: it gets exactly one outcome in this run, [`Event::Sent`] or [`Event::Failed`]. Returns its chat.
    ///
    /// # Errors
    /// Nothing was taken: see [`SendError`].
    pub fn send(&mut self, cx: &mut Cx<'_>, send: NewSend) -> Result<ChatId, SendError> {
        if super::is_group_change(send.kind) || super::is_amendment(send.kind) || super::is_of_account(send.kind) {
            return Err(SendError::NotPlain(send.kind.0));
        }
        let chat = match send.target {
            SendTarget::Chat(chat) => chat,
            SendTarget::User(user) => self.direct_chat(user).ok_or(SendError::NoIdentity)?,
        };
        let stored = StoredSend {
            client_msg_id: send.client_msg_id,
            chat,
            target: send.target,
            kind: send.kind.0,
            content_type: send.content_type,
            body: send.body,
            refers_to: send.refers_to,
            after_seq: 0,
            created_ms: 0,
            users: send.mentions.into(),
            role: 0,
            extras: None,
        };
        self.take_up(cx, stored.with(StoredExtras { forwarded: send.forwarded, ..StoredExtras::default() }))
    }

    /// Takes a change of a group, which goes the way of a send: in order with the sends to the group, one outcome,
    /// [`Event::Sent`] or [`Event::Failed`]. Returns the group.
    ///
    /// # Errors
    /// Nothing was taken: see [`SendError`].
    pub fn change(&mut self, cx: &mut Cx<'_>, client_msg_id: Bytes, change: GroupChange) -> Result<ChatId, SendError> {
        let Parts { group, kind, name, users, role } = change.into_parts();
        let chat = match group {
            Some(group) => group,
            None => ChatId::group(self.me.ok_or(SendError::NoIdentity)?.0, &client_msg_id),
        };
        let stored = StoredSend {
            client_msg_id,
            chat,
            target: SendTarget::Chat(chat),
            kind: kind.0,
            content_type: 0,
            body: name,
            refers_to: None,
            after_seq: 0,
            created_ms: 0,
            users: users.into(),
            role: role.0,
            extras: None,
        };
        self.take_up(cx, stored)
    }

    /// Notes what the sender had seen, stores a send, puts it into its lane and writes what may be written. Returns its chat.
    pub(super) fn take_up(&mut self, cx: &mut Cx<'_>, send: StoredSend) -> Result<ChatId, SendError> {
        let chat = send.chat;
        self.check(&send.client_msg_id, send.bytes())?;
        let at = self.find_or_add(chat);
        let stored = StoredSend { after_seq: self.chats[at].cursor, created_ms: cx.now.wall_ms(), ..send };
        if self.config.durable {
            cx.out.push(Output::Persist(Change::Queued(stored.clone())));
        }
        self.enqueue(at, stored, false);
        self.settle(cx);
        Ok(chat)
    }

    fn check(&self, client_msg_id: &[u8], body_bytes: usize) -> Result<(), SendError> {
        if self.phase == Phase::Ended {
            return Err(SendError::Ended);
        }
        let id_bytes = client_msg_id.len();
        if !CLIENT_MSG_ID_BYTES.contains(&id_bytes) {
            return Err(SendError::InvalidId(id_bytes));
        }
        let limit_bytes = self.frame_limit_bytes as usize;
        if body_bytes + id_bytes + SEND_OVERHEAD_BYTES > limit_bytes {
            return Err(SendError::TooLarge { body_bytes, limit_bytes });
        }
        if let Some(outbox) = &self.outbox {
            if outbox.contains(client_msg_id) {
                return Err(SendError::DuplicateId);
            }
            if outbox.len() >= self.config.outbox_sends || outbox.bytes + body_bytes > self.config.outbox_bytes {
                return Err(SendError::OutboxFull { sends: outbox.len(), bytes: outbox.bytes });
            }
        }
        Ok(())
    }

    /// The direct chat with `user`; its id costs a SHA-256, so it is remembered.
    fn direct_chat(&mut self, user: UserId) -> Option<ChatId> {
        let (me, _) = self.me?;
        if self.chats.len() <= 16
            && let Some(known) = self.chats.iter().find(|chat| chat.peer == Some(user))
        {
            return Some(known.id);
        }
        let chat = ChatId::direct(me, user);
        let at = self.find_or_add(chat);
        self.chats[at].peer = Some(user);
        Some(chat)
    }

    /// Takes back a send of an earlier run.
    pub(super) fn restore(&mut self, send: StoredSend) {
        let at = self.find_or_add(send.chat);
        self.enqueue(at, send, true);
    }

    fn enqueue(&mut self, at: usize, send: StoredSend, retry: bool) {
        let seed = self.config.hash_seed;
        let chat = &mut self.chats[at];
        let outbox = self.outbox.get_or_insert_with(|| Box::new(Outbox::new(seed)));
        let lane = chat.lane.get_or_insert_default();
        let place = outbox.insert(Pending { send, state: State::Waiting, retry });
        lane.queue.push_back(place);
        outbox.list(chat.id, lane);
    }

    /// Writes sends while the window, the rate and the chats' turns allow.
    pub(super) fn pump(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Ready {
            return;
        }
        while let Some(outbox) = self.outbox.as_deref_mut() {
            let now_ns = cx.now.mono_ns;
            if outbox.in_flight >= self.window || now_ns < outbox.pause_until_ns.max(self.pace.ready_at_ns()) {
                return;
            }
            let Some(id) = outbox.ready.pop_front() else { return };
            let at = self.chats.binary_search_by(|chat| chat.id.cmp(&id)).expect("chats with sends are known");
            let lane = self.chats[at].lane.as_deref_mut().expect("a listed chat has a lane");
            lane.listed = false;
            if !lane.is_ready() {
                continue;
            }
            let place = lane.queue[lane.sent];
            let pending = outbox.get(place);
            let frame = lane::frame(cx.encoder, &pending.send, pending.retry);
            if frame.len() > self.frame_limit_bytes as usize {
                // Writing it would end the session for good.
                let limit = self.frame_limit_bytes;
                self.fail(cx, place, Failure::TooLarge(limit));
                continue;
            }
            cx.counters.resends_written += u64::from(pending.retry);
            cx.counters.sends_written += 1;
            pending.state = State::InFlight;
            pending.retry = true;
            lane.sent += 1;
            lane.outstanding += 1;
            if outbox.in_flight == 0 {
                outbox.last_answer_ns = now_ns;
            }
            outbox.in_flight += 1;
            outbox.list(id, lane);
            self.pace.spend(now_ns);
            cx.out.push(Output::Write(frame));
        }
    }

    pub(super) fn send_ack(&mut self, cx: &mut Cx<'_>, ack: wire::SendAck<'_>) {
        let id = ack.client_msg_id().map_or(&[][..], |id| id.bytes());
        let Some(place) = self.answer(cx, id) else { return };
        if ack.status() == SendStatus::queued {
            let outbox = self.outbox.as_deref_mut().expect("it was found there");
            let pending = outbox.get(place);
            let (chat, client_msg_id) = (pending.send.chat, pending.send.client_msg_id.clone());
            self.with_lane(chat, |outbox, lane| outbox.answered(lane, place, State::Spooled));
            cx.out.push(Output::Event(Event::Spooled { client_msg_id }));
            return self.plan(cx, chat);
        }
        let (Some(chat), Some(message)) = (ack.chat_id(), ack.message_id()) else { return self.bad_frame(cx) };
        if ack.seq() == 0 {
            return self.bad_frame(cx);
        }
        self.sent(cx, place, chat.into(), message.into(), ack.seq(), ack.timestamp_ms());
    }

    /// Finds the send an answer is for.
    fn answer(&mut self, cx: &Cx<'_>, id: &[u8]) -> Option<u32> {
        let outbox = self.outbox.as_deref_mut()?;
        outbox.last_answer_ns = cx.now.mono_ns;
        outbox.find(id)
    }

    /// Whether this is an own send whose outcome is still to come: it needs no handing over. The outcome waits for the ack
    /// all the same, for a refused send must come again or its chat stays blocked.
    pub(super) fn is_own_pending(&mut self, entry: &super::Entry) -> bool {
        if self.me != Some((entry.sender(), entry.device())) {
            return false;
        }
        let Some(outbox) = self.outbox.as_deref_mut() else { return false };
        outbox.find(entry.client_msg_id()).is_some_and(|place| outbox.get(place).send.chat == entry.chat())
    }

    fn sent(&mut self, cx: &mut Cx<'_>, place: u32, chat: ChatId, message: MessageId, seq: u64, timestamp_ms: u64) {
        let own_chat = self.outbox.as_deref_mut().map(|outbox| outbox.get(place).send.chat);
        if own_chat != Some(chat) {
            // Both sides derive the same chat: this is no answer to what was sent.
            return self.bad_frame(cx);
        }
        let StoredSend { client_msg_id, .. } = self.take(place).send;
        cx.counters.acks += 1;
        // The event first: a crash between the two tells the outcome again rather than never.
        let told = client_msg_id.clone();
        cx.out.push(Output::Event(Event::Sent { client_msg_id: told, chat, message, seq, timestamp_ms }));
        if self.config.durable {
            cx.out.push(Output::Persist(Change::Sent { client_msg_id, chat, seq }));
        }
        let at = self.find_or_add(chat);
        // The server counts an own send as had, as this does: no mark is needed for it.
        self.chats[at].skip(seq, seq);
        if let Some(lane) = self.chats[at].lane.as_deref_mut() {
            lane.attempt = 0;
        }
        self.release_held(cx, chat);
        self.plan(cx, chat);
    }

    /// A send was refused.
    pub(super) fn refused(&mut self, cx: &mut Cx<'_>, id: &[u8], why: Refusal) {
        let Some(place) = self.answer(cx, id) else { return };
        if why.retry == Retry::Never {
            return self.fail(cx, place, Failure::Refused(why));
        }
        cx.counters.postponed += 1;
        let longest = self.config.backoff_ms.1;
        let outbox = self.outbox.as_deref_mut().expect("it was found there");
        let pending = outbox.get(place);
        let (chat, client_msg_id) = (pending.send.chat, pending.send.client_msg_id.clone());
        if matches!(why.known(), Some(ErrorCode::RateLimited | ErrorCode::WindowExceeded)) {
            // These concern every chat of the session.
            let until_ns = cx.now.mono_ns + u64::from(why.retry_after_ms.min(longest)) * NS_PER_MS;
            outbox.pause_until_ns = outbox.pause_until_ns.max(until_ns);
        }
        self.with_lane(chat, |outbox, lane| {
            outbox.answered(lane, place, State::Refused);
            lane.refused = true;
            let at_once = why.retry == Retry::Same && lane.attempt == 0;
            lane.wait_ms = lane.wait_ms.max(if at_once { 0 } else { why.retry_after_ms.max(1) });
        });
        cx.out.push(Output::Event(Event::Postponed { client_msg_id, refusal: why }));
        if why.retry == Retry::AfterReconnect {
            return self.abandon(cx, Cause::Server(why), why.retry_after_ms);
        }
        self.plan(cx, chat);
    }

    fn fail(&mut self, cx: &mut Cx<'_>, place: u32, failure: Failure) {
        let StoredSend { chat, client_msg_id, .. } = self.take(place).send;
        cx.counters.failed += 1;
        cx.out.push(Output::Event(Event::Failed { client_msg_id: client_msg_id.clone(), failure }));
        if self.config.durable {
            cx.out.push(Output::Persist(Change::Dropped { client_msg_id }));
        }
        self.plan(cx, chat);
    }

    fn take(&mut self, place: u32) -> Pending {
        let outbox = self.outbox.as_deref_mut().expect("it was found there");
        let chat = outbox.get(place).send.chat;
        self.with_lane(chat, |outbox, lane| outbox.remove(lane, place))
    }

    fn with_lane<T>(&mut self, chat: ChatId, then: impl FnOnce(&mut Outbox, &mut Lane) -> T) -> T {
        let at = self.find(chat).expect("chats with sends are known");
        let lane = self.chats[at].lane.as_deref_mut().expect("chats with sends have a lane");
        then(self.outbox.as_deref_mut().expect("sends are in an outbox"), lane)
    }

    /// After an answer: a refused lane whose sends are all answered starts its wait; another may have its turn.
    fn plan(&mut self, cx: &mut Cx<'_>, chat: ChatId) {
        let backoff = self.config.backoff_ms;
        let entropy = &mut *cx.entropy;
        let now_ns = cx.now.mono_ns;
        if self.outbox.is_none() || self.phase != Phase::Ready {
            return;
        }
        self.with_lane(chat, |outbox, lane| {
            if !lane.refused {
                outbox.list(chat, lane);
            } else if lane.outstanding == 0 && !outbox.waiting.iter().any(|&(_, id)| id == chat) {
                let wait_ms = match lane.wait_ms {
                    0 => 0,
                    asked_ms => backoff_ms(entropy, backoff, lane.attempt, asked_ms.min(backoff.1)),
                };
                lane.attempt = lane.attempt.saturating_add(1);
                outbox.waiting.push((now_ns + u64::from(wait_ms) * NS_PER_MS, chat));
            }
        });
    }

    /// Ends the waits that are over.
    pub(super) fn release(&mut self, cx: &mut Cx<'_>) {
        let now_ns = cx.now.mono_ns;
        while let Some(outbox) = self.outbox.as_deref_mut()
            && let Some(n) = outbox.waiting.iter().position(|&(until_ns, _)| until_ns <= now_ns)
        {
            let (_, chat) = outbox.waiting.swap_remove(n);
            self.with_lane(chat, |outbox, lane| {
                outbox.rewind(lane);
                outbox.list(chat, lane);
            });
        }
    }

    /// The connection is gone: nothing is in flight, nothing is blocked.
    pub(super) fn rewind_sends(&mut self) {
        let Some(outbox) = self.outbox.as_deref_mut() else { return };
        outbox.waiting.clear();
        outbox.ready.clear();
        for lane in self.chats.iter_mut().filter_map(|chat| chat.lane.as_deref_mut()) {
            outbox.rewind(lane);
            lane.listed = false;
        }
        debug_assert_eq!(outbox.in_flight, 0);
    }

    /// A session stands: too old sends fail, the others get their turn.
    pub(super) fn resume_sends(&mut self, cx: &mut Cx<'_>) {
        let expiry_ms = self.config.send_expiry_ms;
        let Some(outbox) = self.outbox.as_deref_mut() else { return };
        let oldest_ms = cx.now.wall_ms().saturating_sub(expiry_ms);
        let old: Vec<Bytes> = outbox
            .iter()
            .filter(|pending| expiry_ms > 0 && pending.retry && pending.send.created_ms < oldest_ms)
            .map(|pending| pending.send.client_msg_id.clone())
            .collect();
        for id in old {
            if let Some(place) = self.outbox.as_deref().and_then(|outbox| outbox.find(&id)) {
                self.fail(cx, place, Failure::Expired);
            }
        }
        let Some(outbox) = self.outbox.as_deref_mut() else { return };
        for chat in &mut self.chats {
            if let Some(lane) = chat.lane.as_deref_mut() {
                outbox.list(chat.id, lane);
            }
        }
    }
}

/// Bodies that always fit a default server's frames, bytes.
pub const BODY_BYTES: usize = FRAME_LIMIT_BYTES - SEND_OVERHEAD_BYTES - *CLIENT_MSG_ID_BYTES.end();
