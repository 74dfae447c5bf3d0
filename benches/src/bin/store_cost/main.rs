//! What the embedded store costs: CPU a message with all merging, a page's latency, the time to open it again.
//!
//! `cargo run --release -p shardwire-benches --bin store_cost -- [key=value…]` with `messages`, `chats`, `table_mib`,
//! `body` (bytes of a frame), `compress` (0, 1), `merge`, `cut_mib`, `cache_mib`, `states` (0, 1), `dedupe` (0, 1), `dir`
//! (emptied first). A few lines of results on stdout.

mod load;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use schema::dedupe::DedupeKey;
use storage_writer::store::fjall::{FjallConfig, FjallStore};
use storage_writer::store::{HistoryRange, Store};

use load::{Load, START_MS};

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CPU of this process (or thread), all threads that live, ns.
fn cpu_ns(tasks: &[PathBuf]) -> u64 {
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0)
    };
    tasks.iter().map(read).sum()
}

fn process_ns() -> u64 {
    let tasks: Vec<_> =
        std::fs::read_dir("/proc/self/task").expect("proc").filter_map(|task| Some(task.ok()?.path())).collect();
    cpu_ns(&tasks)
}

fn thread_ns() -> u64 {
    cpu_ns(&[PathBuf::from("/proc/thread-self")])
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn settle(store: &FjallStore) {
    let mut last = u64::MAX;
    while last != store.compacting_us() {
        last = store.compacting_us();
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn percentile(times: &mut [u64], p: f64) -> u64 {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * p) as usize]
}

/// Flushes until `messages` are in, waits for merges and says what it cost.
fn fill(store: &FjallStore, load: &mut Load, messages: u64, table_bytes: u64) {
    let (mut lsn, mut entries, mut rows, mut bytes, mut throttled) = (0, 0, 0, 0, 0);
    let (mut generating, mut flushing, mut wall, mut longest) = (0, 0, Duration::ZERO, Duration::ZERO);
    let before = process_ns();
    while entries < messages {
        let from = thread_ns();
        let run = load.run(table_bytes, messages - entries, &mut lsn);
        generating += thread_ns() - from;
        let (from, at) = (thread_ns(), Instant::now());
        let report = store.flush(run).expect("a flush");
        flushing += thread_ns() - from;
        wall += at.elapsed();
        longest = longest.max(at.elapsed());
        entries += report.entries;
        rows += report.rows;
        bytes += report.bytes;
        throttled += report.throttled_ms;
    }
    settle(store);
    let cpu = process_ns() - before - generating;
    let each = |ns: u64| ns as f64 / 1e3 / entries as f64;
    let stats = store.stats();
    println!("messages {entries} rows {rows} written {} MiB disk {} MiB", bytes >> 20, stats.disk_bytes >> 20);
    println!(
        "tables {} level0 {} throttled {throttled} ms rss peak {} MiB",
        stats.tables,
        stats.level0_runs,
        rss_mib()
    );
    println!("cpu {:.2} us/message, of it the flushing thread {:.2}", each(cpu), each(flushing));
    println!("flushing {:.2} us/message by the clock, longest {longest:?}", each(wall.as_nanos() as u64));
}

fn read_pages(store: &FjallStore, load: &mut Load, limit: usize) {
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let index = (load.next() % load.heads.len() as u64) as usize;
        let after_seq = load.heads[index].saturating_sub(limit as u64);
        let range = HistoryRange { after_seq, up_to_seq: u64::MAX, limit_entries: limit, limit_bytes: 65_536 };
        let at = Instant::now();
        let page = store.history(load.chats[index], range).expect("a page");
        times.push(at.elapsed().as_nanos() as u64);
        assert_eq!(page.len() as u64, load.heads[index] - after_seq);
    }
    say(&format!("page of the last {limit}"), &mut times);
}

fn miss_dedupe(store: &FjallStore, load: &mut Load) {
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&load.next().to_le_bytes());
        let at = Instant::now();
        assert!(store.dedupe(DedupeKey(key)).expect("an answer").is_none());
        times.push(at.elapsed().as_nanos() as u64);
    }
    say("dedupe miss", &mut times);
}

fn say(what: &str, times: &mut [u64]) {
    println!("{what}: p50 {} us p99 {} us", percentile(times, 0.5) / 1_000, percentile(times, 0.99) / 1_000);
}

fn open_again(dir: &Path, config: FjallConfig) {
    let at = Instant::now();
    let store = FjallStore::open(dir, config).expect("opens again");
    let opened = at.elapsed();
    let (mut chats, mut hits) = (0, 0);
    store.load_chats(&mut |_| chats += 1).expect("chats");
    let chats_read = at.elapsed();
    store.dedupe_since(START_MS, &mut |_, _| hits += 1).expect("hits");
    println!("open {opened:?}; {chats} chats by {chats_read:?}; {hits} dedupe answers by {:?}", at.elapsed());
}

fn main() {
    let args: HashMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect();
    let number = |key: &str, default: u64| args.get(key).map_or(default, |value| value.parse().expect("a number"));
    let config = FjallConfig {
        compress: number("compress", 0) == 1,
        level0_merge: number("merge", FjallConfig::default().level0_merge.into()) as u8,
        cache_bytes: number("cache_mib", 32) << 20,
        table_bytes: number("cut_mib", 64) << 20,
        ..FjallConfig::default()
    };
    let default_dir = || std::env::temp_dir().join("shardwire-store-cost");
    let dir = args.get("dir").map_or_else(default_dir, PathBuf::from);
    let _ = std::fs::remove_dir_all(&dir);
    let chats = number("chats", 200_000) as usize;
    let mut load = Load::new(number("body", 250) as usize, chats, number("states", 1) == 1, number("dedupe", 1) == 1);
    let store = FjallStore::open(&dir, config).expect("a store");
    fill(&store, &mut load, number("messages", 3_000_000), number("table_mib", 128) << 20);
    read_pages(&store, &mut load, 1);
    read_pages(&store, &mut load, 20);
    miss_dedupe(&store, &mut load);
    drop(store);
    open_again(&dir, config);
    let _ = std::fs::remove_dir_all(&dir);
}
