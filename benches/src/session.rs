//! A gateway shard with sessions, and one message's way through it, without owner, router and sockets.

use std::sync::Arc;

use bytes::Bytes;
use fabric::core::{ConnId, Protocol};
use fabric::time::Now;
use gateway::auth::{AuthError, Identity, TokenVerifier};
use gateway::{GatewayMetrics, Limits, Shard, ShardConfig, UserRates};
use schema::encode::Encoder;
use schema::envelope::{Address, Body, Class, Envelope, Target};
use schema::ids::{ChatId, DeviceId};
use schema::wire::MarkStatus;

use crate::fake::{self, Counted};

/// Pairs of users, each with a direct chat.
pub const PAIRS: usize = 100;
/// What every message says.
pub const BODY: [u8; 128] = [b'x'; 128];

/// A token is the user's id in decimal.
struct Believes;

impl TokenVerifier for Believes {
    fn verify(&self, token: &[u8], _: u64) -> Result<Identity, AuthError> {
        let user = std::str::from_utf8(token).ok().and_then(|text| text.parse().ok()).ok_or(AuthError::InvalidUser)?;
        Ok(Identity::of(user, DeviceId(1)))
    }
}

/// A gateway shard with the sessions of [`PAIRS`] pairs, and what it says.
pub struct Gateway {
    shard: Shard,
    config: ShardConfig,
    /// What it sent to owners and routers.
    pub out: Counted,
    now: Now,
    output: Vec<u8>,
    conns: Vec<ConnId>,
}

impl Gateway {
    /// With every session registered and nothing to sync.
    pub fn new(encoder: &mut Encoder) -> Self {
        let mut gateway = Self::empty();
        gateway.conns = (1..=PAIRS as u64 * 2).map(|number| gateway.session(encoder, number)).collect();
        gateway.flush();
        gateway
    }

    fn empty() -> Self {
        let limits = Limits { sends_per_second_per_user: 0, burst_per_user: 0, ..Limits::default() };
        let config = ShardConfig { limits, ..ShardConfig::default() };
        let shard =
            Shard::new(config.clone(), Arc::new(Believes), Arc::new(UserRates::new(0, 0, 7)), GatewayMetrics::new());
        let now = Now { mono_ns: 1_000_000_000, wall_ticks: 17_000_000_000_000_000 };
        Self { shard, config, out: Counted::default(), now, output: Vec::new(), conns: Vec::new() }
    }

    fn address(&self, conn: ConnId) -> Address {
        let ConnId { index, generation } = conn;
        let ShardConfig { incarnation, shard, .. } = self.config;
        Address { incarnation, shard, connection: index, generation }
    }

    fn answer(&mut self, conn: ConnId, request: u64, body: Body) {
        let mut envelope = Envelope::new(Class::Ack, body).reply_to(self.address(conn));
        envelope.header.request_id = request;
        self.shard.handle(self.now, envelope, &mut self.out);
    }

    /// A session that is registered and has nothing to sync. `number`: from 1, in the order of the sessions.
    fn session(&mut self, encoder: &mut Encoder, number: u64) -> ConnId {
        let peer = "127.0.0.1:5".parse().expect("an address");
        let conn = self.shard.accepted(self.now, Protocol::Native, peer).expect("room for a connection");
        let mut asked = Asked::default();
        let hello = encoder.hello(number.to_string().as_bytes(), b"bench", 0);
        self.shard.received(self.now, conn, &hello, &mut asked);
        let Some(Envelope { body: Body::Register { epoch, .. }, .. }) = asked.0.pop() else {
            panic!("a Hello is followed by Register");
        };
        let registered = Envelope::new(Class::Control, Body::Registered { epoch }).reply_to(self.address(conn));
        self.shard.handle(self.now, registered, &mut asked);
        let Some(Envelope { header, body: Body::SyncRequest { .. } }) = asked.0.pop() else {
            panic!("Registered is followed by SyncRequest");
        };
        self.answer(
            conn,
            header.request_id,
            Body::SyncPage { chats: Vec::new(), next: None, account: Default::default() },
        );
        conn
    }

    /// A turn's end: what is to be flushed is taken and written.
    fn flush(&mut self) -> usize {
        let mut written = 0;
        self.shard.tick(self.now, &mut self.out);
        while let Some(action) = self.shard.next_action() {
            let fabric::core::Action::Flush(conn) = action else { panic!("nothing but output: {action:?}") };
            self.output.clear();
            self.shard.take_output(conn, usize::MAX, &mut self.output);
            let bytes = self.output.len();
            self.shard.written(self.now, conn, bytes, &mut self.out);
            written += bytes;
        }
        written
    }

