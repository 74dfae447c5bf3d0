//! The directory of one process: in memory, and one for all its router partitions.
//!
//! In parts by user, each behind a lock that is held for a look-up or a change of one user. A push is routed where its chat's
//! owner is and a session registers where its connection is, so neither is handed to another thread first. What must stay
//! true: nothing is called while a lock is held but what the caller of [`Directory::each_session`] passes, and that only notes
//! what it is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fabric::hash::{Map, map};
use schema::ids::UserId;
use smallvec::SmallVec;

use super::{Directory, Outcome, Registration};

/// Parts of the map, each behind its own lock on a cache line of its own.
const PARTS: usize = 256;

type Sessions = SmallVec<[Registration; 1]>;

#[repr(align(64))]
struct Part(RwLock<Map<UserId, Sessions>>);

struct Shared {
    parts: Box<[Part]>,
    session_count: AtomicUsize,
}

/// All of a process's registrations. Clones share them; any thread.
#[derive(Clone)]
pub struct MemoryDirectory(Arc<Shared>);

impl MemoryDirectory {
    /// Empty. `hash_seed`: see [`fabric::hash`].
    pub fn new(hash_seed: u64) -> Self {
        let parts = (0..PARTS).map(|_| Part(RwLock::new(map(hash_seed)))).collect();
        Self(Arc::new(Shared { parts, session_count: AtomicUsize::new(0) }))
    }

    fn part(&self, user: UserId) -> &RwLock<Map<UserId, Sessions>> {
        let hash = user.get().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &self.0.parts[(hash >> 56) as usize % PARTS].0
    }

    fn read(&self, user: UserId) -> RwLockReadGuard<'_, Map<UserId, Sessions>> {
        self.part(user).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, user: UserId) -> RwLockWriteGuard<'_, Map<UserId, Sessions>> {
        self.part(user).write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory for MemoryDirectory {
    fn register(&mut self, user: UserId, registration: Registration) -> Outcome {
        let mut users = self.write(user);
        let sessions = users.entry(user).or_default();
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
        let mut users = self.write(user);
        let Some(sessions) = users.get_mut(&user) else { return false };
        let Some(place) = sessions.iter().position(|held| *held == registration) else { return false };
        sessions.swap_remove(place);
        if sessions.is_empty() {
            users.remove(&user);
        }
        self.0.session_count.fetch_sub(1, Ordering::Relaxed);
        true
    }

    fn each_session(&self, user: UserId, mut see: impl FnMut(&Registration)) {
        if let Some(sessions) = self.read(user).get(&user) {
            sessions.iter().for_each(&mut see);
        }
    }

    fn session_count(&self) -> usize {
        self.0.session_count.load(Ordering::Relaxed)
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
