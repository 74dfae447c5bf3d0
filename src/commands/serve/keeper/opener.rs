//! Partitions as they are opened, and read ahead of that, on threads of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use fabric::entropy::OsEntropy;
use fabric::mutex::lock;
use fabric::time::{Clock as _, SystemClock};
use schema::envelope::MoveStage;
use schema::places::Places;
use storage_writer::lease::Tenure;
use storage_writer::partition::{Ahead, PartitionConfig, StorageMetrics, open_owned, read_ahead};
use storage_writer::pins::{Pins, Residents};
use storage_writer::store::SharedStore;

use crate::node::{Holdings, MoveWord};

/// What was read ahead is of no use any more after so long, ns.
const AHEAD_FOR_NS: u64 = 10_000_000_000;

/// What partitions are opened with.
#[derive(Clone)]
pub(in crate::commands::serve) struct Opener {
    pub(in crate::commands::serve) store: Arc<dyn SharedStore>,
    pub(in crate::commands::serve) partition: PartitionConfig,
    /// By number.
    pub(in crate::commands::serve) metrics: Vec<StorageMetrics>,
}

/// What was read ahead, by partition, and when, ns.
type Aheads = BTreeMap<u16, (Ahead, u64)>;

/// Shared by the threads that open and read.
#[derive(Clone)]
pub(super) struct Opening {
    opener: Opener,
    holdings: Holdings,
    aheads: Arc<Mutex<Aheads>>,
    /// Which chats each partition had when it was opened here last.
    residents: Arc<Mutex<BTreeMap<u16, Residents>>>,
}

impl Opening {
    /// Nothing is read yet.
    pub(super) fn new(opener: Opener, holdings: Holdings) -> Self {
        Self { opener, holdings, aheads: Arc::default(), residents: Arc::default() }
    }

    fn aheads(&self) -> MutexGuard<'_, Aheads> {
        lock(&self.aheads)
    }

    /// Opens a partition that this writer has, and hands it to its shard; gives it back when it cannot be opened.
    pub(super) fn open(&self, tenure: &Arc<Tenure>) {
        let (number, epoch) = (tenure.partition(), tenure.epoch().0);
        let Opener { store, partition, metrics } = &self.opener;
        let Some(metrics) = metrics.get(usize::from(number)).cloned() else { return };
        let ahead = self.aheads().remove(&number).map(|(ahead, _)| ahead);
        let now = SystemClock.now();
        match open_owned(Arc::clone(tenure), ahead, partition, store, (&mut OsEntropy, now), metrics) {
            Ok(opened) => {
                let took_us = (SystemClock.now().mono_ns - now.mono_ns) / 1_000;
                tracing::info!(partition = number, epoch, took_us, "opened");
                let residents = opened.residents().clone();
                lock(&self.residents).insert(number, residents);
                self.holdings.hand_in(opened, epoch);
            }
            Err(error) => {
                tracing::error!(partition = number, epoch, %error, "a partition cannot be opened; it is given back");
                self.holdings.refuse(number);
            }
        }
    }

    /// Reads ahead what is another's, and says so to that one: also when it cannot be read, for there is nothing to wait for.
    pub(super) fn read_ahead(&self, word: MoveWord) {
        let partition = word.partition;
        match read_ahead(partition, &self.opener.partition, &*self.opener.store, &mut OsEntropy, SystemClock.now()) {
            Ok(ahead) => drop(self.aheads().insert(partition, (ahead, SystemClock.now().mono_ns))),
            Err(error) => tracing::info!(partition, %error, "a partition cannot be read ahead of its move"),
        }
        self.holdings.say(MoveWord { stage: MoveStage::Read, ..word });
    }

    /// How many partitions the keyspace has.
    pub(super) fn partitions(&self) -> u16 {
        self.opener.store.sharing().partitions
    }

    /// The table of pinned chats was read: queued sends go where their chats are.
    pub(super) fn note_places(&self, places: &Places) {
        if let Some(outage) = &self.opener.partition.outage {
            outage.spool.set_places(places);
        }
    }

    /// The table of pinned chats, as whoever only looks may see it, and the partitions that are served here and do not have the
    /// chats that it gives them. `None`: it does not answer.
    pub(super) fn look_at_pins(&self) -> Option<(Pins, Vec<u16>)> {
        let store = &self.opener.store;
        let pins = match store.pins(false) {
            Ok(pins) => pins,
            Err(error) => {
                tracing::debug!(%error, "the table of pinned chats cannot be read; the next round tries again");
                return None;
            }
        };
        let partitions = store.sharing().partitions;
        let residents = lock(&self.residents);
        let differs = |&(&partition, here): &(&u16, &Residents)| {
            pins.leaves(partition) || *here != pins.residents(partition, partitions)
        };
        let others = residents.iter().filter(differs).map(|(partition, _)| *partition);
        let others = others.filter(|partition| self.holdings.serves(*partition)).collect();
        Some((pins, others))
    }

    /// Drops what nobody has had a use for.
    pub(super) fn forget_old(&self) {
        let now_ns = SystemClock.now().mono_ns;
        self.aheads().retain(|_, (_, at_ns)| now_ns - *at_ns < AHEAD_FOR_NS);
    }
}
