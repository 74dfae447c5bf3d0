//! Groups sessions by gateway shard, so that a push becomes one envelope a shard.

use schema::envelope::Address;
use smallvec::SmallVec;

/// Targets of one gateway shard.
pub struct Group<T> {
    /// Any session of the shard: incarnation and shard are what counts.
    pub shard: Address,
    /// Its targets.
    pub targets: SmallVec<[T; 2]>,
}

/// Targets grouped by (incarnation, shard). A push to a few sessions stays on the stack.
pub struct Groups<T> {
    groups: SmallVec<[Group<T>; 2]>,
}

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Groups<T> {
    /// None yet.
    pub fn new() -> Self {
        Self { groups: SmallVec::new() }
    }

    /// Adds a target at its session's shard.
    pub fn add(&mut self, address: Address, target: T) {
        let same = |group: &&mut Group<T>| {
            group.shard.shard == address.shard && group.shard.incarnation == address.incarnation
        };
        match self.groups.iter_mut().find(same) {
            Some(group) => group.targets.push(target),
            None => {
                let mut targets = SmallVec::new();
                targets.push(target);
                self.groups.push(Group { shard: address, targets });
            }
        }
    }

    /// The groups, in the order of their first target.
    #[allow(clippy::should_implement_trait)] // the trait would have to name the iterator
    pub fn into_iter(self) -> impl Iterator<Item = Group<T>> {
        self.groups.into_iter()
    }
}
