//! The keeper of a writer that shares its store: a thread that asks the table of leases what this node may hold, opens it, and
//! gives it back.
//!
//! Everything here may block; shards never wait for it. What must stay true: leases are renewed while partitions are opened or
//! read ahead, which is why other threads do that; and when the process ends in order, what it held is free at once.

mod moves;
mod opener;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use fabric::entropy::{Entropy as _, OsEntropy};
use fabric::time::{Clock as _, SystemClock};
use miette::{IntoDiagnostic as _, Result, WrapErr as _};
use schema::places::Places;
use storage_writer::lease::{Epoch, Keeping, LeaseConfig, LeaseTable, Tenure, WriterId};

use self::moves::Moves;
pub(super) use self::opener::Opener;
use self::opener::Opening;
use crate::node::{Holdings, MoveWord};

/// When the process ends, what could not be given back is left for the others to take over after so long.
const GIVE_BACK: Duration = Duration::from_secs(3);
/// So many partitions are opened at once, and so many read ahead: each waits for the store, not for a core, and after the death
/// of a writer chats wait for the last of them.
const AT_ONCE: usize = 4;

/// A table of leases, and who this writer is in it as long as nobody gives it up.
pub(super) type InTable = (Arc<dyn LeaseTable>, WriterId);

/// The thread. Call [`Self::finish`] once the shards have ended.
pub(super) struct Keeper {
    thread: JoinHandle<()>,
    ended: Arc<AtomicBool>,
    holdings: Holdings,
    table: InTable,
}

impl Keeper {
    /// Starts it, for the writer `name`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(name: &str, table: Arc<dyn LeaseTable>, opener: Opener, holdings: Holdings) -> Result<Self> {
        let me = WriterId { name: name.to_owned(), incarnation: OsEntropy.next_u64() >> 1 };
        let in_table = (Arc::clone(&table), me.clone());
        let keeping = Keeping::new(table, me, LeaseConfig::default(), Arc::new(SystemClock));
        let ended = Arc::new(AtomicBool::new(false));
        let opening = Opening::new(opener, holdings.clone());
        let (opens_them, reads_them) = (opening.clone(), opening.clone());
        let to_open = Hands::start("opener", move |tenure: Arc<Tenure>| opens_them.open(&tenure))?;
        let to_read = Hands::start("reader", move |word| reads_them.read_ahead(word))?;
        let (moves, of_thread) = (Moves::new(holdings.clone()), Arc::clone(&ended));
        let mut rounds = Rounds {
            keeping,
            moves,
            opening,
            to_open,
            to_read,
            stopping: false,
            holdings: holdings.clone(),
            ended: of_thread,
        };
        let thread = start_thread("keeper", move || rounds.run())?;
        Ok(Self { thread, ended, holdings, table: in_table })
    }

    /// The table that it keeps.
    pub(super) fn in_table(&self) -> InTable {
        self.table.clone()
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

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .into_diagnostic()
        .wrap_err_with(|| format!("the thread {name:?}, which keeps partitions, cannot be started"))
}

/// Threads that do something with partitions, one after the other with the same one.
struct Hands<T>([mpsc::Sender<T>; AT_ONCE]);

impl<T: Send + 'static> Hands<T> {
    fn start(name: &str, work: impl Fn(T) + Clone + Send + 'static) -> Result<Self> {
        let channels = [(); AT_ONCE].map(|()| mpsc::channel());
        let senders = channels.each_ref().map(|(sender, _)| mpsc::Sender::clone(sender));
        for (_, of_thread) in channels {
            let work = work.clone();
            start_thread(name, move || of_thread.into_iter().for_each(work))?;
        }
        Ok(Self(senders))
    }

    fn give(&self, partition: u16, what: T) {
        // They live as long as the keeper's thread.
        let _ = self.0[usize::from(partition) % AT_ONCE].send(what);
    }
}

struct Rounds {
    keeping: Keeping,
    moves: Moves,
    opening: Opening,
    to_open: Hands<Arc<Tenure>>,
    to_read: Hands<MoveWord>,
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
            // First what a partition waits for.
            for given_up in self.holdings.take_given_up() {
                self.moves.given_up(&mut self.keeping, given_up);
            }
            for word in self.holdings.take_words() {
                if let Some(word) = self.moves.heard(&self.keeping, word) {
                    self.to_read.give(word.partition, word);
                }
            }
            self.holdings.take_wanted().into_iter().for_each(|wanted| self.moves.wanted(&mut self.keeping, wanted));
            let ended = self.ended.load(Ordering::Acquire);
            let changes = self.keeping.round();
            for partition in changes.lost {
                self.moves.lost(partition);
                self.holdings.lose(partition);
            }
            changes.gained.into_iter().for_each(|tenure| self.to_open.give(tenure.partition(), tenure));
            changes.drain.into_iter().for_each(|leaving| self.moves.begin(leaving, None));
            self.look_at_pins();
            if ended {
                self.moves.end(&mut self.keeping);
            }
            self.settle(&changes.owners);
            self.opening.forget_old();
            let wait_ms = if ended { changes.wait_ms.min(10) } else { changes.wait_ms };
            self.holdings.wait(self.moves.patience(Duration::from_millis(wait_ms)));
        }
    }

    /// Says where pinned chats are, and has a partition opened anew that does not have the chats that it is to have: one at a
    /// time, and nothing while partitions move.
    fn look_at_pins(&mut self) {
        let Some((pins, others)) = self.opening.look_at_pins() else { return };
        let places = Places::new(pins.version, pins.away(self.opening.partitions()).collect());
        self.opening.note_places(&places);
        self.holdings.note_places(places, pins.rows.iter().filter(|pin| !pin.settled).count());
        if !self.moves.is_idle() {
            return;
        }
        if let Some(leaving) = others.into_iter().find_map(|partition| self.keeping.anew(partition)) {
            tracing::info!(
                partition = leaving.partition,
                version = pins.version,
                "opened anew: other chats are to be in it"
            );
            self.moves.anew(leaving);
        }
    }

    /// This node is ready once nothing is nobody's, and what is its own is served.
    fn settle(&self, owners: &[(u16, Epoch, Option<WriterId>)]) {
        if owners.is_empty() || self.holdings.is_settled() {
            return;
        }
        let me = self.keeping.me();
        // What another start of this node had is nobody's before long.
        let has_one =
            |owner: &WriterId, partition| owner.name != me.name || owner == me && self.holdings.serves(partition);
        if owners.iter().all(|(partition, _, owner)| owner.as_ref().is_some_and(|owner| has_one(owner, *partition))) {
            self.holdings.settle();
        }
    }
}