    /// A pair's receiver, at nothing acknowledged.
    fn receiver(&self, pair: usize) -> Target {
        let ConnId { index, generation } = self.conns[2 * pair + 1];
        Target { connection: index, generation, acked_seq: 0 }
    }

    /// The sender's bytes come in and go to the owner.
    ///
    /// # Panics
    /// When a send is not admitted.
    #[inline(never)]
    pub fn sends(&mut self, round: &Round) {
        self.now.mono_ns += 300_000;
        self.now.wall_ticks += 3_000;
        let before = self.out.owner;
        self.shard.received(self.now, self.conns[2 * round.pair], &round.sends, &mut self.out);
        assert_eq!(self.out.owner - before, round.messages(), "every send was admitted");
    }

    /// Owner and router answer: acks and entries are written.
    ///
    /// # Panics
    /// When an entry is not delivered.
    #[inline(never)]
    pub fn deliveries(&mut self, round: &mut Round) {
        let sender = self.conns[2 * round.pair];
        let messages = round.messages();
        for (sent, deliver) in round.answers.drain(..) {
            self.answer(sender, 0, sent);
            self.shard.handle(self.now, Envelope::new(Class::Live, deliver), &mut self.out);
        }
        let written = self.flush() as u64;
        assert!(written > messages * BODY.len() as u64, "every entry was delivered");
    }

    /// The receiver's mark comes in.
    #[inline(never)]
    pub fn mark(&mut self, round: &Round) {
        self.shard.received(self.now, self.conns[2 * round.pair + 1], &round.mark, &mut self.out);
    }
}

/// Keeps what is asked of owners and routers.
#[derive(Default)]
struct Asked(Vec<Envelope>);

impl fabric::tier::Egress for Asked {
    fn to_owner(&mut self, _: schema::ids::Slot, envelope: Envelope) {
        self.0.push(envelope);
    }
    fn to_partition(&mut self, _: u16, envelope: Envelope) {
        self.0.push(envelope);
    }
    fn to_router(&mut self, _: schema::ids::UserId, envelope: Envelope) {
        self.0.push(envelope);
    }
    fn to_gateway(&mut self, _: Address, envelope: Envelope) {
        self.0.push(envelope);
    }
    fn to_all_gateways(&mut self, envelope: Envelope) {
        self.0.push(envelope);
    }
}

/// What happens to one pair's messages: the sender's bytes, what owner and router say of each, the receiver's mark.
pub struct Round {
    pair: usize,
    sends: Vec<u8>,
    answers: Vec<(Body, Body)>,
    mark: Bytes,
}

impl Round {
    fn messages(&self) -> u64 {
        self.answers.len() as u64
    }
}

/// Rounds without end.
pub struct Rounds {
    encoder: Encoder,
    receivers: Vec<Target>,
    seqs: Vec<u64>,
    next: usize,
}

impl Rounds {
    /// For the sessions of a gateway.
    pub fn new(encoder: Encoder, gateway: &Gateway) -> Self {
        let receivers = (0..PAIRS).map(|pair| gateway.receiver(pair)).collect();
        Self { encoder, receivers, seqs: vec![0; PAIRS], next: 0 }
    }

    /// The next pair's, of so many messages.
    pub fn take(&mut self, messages: u64) -> Round {
        self.next += 1;
        let pair = self.next % PAIRS;
        let (from, to) = (fake::user(pair as u64 * 2 + 1), fake::user(pair as u64 * 2 + 2));
        let chat = ChatId::direct(from, to);
        let mut round = Round { pair, sends: Vec::new(), answers: Vec::new(), mark: Bytes::new() };
        for _ in 0..messages {
            self.seqs[pair] += 1;
            let seq = self.seqs[pair];
            round.sends.extend_from_slice(&fake::send_frame(&mut self.encoder, seq, to, &BODY));
            let client_msg_id = Bytes::copy_from_slice(&fake::client_msg_id(seq));
            let message = fake::message_id(chat, seq);
            let sent = Body::Sent { client_msg_id, chat, message, seq, timestamp_ms: 1_700_000_000_000 };
            let frame = fake::entry_frame(&mut self.encoder, (chat, seq), from, &BODY);
            let targets = [Target { acked_seq: seq - 1, ..self.receivers[pair] }];
            round.answers.push((sent, Body::Deliver { chat, seq, frame, targets: targets.as_slice().into() }));
        }
        round.mark = self.encoder.mark(chat, self.seqs[pair], None, MarkStatus::delivered);
        round
    }
}
