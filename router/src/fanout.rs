//! Groups sessions by gateway shard, so that a push becomes one envelope a shard.

use schema::envelope::Address;
use smallvec::SmallVec;

/// Up to so many groups are looked through one by one; more are found by an index.
const FEW: usize = 16;
/// No group.
const NONE: u32 = u32::MAX;

/// Targets of one gateway shard.
pub struct Group<T> {
    /// Any session of the shard: incarnation and shard are what counts.
    pub shard: Address,
    /// Its targets.
    pub targets: SmallVec<[T; 2]>,
}

impl<T> Group<T> {
    fn is_of(&self, address: Address) -> bool {
        self.shard.shard == address.shard && self.shard.incarnation == address.incarnation
    }
}

/// Targets grouped by (incarnation, shard). A push to a few sessions stays on the stack; one to very many shards finds a group
/// in one step.
pub struct Groups<T> {
    groups: SmallVec<[Group<T>; 2]>,
    /// Places in `groups`, open addressing; a power of two of them, at most half used. Empty while there are few groups.
    index: Vec<u32>,
}

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Groups<T> {
    /// None yet.
    pub fn new() -> Self {
        Self { groups: SmallVec::new(), index: Vec::new() }
    }

    /// Adds a target at its session's shard.
    pub fn add(&mut self, address: Address, target: T) {
        let (found, slot) = self.find(address);
        if let Some(group) = found.and_then(|place| self.groups.get_mut(place)) {
            return group.targets.push(target);
        }
        let mut targets = SmallVec::new();
        targets.push(target);
        self.groups.push(Group { shard: address, targets });
        if 2 * self.groups.len() <= self.index.len() {
            self.index[slot] = (self.groups.len() - 1) as u32;
        } else if self.groups.len() > FEW {
            self.index_again();
        }
    }

    /// The address's group, and where in the index it is or belongs.
    fn find(&self, address: Address) -> (Option<usize>, usize) {
        if self.index.is_empty() {
            return (self.groups.iter().position(|group| group.is_of(address)), 0);
        }
        let mask = self.index.len() - 1;
        let mut slot = home(address) & mask;
        while self.index[slot] != NONE {
            let place = self.index[slot] as usize;
            if self.groups[place].is_of(address) {
                return (Some(place), slot);
            }
            slot = (slot + 1) & mask;
        }
        (None, slot)
    }

    fn index_again(&mut self) {
        self.index = vec![NONE; (4 * self.groups.len()).next_power_of_two()];
        for place in 0..self.groups.len() {
            let (_, slot) = self.find(self.groups[place].shard);
            self.index[slot] = place as u32;
        }
    }

    /// The groups, in the order of their first target.
    #[allow(clippy::should_implement_trait)] // the trait would have to name the iterator
    pub fn into_iter(self) -> impl Iterator<Item = Group<T>> {
        self.groups.into_iter()
    }
}

/// Where the search for a shard begins.
fn home(address: Address) -> usize {
    let mix = (address.incarnation ^ u64::from(address.shard)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mix >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_one_group_whatever_their_number() {
        for shards in [1, 2, FEW, FEW + 1, 33, 500] {
            let mut groups = Groups::new();
            for n in 0..3 * shards {
                // Incarnations that share their low bits, and shards of one gateway.
                let incarnation = (7 + (n % shards / 4) as u64) << 40;
                let shard = (n % shards % 4) as u16;
                groups.add(Address { incarnation, shard, connection: n as u32, generation: 0 }, n);
            }
            let groups: Vec<Group<usize>> = groups.into_iter().collect();
            assert_eq!(groups.len(), shards);
            for (first, group) in groups.into_iter().enumerate() {
                assert_eq!(group.targets.to_vec(), [first, first + shards, first + 2 * shards]);
            }
        }
    }
}
