//! A shard with a fake egress, a fake verifier and clients that are byte strings.

use std::sync::Arc;

use bytes::Bytes;
use fabric::core::{Action, ConnId, Protocol};
use fabric::tier::Egress;
use fabric::time::Now;
use gateway::auth::{AuthError, Identity, TokenVerifier};
use gateway::{GatewayMetrics, Limits, Shard, ShardConfig, UserRates};
use schema::encode::{Encoder, EntryFields, SendFields, SendTarget};
use schema::envelope::{Address, Body, Class, Envelope, Target};
use schema::errors::ErrorCode;
use schema::frame::{FrameRef, frame_len};
use schema::ids::{ChatId, DeviceId, MessageId, Slot, UserId};
use schema::wire;

/// Whoever an envelope went to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    Owner,
    Router,
    /// Every router but the user's.
    OtherRouters,
    Other,
}

/// Envelopes, and the client_msg_ids of sends that were announced.
#[derive(Default)]
pub struct Outbox(pub Vec<(To, Envelope)>, pub Vec<Vec<u8>>);

impl Egress for Outbox {
    fn to_owner(&mut self, slot: Slot, envelope: Envelope) {
        assert_eq!(envelope.header.slot, slot);
        self.0.push((To::Owner, envelope));
    }
    fn expect(&mut self, _chat: ChatId, _user: UserId, client_msg_id: &[u8]) {
        self.1.push(client_msg_id.to_vec());
    }
    fn to_partition(&mut self, _partition: u16, envelope: Envelope) {
        self.0.push((To::Other, envelope));
    }
    fn to_router(&mut self, _user: UserId, envelope: Envelope) {
        self.0.push((To::Router, envelope));
    }
    fn to_other_routers(&mut self, _user: UserId, envelope: Envelope) {
        self.0.push((To::OtherRouters, envelope));
    }
    fn to_gateway(&mut self, _address: Address, envelope: Envelope) {
        self.0.push((To::Other, envelope));
    }
    fn to_all_gateways(&mut self, envelope: Envelope) {
        self.0.push((To::Other, envelope));
    }
}

/// Tokens are `user:device`, or `user:device:end` with the second at which they end; `@` and the second of their issue may
/// follow.
struct Verifier;

impl TokenVerifier for Verifier {
    fn verify(&self, token: &[u8], _now_ms: u64) -> Result<Identity, AuthError> {
        if token == b"expired" {
            return Err(AuthError::Expired);
        }
        let text = std::str::from_utf8(token).map_err(|_| AuthError::Malformed)?;
        let (text, issued) = text.split_once('@').unwrap_or((text, ""));
        let (user, device) = text.split_once(':').ok_or(AuthError::Malformed)?;
        let (device, end) = device.split_once(':').unwrap_or((device, ""));
        let user = user.parse().map_err(|_| AuthError::InvalidUser)?;
        let identity = Identity::of(user, device.parse().map_err(|_| AuthError::Malformed)?);
        let identity = Identity { issued_s: issued.parse().ok(), ..identity };
        Ok(Identity { expires_ms: end.parse::<u64>().ok().map(|end_s| end_s * 1_000), ..identity })
    }
}

/// What a client got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Got {
    Welcome,
    Sent { id: Vec<u8>, chat: ChatId, seq: u64 },
    Entry { chat: ChatId, seq: u64 },
    Receipt,
    Ticks,
    Synced,
    Covered { chat: ChatId, first: u64, last: u64 },
    Pong(u64),
    Error { code: ErrorCode, id: Vec<u8> },
    Goodbye(ErrorCode),
    History { request: u64, covers: (u64, u64), seqs: Vec<u64> },
}

pub struct Rig {
    pub shard: Shard,
    partitions: u16,
    pub metrics: GatewayMetrics,
    pub now: Now,
    pub out: Outbox,
    pub encoder: Encoder,
    pub actions: Vec<Action>,
}

pub fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

pub fn address(conn: ConnId) -> Address {
    Address { incarnation: 77, shard: 3, connection: conn.index, generation: conn.generation }
}

pub fn target(conn: ConnId, acked_seq: u64) -> Target {
    Target { connection: conn.index, generation: conn.generation, acked_seq }
}

pub fn message_id(chat: ChatId, seq: u64) -> MessageId {
    let mut id = chat.0;
    id[8..].copy_from_slice(&seq.to_be_bytes());
    MessageId(id)
}

/// How many the rig has.
pub const PARTITIONS: u16 = 2;

/// The request id of a send to a partition whose way was lost so often.
pub const fn request(lost: u64, partition: u16) -> u64 {
    (lost << 16) | partition as u64
}

pub fn config(limits: Limits) -> ShardConfig {
    ShardConfig { shard: 3, incarnation: 77, hash_seed: 5, partitions: PARTITIONS, limits, ..ShardConfig::default() }
}

impl Rig {
    pub fn new() -> Self {
        Self::with(config(Limits::default()))
    }

