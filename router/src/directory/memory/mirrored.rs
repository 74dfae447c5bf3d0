//! What a [`MemoryDirectory`] keeps for a mirror elsewhere: which users changed, and what was read back from it.
//!
//! A change is a mark at the user, in the part that its lock guards anyway: a mirror takes marks with the sessions as they are
//! then, so that whatever happens to a user meanwhile is written once. What was read back is beside the sessions, shown to who
//! pushes and to nobody else: it never decides about a registration. What must stay true: both are bounded, and a directory
//! without a mirror pays nothing for either.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use fabric::hash::{Map, map};
use schema::ids::UserId;
use smallvec::SmallVec;

use super::{MemoryDirectory, PARTS, Registration, Sessions};

/// Users of a part whose changes may wait: a million in all.
const CHANGED_MAX: usize = 4_096;
/// Registrations that ended and are remembered of one user.
const REMOVED_MAX: usize = 16;

/// A user who changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Who.
    pub user: UserId,
    /// The sessions there are.
    pub sessions: SmallVec<[Registration; 1]>,
    /// Those that ended since the user was last taken.
    pub removed: SmallVec<[Registration; 1]>,
}

/// How far a mirror is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MirrorCounts {
    /// Users who changed and were not taken yet.
    pub waiting: usize,
    /// Changes that were not noted, because too many waited.
    pub dropped: u64,
    /// Sessions that were read back and have neither registered again nor been forgotten.
    pub unconfirmed: usize,
}

/// A part's share.
pub(super) struct Mirrored {
    changed: Map<UserId, SmallVec<[Registration; 1]>>,
    read: Map<UserId, Sessions>,
}

/// Sums over all parts.
#[derive(Default)]
pub(super) struct Sums {
    waiting: AtomicUsize,
    dropped: AtomicU64,
    unconfirmed: AtomicUsize,
}

