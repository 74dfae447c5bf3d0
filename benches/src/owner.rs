//! An owner partition between neighbours that cost next to nothing, driven turn by turn as a shard does.

use fabric::core::JobQueue;
use fabric::sim::SeededEntropy;
use fabric::time::Now;
use schema::encode::Encoder;
use schema::envelope::Envelope;
use storage_writer::partition::{Job, OpenConfig, Partition, PartitionConfig, StorageMetrics, open, run_job};

use crate::fake::{self, Counted, NoDisk, NoStore};

const BODY: [u8; 128] = [b'x'; 128];

/// See the module.
pub struct Owner {
    partition: Partition,
    /// What it sent.
    pub out: Counted,
    /// Time as it is told.
    pub now: Now,
}

impl Owner {
    /// An empty partition.
    pub fn new(config: PartitionConfig) -> Self {
        let now = Now { mono_ns: 1_000_000_000, wall_ticks: 17_000_000_000_000_000 };
        let config = OpenConfig { partitions: 1, partition: config, dedupe_secret: [7; 16] };
        let mut entropy = SeededEntropy::new(7);
        let metrics = &mut |_| StorageMetrics::new();
        let opened = open(&config, &NoStore, &NoDisk, &mut entropy, now, metrics).expect("nothing to fail on");
        let partition = opened.partitions.into_iter().next().expect("one partition");
        Self { partition, out: Counted::default(), now }
    }

    /// A turn as the shard makes it: sends in, one block out and durable, answers out. Flushes are given to `flush`.
    // A profiler tells it from the making of the sends.
    #[inline(never)]
    pub fn turn(&mut self, sends: Vec<Envelope>, mut flush: impl FnMut(&mut Self, Job)) {
        self.now.mono_ns += 300_000;
        self.now.wall_ticks += 3_000;
        for envelope in sends {
            self.partition.handle(self.now, envelope, &mut self.out);
        }
        self.partition.turn(self.now, &mut self.out);
        while let Some((queue, job)) = self.partition.take_job() {
            match queue {
                JobQueue::Apply => flush(self, job),
                JobQueue::Read | JobQueue::Commit | JobQueue::Spool => self.run(job),
            }
        }
        if let Some(write) = self.partition.take_write() {
            let ticket = write.ticket;
            drop(write);
            self.partition.write_done(self.now, ticket, Ok(()), &mut self.out);
        }
    }

    /// Runs a job at once, on this thread.
    pub fn run(&mut self, job: Job) {
        let done = run_job(job, &NoStore, &NoDisk);
        self.partition.job_done(self.now, done, &mut self.out);
    }
}

/// Sends without end, round all chats.
pub struct Sends {
    encoder: Encoder,
    chats: u64,
    /// How many there were.
    pub next: u64,
}

impl Sends {
    /// Over so many direct chats.
    pub fn new(chats: u64) -> Self {
        Self { encoder: Encoder::new(), chats, next: 0 }
    }

    /// The next `count`.
    pub fn take(&mut self, count: u64) -> Vec<Envelope> {
        (0..count)
            .map(|_| {
                self.next += 1;
                // A stride that visits all chats in no order a cache would like.
                let chat = self.next.wrapping_mul(7_919) % self.chats;
                let pair = (fake::user(2 * chat + 1), fake::user(2 * chat + 2));
                fake::send_envelope(&mut self.encoder, self.next, pair, &BODY)
            })
            .collect()
    }
}

/// Bounded memory, however long a bench runs.
pub fn config() -> PartitionConfig {
    PartitionConfig { dedupe_entries: 1 << 20, dedupe_memory_ms: 60_000, ..PartitionConfig::default() }
}
