//! A background thread of the simulated server: jobs one after another, each done at one moment and reported at a later one.

use std::collections::VecDeque;

use storage_writer::partition::{Job, JobDone, run_job};

use crate::sim::env::Env;

/// See the module. The number is the shard whose job it is.
#[derive(Default)]
pub struct Background {
    queue: VecDeque<(usize, Job)>,
    done: Option<(usize, JobDone)>,
    at_ns: u64,
    slowest_ns: u64,
}

impl Background {
    /// A thread whose jobs wait and take up to `slowest_ns` each.
    pub fn new(slowest_ns: u64) -> Self {
        Self { slowest_ns, ..Self::default() }
    }

    /// Queues a job.
    pub fn push(&mut self, env: &mut Env, shard: usize, job: Job) {
        if self.is_idle() {
            self.at_ns = env.later(1_000, self.slowest_ns);
        }
        self.queue.push_back((shard, job));
    }

    /// Nothing to do.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.done.is_none()
    }

    /// When its next step is due, ns.
    pub fn next_ns(&self) -> Option<u64> {
        (!self.is_idle()).then_some(self.at_ns)
    }

    /// Does a job, or gives the result of the one done before.
    pub fn step(&mut self, env: &mut Env) -> Option<(usize, JobDone)> {
        // Now and then what a job has found waits long, and others end meanwhile.
        let slowest_ns = if env.rng.one_in(8) { 8 * self.slowest_ns } else { self.slowest_ns };
        self.at_ns = env.later(1_000, slowest_ns);
        if self.done.is_some() {
            return self.done.take();
        }
        let (shard, job) = self.queue.pop_front()?;
        env.note("job", [shard as u64, 0, 0]);
        let done = run_job(job, &*env.store, &env.disk);
        self.done = Some((shard, done));
        None
    }
}
