//! One writer's view of the leases: from the table as it was read to what is to be asked of it. Sans-IO.
//!
//! All writers that see the same table come to the same plan: what is free goes one by one to whoever has least, and with
//! nothing free the writer that has most gives one to whoever has least, when that has two fewer. Whoever gives a partition up
//! of its own will names its successor, who then has nothing to wait for. What must stay true: a lease is counted
//! from before it was asked for; another writer is given up only after its beat has been seen to stand still for all of a
//! lease and the margin, in a table that answered all the while; a partition is held only under an epoch that this keeper
//! has taken itself or that the table gives it, and never twice under the same.

use std::collections::{BTreeMap, BTreeSet};

use super::{Epoch, LeaseConfig, PartitionRow, TableView, WriterId, WriterRow};

/// What is to be asked of the table, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Make this writer's row; report [`Keeper::renewed`].
    Enter,
    /// Raise its beat; report [`Keeper::renewed`].
    Renew {
        /// The beat it has.
        beat: u64,
        /// Whether it is about to stop.
        leaving: bool,
    },
    /// Give up another one.
    Bury {
        /// Whom.
        writer: WriterId,
        /// The beat that stood still.
        beat: u64,
    },
    /// Take a partition; report [`Keeper::took`].
    Take(PartitionRow),
    /// Give one back.
    Release(u16, Epoch),
    /// Remove a writer that owns nothing, this one or another; report [`Keeper::removed`].
    Remove(WriterId),
}

/// What a look at the table leads to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// What is to be asked of the table, in this order.
    pub actions: Vec<Action>,
    /// Partitions that this writer has, though it was not told when it took them.
    pub gained: Vec<(u16, Epoch)>,
    /// Partitions that are to stop, and be given up with [`Keeper::given_up`] once what they have under way is done.
    pub drain: Vec<Leaving>,
    /// Partitions that are another's by now.
    pub lost: Vec<u16>,
}

/// A partition that is to be given up, and who is to have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaving {
    /// Its number.
    pub partition: u16,
    /// Under which epoch it is held.
    pub epoch: Epoch,
    /// Whose it is to be; `None`: nobody is there to take it.
    pub to: Option<WriterId>,
}

/// A partition that is held.
struct Held {
    epoch: Epoch,
    /// Rises with every gain.
    gained: u64,
}

/// Why a partition is not moved as it was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MoveError {
    /// It is another's, or nobody's.
    #[error("this writer does not hold partition {0}")]
    NotHeld(u16),
    /// It is on its way already.
    #[error("partition {0} is being given up already")]
    Leaving(u16),
    /// Nobody who could take it has that name.
    #[error("{0} is no writer that takes partitions: it does not run, or it is stopping")]
    NoTaker(String),
    /// It is there already.
    #[error("{0} is this writer")]
    Here(String),
}

/// What is known of another writer's beat.
struct Seen {
    beat: u64,
    since_ns: u64,
}

/// See the module.
pub struct Keeper {
    me: WriterId,
    config: LeaseConfig,
    /// The row of this incarnation has been seen.
    entered: bool,
    until_ns: u64,
    renew_ns: u64,
    looked_ns: u64,
    others: BTreeMap<WriterId, Seen>,
    held: BTreeMap<u16, Held>,
    gains: u64,
    /// Of those held; and who is to have them.
    draining: BTreeMap<u16, Option<WriterId>>,
    /// Who takes partitions, as the table was read last.
    takers: BTreeSet<WriterId>,
    /// Given up here, and perhaps not yet in the table.
    giving: BTreeMap<u16, Epoch>,
    /// The last epoch under which each was held.
    used: BTreeMap<u16, Epoch>,
    stopping: bool,
    gone: bool,
}

impl Keeper {
    /// A writer that owns nothing. `me` has never entered the table.
    pub const fn new(me: WriterId, config: LeaseConfig) -> Self {
        Self {
            me,
            config,
            entered: false,
            until_ns: 0,
            renew_ns: 0,
            looked_ns: 0,
            others: BTreeMap::new(),
            held: BTreeMap::new(),
            gains: 0,
            draining: BTreeMap::new(),
            takers: BTreeSet::new(),
            giving: BTreeMap::new(),
            used: BTreeMap::new(),
            stopping: false,
            gone: false,
        }
    }

    /// Who it is. Another incarnation after it has been buried.
    pub const fn me(&self) -> &WriterId {
        &self.me
    }

    /// Its lease ends at this time, ns; 0 = it has none.
    pub const fn until_ns(&self) -> u64 {
        self.until_ns
    }

    /// What it holds, those that drain included.
    pub fn held(&self) -> impl Iterator<Item = (u16, Epoch)> {
        self.held.iter().map(|(partition, held)| (*partition, held.epoch))
    }

    /// Takes nothing more and drains what it has.
    pub const fn stop(&mut self) {
        self.stopping = true;
    }

    /// After [`Self::stop`]: everything is given back and the row is removed.
    pub const fn is_gone(&self) -> bool {
        self.gone
    }

