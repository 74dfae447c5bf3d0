//! The router tier: finds the sessions of users and spreads pushes over gateway shards.
//!
//! All it holds is soft: lose it whole and nothing is lost, sessions register again and sync. A router partition belongs to
//! one thread; users are spread over partitions by [`partition_of`]. What must stay true: a push becomes at most one envelope
//! per gateway shard, and a session whose registration was overtaken gets no more pushes.

pub mod directory;
mod fanout;
mod metrics;
mod router;

pub use directory::{Directory, MemoryDirectory, Outcome, Registration};
pub use metrics::RouterMetrics;
pub use router::Router;

use schema::ids::UserId;

/// The router partition that holds `user` when there are `partitions` (at least 1): a multiplicative hash, so that
/// consecutive user ids spread.
pub fn partition_of(user: UserId, partitions: u16) -> u16 {
    debug_assert!(partitions >= 1);
    let hash = user.get().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    ((hash * u64::from(partitions)) >> 32) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_spread_evenly_and_every_partition_is_in_range() {
        for partitions in [1u16, 2, 5, 64] {
            let mut counts = vec![0u32; usize::from(partitions)];
            for id in 1..=64_000 {
                counts[usize::from(partition_of(UserId::new(id).unwrap(), partitions))] += 1;
            }
            let mean = 64_000 / u32::from(partitions);
            assert!(counts.iter().all(|&n| n > mean * 8 / 10 && n < mean * 12 / 10), "{partitions}: {counts:?}");
        }
    }
}
