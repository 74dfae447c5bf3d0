//! A keeper and its table: rounds of reading, deciding and asking, on a thread that may block.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fabric::time::Clock;

use super::keeper::{Action, Keeper, Leaving, MoveError};
use super::{Epoch, LeaseConfig, LeaseTable, PartitionRow, Tenure, WriterId};
use crate::store::StoreError;

/// What a round changed.
#[derive(Debug, Default)]
pub struct Changes {
    /// Partitions that are this writer's from now on: open them with [`crate::partition::open_owned`].
    pub gained: Vec<Arc<Tenure>>,
    /// Partitions that are to stop: once one has, drop it and call [`Keeping::given_up`]. Who is to have it may be told
    /// before, to read ahead.
    pub drain: Vec<Leaving>,
    /// Partitions that are another's by now: drop them at once.
    pub lost: Vec<u16>,
    /// Every partition with its epoch and owner, as the round read them; empty when the table could not be read.
    pub owners: Vec<(u16, Epoch, Option<WriterId>)>,
    /// When the next round is due, ms.
    pub wait_ms: u64,
}

/// See the module.
pub struct Keeping {
    keeper: Keeper,
    table: Arc<dyn LeaseTable>,
    config: LeaseConfig,
    clock: Arc<dyn Clock + Send + Sync>,
    /// The lease of this incarnation, shared by its tenures.
    until_ns: Arc<AtomicU64>,
    tenures: BTreeMap<u16, Arc<Tenure>>,
    is_away: bool,
}

impl Keeping {
    /// A writer that owns nothing yet. `me`: an incarnation that was never used.
    pub fn new(
        table: Arc<dyn LeaseTable>,
        me: WriterId,
        config: LeaseConfig,
        clock: Arc<dyn Clock + Send + Sync>,
    ) -> Self {
        let until_ns = Arc::new(AtomicU64::new(0));
        let (keeper, tenures) = (Keeper::new(me, config), BTreeMap::new());
        Self { keeper, table, config, clock, until_ns, tenures, is_away: false }
    }

    /// Reads the table and does what follows from it. Blocks for as long as the table takes to answer; what fails is done by
    /// a later round.
    pub fn round(&mut self) -> Changes {
        let mut changes = Changes { wait_ms: self.config.poll_ms, ..Changes::default() };
        let view = match self.table.read() {
            Ok(view) => view,
            Err(error) => {
                self.answered(&Err(error));
                self.keeper.table_away();
                return changes;
            }
        };
        self.answered(&Ok(()));
        changes.owners = view.partitions.iter().map(|row| (row.partition, row.epoch, row.owner.clone())).collect();
        let incarnation = self.keeper.me().incarnation;
        let step = self.keeper.step(self.clock.now().mono_ns, &view);
        if self.keeper.me().incarnation != incarnation {
            tracing::warn!("others have given this writer up: it begins again, owning nothing");
            self.until_ns = Arc::new(AtomicU64::new(0));
        }
        for partition in step.lost {
            self.end(partition);
            changes.lost.push(partition);
        }
        for (partition, epoch) in step.gained {
            self.gain(partition, epoch, &mut changes);
        }
        changes.drain = step.drain;
        for action in step.actions {
            let done = self.act(action, &mut changes);
            self.answered(&done);
        }
        changes
    }

    /// A partition has been dropped here: after it was to drain, or because it could not be opened or its tenure was over for
    /// it. Makes it its successor's, or gives it back, so that nobody need wait for a round of this writer; blocks. Returns
    /// whose it is now, if it is somebody's who was named.
    pub fn given_up(&mut self, partition: u16) -> Option<WriterId> {
        self.end(partition);
        let (epoch, to) = self.keeper.given_up(partition)?;
        let me = self.keeper.me();
        // What fails is done by the next round: it gives back what is still this writer's then.
        let done = match &to {
            Some(to) => {
                let held = PartitionRow { partition, epoch, owner: Some(me.clone()) };
                self.table.take(&held, to)
            }
            None => self.table.release(partition, epoch, me),
        };
        let handed_over = matches!(done, Ok(true));
        self.answered(&done.map(|_| ()));
        to.filter(|_| handed_over)
    }

    /// See [`Keeper::move_to`].
    ///
    /// # Errors
    /// [`MoveError`]: everything is as it was.
    pub fn move_to(&mut self, partition: u16, name: &str) -> Result<Leaving, MoveError> {
        self.keeper.move_to(partition, name)
    }

    /// See [`Keeper::anew`].
    pub fn anew(&mut self, partition: u16) -> Option<Leaving> {
        self.keeper.anew(partition)
    }

    /// Who it is. Another incarnation after others have given it up.
    pub const fn me(&self) -> &WriterId {
        self.keeper.me()
    }

    /// Whether this writer has a partition, be it that it drains.
    pub fn holds(&self, partition: u16) -> bool {
        self.keeper.held().any(|(held, _)| held == partition)
    }

    /// Gives everything back: the next rounds drain what is held. Go on until [`Self::is_gone`].
    pub const fn stop(&mut self) {
        self.keeper.stop();
    }

    /// After [`Self::stop`]: this writer is out of the table.
    pub const fn is_gone(&self) -> bool {
        self.keeper.is_gone()
    }

    fn gain(&mut self, partition: u16, epoch: Epoch, changes: &mut Changes) {
        let tenure = Tenure::new((partition, epoch), Arc::clone(&self.until_ns), Arc::clone(&self.clock));
        self.tenures.insert(partition, Arc::clone(&tenure));
        changes.gained.push(tenure);
    }

    fn end(&mut self, partition: u16) {
        if let Some(tenure) = self.tenures.remove(&partition) {
            tenure.end();
        }
    }

    fn act(&mut self, action: Action, changes: &mut Changes) -> Result<(), StoreError> {
        let me = self.keeper.me().clone();
        match action {
            Action::Enter | Action::Renew { .. } => {
                let asked_ns = self.clock.now().mono_ns;
                let done = match action {
                    Action::Renew { beat, leaving } => self.table.renew(&me, beat, leaving)?,
                    _ => self.table.enter(&me)?,
                };
                if done {
                    self.keeper.renewed(asked_ns);
                    self.until_ns.store(self.keeper.until_ns(), Ordering::Release);
                }
            }
            Action::Bury { writer, beat } => {
                if self.table.bury(&writer, beat)? {
                    tracing::warn!(
                        writer = writer.name,
                        "a writer has not renewed its lease: its partitions are taken over"
                    );
                    // What it owned is free from the next look at the table on.
                    changes.wait_ms = 0;
                }
            }
            Action::Take(seen) => {
                if self.table.take(&seen, &me)? {
                    let (partition, epoch) = self.keeper.took(&seen);
                    self.gain(partition, epoch, changes);
                }
            }
            Action::Release(partition, epoch) => {
                self.table.release(partition, epoch, &me)?;
            }
            Action::Remove(writer) => {
                self.table.remove(&writer)?;
                self.keeper.removed(&writer);
            }
        }
        Ok(())
    }

    /// Says when the table goes away, and when it is back.
    fn answered(&mut self, done: &Result<(), StoreError>) {
        match done {
            Err(error) if !self.is_away => {
                self.is_away = true;
                tracing::warn!(%error, "the table of leases does not answer; what is owned stops being written when its lease ends");
            }
            Ok(()) if self.is_away => {
                self.is_away = false;
                tracing::info!("the table of leases answers again");
            }
            _ => {}
        }
    }
}
