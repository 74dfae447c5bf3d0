//! What the owner partition costs a message, for a profiler: the same work every time, without a clock.
//!
//! `cargo run --release -p shardwire-benches --bin owner_cost -- [key=value…]` with `messages`, `block` (sends a turn) and
//! `chats`. Under `valgrind --tool=callgrind` two runs of different length give the instructions a message: what they
//! share (opening, making the first chats) falls out of the difference.

use std::collections::HashMap;

use benches::owner::{Owner, Sends, config};

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let args: HashMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect();
    let number = |key: &str, default: u64| args.get(key).map_or(default, |value| value.parse().expect("a number"));
    let (messages, block) = (number("messages", 100_000), number("block", 16));
    let (mut owner, mut sends) = (Owner::new(config()), Sends::new(number("chats", 10_000)));
    while sends.next < messages {
        let batch = sends.take(block);
        owner.turn(batch, Owner::run);
    }
    owner.turn(Vec::new(), Owner::run);
    assert_eq!(owner.out.sent, sends.next, "every send was answered as durable");
    println!("{} messages", sends.next);
}
