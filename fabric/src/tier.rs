//! How a tier part speaks to the others: it hands an envelope to an [`Egress`] and never waits.
//!
//! The code above an egress cannot know whether the other side is a call on the same core, a lane to another core or a
//! link to another process.

use bytes::Bytes;
use schema::arena::Arena;
use schema::envelope::{Address, Body, Class, Envelope, Recipients, Trace};
use schema::frame::{FrameRef, VerifiedFrame};
use schema::ids::{ChatId, DeviceId, MessageId, Slot, UserId};

/// A client's send on its way to its chat's owner.
#[derive(Clone, Copy, Debug)]
pub struct Send<'a> {
    /// The session that sent it.
    pub reply: Address,
    /// A frame whose body is a `Send`, with a valid client_msg_id and exactly one of chat_id and to.
    pub frame: FrameRef<'a>,
    /// The same frame, where somebody owns it.
    pub owned: Option<&'a VerifiedFrame>,
    /// The authenticated sender.
    pub user: UserId,
    /// The authenticated device.
    pub device: DeviceId,
    /// The chat: given, or derived from `to`.
    pub chat: ChatId,
    /// A slot of the partition that has it.
    pub slot: Slot,
    /// Set when the send named a user.
    pub to: Option<UserId>,
    /// The client said so, or the session is young.
    pub retry: bool,
    /// Comes back with the answer.
    pub request_id: u64,
    /// Only of a sampled one.
    pub trace: Option<&'a Trace>,
}

impl<'a> Send<'a> {
    /// What an envelope with [`Body::Send`] says; `None` for another.
    pub fn of(envelope: &'a Envelope) -> Option<Self> {
        let Body::Send { frame, user, device, chat, to, retry } = &envelope.body else { return None };
        let header = &envelope.header;
        Some(Self {
            reply: header.reply,
            frame: frame.as_ref(),
            owned: Some(frame),
            user: *user,
            device: *device,
            chat: *chat,
            slot: header.slot,
            to: *to,
            retry: *retry,
            request_id: header.request_id,
            trace: header.trace.as_deref(),
        })
    }

    /// As an envelope, which owns its frame: a share of one that is owned already, or what `own` makes.
    pub fn to_envelope(&self, own: impl FnOnce(FrameRef<'_>) -> VerifiedFrame) -> Envelope {
        let &Self { user, device, chat, to, retry, .. } = self;
        let frame = self.owned.cloned().unwrap_or_else(|| own(self.frame));
        let body = Body::Send { frame, user, device, chat, to, retry };
        let mut envelope = Envelope::new(Class::Send, body).reply_to(self.reply);
        envelope.header.slot = self.slot;
        envelope.header.request_id = self.request_id;
        envelope.header.trace = self.trace.copied().map(Box::new);
        envelope
    }
}

/// A send that is durable, as its sender is told.
#[derive(Debug)]
pub struct Sent<'a> {
    /// The session that sent it.
    pub reply: Address,
    /// As asked with.
    pub request_id: u64,
    /// As sent.
    pub client_msg_id: &'a [u8],
    /// What `client_msg_id` is a part of.
    pub part_of: &'a Bytes,
    /// Its chat.
    pub chat: ChatId,
    /// Its id.
    pub message: MessageId,
    /// Its place.
    pub seq: u64,
    /// Wall time of the message, ms since 1970.
    pub timestamp_ms: u64,
    /// Only of a sampled one.
    pub trace: Option<&'a Trace>,
}

/// A committed entry, as it is pushed.
#[derive(Debug)]
pub struct Push<'a> {
    /// The session that sent it: it has its ack instead.
    pub sender: Address,
    /// Which chat.
    pub chat: ChatId,
    /// The entry's place.
    pub seq: u64,
    /// The chat is a user's account log.
    pub account: bool,
    /// The Entry frame.
    pub frame: &'a Bytes,
    /// Only of a sampled one.
    pub trace: Option<&'a Trace>,
}

/// What a tier part sends with. Never blocks; the envelope's class says what happens when there is no room.
pub trait Egress {
    /// To the owner partition that holds `slot`.
    fn to_owner(&mut self, slot: Slot, envelope: Envelope);

    /// A send with this client_msg_id comes next: an owner at hand may fetch what it will look at. Means nothing else.
    fn expect(&mut self, _chat: ChatId, _user: UserId, _client_msg_id: &[u8]) {}

    /// To an owner partition by its number (owners among themselves, in one process).
    fn to_partition(&mut self, partition: u16, envelope: Envelope);

    /// To the router partition that holds `user`.
    fn to_router(&mut self, user: UserId, envelope: Envelope);

    /// To the router partition at `place` of the list that all routers share: what one passes on to another. Without a way
    /// there it is lost, and counted by whoever has the ways. In one process no router passes anything on.
    fn to_router_at(&mut self, place: u16, _: Envelope) {
        debug_assert!(false, "there is no router at place {place}: this is the only one");
    }

    /// To every router, that of `user` among them: for what must arrive wherever the sessions are registered.
    fn to_all_routers(&mut self, user: UserId, envelope: Envelope) {
        self.to_router(user, envelope);
    }

    /// To every router but that of `user`: for what only concerns a router that was theirs before. In one process there is
    /// none.
    fn to_other_routers(&mut self, _user: UserId, _envelope: Envelope) {}

    /// Whether one envelope can reach both users' router, so that a push for both is sent once.
    fn same_router(&self, one: UserId, other: UserId) -> bool {
        one == other
    }

    /// To a gateway shard: the one of `address` (its connection is in the envelope).
    fn to_gateway(&mut self, address: Address, envelope: Envelope);

    /// A client's send. As good as an envelope with [`Body::Send`], whose frame is then copied to `arena`; whoever can does it
    /// without one.
    fn send(&mut self, send: &Send<'_>, arena: &mut Arena) {
        self.to_owner(send.slot, send.to_envelope(|frame| frame.to_frame_in(arena)));
    }

    /// The answer to a send. As good as an envelope with [`Body::Sent`]; whoever can does it without one.
    fn sent(&mut self, sent: &Sent<'_>) {
        let &Sent { chat, message, seq, timestamp_ms, .. } = sent;
        let client_msg_id = sent.part_of.slice_ref(sent.client_msg_id);
        let body = Body::Sent { client_msg_id, chat, message, seq, timestamp_ms };
        let mut envelope = Envelope::new(Class::Ack, body).reply_to(sent.reply);
        envelope.header.request_id = sent.request_id;
        envelope.header.trace = sent.trace.copied().map(Box::new);
        self.to_gateway(sent.reply, envelope);
    }

    /// A committed entry to users of one router. As good as an envelope with [`Body::Push`]; whoever can does it without one.
    fn push(&mut self, push: &Push<'_>, recipients: Recipients) {
        let Some(user) = recipients.first().map(|recipient| recipient.user) else { return };
        let body = Body::Push { chat: push.chat, seq: push.seq, frame: push.frame.clone(), recipients };
        let mut envelope = Envelope::new(Class::Live, body).reply_to(push.sender);
        envelope.header.trace = push.trace.copied().map(Box::new);
        self.to_router(user, envelope);
    }

    /// To every gateway shard of the process (gaps without a narrower scope).
    fn to_all_gateways(&mut self, envelope: Envelope);
}
