//! What is asked of a host.

use serde::Serialize;

use crate::measured;

/// Descriptors a shard's table has besides its connections: ring, listeners, wakers, journal segments.
const SHARD_FILES: u64 = 200;
/// The same of a load generator's worker.
const WORKER_FILES: u64 = 16;
/// The kernel spreads a server's connections over its shards by a hash: one may get so much more than its part, %.
const UNEVEN_PERCENT: u64 = 6;

/// Which end of the connections this host holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// It serves.
    Server,
    /// It generates load.
    Generator,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Need {
    /// Which end.
    pub side: Side,
    /// Connections held at once.
    pub connections: u64,
    /// Descriptor tables that share the connections: shards of a server, workers of a load generator.
    pub tables: u64,
    /// Owner partitions of a server, each with a journal and memory tables.
    pub partitions: u64,
    /// Source addresses the connections come from (load generator).
    pub sources: u64,
}

impl Need {
    /// A server's.
    pub fn server(connections: u64, shards: u64, partitions: u64) -> Self {
        Self { side: Side::Server, connections, tables: shards.max(1), partitions, sources: 1 }
    }

    /// A load generator's; `tables` are its worker processes, or threads that have descriptor tables of their own.
    pub fn generator(users: u64, tables: u64, sources: u64) -> Self {
        let (tables, sources) = (tables.max(1), sources.max(1));
        Self { side: Side::Generator, connections: users, tables, partitions: 0, sources }
    }

    /// Descriptors the fullest table needs. A load generator's connections are dealt out evenly.
    pub fn files_per_table(&self) -> u64 {
        let even = self.connections.div_ceil(self.tables);
        let uneven = if self.side == Side::Server && self.tables > 1 { even * UNEVEN_PERCENT } else { 0 };
        even + uneven.div_ceil(100) + self.own_files()
    }

    const fn own_files(&self) -> u64 {
        match self.side {
            Side::Server => SHARD_FILES,
            Side::Generator => WORKER_FILES,
        }
    }

    /// The least tables with which so many descriptors each are enough; `None` when no number is.
    pub fn tables_for(&self, files: u64) -> Option<u64> {
        let room = files.checked_sub(self.own_files()).filter(|room| *room > 0)?;
        let least = self.connections.div_ceil(room).max(1);
        (least..=2 * least + 2).find(|tables| Self { tables: *tables, ..self.clone() }.files_per_table() <= files)
    }

    /// Memory a connection takes here, bytes: the process's and the kernel's.
    pub const fn bytes_per_connection(&self) -> u64 {
        measured::SOCKET_BYTES
            + match self.side {
                Side::Server => measured::SESSION_BYTES,
                Side::Generator => measured::USER_BYTES,
            }
    }

    /// Memory all of it takes, bytes.
    pub const fn bytes(&self) -> u64 {
        let fixed = match self.side {
            Side::Server => measured::SERVER_BYTES + self.partitions * measured::PARTITION_BYTES,
            Side::Generator => self.tables * measured::GENERATOR_BYTES,
        };
        fixed + self.connections.saturating_mul(self.bytes_per_connection())
    }

    /// Threads the process needs: tables, and some for storage, HTTP and reads.
    pub const fn threads(&self) -> u64 {
        self.tables + 32
    }

    /// Ports one source address must give.
    pub const fn ports_per_source(&self) -> u64 {
        self.connections.div_ceil(self.sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_a_table_s_and_leave_room_for_an_uneven_spread() {
        assert_eq!(Need::server(100_000, 1, 1).files_per_table(), 100_200);
        assert_eq!(Need::server(100_000, 6, 2).files_per_table(), 16_667 + 1_001 + 200);
        assert_eq!(Need::generator(100_000, 10, 5).files_per_table(), 10_016);
        let need = Need::server(100_000, 2, 2);
        let shards = need.tables_for(20_000).unwrap();
        assert!(Need::server(100_000, shards, 2).files_per_table() <= 20_000, "{shards} shards are enough");
        assert!(Need::server(100_000, shards - 1, 2).files_per_table() > 20_000, "one less is not");
        assert_eq!(need.tables_for(200), None);
    }

    #[test]
    fn memory_grows_with_connections_and_partitions() {
        let (none, many) = (Need::server(0, 2, 2), Need::server(100_000, 2, 2));
        assert_eq!(many.bytes() - none.bytes(), 100_000 * many.bytes_per_connection());
        assert!(Need::server(0, 2, 8).bytes() > none.bytes());
        assert_eq!(Need::generator(60_000, 3, 3).ports_per_source(), 20_000);
    }
}
