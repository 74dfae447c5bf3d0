//! The owner partition: a send ordered, deduplicated, journalled, kept in the memory table and answered, on a disk that is
//! durable at once; and a frozen memory table made into a run.
use std::time::Duration;

use benches::fake::{NoDisk, NoStore};
use benches::owner::{Owner, Sends, config};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use storage_writer::partition::{PartitionConfig, run_job};

/// Direct chats that the messages go round.
const CHATS: u64 = 10_000;

fn send(c: &mut Criterion) {
    let mut group = c.benchmark_group("owner/send, commit, ack");
    for block in [1u64, 16, 256] {
        let (mut owner, mut sends) = (Owner::new(config()), Sends::new(CHATS));
        group.throughput(Throughput::Elements(block));
        group.bench_function(format!("{block} a block"), |b| {
            b.iter_batched(
                || sends.take(block),
                // Flushes are part of it: here the background thread's share is this thread's.
                |batch| owner.turn(batch, Owner::run),
                BatchSize::SmallInput,
            );
        });
        owner.turn(Vec::new(), Owner::run);
        assert_eq!(owner.out.sent, sends.next, "every send was answered as durable");
    }
    group.finish();
}

fn freeze(c: &mut Criterion) {
    const ENTRIES: u64 = 50_000;
    let config = PartitionConfig { freeze_idle_ms: 10, ..config() };
    let mut sends = Sends::new(CHATS);
    let mut group = c.benchmark_group("owner/memory table");
    group.throughput(Throughput::Elements(ENTRIES)).sample_size(10);
    group.bench_function(format!("{ENTRIES} entries frozen and made a run"), |b| {
        b.iter_batched(
            || {
                let mut owner = Owner::new(config.clone());
                let mut jobs = Vec::new();
                for _ in 0..ENTRIES / 500 {
                    owner.turn(sends.take(500), Owner::run);
                }
                // Idle for a while: the table freezes.
                owner.now.mono_ns += 60_000_000_000;
                for _ in 0..10_000 {
                    owner.turn(Vec::new(), |_, job| jobs.push(job));
                    if jobs.iter().any(|job| format!("{job:?}").contains("flush")) {
                        return (owner, jobs);
                    }
                }
                panic!("an idle table freezes: {jobs:?}");
            },
            |(owner, jobs)| {
                let done: Vec<_> = jobs.into_iter().map(|job| run_job(job, &NoStore, &NoDisk)).collect();
                (owner, done)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group! {
    name = owner;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = send, freeze
}
criterion_main!(owner);
