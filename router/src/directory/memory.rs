//! The directory of one process: in memory, and one for all its router partitions.
//!
//! In parts by user, each behind a lock that is held for a look-up or a change of one user. A push is routed where its chat's
//! owner is and a session registers where its connection is, so neither is handed to another thread first. A gateway that is
//! gone is looked for in a few parts a step. What must stay true: nothing is called while a lock is held but what the caller
//! of [`Directory::each_session`] passes, and that only notes what it is shown; the lock of what is lost is taken before that
//! of a part, never after.

mod mirrored;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fabric::hash::{Map, map};
use fabric::mutex::lock;
use schema::ids::UserId;
use smallvec::SmallVec;

use super::{Directory, Outcome, Registration};
use mirrored::{Mirrored, Sums};

pub use mirrored::{Change, MirrorCounts};

/// Parts of the map, each behind its own lock on a cache line of its own.
const PARTS: usize = 256;
/// Parts looked through in a step of [`Directory::sweep`]: 4,000 sessions of a million, an eighth of a millisecond.
const SWEPT_PARTS: usize = 1;

type Sessions = SmallVec<[Registration; 1]>;

/// A part's users.
struct Table {
    users: Map<UserId, Sessions>,
    /// Where there is a mirror.
    mirrored: Option<Box<Mirrored>>,
}

#[repr(align(64))]
struct Part(RwLock<Table>);

/// A gateway that is gone.
struct Lost {
    incarnation: u64,
    /// The first part that has not been looked through.
    next: usize,
}

struct Shared {
    parts: Box<[Part]>,
    session_count: AtomicUsize,
    lost: Mutex<VecDeque<Lost>>,
    /// How many are in `lost`: who registers looks there only when it is not 0.
    losing: AtomicUsize,
    /// Where there is a mirror.
    sums: Option<Sums>,
}

/// All of a process's registrations. Clones share them; any thread.
#[derive(Clone)]
pub struct MemoryDirectory(Arc<Shared>);

impl std::fmt::Debug for MemoryDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryDirectory").field("sessions", &self.session_count()).finish_non_exhaustive()
    }
}

impl MemoryDirectory {
    /// Empty. `hash_seed`: see [`fabric::hash`].
    pub fn new(hash_seed: u64) -> Self {
        Self::with(hash_seed, None)
    }

    /// As [`Self::new`], with what a mirror elsewhere needs: [`Self::take_changes`] and [`Self::restore`].
    pub fn mirrored(hash_seed: u64) -> Self {
        Self::with(hash_seed, Some(Sums::default()))
    }

    fn with(hash_seed: u64, sums: Option<Sums>) -> Self {
        let mirrored = || sums.is_some().then(|| Box::new(Mirrored::new(hash_seed)));
        let table = |_| Part(RwLock::new(Table { users: map(hash_seed), mirrored: mirrored() }));
        let parts = (0..PARTS).map(table).collect();
        let (session_count, losing) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Shared { parts, session_count, lost: Mutex::default(), losing, sums }))
    }

    fn part(&self, user: UserId) -> &RwLock<Table> {
        let hash = user.get().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &self.0.parts[(hash >> 56) as usize % PARTS].0
    }

    fn read(&self, user: UserId) -> RwLockReadGuard<'_, Table> {
        self.part(user).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, user: UserId) -> RwLockWriteGuard<'_, Table> {
        self.part(user).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, VecDeque<Lost>> {
        lock(&self.0.lost)
    }

    /// Looks through some parts for what is lost; returns whether that was all of them.
    fn step(&self, lost: &mut Lost, parts: usize) -> bool {
        let end = PARTS.min(lost.next + parts);
        for part in &self.0.parts[lost.next..end] {
            let mut removed = 0;
            let mut table = part.0.write().unwrap_or_else(PoisonError::into_inner);
            let Table { users, mirrored } = &mut *table;
            let mut mirror = mirrored.as_deref_mut().zip(self.0.sums.as_ref());
            users.retain(|&user, sessions| {
                let before = sessions.len();
                sessions.retain(|held| {
                    let goes = held.address.incarnation == lost.incarnation;
                    if goes && let Some((mirrored, sums)) = &mut mirror {
                        mirrored.mark(user, Some(*held), sums);
                    }
                    !goes
                });
                removed += before - sessions.len();
                !sessions.is_empty()
            });
            if let Some((mirrored, sums)) = mirror {
                mirrored.forget_all(|held| held.address.incarnation == lost.incarnation, sums);
            }
            self.0.session_count.fetch_sub(removed, Ordering::Relaxed);
        }
        lost.next = end;
        end == PARTS
    }

    /// A gateway that was lost registers again: what it had before goes first, so that what it has now stays.
    fn is_back(&self, incarnation: u64) {
        let mut lost = self.lost();
        let Some(at) = lost.iter().position(|lost| lost.incarnation == incarnation) else { return };
        self.step(&mut lost[at], PARTS);
        lost.remove(at);
        self.0.losing.store(lost.len(), Ordering::Release);
    }
}

