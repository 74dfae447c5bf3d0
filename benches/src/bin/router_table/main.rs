//! How a router's memory and CPU grow with its table.
//!
//! `cargo run --release -p shardwire-benches --bin router_table -- [key=value…]` with `sessions` (the largest table, 1,000,000),
//! `gateways` (50, of four shards each) and `pushes` (200,000). For a hundredth, a tenth and the whole of it, and for fewer
//! gateways, a line: the resident set a session, and the thread's CPU time (other processes do not count) for a session that registers, for a push to a
//! random pair of users, for a recipient of a push to 500 (and how many envelopes such a push becomes), for a session that registers again,
//! and what it takes to forget one of the gateways: all of it, and the longest step.

mod cpu;

use std::collections::HashMap;

use bytes::Bytes;
use fabric::tier::Egress;
use fabric::time::Now;
use router::{MemoryDirectory, Placement, Router, RouterMetrics};
use schema::envelope::{Address, Body, Class, Envelope, Recipient, Recipients};
use schema::ids::{ChatId, DeviceId, Slot, UserId};

use cpu::{cpu_ns, resident_bytes};

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Shards of a gateway.
const SHARDS: u64 = 4;
/// Recipients of a push to a group.
const GROUP: usize = 500;

/// Takes what leaves the router and counts it.
#[derive(Default)]
struct Count {
    envelopes: u64,
    targets: u64,
}

impl Egress for Count {
    fn to_owner(&mut self, _: Slot, _: Envelope) {
        unreachable!("a router never speaks to owners");
    }
    fn to_partition(&mut self, _: u16, _: Envelope) {
        unreachable!("a router never speaks to owners");
    }
    fn to_router(&mut self, _: UserId, _: Envelope) {
        unreachable!("a router passes nothing on here");
    }
    fn to_gateway(&mut self, _: Address, envelope: Envelope) {
        self.envelopes += 1;
        if let Body::Deliver { targets, .. } = &envelope.body {
            self.targets += targets.len() as u64;
        }
    }
    fn to_all_gateways(&mut self, _: Envelope) {}
}

/// The same numbers every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mix = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mix = (mix ^ (mix >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mix ^ (mix >> 31)) % bound
    }
}

struct Table {
    router: Router<MemoryDirectory>,
    out: Count,
    sessions: u64,
    gateways: u64,
}

fn user(number: u64) -> UserId {
    UserId::new(number + 1).expect("one more than a number")
}

impl Table {
    /// An empty one, of a router that is one of two: each user costs it a look at who is theirs.
    fn new(sessions: u64, gateways: u64) -> Self {
        let placement = Placement::new(&["a", "b"]).seen_from(0);
        let router = Router::with_placement(MemoryDirectory::new(1), placement, RouterMetrics::default());
        Self { router, out: Count::default(), sessions, gateways }
    }

    /// Where a session is: users that follow each other are on different gateways.
    fn address(&self, number: u64) -> Address {
        let (shard, connection) = ((number / self.gateways % SHARDS) as u16, (number / self.gateways / SHARDS) as u32);
        Address { incarnation: 1 + number % self.gateways, shard, connection, generation: 0 }
    }

    fn register(&mut self, number: u64) {
        let body = Body::Register { user: user(number), device: DeviceId(1), epoch: 1 };
        let envelope = Envelope::new(Class::Control, body).reply_to(self.address(number));
        self.router.handle(Now::default(), envelope, &mut self.out);
    }

    fn recipient(&self, random: &mut Random) -> Recipient {
        Recipient { user: user(random.below(self.sessions)), device: Some(DeviceId(1)), acked_seq: 7 }
    }

    fn push(&mut self, recipients: Recipients, frame: &Bytes) {
        let body = Body::Push { chat: ChatId([1; 16]), seq: 8, frame: frame.clone(), recipients };
        let mut envelope = Envelope::new(Class::Live, body);
        // What a router passes on is no part of this.
        envelope.header.passed_on = true;
        self.router.handle(Now::default(), envelope, &mut self.out);
    }
}