impl Mirrored {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self { changed: map(hash_seed), read: map(hash_seed) }
    }

    /// The user changed; `removed`: this session of theirs ended.
    pub(super) fn mark(&mut self, user: UserId, removed: Option<Registration>, sums: &Sums) {
        let is_full = self.changed.len() >= CHANGED_MAX;
        let ended = match self.changed.get_mut(&user) {
            Some(ended) => ended,
            None if is_full => {
                sums.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            None => {
                sums.waiting.fetch_add(1, Ordering::Relaxed);
                self.changed.entry(user).or_default()
            }
        };
        let Some(removed) = removed else { return };
        if ended.len() < REMOVED_MAX {
            ended.push(removed);
        } else {
            sums.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A session comes to those that are `held`: what was read back of its device and is not newer is confirmed, or over.
    pub(super) fn registers(&mut self, user: UserId, (held, came): (&[Registration], Registration), sums: &Sums) {
        self.forget(user, |read| read.device == came.device && read.epoch <= came.epoch, sums);
        let held = held.iter().find(|held| held.device == came.device);
        if held.is_none_or(|held| held.epoch < came.epoch) {
            self.mark(user, None, sums);
        }
    }

    /// What was read back of the user that `goes`; whether there was any.
    pub(super) fn forget(&mut self, user: UserId, goes: impl Fn(&Registration) -> bool, sums: &Sums) -> bool {
        let Some(sessions) = self.read.get_mut(&user) else { return false };
        let before = sessions.len();
        sessions.retain(|held| !goes(held));
        let gone = before - sessions.len();
        if sessions.is_empty() {
            self.read.remove(&user);
        }
        sums.unconfirmed.fetch_sub(gone, Ordering::Relaxed);
        gone > 0
    }

    /// As [`Self::forget`], of all users.
    pub(super) fn forget_all(&mut self, goes: impl Fn(&Registration) -> bool, sums: &Sums) {
        let mut gone = 0;
        self.read.retain(|_, sessions| {
            let before = sessions.len();
            sessions.retain(|held| !goes(held));
            gone += before - sessions.len();
            !sessions.is_empty()
        });
        sums.unconfirmed.fetch_sub(gone, Ordering::Relaxed);
    }

    /// What was read back of the user.
    pub(super) fn read(&self, user: UserId) -> &[Registration] {
        if self.read.is_empty() {
            return &[];
        }
        self.read.get(&user).map_or(&[], |sessions| sessions)
    }
}

/// For a mirror, on its own thread. Nothing here is shown or done where the directory was not made with
/// [`MemoryDirectory::mirrored`].
impl MemoryDirectory {
    /// Parts there are: a mirror goes through them by number.
    pub const PARTS: usize = PARTS;

    /// Takes up to `most` users of a part who changed, in no order.
    pub fn take_changes(&self, part: usize, most: usize, into: &mut Vec<Change>) {
        let Some(sums) = &self.0.sums else { return };
        if sums.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut table = self.0.parts[part].0.write().unwrap_or_else(PoisonError::into_inner);
        let table = &mut *table;
        let Some(mirrored) = &mut table.mirrored else { return };
        let taken = into.len();
        for (user, mut removed) in mirrored.changed.extract_if(|_, _| true).take(most) {
            let sessions = table.users.get(&user).cloned().unwrap_or_default();
            removed.retain(|ended| !sessions.contains(ended));
            into.push(Change { user, sessions, removed });
        }
        sums.waiting.fetch_sub(into.len() - taken, Ordering::Relaxed);
    }

    /// A user's change was taken and not written: who ended is not forgotten.
    pub fn put_back(&self, change: &Change) {
        let Some(sums) = &self.0.sums else { return };
        let mut table = self.write(change.user);
        let Some(mirrored) = &mut table.mirrored else { return };
        mirrored.mark(change.user, None, sums);
        change.removed.iter().for_each(|ended| mirrored.mark(change.user, Some(*ended), sums));
    }

    /// Every user of a part with the sessions there are.
    pub fn copy_part(&self, part: usize, into: &mut Vec<Change>) {
        let table = self.0.parts[part].0.read().unwrap_or_else(PoisonError::into_inner);
        let change = |(&user, sessions): (&UserId, &Sessions)| Change {
            user,
            sessions: sessions.clone(),
            removed: SmallVec::new(),
        };
        into.extend(table.users.iter().map(change));
    }

    /// A session that was read back: pushes find it until its gateway registers it again, or it is forgotten. Not taken where
    /// the device has a session of this epoch or a newer one; whether it was.
    pub fn restore(&self, user: UserId, found: Registration) -> bool {
        let Some(sums) = &self.0.sums else { return false };
        let mut table = self.write(user);
        let table = &mut *table;
        let Some(mirrored) = &mut table.mirrored else { return false };
        let is_newer =
            |held: &Registration| held.device == found.device && (held.epoch >= found.epoch || *held == found);
        let registered = table.users.get(&user);
        let mut known = registered.into_iter().flatten().chain(mirrored.read.get(&user).into_iter().flatten());
        if known.any(is_newer) {
            return false;
        }
        mirrored.forget(user, |held| held.device == found.device, sums);
        mirrored.read.entry(user).or_default().push(found);
        sums.unconfirmed.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Forgets what was read back and has not registered again, but for sessions of gateways that `stay`, by incarnation.
    pub fn forget_unconfirmed(&self, stay: impl Fn(u64) -> bool) {
        let Some(sums) = &self.0.sums else { return };
        for part in &self.0.parts {
            if sums.unconfirmed.load(Ordering::Relaxed) == 0 {
                return;
            }
            let mut table = part.0.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(mirrored) = &mut table.mirrored {
                mirrored.forget_all(|held| !stay(held.address.incarnation), sums);
            }
        }
    }

    /// How far a mirror is behind.
    pub fn mirror_counts(&self) -> MirrorCounts {
        let Some(sums) = &self.0.sums else { return MirrorCounts::default() };
        MirrorCounts {
            waiting: sums.waiting.load(Ordering::Relaxed),
            dropped: sums.dropped.load(Ordering::Relaxed),
            unconfirmed: sums.unconfirmed.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use schema::envelope::Address;
    use schema::ids::DeviceId;

    use super::*;
    use crate::directory::Directory as _;

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    fn registration(device: u32, incarnation: u64, epoch: u64) -> Registration {
        let address = Address { incarnation, shard: 0, connection: device, generation: 1 };
        Registration { device: DeviceId(device), address, epoch }
    }

    fn changes(directory: &MemoryDirectory) -> Vec<Change> {
        let mut changes = Vec::new();
        (0..MemoryDirectory::PARTS).for_each(|part| directory.take_changes(part, usize::MAX, &mut changes));
        changes.sort_unstable_by_key(|change| change.user);
        changes
    }

    fn seen(directory: &MemoryDirectory, id: u64) -> Vec<Registration> {
        let mut seen = Vec::new();
        directory.each_session(user(id), |session| seen.push(*session));
        seen
    }

    #[test]
    fn a_user_who_changed_often_is_taken_once_as_they_are_then() {
        let mut directory = MemoryDirectory::mirrored(7);
        let (old, new, other) = (registration(1, 9, 1), registration(1, 9, 2), registration(2, 9, 3));
        for session in [old, new, other] {
            directory.register(user(7), session);
        }
        directory.register(user(8), old);
        directory.unregister(user(8), old);
        assert_eq!(directory.mirror_counts().waiting, 2);
        let taken = changes(&directory);
        assert_eq!((taken[0].sessions.to_vec(), taken[0].removed.len()), (vec![new, other], 0));
        assert_eq!((taken[1].sessions.len(), taken[1].removed.to_vec()), (0, vec![old]));
        assert_eq!((changes(&directory).len(), directory.mirror_counts().waiting), (0, 0));
        directory.register(user(7), new);
        assert!(changes(&directory).is_empty(), "nothing is new");
        directory.put_back(&taken[1]);
        assert_eq!(changes(&directory), [taken[1].clone()]);
        directory.put_back(&taken[1]);
        directory.register(user(8), old);
        let again = changes(&directory);
        assert_eq!((again[0].sessions.to_vec(), again[0].removed.len()), (vec![old], 0), "it is there again");
    }

    #[test]
    fn what_a_lost_gateway_had_is_a_change_too() {
        let mut directory = MemoryDirectory::mirrored(7);
        directory.register(user(7), registration(1, 9, 1));
        directory.register(user(7), registration(2, 8, 1));
        changes(&directory);
        directory.restore(user(6), registration(1, 9, 1));
        directory.lose(9);
        while directory.sweep() {}
        let taken = changes(&directory);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].removed.to_vec(), [registration(1, 9, 1)]);
        assert_eq!((seen(&directory, 6).len(), directory.mirror_counts().unconfirmed), (0, 0));
    }

    #[test]
    fn changes_that_wait_are_bounded_and_what_is_not_noted_is_counted() {
        let mut directory = MemoryDirectory::mirrored(7);
        let users = (PARTS * CHANGED_MAX * 2) as u64;
        // One part is enough.
        let of_one_part: Vec<u64> = (1..users).filter(|id| id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56 == 0).collect();
        for &id in &of_one_part {
            directory.register(user(id), registration(1, 9, 1));
        }
        let counts = directory.mirror_counts();
        assert_eq!((counts.waiting, counts.dropped as usize), (CHANGED_MAX, of_one_part.len() - CHANGED_MAX));
        let mut whole = Vec::new();
        (0..PARTS).for_each(|part| directory.copy_part(part, &mut whole));
        assert_eq!(whole.len(), of_one_part.len(), "a whole round has them all");
    }

    #[test]
    fn what_was_read_back_is_pushed_to_until_its_gateway_says_otherwise() {
        let mut directory = MemoryDirectory::mirrored(7);
        let (found, newer) = (registration(1, 9, 5), registration(1, 8, 6));
        assert!(directory.restore(user(7), found) && !directory.restore(user(7), found));
        assert_eq!((seen(&directory, 7), directory.session_count()), (vec![found], 0));
        assert!(changes(&directory).is_empty(), "what came from there need not go there");
        // The same session registers: it is confirmed.
        assert_eq!(directory.register(user(7), found), crate::Outcome::Added);
        assert_eq!((seen(&directory, 7), directory.mirror_counts().unconfirmed), (vec![found], 0));
        assert!(!directory.restore(user(7), found), "it is known");
        // A newer one of its device does.
        directory.restore(user(6), found);
        directory.register(user(6), newer);
        assert_eq!(seen(&directory, 6), [newer]);
        // An older one does: both are pushed to, until the newer one has come.
        directory.restore(user(5), newer);
        directory.register(user(5), found);
        assert_eq!(seen(&directory, 5).len(), 2);
        // It ends before it has registered again.
        directory.restore(user(4), found);
        assert!(directory.unregister(user(4), found) && seen(&directory, 4).is_empty());
        // Its gateway is not heard.
        directory.restore(user(3), registration(1, 9, 5));
        directory.restore(user(3), registration(2, 8, 5));
        directory.forget_unconfirmed(|incarnation| incarnation == 8);
        assert_eq!(seen(&directory, 3), [registration(2, 8, 5)]);
        directory.forget_unconfirmed(|_| false);
        assert_eq!((seen(&directory, 3).len(), directory.mirror_counts().unconfirmed), (0, 0));
    }

    #[test]
    fn a_directory_without_a_mirror_notes_nothing() {
        let mut directory = MemoryDirectory::new(7);
        directory.register(user(7), registration(1, 9, 1));
        assert!(!directory.restore(user(7), registration(2, 9, 1)) && changes(&directory).is_empty());
        assert_eq!(directory.mirror_counts(), MirrorCounts::default());
    }
}
