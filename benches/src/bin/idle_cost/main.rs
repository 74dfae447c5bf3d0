//! What a silent connection with a session costs in memory, by part.
//!
//! `cargo run --release -p shardwire-benches --bin idle_cost -- [sessions]` (10,000 by default). For each part a line: the
//! allocator's live bytes and blocks a connection, counted; what it held at its worst while they came; and the growth of the
//! resident set, which has pages that are only partly used, and code read in. The parts together are what a connection costs
//! the server; the kernel's socket is not in it.

mod count;
mod session;
mod skin;

use count::Held;
use fabric::core::Protocol;

#[global_allocator]
static ALLOCATOR: count::Counting = count::Counting;

/// What a part is asked to hold. It is kept until its line is written.
type Part = (&'static str, fn(usize) -> Box<dyn std::any::Any>);

const PARTS: [Part; 4] = [
    ("socket", skin::connect),
    ("native session", |sessions| session::open(Protocol::Native, sessions)),
    ("WebSocket session", |sessions| session::open(Protocol::WebSocket, sessions)),
    ("directory", session::register),
];

fn main() {
    let sessions = match std::env::args().nth(1).map(|text| text.parse::<usize>()) {
        None => 10_000,
        Some(Ok(sessions @ 1..=1_000_000)) => sessions,
        Some(_) => {
            eprintln!("idle_cost: expected a number of sessions, 1 to 1000000");
            std::process::exit(2);
        }
    };
    println!("{:<18} {:>9} {:>8} {:>8} {:>8} {:>8}", "a connection's", "count", "bytes", "blocks", "worst", "resident");
    for (name, make) in PARTS {
        // Once before, small: what is paid once is no connection's share.
        drop(make(100.min(sessions)));
        let before = Held::now();
        let part = make(sessions);
        let after = Held::now();
        let each = |bytes: isize| bytes as f64 / sessions as f64;
        println!(
            "{name:<18} {sessions:>9} {:>8.0} {:>8.2} {:>8.0} {:>8.0}",
            each(after.bytes - before.bytes),
            each(after.blocks - before.blocks),
            each(after.worst - before.bytes),
            each(after.resident - before.resident)
        );
        drop(part);
    }
}
