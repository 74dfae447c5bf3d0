//! Hash maps with an explicit seed: the same seed gives the same iteration order, which simulation needs.

use foldhash::fast::FixedState;

/// A map with a seeded hasher. Make it with [`map`].
pub type Map<K, V> = hashbrown::HashMap<K, V, FixedState>;
/// A set with a seeded hasher. Make it with [`set`].
pub type Set<K> = hashbrown::HashSet<K, FixedState>;

/// An empty map. `seed`: from [`crate::entropy::Entropy`], once per tier part.
pub fn map<K, V>(seed: u64) -> Map<K, V> {
    Map::with_hasher(FixedState::with_seed(seed))
}

/// An empty set. `seed`: from [`crate::entropy::Entropy`], once per tier part.
pub fn set<K>(seed: u64) -> Set<K> {
    Set::with_hasher(FixedState::with_seed(seed))
}

/// The hasher behind [`map`] and [`set`], for tables that hash by themselves.
pub type Hasher = FixedState;

/// A seeded hasher. `seed`: from [`crate::entropy::Entropy`], once per tier part.
pub fn hasher(seed: u64) -> Hasher {
    FixedState::with_seed(seed)
}