    /// The partition is no longer served here: nothing of it is under way. Returns the epoch under which it was held, if it
    /// was, and who is to have it, if they still take partitions; a later step releases it if nobody has.
    pub fn given_up(&mut self, partition: u16) -> Option<(Epoch, Option<WriterId>)> {
        let to = self.draining.remove(&partition).flatten().filter(|to| self.takers.contains(to));
        let Held { epoch, .. } = self.held.remove(&partition)?;
        self.giving.insert(partition, epoch);
        Some((epoch, to))
    }

    /// Somebody wants a partition of this writer's to be another's. What the next step would have drained, this one does; the
    /// balance may then give another one back for it, but not the one that was moved.
    ///
    /// # Errors
    /// [`MoveError`]: everything is as it was.
    pub fn move_to(&mut self, partition: u16, name: &str) -> Result<Leaving, MoveError> {
        let Some(Held { epoch, .. }) = self.held.get(&partition) else { return Err(MoveError::NotHeld(partition)) };
        if self.draining.contains_key(&partition) {
            return Err(MoveError::Leaving(partition));
        }
        if name == self.me.name {
            return Err(MoveError::Here(name.to_owned()));
        }
        let to = self.takers.iter().find(|taker| taker.name == name).cloned();
        let to = to.ok_or_else(|| MoveError::NoTaker(name.to_owned()))?;
        self.draining.insert(partition, Some(to.clone()));
        Ok(Leaving { partition, epoch: *epoch, to: Some(to) })
    }

    /// A partition of this writer's is to be opened anew, because other chats are to be in it: it drains, and is this writer's
    /// again under the next epoch. `None`: it is not held, or drains already.
    pub fn anew(&mut self, partition: u16) -> Option<Leaving> {
        let epoch = self.held.get(&partition)?.epoch;
        if self.stopping || self.draining.contains_key(&partition) {
            return None;
        }
        self.draining.insert(partition, Some(self.me.clone()));
        Some(Leaving { partition, epoch, to: Some(self.me.clone()) })
    }

    /// An [`Action::Enter`] or [`Action::Renew`] of this incarnation that was asked at `asked_ns` was done.
    pub fn renewed(&mut self, asked_ns: u64) {
        self.entered = true;
        self.until_ns = self.until_ns.max(asked_ns + self.config.lease_ms * 1_000_000);
    }

    /// An [`Action::Take`] was done: the partition is held, under this epoch.
    pub fn took(&mut self, seen: &PartitionRow) -> (u16, Epoch) {
        let epoch = Epoch(seen.epoch.0 + 1);
        self.hold(seen.partition, epoch);
        (seen.partition, epoch)
    }

    fn hold(&mut self, partition: u16, epoch: Epoch) {
        self.draining.remove(&partition);
        self.giving.remove(&partition);
        self.gains += 1;
        self.held.insert(partition, Held { epoch, gained: self.gains });
        self.used.insert(partition, epoch);
    }

    /// An [`Action::Remove`] was done.
    pub fn removed(&mut self, writer: &WriterId) {
        self.gone |= *writer == self.me;
    }

    /// The table could not be read: how long others' beats stand still is counted anew.
    pub fn table_away(&mut self) {
        self.others.clear();
    }

    /// The table as it was read. `now_ns`: after that.
    pub fn step(&mut self, now_ns: u64, view: &TableView) -> Step {
        let mut step = Step::default();
        if self.gone {
            return step;
        }
        // Whoever did not look for long cannot tell who was away from who could not write.
        if now_ns.saturating_sub(self.looked_ns) > self.config.lease_ms * 1_000_000 / 2 {
            self.others.clear();
        }
        self.looked_ns = now_ns;
        self.own_row(now_ns, view, &mut step);
        let takes_part = |row: &&WriterRow| !row.buried && !row.leaving;
        self.takers = view.writers.iter().filter(takes_part).map(|row| row.writer.clone()).collect();
        self.watch(now_ns, view, &mut step);
        self.own_partitions(view, &mut step);
        if self.stopping {
            self.leave(view, &mut step);
        } else if self.entered && now_ns < self.until_ns {
            self.balance(view, &mut step);
        }
        step
    }

    /// Enters, renews, or finds that it was buried and begins again as another.
    fn own_row(&mut self, now_ns: u64, view: &TableView, step: &mut Step) {
        let row = view.writers.iter().find(|row| row.writer == self.me);
        if row.map_or(self.entered, |row| row.buried) {
            step.lost.extend(std::mem::take(&mut self.held).into_keys());
            self.draining.clear();
            self.giving.clear();
            self.me.incarnation = self.me.incarnation.wrapping_add(1);
            (self.entered, self.until_ns, self.renew_ns) = (false, 0, 0);
        }
        match row.filter(|row| row.writer == self.me) {
            Some(row) if now_ns >= self.renew_ns || row.leaving != self.stopping => {
                step.actions.push(Action::Renew { beat: row.beat, leaving: self.stopping });
            }
            None if !self.stopping => step.actions.push(Action::Enter),
            _ => return,
        }
        self.renew_ns = now_ns + self.config.renew_ms * 1_000_000;
    }

