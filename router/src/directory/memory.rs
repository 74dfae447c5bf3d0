//! The directory in memory: one map from user to a short list, inline while a user has one session.

use fabric::hash::{Map, map};
use schema::ids::UserId;
use smallvec::SmallVec;

use super::{Directory, Outcome, Registration};

/// All of a partition's registrations in one map.
pub struct MemoryDirectory {
    users: Map<UserId, SmallVec<[Registration; 1]>>,
    session_count: usize,
}

impl MemoryDirectory {
    /// Empty. `hash_seed`: see [`fabric::hash`].
    pub fn new(hash_seed: u64) -> Self {
        Self { users: map(hash_seed), session_count: 0 }
    }
}

impl Directory for MemoryDirectory {
    fn register(&mut self, user: UserId, registration: Registration) -> Outcome {
        let sessions = self.users.entry(user).or_default();
        let Some(held) = sessions.iter_mut().find(|held| held.device == registration.device) else {
            sessions.push(registration);
            self.session_count += 1;
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
        let Some(sessions) = self.users.get_mut(&user) else { return false };
        let Some(place) = sessions.iter().position(|held| *held == registration) else { return false };
        sessions.swap_remove(place);
        if sessions.is_empty() {
            self.users.remove(&user);
        }
        self.session_count -= 1;
        true
    }

    fn sessions(&self, user: UserId) -> &[Registration] {
        self.users.get(&user).map_or(&[], SmallVec::as_slice)
    }

    fn session_count(&self) -> usize {
        self.session_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_directory_keeps_the_contract() {
        super::super::contract::run(|| MemoryDirectory::new(7));
    }
}
