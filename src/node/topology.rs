//! Which shard holds what: gateway shards, router partitions and owner partitions over the threads of one process.
//!
//! Every connection thread is a gateway shard with a router partition; HTTP is one more gateway shard, without sockets, and its
//! number comes after theirs. With more shards than cores, owner partitions live on the first shard of each core (a *host*
//! shard): shard i runs on core i mod cores, so the hosts are the first min(shards, cores) shards.

use schema::ids::{SLOT_COUNT, Slot};

/// The layout of one process; fixed from start to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Topology {
    /// Threads, each a gateway shard.
    pub shards: u16,
    /// Owner partitions.
    pub partitions: u16,
    /// Cores that shards are pinned to.
    pub cores: u16,
}

/// A tier part on its shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The shard's gateway.
    Gateway,
    /// An owner partition.
    Owner(u16),
    /// The shard's router partition.
    Router,
    /// What the shard knows of who holds which partition.
    Owners,
}

impl Topology {
    /// `0` stands for one a core.
    pub fn new(shards: u16, partitions: u16, cores: u16) -> Self {
        let cores = cores.max(1);
        let or_cores = |n: u16| if n == 0 { cores } else { n };
        Self { shards: or_cores(shards), partitions: or_cores(partitions).min(SLOT_COUNT), cores }
    }

    /// HTTP's number among the gateway shards.
    pub fn http(&self) -> u16 {
        self.shards
    }

    /// Gateway shards: the connection threads and HTTP.
    pub fn gateways(&self) -> u16 {
        self.shards + 1
    }

    /// Shards that hold owner partitions: `0..host_count`.
    pub fn host_count(&self) -> u16 {
        self.shards.min(self.cores)
    }

    /// The core a shard is pinned to.
    pub fn core_of(&self, shard: u16) -> u16 {
        shard % self.cores
    }

    /// The shard that holds a partition.
    pub fn partition_shard(&self, partition: u16) -> u16 {
        partition % self.host_count()
    }

    /// The partitions of a shard, rising.
    pub fn partitions_of(&self, shard: u16) -> impl Iterator<Item = u16> + use<> {
        let topology = *self;
        (0..self.partitions).filter(move |&partition| topology.partition_shard(partition) == shard)
    }

    /// The partition of a slot.
    pub fn partition_of(&self, slot: Slot) -> u16 {
        slot.partition(self.partitions)
    }

    /// The first slot of a partition: an envelope for the partition itself carries it.
    pub fn first_slot(&self, partition: u16) -> Slot {
        let slot = (u32::from(partition) * u32::from(SLOT_COUNT)).div_ceil(u32::from(self.partitions));
        Slot::new(slot as u16).expect("a partition's first slot is below SLOT_COUNT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_one_host_and_its_first_slot_is_its_own() {
        for (shards, partitions, cores) in [(1, 1, 1), (2, 2, 2), (1, 5, 2), (5, 2, 2), (6, 64, 4), (3, 1024, 8)] {
            let topology = Topology::new(shards, partitions, cores);
            let mut held = vec![0; usize::from(partitions)];
            for shard in 0..shards {
                for partition in topology.partitions_of(shard) {
                    assert!(shard < topology.host_count());
                    held[usize::from(partition)] += 1;
                }
            }
            assert!(held.iter().all(|&times| times == 1), "{topology:?}");
            for partition in 0..partitions {
                assert_eq!(topology.partition_of(topology.first_slot(partition)), partition, "{topology:?}");
            }
        }
    }

    #[test]
    fn zero_means_one_a_core() {
        assert_eq!(Topology::new(0, 0, 4), Topology { shards: 4, partitions: 4, cores: 4 });
        assert_eq!(Topology::new(0, 3, 0), Topology { shards: 1, partitions: 3, cores: 1 });
    }

    #[test]
    fn more_shards_than_cores_leave_the_later_ones_without_partitions() {
        let topology = Topology::new(5, 3, 2);
        assert_eq!(topology.host_count(), 2);
        assert_eq!(topology.partitions_of(0).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(topology.partitions_of(1).collect::<Vec<_>>(), [1]);
        assert_eq!(topology.partitions_of(4).count(), 0);
    }
}