    pub fn with(config: ShardConfig) -> Self {
        let metrics = GatewayMetrics::new();
        let (limits, partitions) = (&config.limits, config.partitions);
        let rates = UserRates::new(limits.sends_per_second_per_user, limits.burst_per_user, 1);
        let shard = Shard::new(config, Arc::new(Verifier), Arc::new(rates), metrics.clone());
        let now = Now { mono_ns: 1_000_000_000, wall_ticks: 17_000_000_000_000_000 };
        Self { shard, partitions, metrics, now, out: Outbox::default(), encoder: Encoder::new(), actions: Vec::new() }
    }

    /// Time passes; timers fire.
    pub fn wait_ms(&mut self, ms: u64) {
        self.now.mono_ns += ms * 1_000_000;
        self.now.wall_ticks += ms * 10_000;
        self.shard.tick(self.now, &mut self.out);
    }

    pub fn accept(&mut self, protocol: Protocol) -> ConnId {
        self.shard.accepted(self.now, protocol, "127.0.0.1:5".parse().unwrap()).unwrap()
    }

    pub fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        self.shard.received(self.now, conn, bytes, &mut self.out);
    }

    pub fn handle(&mut self, envelope: Envelope) {
        self.shard.handle(self.now, envelope, &mut self.out);
    }

    /// An answer for a session.
    pub fn answer(&mut self, conn: ConnId, request_id: u64, body: Body) {
        let mut envelope = Envelope::new(Class::Ack, body).reply_to(address(conn));
        envelope.header.request_id = request_id;
        self.handle(envelope);
    }

    /// The envelopes since the last call.
    pub fn envelopes(&mut self) -> Vec<Envelope> {
        self.out.0.drain(..).map(|(_, envelope)| envelope).collect()
    }

    /// A native session, registered but not synced; its first `SyncRequest` has this request id.
    pub fn session(&mut self, user: u64, device: u32) -> (ConnId, u64) {
        self.session_with(&format!("{user}:{device}"))
    }

    /// As [`Self::session`], with this token.
    pub fn session_with(&mut self, token: &str) -> (ConnId, u64) {
        self.shard.tick(self.now, &mut self.out); // a turn of its own
        let conn = self.accept(Protocol::Native);
        let hello = self.encoder.hello(token.as_bytes(), b"test", 0);
        self.receive(conn, &hello);
        let request = self.register(conn);
        assert_eq!(self.read(conn), [], "it is welcomed when its user's account is known");
        (conn, request)
    }

    /// The router's answer; returns the `SyncRequest`'s id.
    pub fn register(&mut self, conn: ConnId) -> u64 {
        let envelopes = self.envelopes();
        // One that waits for its answer says it again every second.
        let register = |envelope: &Envelope| match envelope.body {
            Body::Register { epoch, .. } if envelope.header.reply == address(conn) => epoch,
            _ => panic!("Registers and nothing else: {envelopes:?}"),
        };
        let epochs: Vec<u64> = envelopes.iter().map(register).collect();
        assert!(!epochs.is_empty() && epochs.iter().all(|&epoch| epoch == epochs[0]), "{epochs:?}");
        self.answer(conn, 0, Body::Registered { epoch: epochs[0] });
        let envelopes = self.envelopes();
        let [Envelope { header, body: Body::SyncRequest { before: None, .. } }] = &envelopes[..] else {
            panic!("a SyncRequest and nothing else: {envelopes:?}")
        };
        header.request_id
    }

    /// A native session with nothing to sync.
    pub fn synced(&mut self, user: u64, device: u32) -> ConnId {
        self.synced_with(&format!("{user}:{device}"))
    }

    /// As [`Self::synced`], with this token.
    pub fn synced_with(&mut self, token: &str) -> ConnId {
        let (conn, request) = self.session_with(token);
        self.answer(conn, request, Body::SyncPage { account: Default::default(), chats: Vec::new(), next: None });
        assert_eq!(self.read(conn), [Got::Welcome, Got::Synced]);
        conn
    }

    pub fn entry(&mut self, chat: ChatId, seq: u64, body: &[u8]) -> Bytes {
        self.encoder.entry(&EntryFields {
            chat,
            message: message_id(chat, seq),
            seq,
            sender: user(900),
            device: DeviceId(1),
            kind: wire::EntryKind::message,
            content_type: 0,
            body,
            client_msg_id: b"x",
            refers_to: None,
            after_seq: 0,
            timestamp_ms: 1,
        })
    }

    pub fn deliver(&mut self, chat: ChatId, seq: u64, targets: &[Target]) {
        let frame = self.entry(chat, seq, b"hello");
        let body = Body::Deliver { chat, seq, frame, targets: targets.into() };
        self.handle(Envelope::new(Class::Live, body));
    }

    pub fn send_frame(&mut self, id: &[u8], target: SendTarget, retry: bool) -> Bytes {
        self.encoder.send(&SendFields {
            client_msg_id: id,
            target,
            kind: wire::EntryKind::message,
            content_type: 0,
            body: b"hello",
            refers_to: None,
            after_seq: 0,
            retry,
        })
    }

    /// A client sends `id` to `chat`.
    pub fn send(&mut self, conn: ConnId, id: &[u8], chat: ChatId) {
        let frame = self.send_frame(id, SendTarget::Chat(chat), false);
        self.receive(conn, &frame);
    }

    /// The owner stores a send of `conn`.
    pub fn sent(&mut self, conn: ConnId, id: &[u8], chat: ChatId, seq: u64) {
        let message = message_id(chat, seq);
        let client_msg_id = Bytes::copy_from_slice(id);
        let request = request(0, chat.slot().partition(self.partitions));
        self.answer(conn, request, Body::Sent { client_msg_id, chat, message, seq, timestamp_ms: 1 });
    }

    pub fn refused(&mut self, conn: ConnId, id: &[u8], chat: ChatId, code: ErrorCode) {
        let client_msg_id = Bytes::copy_from_slice(id);
        let request = request(0, chat.slot().partition(self.partitions));
        self.answer(conn, request, Body::Refused { client_msg_id, chat, code, retry_after_ms: 0 });
    }

    pub fn page(&mut self, conn: ConnId, request: u64, chat: ChatId, covers: (u64, u64), head_seq: u64, seqs: &[u64]) {
        let entries = seqs.iter().map(|&seq| (seq, self.entry(chat, seq, b"paged"))).collect();
        self.answer(
            conn,
            request,
            Body::Page { ticks: None, chat, covers_first: covers.0, covers_last: covers.1, head_seq, entries },
        );
    }

    pub fn drain_actions(&mut self) {
        while let Some(action) = self.shard.next_action() {
            self.actions.push(action);
        }
    }

    /// Takes up to `max_bytes` of output and writes it.
    pub fn read_bytes(&mut self, conn: ConnId, max_bytes: usize) -> Vec<u8> {
        self.drain_actions();
        let mut bytes = Vec::new();
        self.shard.take_output(conn, max_bytes, &mut bytes);
        if !bytes.is_empty() {
            self.shard.written(self.now, conn, bytes.len(), &mut self.out);
        }
        bytes
    }

    /// Everything there is for a native client.
    pub fn read(&mut self, conn: ConnId) -> Vec<Got> {
        let mut got = Vec::new();
        loop {
            let bytes = self.read_bytes(conn, usize::MAX);
            if bytes.is_empty() {
                return got;
            }
            got.extend(parse(&bytes));
        }
    }

    pub fn count(&self, name: &str) -> u64 {
        self.metrics.counts().iter().find(|(other, _)| *other == name).expect("a counter of that name").1
    }
}

