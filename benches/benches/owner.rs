//! The owner partition: a send ordered, deduplicated, journalled, kept in the memory table and answered, on a disk that is
//! durable at once; and a frozen memory table made into a run.
use std::time::Duration;

use benches::fake::{self, Counted, NoDisk, NoStore};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fabric::core::JobQueue;
use fabric::sim::SeededEntropy;
use fabric::time::Now;
use schema::encode::Encoder;
use schema::envelope::Envelope;
use storage_writer::partition::{Job, OpenConfig, Partition, PartitionConfig, StorageMetrics, open, run_job};

/// Direct chats that the messages go round.
const CHATS: u64 = 10_000;
const BODY: [u8; 128] = [b'x'; 128];

struct Owner {
    partition: Partition,
    out: Counted,
    now: Now,
}

impl Owner {
    fn new(config: PartitionConfig) -> Self {
        let now = Now { mono_ns: 1_000_000_000, wall_ticks: 17_000_000_000_000_000 };
        let config = OpenConfig { partitions: 1, partition: config, dedupe_secret: [7; 16] };
        let mut entropy = SeededEntropy::new(7);
        let metrics = &mut |_| StorageMetrics::new();
        let opened = open(&config, &NoStore, &NoDisk, &mut entropy, now, metrics).expect("nothing to fail on");
        let partition = opened.partitions.into_iter().next().expect("one partition");
        Self { partition, out: Counted::default(), now }
    }

    /// A turn as the shard makes it: sends in, one block out and durable, answers out. Flushes are given to `flush`.
    fn turn(&mut self, sends: Vec<Envelope>, mut flush: impl FnMut(&mut Self, Job)) {
        self.now.mono_ns += 300_000;
        self.now.wall_ticks += 3_000;
        for envelope in sends {
            self.partition.handle(self.now, envelope, &mut self.out);
        }
        self.partition.turn(self.now, &mut self.out);
        while let Some((queue, job)) = self.partition.take_job() {
            match queue {
                JobQueue::Apply => flush(self, job),
                JobQueue::Read => self.run(job),
            }
        }
        if let Some(write) = self.partition.take_write() {
            let ticket = write.ticket;
            drop(write);
            self.partition.write_done(self.now, ticket, Ok(()), &mut self.out);
        }
    }

    fn run(&mut self, job: Job) {
        let done = run_job(job, &NoStore, &NoDisk);
        self.partition.job_done(self.now, done, &mut self.out);
    }
}

/// Sends without end, round all chats.
struct Sends {
    encoder: Encoder,
    next: u64,
}

impl Sends {
    fn new() -> Self {
        Self { encoder: Encoder::new(), next: 0 }
    }

    fn take(&mut self, count: u64) -> Vec<Envelope> {
        (0..count)
            .map(|_| {
                self.next += 1;
                // A stride that visits all chats in no order a cache would like.
                let chat = self.next.wrapping_mul(7_919) % CHATS;
                let pair = (fake::user(2 * chat + 1), fake::user(2 * chat + 2));
                fake::send_envelope(&mut self.encoder, self.next, pair, &BODY)
            })
            .collect()
    }
}

/// Bounded memory, however long the bench runs.
fn config() -> PartitionConfig {
    PartitionConfig { dedupe_entries: 1 << 20, dedupe_memory_ms: 60_000, ..PartitionConfig::default() }
}

fn send(c: &mut Criterion) {
    let mut group = c.benchmark_group("owner/send, commit, ack");
    for block in [1u64, 16, 256] {
        let (mut owner, mut sends) = (Owner::new(config()), Sends::new());
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
    let mut sends = Sends::new();
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
