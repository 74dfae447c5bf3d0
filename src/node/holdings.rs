//! What a node with owners holds where partitions move between writers: the shards serve it, a keeper decides it.
//!
//! The keeper is a thread that may block; shards never wait for it. What must stay true: a partition is in one shard at most,
//! nobody is told that it is held before its shard serves it, and it is not given back before its shard has dropped it; the
//! node does not stop before whoever is to have it next has been told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use fabric::mutex::lock;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use schema::envelope::Holding;
use schema::places::Places;
use serde::{Deserialize, Serialize};
use storage_writer::partition::Partition;

use super::changes::{Inbox, MoveWord, ShardChange};
use super::topology::Topology;

/// A partition on its way to its shard, with its epoch.
pub(super) type Arriving = (Partition, u64);

/// A partition that was given up in order, or could not be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GivenUp {
    /// Its number.
    pub partition: u16,
    /// A shard had it; [`Holdings::gone`] is to be called for it.
    pub served: bool,
}

/// An operator's wish.
#[derive(Debug)]
pub struct MoveRequest {
    /// Which partition.
    pub partition: u16,
    /// The writer that is to have it.
    pub to: String,
    /// Who waits for what becomes of it.
    pub reply: mpsc::Sender<Result<Moved, String>>,
}

/// A partition that was handed over, and how long each part of that took, µs. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Which partition.
    pub partition: u16,
    /// Whose it is now.
    pub to: String,
    /// Under which epoch.
    pub epoch: u64,
    /// Until its next owner had read ahead; it was served here meanwhile.
    pub read_ahead_us: u64,
    /// Until what was under way in it was committed and answered.
    pub drain_us: u64,
    /// Until the table of leases had it as the other's.
    pub hand_over_us: u64,
}

/// How long an operator waits for a move at most.
const MOVE_WITHIN: Duration = Duration::from_millis(4_500);

#[derive(Default)]
struct State {
    /// What each partition was last, by number.
    holdings: BTreeMap<u16, Holding>,
    /// The chats that are not at home, as the table was read last.
    places: Places,
    /// On their way to a shard.
    arriving: Vec<Arriving>,
    /// Dropped by their shards after they were asked to; the keeper has not looked yet.
    given_up: Vec<GivenUp>,
    /// What other writers said of partitions that move.
    words: Vec<MoveWord>,
    /// What an operator wants to move.
    wanted: Vec<MoveRequest>,
    /// Shards' partitions, those among them that are being given up and whose next holder has not been told.
    served: usize,
    /// The node stops: everything is to be given up.
    leaves: bool,
    /// The keeper has a reason to look at once.
    poked: bool,
}

struct Inner {
    topology: Topology,
    state: Mutex<State>,
    pokes: Condvar,
    /// Rises with every change of `holdings`.
    changes: AtomicU64,
    inboxes: OnceLock<Arc<[Inbox]>>,
    epochs: Family<Vec<(String, String)>, Gauge>,
    /// Chats that are not at home, and those that are on their way to another partition.
    elsewhere: Gauge,
    moving: Gauge,
    /// Every partition has had a holder since this process began, and what was this node's was served.
    settled: AtomicBool,
}

/// Shared by the shards of a process and its keeper; the lock is held for a few instructions.
#[derive(Clone)]
pub struct Holdings(Arc<Inner>);

impl std::fmt::Debug for Holdings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holdings").field("holdings", &self.state().holdings).finish_non_exhaustive()
    }
}

fn label(partition: u16) -> Vec<(String, String)> {
    vec![("partition".to_owned(), partition.to_string())]
}

impl Holdings {
    /// Nothing is held.
    pub fn new(topology: Topology) -> Self {
        let epochs = Family::<Vec<(String, String)>, Gauge>::default();
        for partition in 0..topology.partitions {
            epochs.get_or_create(&label(partition)).set(0);
        }
        Self(Arc::new(Inner {
            topology,
            state: Mutex::default(),
            pokes: Condvar::new(),
            changes: AtomicU64::new(0),
            inboxes: OnceLock::new(),
            epochs,
            elsewhere: Gauge::default(),
            moving: Gauge::default(),
            settled: AtomicBool::new(false),
        }))
    }

