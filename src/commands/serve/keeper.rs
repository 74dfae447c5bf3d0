//! The keeper of a writer that shares its store: a thread that asks the table of leases what this node may hold, opens it, and
//! gives it back.
//!
//! Everything here may block; shards never wait for it. What must stay true: leases are renewed while partitions are opened,
//! which is why another thread opens them; and when the process ends in order, what it held is free at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use fabric::entropy::{Entropy as _, OsEntropy};
use fabric::time::{Clock as _, SystemClock};
use miette::{IntoDiagnostic as _, Result, WrapErr as _};
use storage_writer::lease::{Keeping, LeaseConfig, LeaseTable, Tenure, WriterId};
use storage_writer::partition::{PartitionConfig, StorageMetrics, open_owned};
use storage_writer::store::SharedStore;

use crate::node::Holdings;

/// When the process ends, what could not be given back is left for the others to take over after so long.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// What partitions are opened with.
pub(super) struct Opener {
    pub(super) store: Arc<dyn SharedStore>,
    pub(super) partition: PartitionConfig,
    /// By number.
    pub(super) metrics: Vec<StorageMetrics>,
}

/// The thread. Call [`Self::finish`] once the shards have ended.
pub(super) struct Keeper {
    thread: JoinHandle<()>,
    ended: Arc<AtomicBool>,
    holdings: Holdings,
}

impl Keeper {
    /// Starts it, for the writer `name`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(name: &str, table: Arc<dyn LeaseTable>, opener: Opener, holdings: Holdings) -> Result<Self> {
        let me = WriterId { name: name.to_owned(), incarnation: OsEntropy.next_u64() >> 1 };
        let keeping = Keeping::new(table, me, LeaseConfig::default(), Arc::new(SystemClock));
        let (to_open, opens) = mpsc::channel::<Arc<Tenure>>();
        let ended = Arc::new(AtomicBool::new(false));
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let to_hand_in = holdings.clone();
        named("opener")
            .spawn(move || opens.into_iter().for_each(|tenure| open(&tenure, &opener, &to_hand_in)))
            .into_diagnostic()
            .wrap_err("the thread that opens partitions cannot be started")?;
        let mut rounds = Rounds {
            keeping,
            to_open,
            draining: BTreeSet::new(),
            stopping: false,
            holdings: holdings.clone(),
            ended: Arc::clone(&ended),
        };
        let thread = named("keeper")
            .spawn(move || rounds.run())
            .into_diagnostic()
            .wrap_err("the thread that keeps leases cannot be started")?;
        Ok(Self { thread, ended, holdings })
    }

    /// Gives back what is left, and ends. Blocks, for a while at most.
    pub(super) fn finish(self) {
        self.ended.store(true, Ordering::Release);
        self.holdings.leave();
        let until_ns = SystemClock.now().plus(GIVE_BACK);
        while !self.thread.is_finished() && SystemClock.now().mono_ns < until_ns {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn open(tenure: &Arc<Tenure>, opener: &Opener, holdings: &Holdings) {
    let (number, epoch) = (tenure.partition(), tenure.epoch().0);
    let Some(metrics) = opener.metrics.get(usize::from(number)).cloned() else { return };
    let now = SystemClock.now();
    match open_owned(Arc::clone(tenure), &opener.partition, &opener.store, &mut OsEntropy, now, metrics) {
        Ok(partition) => holdings.hand_in(partition, epoch),
        Err(error) => {
            tracing::error!(partition = number, epoch, %error, "a partition cannot be opened; it is given back");
            holdings.refuse(number);
        }
    }
}

struct Rounds {
    keeping: Keeping,
    to_open: mpsc::Sender<Arc<Tenure>>,
    /// Asked of the shards, which have not dropped them yet.
    draining: BTreeSet<u16>,
    stopping: bool,
    holdings: Holdings,
    /// The shards have ended.
    ended: Arc<AtomicBool>,
}

impl Rounds {
    fn run(&mut self) {
        while !self.keeping.is_gone() {
            if self.holdings.leaves() && !std::mem::replace(&mut self.stopping, true) {
                self.keeping.stop();
            }
            for partition in self.holdings.take_given_up() {
                self.draining.remove(&partition);
                self.keeping.given_up(partition);
            }
            let ended = self.ended.load(Ordering::Acquire);
            let changes = self.keeping.round();
            for partition in changes.lost {
                self.draining.remove(&partition);
                self.holdings.lose(partition);
            }
            for partition in changes.drain {
                if self.draining.insert(partition) {
                    self.holdings.drain(partition);
                }
            }
            if ended {
                std::mem::take(&mut self.draining).into_iter().for_each(|partition| self.keeping.given_up(partition));
            }
            for tenure in changes.gained {
                // The opener lives as long as this thread.
                let _ = self.to_open.send(tenure);
            }
            let wait_ms = if ended { changes.wait_ms.min(10) } else { changes.wait_ms };
            self.holdings.wait(Duration::from_millis(wait_ms));
        }
    }
}
