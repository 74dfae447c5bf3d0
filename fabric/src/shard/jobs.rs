//! Background threads for what blocks: one for applies, some for reads and some for commits, shared by all shards of the
//! process.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::mutex::lock;
use crossbeam_queue::SegQueue;

use super::thread::or_die;
use crate::core::JobQueue;
use crate::wake::Waker;

/// Where a shard's results wait for its next turn. Bounded by the jobs it has out.
#[derive(Debug)]
pub(super) struct Results<D> {
    pub(super) done: SegQueue<D>,
    pub(super) waker: Waker,
}

struct Queued<J, D> {
    job: J,
    to: Arc<Results<D>>,
}

struct State<J, D> {
    jobs: VecDeque<Queued<J, D>>,
    closed: bool,
}

struct Queue<J, D> {
    state: Mutex<State<J, D>>,
    ready: Condvar,
    limit: usize,
}

impl<J, D> Queue<J, D> {
    fn new(limit: usize) -> Self {
        let state = Mutex::new(State { jobs: VecDeque::new(), closed: false });
        Self { state, ready: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, State<J, D>> {
        lock(&self.state)
    }

    /// Gives the job back when the queue is full.
    fn push(&self, job: J, to: &Arc<Results<D>>) -> Option<J> {
        let mut state = self.lock();
        if state.jobs.len() >= self.limit {
            return Some(job);
        }
        state.jobs.push_back(Queued { job, to: to.clone() });
        drop(state);
        self.ready.notify_one();
        None
    }

    fn pop(&self) -> Option<Queued<J, D>> {
        let mut state = self.lock();
        loop {
            if let Some(queued) = state.jobs.pop_front() {
                return Some(queued);
            }
            if state.closed {
                return None;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The process's job threads.
pub(super) struct JobPool<J, D> {
    apply: Arc<Queue<J, D>>,
    read: Arc<Queue<J, D>>,
    /// That of reads where commits have no threads of their own.
    commit: Arc<Queue<J, D>>,
    /// As `commit`.
    spool: Arc<Queue<J, D>>,
}

impl<J, D> Clone for JobPool<J, D> {
    fn clone(&self) -> Self {
        let Self { apply, read, commit, spool } = self;
        Self { apply: apply.clone(), read: read.clone(), commit: commit.clone(), spool: spool.clone() }
    }
}

/// Ends the job threads once they have worked off what is queued.
pub(super) struct JobThreads<J, D> {
    pool: JobPool<J, D>,
    threads: Vec<JoinHandle<()>>,
}

impl<J: Send + 'static, D: Send + 'static> JobPool<J, D> {
    /// Starts one apply thread, `readers` read threads (at least 1), `committers` commit threads and, if there are any, one for
    /// the spool; without one reads and these share theirs.
    pub(super) fn start<R>(
        (readers, committers): (usize, usize),
        limit: usize,
        runner: R,
    ) -> io::Result<JobThreads<J, D>>
    where
        R: Fn(J) -> D + Send + Sync + 'static,
    {
        let read = Arc::new(Queue::new(limit));
        let commit = if committers == 0 { Arc::clone(&read) } else { Arc::new(Queue::new(limit)) };
        let spool = if committers == 0 { Arc::clone(&read) } else { Arc::new(Queue::new(limit)) };
        let pool = Self { apply: Arc::new(Queue::new(limit)), read, commit, spool };
        let runner = Arc::new(runner);
        let mut started = JobThreads { pool, threads: Vec::new() };
        let readers = (0..readers.max(1)).map(|index| (JobQueue::Read, format!("read-{index}")));
        let committers = (0..committers).map(|index| (JobQueue::Commit, format!("commit-{index}")));
        let spooler = (committers.len() > 0).then(|| (JobQueue::Spool, "spool".to_owned()));
        let all =
            core::iter::once((JobQueue::Apply, "apply".to_owned())).chain(readers).chain(committers).chain(spooler);
        for (which, name) in all {
            let (queue, runner) = (started.pool.queue(which).clone(), runner.clone());
            let work = move || {
                let who = std::thread::current().name().unwrap_or("job thread").to_owned();
                while let Some(Queued { job, to }) = queue.pop() {
                    to.done.push(or_die(&who, || runner(job)));
                    to.waker.wake();
                }
            };
            started.threads.push(std::thread::Builder::new().name(name).spawn(work)?);
        }
        Ok(started)
    }

    fn queue(&self, which: JobQueue) -> &Arc<Queue<J, D>> {
        match which {
            JobQueue::Apply => &self.apply,
            JobQueue::Read => &self.read,
            JobQueue::Commit => &self.commit,
            JobQueue::Spool => &self.spool,
        }
    }
}

impl<J, D> JobThreads<J, D> {
    pub(super) fn pool(&self) -> JobPool<J, D> {
        self.pool.clone()
    }
}

impl<J, D> Drop for JobThreads<J, D> {
    fn drop(&mut self) {
        for queue in [&self.pool.apply, &self.pool.read, &self.pool.commit, &self.pool.spool] {
            queue.lock().closed = true;
            queue.ready.notify_all();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A shard's way to the job threads. A job that finds its queue full waits here; while too many wait, the core is asked for
/// no more.
pub(super) struct Jobs<J, D> {
    pool: JobPool<J, D>,
    pub(super) results: Arc<Results<D>>,
    waiting: [VecDeque<J>; 4],
}

const WAITING_LIMIT: usize = 256;

impl<J: Send + 'static, D: Send + 'static> Jobs<J, D> {
    pub(super) fn new(pool: JobPool<J, D>, waker: Waker) -> Self {
        let results = Arc::new(Results { done: SegQueue::new(), waker });
        Self { pool, results, waiting: Default::default() }
    }

    /// May the core be asked for another job?
    pub(super) fn has_room(&self) -> bool {
        self.waiting.iter().all(|waiting| waiting.len() < WAITING_LIMIT)
    }

    pub(super) fn start(&mut self, which: JobQueue, job: J) {
        self.waiting[which as usize].push_back(job);
        self.retry();
    }

    /// Moves waiting jobs into queues that have room.
    pub(super) fn retry(&mut self) {
        for which in [JobQueue::Apply, JobQueue::Read, JobQueue::Commit, JobQueue::Spool] {
            let waiting = &mut self.waiting[which as usize];
            while let Some(job) = waiting.pop_front() {
                if let Some(job) = self.pool.queue(which).push(job, &self.results) {
                    waiting.push_front(job);
                    break;
                }
            }
        }
    }

    /// Jobs that wait for room in a queue that other shards may have filled.
    pub(super) fn stalled(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.is_empty())
    }

    pub(super) fn done(&mut self) -> Option<D> {
        self.results.done.pop()
    }
}
