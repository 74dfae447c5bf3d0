//! What a partition says about itself, for `/readyz`, `shardwire status` and tests.

/// Where a partition stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u16,
    /// Last LSN given in its journal, durable or not.
    pub ordered_lsn: u64,
    /// Last LSN that is durable.
    pub committed_lsn: u64,
    /// Last LSN that is in the store.
    pub applied_lsn: u64,
    /// Chats it holds, ever used.
    pub chats: usize,
    /// Bytes of entries in its memory tables, frozen ones included.
    pub memory_bytes: usize,
    /// Dedupe answers in memory.
    pub dedupe_entries: usize,
    /// Frozen tables not yet in the store.
    pub frozen_tables: usize,
    /// A write failed and no new segment has taken over yet: sends are refused with `storage_unavailable`.
    pub poisoned: bool,
    /// The store refuses flushes at the moment; sends go on until the frozen tables are used up.
    pub flush_failing: bool,
    /// Segments its journal holds.
    pub journal_segments: usize,
    /// Sends waiting for a block or a lookup.
    pub waiting_sends: usize,
    /// Reads waiting for the store.
    pub waiting_reads: usize,
}

/// What opening found, all partitions together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoverySummary {
    /// Journals found.
    pub journals: usize,
    /// Records replayed into memory.
    pub records: u64,
    /// Records skipped because the store has them.
    pub skipped: u64,
    /// Chats loaded from the store.
    pub chats: u64,
    /// Dedupe answers loaded from the store.
    pub dedupe: u64,
    /// Torn tails cut.
    pub torn: u64,
    /// Blocks left unread because a later segment superseded them.
    pub superseded: u64,
}