/// Frames of a native server.
pub fn parse(mut bytes: &[u8]) -> Vec<Got> {
    let mut got = Vec::new();
    while !bytes.is_empty() {
        let len = frame_len(bytes, 1 << 20).unwrap().unwrap();
        let (frame, rest) = bytes.split_at(len);
        bytes = rest;
        got.push(parse_one(FrameRef::verify_from_server(frame).unwrap()));
    }
    got
}

fn parse_one(frame: FrameRef<'_>) -> Got {
    let root = frame.root();
    let id = |id: Option<flatbuffers::Vector<'_, u8>>| id.map_or(Vec::new(), |id| id.bytes().to_vec());
    let code = |code| ErrorCode::from_code(code).unwrap();
    match root.body_type() {
        wire::Body::Welcome => Got::Welcome,
        wire::Body::SendAck => {
            let ack = root.body_as_send_ack().unwrap();
            Got::Sent { id: id(ack.client_msg_id()), chat: ack.chat_id().unwrap().into(), seq: ack.seq() }
        }
        wire::Body::Entry => {
            let entry = root.body_as_entry().unwrap();
            Got::Entry { chat: entry.chat_id().unwrap().into(), seq: entry.seq() }
        }
        wire::Body::Receipt => Got::Receipt,
        wire::Body::Ticks => Got::Ticks,
        wire::Body::Synced => Got::Synced,
        wire::Body::Covered => {
            let covered = root.body_as_covered().unwrap();
            let (first, last) = (covered.first_seq(), covered.last_seq());
            Got::Covered { chat: covered.chat_id().unwrap().into(), first, last }
        }
        wire::Body::Pong => Got::Pong(root.body_as_pong().unwrap().nonce()),
        wire::Body::Error => {
            let error = root.body_as_error().unwrap();
            Got::Error { code: code(error.code()), id: id(error.client_msg_id()) }
        }
        wire::Body::Goodbye => Got::Goodbye(code(root.body_as_goodbye().unwrap().code())),
        wire::Body::HistoryPage => {
            let page = root.body_as_history_page().unwrap();
            let seqs = page.entries().unwrap().iter().map(|entry| {
                let frame = entry.frame().unwrap();
                let frame = FrameRef::verify(frame.bytes()).unwrap();
                frame.root().body_as_entry().unwrap().seq()
            });
            let covers = (page.covers_first_seq(), page.covers_last_seq());
            Got::History { request: page.request_id(), covers, seqs: seqs.collect() }
        }
        other => panic!("a client gets no {other:?}"),
    }
}