    /// Buries whose beat stands still, and removes the buried that own nothing.
    fn watch(&mut self, now_ns: u64, view: &TableView, step: &mut Step) {
        let patience_ns = (self.config.lease_ms + self.config.margin_ms) * 1_000_000;
        let owns = |writer: &WriterId| view.partitions.iter().any(|row| row.owner.as_ref() == Some(writer));
        for WriterRow { writer, beat, buried, .. } in view.writers.iter().filter(|row| row.writer != self.me) {
            if *buried {
                if !owns(writer) {
                    step.actions.push(Action::Remove(writer.clone()));
                }
                continue;
            }
            let fresh = Seen { beat: *beat, since_ns: now_ns };
            match self.others.get_mut(writer) {
                Some(seen) if seen.beat == *beat => {
                    if now_ns - seen.since_ns > patience_ns {
                        step.actions.push(Action::Bury { writer: writer.clone(), beat: *beat });
                    }
                }
                Some(seen) => *seen = fresh,
                None => {
                    self.others.insert(writer.clone(), fresh);
                }
            }
        }
        self.others.retain(|writer, _| view.writers.iter().any(|row| row.writer == *writer && !row.buried));
    }

    /// What the table says of this writer's own partitions.
    fn own_partitions(&mut self, view: &TableView, step: &mut Step) {
        for &PartitionRow { partition, epoch, ref owner } in &view.partitions {
            let used = self.used.get(&partition).copied().unwrap_or_default();
            let is_mine = owner.as_ref() == Some(&self.me);
            if epoch < used {
                continue; // taken since it was read
            }
            if is_mine && epoch > used {
                // A taking whose end was not heard of.
                self.hold(partition, epoch);
                step.gained.push((partition, epoch));
            } else if is_mine && !self.held.contains_key(&partition) {
                // Given up, or its release was lost: nobody is to be served under an epoch that was used.
                step.actions.push(Action::Release(partition, epoch));
            } else if !is_mine {
                self.giving.remove(&partition);
                if self.held.remove(&partition).is_some() {
                    self.draining.remove(&partition);
                    step.lost.push(partition);
                }
            }
        }
    }

    /// How many partitions each of those has that take some.
    fn counts(&self, view: &TableView) -> BTreeMap<WriterId, usize> {
        let mut counts: BTreeMap<_, usize> = self.takers.iter().map(|taker| (taker.clone(), 0)).collect();
        for owner in view.partitions.iter().filter_map(|row| row.owner.as_ref()) {
            if let Some(count) = counts.get_mut(owner) {
                *count += 1;
            }
        }
        counts
    }

    fn leave(&mut self, view: &TableView, step: &mut Step) {
        let mut counts = self.counts(view);
        counts.remove(&self.me);
        for to in self.draining.values().flatten() {
            counts.entry(to.clone()).and_modify(|count| *count += 1);
        }
        for (&partition, &Held { epoch, .. }) in &self.held {
            if self.draining.contains_key(&partition) {
                continue;
            }
            let to = counts.iter_mut().min_by_key(|(_, count)| **count).map(|(to, count)| {
                *count += 1;
                to.clone()
            });
            self.draining.insert(partition, to.clone());
            step.drain.push(Leaving { partition, epoch, to });
        }
        let owns = view.partitions.iter().any(|row| row.owner.as_ref() == Some(&self.me));
        if self.held.is_empty() && !owns {
            step.actions = vec![Action::Remove(self.me.clone())];
        }
    }

    /// Takes what is this writer's part of what is free, or gives one to whoever has least.
    fn balance(&mut self, view: &TableView, step: &mut Step) {
        let mut counts = self.counts(view);
        if !counts.contains_key(&self.me) {
            return;
        }
        let lives = |owner: &WriterId| view.writers.iter().any(|row| row.writer == *owner && !row.buried);
        let free: Vec<_> = view.partitions.iter().filter(|row| !row.owner.as_ref().is_some_and(lives)).collect();
        if free.is_empty() && self.draining.is_empty() && self.giving.is_empty() {
            return self.even_out(&counts, step);
        }
        for row in free {
            let least = counts.iter_mut().min_by_key(|(_, count)| **count);
            let Some((writer, count)) = least else { return };
            *count += 1;
            if *writer == self.me && !self.held.contains_key(&row.partition) {
                step.actions.push(Action::Take(row.clone()));
            }
        }
    }

    /// Nothing is free: gives away what was held for longest, so that nothing goes to and fro.
    fn even_out(&mut self, counts: &BTreeMap<WriterId, usize>, step: &mut Step) {
        let Some((to, fewest)) = counts.iter().min_by_key(|(_, count)| **count) else { return };
        let most = counts.values().copied().max().unwrap_or(0);
        let first = counts.iter().find(|(_, count)| **count == most).map(|(writer, _)| writer);
        if most >= fewest + 2
            && first == Some(&self.me)
            && let Some((&partition, held)) = self.held.iter().min_by_key(|(_, held)| held.gained)
        {
            self.draining.insert(partition, Some(to.clone()));
            step.drain.push(Leaving { partition, epoch: held.epoch, to: Some(to.clone()) });
        }
    }
}