fn each(begin_ns: u64, count: u64) -> f64 {
    (cpu_ns() - begin_ns) as f64 / count.max(1) as f64
}

fn measure(sessions: u64, gateways: u64, pushes: u64) {
    let before = resident_bytes();
    let mut table = Table::new(sessions, gateways);
    let begin = cpu_ns();
    (0..sessions).for_each(|number| table.register(number));
    let register = each(begin, sessions);
    let bytes = resident_bytes().saturating_sub(before) as f64 / sessions as f64;

    let (mut random, frame) = (Random(7), Bytes::from(vec![0u8; 200]));
    let pairs: Vec<Recipients> = (0..pushes).map(|_| (0..2).map(|_| table.recipient(&mut random)).collect()).collect();
    let begin = cpu_ns();
    pairs.into_iter().for_each(|pair| table.push(pair, &frame));
    let pair = each(begin, pushes);

    let groups: Vec<Recipients> = (0..pushes.div_ceil(GROUP as u64).max(10))
        .map(|_| (0..GROUP).map(|_| table.recipient(&mut random)).collect())
        .collect();
    let (count, sent) = (groups.len() as u64, table.out.envelopes);
    let begin = cpu_ns();
    groups.into_iter().for_each(|group| table.push(group, &frame));
    let group = each(begin, count * GROUP as u64);
    let envelopes = (table.out.envelopes - sent) as f64 / count as f64;

    let begin = cpu_ns();
    (0..sessions).for_each(|number| table.register(number));
    let again = each(begin, sessions);

    let begin = cpu_ns();
    let mut longest = 0;
    table.router.gateway_lost(1);
    while table.router.has_work() {
        let step = cpu_ns();
        table.router.turn();
        longest = longest.max(cpu_ns() - step);
    }
    let lost = cpu_ns() - begin;
    assert_eq!(table.router.session_count() as u64, sessions - sessions.div_ceil(gateways));
    println!(
        "{sessions:>9} {gateways:>8} {bytes:>7.0} {register:>9.0} {pair:>7.0} {group:>10.0} {envelopes:>9.0} {again:>7.0} {:>8.1} {:>9.0}",
        lost as f64 / 1e6,
        longest as f64 / 1e3
    );
}

fn main() {
    let args: HashMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect();
    let number = |key: &str, default: u64| args.get(key).map_or(default, |value| value.parse().expect("a number"));
    let (sessions, gateways) = (number("sessions", 1_000_000), number("gateways", 50));
    let pushes = number("pushes", 200_000);
    if args.contains_key("line") {
        return measure(sessions, gateways, pushes);
    }
    println!(
        "{:>9} {:>8} {:>7} {:>9} {:>7} {:>10} {:>9} {:>7} {:>8} {:>9}",
        "sessions", "gateways", "B each", "register", "push 2", "of 500", "envelopes", "again", "lost ms", "step µs"
    );
    let mut tables: Vec<(u64, u64)> = [sessions / 100, sessions / 10, sessions].map(|of| (of, gateways)).into();
    tables.extend([1, gateways / 5].map(|of| (sessions, of)));
    for (sessions, gateways) in tables.into_iter().filter(|&(sessions, gateways)| gateways > 0 && sessions >= gateways)
    {
        line(sessions, gateways, pushes);
    }
}

/// Each in a process of its own: memory that one has given back is not what another takes.
fn line(sessions: u64, gateways: u64, pushes: u64) {
    let own = std::env::current_exe().expect("a process knows its program");
    let args = [format!("sessions={sessions}"), format!("gateways={gateways}"), format!("pushes={pushes}")];
    let ended = std::process::Command::new(own).args(args).arg("line=1").status().expect("the program starts again");
    assert!(ended.success(), "a table of {sessions} sessions of {gateways} gateways could not be measured");
}