    /// Adds the epochs of what is held, and how many chats are not at home, to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Epoch under which a partition is held here; 0 = it is not";
        registry.register("storage_epoch", help, self.0.epochs.clone());
        for (name, help, gauge) in [
            ("storage_chats_elsewhere", "Chats that another partition than their own has", &self.0.elsewhere),
            ("storage_chats_moving", "Chats that are on their way to another partition", &self.0.moving),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// Whom to wake: every shard of the process, once, before the keeper begins.
    pub(super) fn set_inboxes(&self, inboxes: Arc<[Inbox]>) {
        let _ = self.0.inboxes.set(inboxes);
    }

    fn put(&self, shard: u16, change: ShardChange) {
        if let Some(inbox) = self.0.inboxes.get().and_then(|inboxes| inboxes.get(usize::from(shard))) {
            inbox.put(change);
        }
    }

    // ---- the keeper's ------------------------------------------------------------------------------------------------

    /// Hands an opened partition to its shard, which serves it under `epoch` from its next turn on.
    pub fn hand_in(&self, partition: Partition, epoch: u64) {
        let shard = self.0.topology.partition_shard(partition.number());
        let mut state = self.state();
        state.arriving.push((partition, epoch));
        state.served += 1;
        drop(state);
        self.put(shard, ShardChange::TakePartitions);
    }

    /// Has a partition given up in order: [`Self::take_given_up`] names it once that is done.
    pub fn drain(&self, partition: u16) {
        self.put(self.0.topology.partition_shard(partition), ShardChange::GiveUp(partition));
    }

    /// Has a partition dropped at once: it is another's.
    pub fn lose(&self, partition: u16) {
        self.put(self.0.topology.partition_shard(partition), ShardChange::Drop(partition));
    }

    /// Notes that a partition cannot be served here: as if it had been given up.
    pub fn refuse(&self, partition: u16) {
        self.state().given_up.push(GivenUp { partition, served: false });
        self.poke();
    }

    /// What was given up since the last call.
    pub fn take_given_up(&self) -> Vec<GivenUp> {
        std::mem::take(&mut self.state().given_up)
    }

    /// All is done for a partition that was served here and given up; `word`: for its next holder.
    pub fn gone(&self, partition: u16, word: Option<MoveWord>) {
        self.put(self.0.topology.partition_shard(partition), ShardChange::Gone(word));
    }

    /// Says something to another writer. It may be lost.
    pub fn say(&self, word: MoveWord) {
        self.put(self.0.topology.partition_shard(word.partition), ShardChange::Say(word));
    }

    /// What other writers said since the last call.
    pub fn take_words(&self) -> Vec<MoveWord> {
        std::mem::take(&mut self.state().words)
    }

    /// What operators have wanted since the last call.
    pub fn take_wanted(&self) -> Vec<MoveRequest> {
        std::mem::take(&mut self.state().wanted)
    }

    /// Whether the node stops.
    pub fn leaves(&self) -> bool {
        self.state().leaves
    }

    /// Whether a shard serves a partition.
    pub fn serves(&self, partition: u16) -> bool {
        self.state().holdings.get(&partition).is_some_and(|holding| holding.held)
    }

    /// Every partition has a holder, and those of this node are served: it is ready from now on, whatever moves later.
    pub fn settle(&self) {
        self.0.settled.store(true, Ordering::Release);
    }

    /// Whether that was so once.
    pub fn is_settled(&self) -> bool {
        self.0.settled.load(Ordering::Acquire)
    }

    /// Waits for a reason to look, but no longer than `most`.
    pub fn wait(&self, most: Duration) {
        let state = self.state();
        let waits = |state: &mut State| !state.poked;
        let (mut state, _) =
            self.0.pokes.wait_timeout_while(state, most, waits).unwrap_or_else(PoisonError::into_inner);
        state.poked = false;
    }

    // ---- an operator's ------------------------------------------------------------------------------------------------

    /// Has a partition of this node's moved to the writer `to`. Blocks until it is that one's, for some seconds at most.
    ///
    /// # Errors
    /// For people: why not, or not yet.
    pub fn move_to(&self, partition: u16, to: &str) -> Result<Moved, String> {
        let (reply, moved) = mpsc::channel();
        self.state().wanted.push(MoveRequest { partition, to: to.to_owned(), reply });
        self.poke();
        match moved.recv_timeout(MOVE_WITHIN) {
            Ok(moved) => moved,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(format!(
                "partition {partition} is not {to}'s after {} s; it goes on, and `status --cluster` says who holds it",
                MOVE_WITHIN.as_secs_f32()
            )),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err("this writer is stopping".to_owned()),
        }
    }

    // ---- the shards' -------------------------------------------------------------------------------------------------

    /// The keeper looks at once: others may have given something up.
    pub(super) fn poke(&self) {
        self.state().poked = true;
        self.0.pokes.notify_all();
    }

    /// The node stops: the keeper has everything given up.
    pub fn leave(&self) {
        self.state().leaves = true;
        self.poke();
    }

    /// How many partitions shards have, or will have.
    pub fn served(&self) -> usize {
        self.state().served
    }

    /// The partitions that have arrived for a shard.
    pub(super) fn take_arriving(&self, shard: u16) -> Vec<Arriving> {
        let topology = self.0.topology;
        let mut state = self.state();
        let (here, others) = std::mem::take(&mut state.arriving)
            .into_iter()
            .partition(|(partition, _)| topology.partition_shard(partition.number()) == shard);
        state.arriving = others;
        here
    }

    /// A shard serves a partition (`held`), or does so no longer.
    pub(super) fn note(&self, holding: Holding) {
        self.state().holdings.insert(holding.partition, holding);
        let epoch = if holding.held { holding.epoch as i64 } else { 0 };
        self.0.epochs.get_or_create(&label(holding.partition)).set(epoch);
        self.changed();
    }

    /// A shard has dropped a partition; `in_order`: it was asked to give it up, and has.
    pub(super) fn dropped(&self, partition: u16, in_order: bool) {
        let mut state = self.state();
        if in_order {
            state.given_up.push(GivenUp { partition, served: true });
        } else {
            state.served = state.served.saturating_sub(1);
        }
        drop(state);
        self.poke();
    }

    /// The next holder of one that was given up has been told, if it is known.
    pub(super) fn forgotten(&self) {
        let mut state = self.state();
        state.served = state.served.saturating_sub(1);
    }

    /// Another writer says something of a partition that moves.
    pub(super) fn heard(&self, word: MoveWord) {
        self.state().words.push(word);
        self.poke();
    }

    /// Another number after every change: cheap to look at.
    pub(super) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// The table of pinned chats was read, in which so many are on their way: whoever asks owners is told, if it is another one.
    pub fn note_places(&self, places: Places, moving: usize) {
        let mut state = self.state();
        if places.version <= state.places.version {
            return;
        }
        self.0.elsewhere.set(places.away().len() as i64);
        self.0.moving.set(moving as i64);
        state.places = places;
        drop(state);
        self.changed();
    }

    /// The chats that are not at home.
    pub(super) fn places(&self) -> Places {
        self.state().places.clone()
    }

    fn changed(&self) {
        self.0.changes.fetch_add(1, Ordering::Release);
        if let Some(inboxes) = self.0.inboxes.get() {
            inboxes.iter().for_each(|inbox| inbox.put(ShardChange::Holdings));
        }
    }

    /// What each partition is, or was last.
    pub(super) fn all(&self) -> Vec<Holding> {
        self.state().holdings.values().copied().collect()
    }
}
