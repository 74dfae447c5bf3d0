//! The gateway's part of a session, and the router's.

use std::any::Any;
use std::sync::Arc;

use benches::fake;
use fabric::core::{Action, ConnId, Protocol};
use fabric::net::websocket::Request;
use fabric::tier::Egress;
use fabric::time::Now;
use gateway::auth::{AuthError, Identity, TokenVerifier};
use gateway::{GatewayMetrics, Shard, ShardConfig, UserRates};
use router::{MemoryDirectory, Router, RouterMetrics};
use schema::encode::Encoder;
use schema::envelope::{Address, Body, Class, Envelope};
use schema::ids::{DeviceId, Slot, UserId};

const NOW: Now = Now { mono_ns: 1_000_000_000, wall_ticks: 17_000_000_000_000_000 };
const WEBSOCKET: &str = "127.0.0.1:7401";

/// A token is the user's id in decimal.
struct Believes;

impl TokenVerifier for Believes {
    fn verify(&self, token: &[u8], _: u64) -> Result<Identity, AuthError> {
        let user = std::str::from_utf8(token).ok().and_then(|text| text.parse().ok()).ok_or(AuthError::InvalidUser)?;
        Ok(Identity::of(user, DeviceId(1)))
    }
}

/// Keeps what was sent last, to whomever.
#[derive(Default)]
struct Last(Option<Envelope>);

impl Egress for Last {
    fn to_owner(&mut self, _: Slot, envelope: Envelope) {
        self.0 = Some(envelope);
    }
    fn to_partition(&mut self, _: u16, envelope: Envelope) {
        self.0 = Some(envelope);
    }
    fn to_router(&mut self, _: UserId, envelope: Envelope) {
        self.0 = Some(envelope);
    }
    fn to_gateway(&mut self, _: Address, envelope: Envelope) {
        self.0 = Some(envelope);
    }
    fn to_all_gateways(&mut self, envelope: Envelope) {
        self.0 = Some(envelope);
    }
}

/// A gateway shard with so many sessions that have synced and read all they were sent.
pub fn open(protocol: Protocol, sessions: usize) -> Box<dyn Any> {
    let listeners = vec![WEBSOCKET.parse().expect("an address")];
    let config = ShardConfig { listeners, ..ShardConfig::default() };
    let rates = Arc::new(UserRates::new(0, 0, 7));
    let mut shard = Shard::new(config, Arc::new(Believes), rates, GatewayMetrics::new());
    let mut encoder = Encoder::new();
    let mut output = Vec::new();
    for number in 1..=sessions {
        session(&mut shard, &mut encoder, protocol, &number.to_string());
        read_all(&mut shard, &mut output);
    }
    assert_eq!(shard.connections(), sessions);
    Box::new(shard)
}

fn session(shard: &mut Shard, encoder: &mut Encoder, protocol: Protocol, token: &str) -> ConnId {
    let mut last = Last::default();
    let conn = shard.accepted(NOW, protocol, WEBSOCKET.parse().expect("an address")).expect("room for a connection");
    let first = match protocol {
        Protocol::Native => encoder.hello(token.as_bytes(), b"bench", 0),
        Protocol::WebSocket => {
            let request =
                Request { host: WEBSOCKET, path: "/ws", subprotocol: "json", token: Some(token), nonce: [7; 16] };
            request.encode().into()
        }
        Protocol::Link => unreachable!("links have no sessions"),
    };
    shard.received(NOW, conn, &first, &mut last);
    let Some(Envelope { header, body: Body::Register { epoch, .. } }) = last.0.take() else {
        panic!("a token is followed by Register");
    };
    let answer = |request_id, body| {
        let mut envelope = Envelope::new(Class::Control, body).reply_to(header.reply);
        envelope.header.request_id = request_id;
        envelope
    };
    shard.handle(NOW, answer(0, Body::Registered { epoch }), &mut last);
    let Some(Envelope { header: asked, body: Body::SyncRequest { .. } }) = last.0.take() else {
        panic!("Registered is followed by SyncRequest");
    };
    shard.handle(
        NOW,
        answer(asked.request_id, Body::SyncPage { chats: Vec::new(), next: None, account: Default::default() }),
        &mut last,
    );
    conn
}

/// A turn's end: everything that waits is taken and written.
fn read_all(shard: &mut Shard, output: &mut Vec<u8>) {
    let mut last = Last::default();
    shard.tick(NOW, &mut last);
    while let Some(action) = shard.next_action() {
        let Action::Flush(conn) = action else { panic!("nothing but output: {action:?}") };
        output.clear();
        shard.take_output(conn, usize::MAX, output);
        shard.written(NOW, conn, output.len(), &mut last);
    }
}

/// A router partition with so many users, one session each.
pub fn register(sessions: usize) -> Box<dyn Any> {
    let mut router = Router::new(MemoryDirectory::new(1), RouterMetrics::default());
    for number in 0..sessions {
        let body = Body::Register { user: fake::user(number as u64 + 1), device: DeviceId(1), epoch: 1 };
        let reply = Address { incarnation: 1, shard: 0, connection: number as u32, generation: 0 };
        router.handle(NOW, Envelope::new(Class::Control, body).reply_to(reply), &mut Last::default());
    }
    assert_eq!(router.session_count(), sessions);
    Box::new(router)
}