impl Directory for MemoryDirectory {
    fn register(&mut self, user: UserId, registration: Registration) -> Outcome {
        if self.0.losing.load(Ordering::Acquire) > 0 {
            self.is_back(registration.address.incarnation);
        }
        let mut table = self.write(user);
        let Table { users, mirrored } = &mut *table;
        let sessions = users.entry(user).or_default();
        if let Some((mirrored, sums)) = mirrored.as_deref_mut().zip(self.0.sums.as_ref()) {
            mirrored.registers(user, (sessions, registration), sums);
        }
        let Some(held) = sessions.iter_mut().find(|held| held.device == registration.device) else {
            sessions.push(registration);
            self.0.session_count.fetch_add(1, Ordering::Relaxed);
            return Outcome::Added;
        };
        if *held == registration {
            return Outcome::Unchanged;
        }
        if held.epoch >= registration.epoch {
            return Outcome::Stale(*held);
        }
        Outcome::Replaced(core::mem::replace(held, registration))
    }

    fn unregister(&mut self, user: UserId, registration: Registration) -> bool {
        let mut table = self.write(user);
        let Table { users, mirrored } = &mut *table;
        let sessions = users.get_mut(&user);
        let place = sessions.as_ref().and_then(|sessions| sessions.iter().position(|held| *held == registration));
        let mut was_read = false;
        if let Some((mirrored, sums)) = mirrored.as_deref_mut().zip(self.0.sums.as_ref()) {
            was_read = mirrored.forget(user, |read| *read == registration, sums);
            if place.is_some() || was_read {
                mirrored.mark(user, Some(registration), sums);
            }
        }
        let (Some(sessions), Some(place)) = (sessions, place) else { return was_read };
        sessions.swap_remove(place);
        if sessions.is_empty() {
            users.remove(&user);
        }
        self.0.session_count.fetch_sub(1, Ordering::Relaxed);
        true
    }

    fn each_session(&self, user: UserId, mut see: impl FnMut(&Registration)) {
        let table = self.read(user);
        if let Some(sessions) = table.users.get(&user) {
            sessions.iter().for_each(&mut see);
        }
        if let Some(mirrored) = &table.mirrored {
            mirrored.read(user).iter().for_each(see);
        }
    }

    fn session_count(&self) -> usize {
        self.0.session_count.load(Ordering::Relaxed)
    }

    fn lose(&mut self, incarnation: u64) {
        let mut lost = self.lost();
        match lost.iter_mut().find(|lost| lost.incarnation == incarnation) {
            Some(lost) => lost.next = 0,
            None => lost.push_back(Lost { incarnation, next: 0 }),
        }
        self.0.losing.store(lost.len(), Ordering::Release);
    }

    fn sweep(&mut self) -> bool {
        if self.0.losing.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut lost = self.lost();
        if lost.front_mut().is_none_or(|first| self.step(first, SWEPT_PARTS)) {
            lost.pop_front();
            self.0.losing.store(lost.len(), Ordering::Release);
        }
        !lost.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use schema::envelope::Address;
    use schema::ids::DeviceId;

    use super::*;

    #[test]
    fn the_memory_directory_keeps_the_contract() {
        super::super::contract::run(|| MemoryDirectory::new(7));
        super::super::contract::run(|| MemoryDirectory::mirrored(7));
    }

    #[test]
    fn a_sweep_does_a_few_parts_a_step_and_ends() {
        let mut directory = MemoryDirectory::new(7);
        for user in (1..=10_000).filter_map(UserId::new) {
            let address = Address { incarnation: 1 + user.get() % 2, shard: 0, connection: 1, generation: 0 };
            directory.register(user, Registration { device: DeviceId(1), address, epoch: 1 });
        }
        directory.lose(1);
        let mut steps = 0;
        let mut before = directory.session_count();
        while directory.sweep() {
            steps += 1;
            let left = directory.session_count();
            assert!(before - left < 400, "{} sessions in a step", before - left);
            before = left;
        }
        assert_eq!((steps + 1, directory.session_count()), (PARTS / SWEPT_PARTS, 5_000));
    }

    #[test]
    fn clones_are_one_directory_for_all_threads() {
        const USERS: u64 = 2_000;
        let directory = MemoryDirectory::new(7);
        let registration = |thread: u16, id: u64| {
            let address = Address { incarnation: 1, shard: thread, connection: id as u32, generation: 0 };
            Registration { device: DeviceId(thread.into()), address, epoch: id }
        };
        let users = || (1..=USERS).filter_map(UserId::new);
        std::thread::scope(|scope| {
            for thread in 0..4u16 {
                let mut mine = directory.clone();
                scope.spawn(move || {
                    for user in users() {
                        assert_eq!(mine.register(user, registration(thread, user.get())), Outcome::Added);
                    }
                    for user in users().filter(|user| user.get() % 2 == 0) {
                        assert!(mine.unregister(user, registration(thread, user.get())));
                    }
                });
            }
        });
        assert_eq!(directory.session_count(), 4 * USERS as usize / 2);
        for user in users() {
            let mut devices = Vec::new();
            directory.each_session(user, |held| devices.push(held.device.0));
            devices.sort_unstable();
            let left: &[u32] = if user.get() % 2 == 0 { &[] } else { &[0, 1, 2, 3] };
            assert_eq!(devices, left, "user {}", user.get());
        }
    }
}
