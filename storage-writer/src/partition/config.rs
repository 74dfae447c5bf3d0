//! What can be set of a partition, with the defaults that ship.

use std::sync::Arc;

use fabric::trace::Spans;

use crate::spool::Spool;
use crate::store::breaker::Breaker;

/// How an owned partition knows that its store is away, and where it keeps sends meanwhile. Shared by all of a process.
#[derive(Clone, Debug)]
pub struct Outage {
    /// Of the store.
    pub breaker: Arc<Breaker>,
    /// For sends.
    pub spool: Arc<Spool>,
}

/// Sizes and times of one owner partition. The same for all partitions of a process.
#[derive(Clone, Debug)]
pub struct PartitionConfig {
    /// Where spans of traced messages go; `None`: nowhere.
    pub spans: Option<Spans>,
    /// What becomes of sends while a store that is the commit is away; `None`: they wait.
    pub outage: Option<Outage>,
    /// A memory table is frozen at so many bytes of entries and their bookkeeping. Larger tables make the store's work per
    /// message less: a chat's entries share more rows, and its state is written less often.
    pub freeze_bytes: usize,
    /// A memory table that got nothing for so long is frozen, ms, so that its journal segments become free.
    pub freeze_idle_ms: u64,
    /// A memory table this old is frozen, ms.
    pub freeze_age_ms: u64,
    /// Frozen tables that may wait for the store; one more and sends are refused with `overloaded`.
    pub frozen_tables: usize,
    /// Bytes of flushed entries of hot chats kept in memory.
    pub hot_tail_bytes: usize,
    /// Entries of a hot chat kept in memory.
    pub hot_tail_entries: usize,
    /// First nudge after a commit, ms; each next one waits twice as long.
    pub nudge_after_ms: u64,
    /// Nudges for one head of a chat.
    pub nudges_per_head: u8,
    /// How long dedupe answers are kept in memory, ms.
    pub dedupe_memory_ms: u64,
    /// Dedupe answers kept in memory; the oldest go first, and then only `retry` finds them.
    pub dedupe_entries: usize,
    /// Sends waiting for a block with room, or behind a dedupe lookup; beyond it `overloaded`.
    pub waiting_sends: usize,
    /// Reads (marks, pages, dedupe lookups) waiting for the store; beyond it `overloaded`.
    pub waiting_reads: usize,
    /// Sync requests being merged; beyond it `overloaded`.
    pub sync_merges: usize,
    /// A sync request whose parts have not come after so long is refused, ms.
    pub sync_timeout_ms: u64,
    /// Refused sends remembered, so that what follows them is refused too. More than all credits granted to gateways.
    pub refusals: usize,
    /// Watermarks waiting for a block; beyond it `overloaded`.
    pub waiting_marks: usize,
    /// Members of a group, at most; up to [`schema::limits::GROUP_MEMBERS_MAX`].
    pub group_members: usize,
    /// Deliveries a second that all entries of one group may cause, twice as many at once; 0 = no limit.
    pub deliveries_per_second_per_group: u32,
    /// Deliveries a second that what one user writes to groups may cause, twice as many at once; 0 = no limit.
    pub deliveries_per_second_per_sender: u32,
    /// A message may be edited by its sender for so long, s.
    pub edit_window_s: u32,
    /// A message may be deleted for everyone by its sender for so long, s.
    pub delete_window_s: u32,
    /// From so many members on a group's entry is pushed in steps, after its ack.
    pub fanout_members: usize,
    /// Members that a turn pushes to in such steps.
    pub fanout_step: usize,
    /// Entries that wait to be pushed in steps; one more and its group's members read it from a page.
    pub fanout_jobs: usize,
    /// Bytes of sends in one journal block; what is left of `max_block_bytes` is for positions.
    pub block_bytes: usize,
    /// Capacity of a journal block, bytes; a multiple of 4,096, and more than `block_bytes` and one frame.
    pub max_block_bytes: usize,
    /// Length of a journal segment, bytes; a multiple of 4,096, at least one block and 4,096.
    pub segment_bytes: u64,
    /// Journal segments kept at most; at least 3.
    pub max_segments: usize,
    /// An idle journal is sealed after so long, ms: from then on damage to its last records is told from a torn write.
    pub seal_after_ms: u64,
    /// How long a failed segment or flush waits before it is tried again, ms; a flush that goes on failing up to 8 times as long.
    pub retry_after_ms: u64,
}

impl Default for PartitionConfig {
    fn default() -> Self {
        Self {
            spans: None,
            outage: None,
            freeze_bytes: 128 << 20,
            freeze_idle_ms: 30_000,
            freeze_age_ms: 10 * 60_000,
            frozen_tables: 2,
            hot_tail_bytes: 16 << 20,
            hot_tail_entries: 50,
            nudge_after_ms: 10_000,
            nudges_per_head: 5,
            dedupe_memory_ms: schema::limits::DEDUPE_MEMORY_MS,
            dedupe_entries: 32 << 20,
            waiting_sends: 16_384,
            waiting_reads: 4_096,
            sync_merges: 4_096,
            sync_timeout_ms: 5_000,
            refusals: 262_144,
            waiting_marks: 65_536,
            group_members: schema::limits::GROUP_MEMBERS as usize,
            deliveries_per_second_per_group: schema::limits::DELIVERIES_PER_SECOND_PER_GROUP,
            deliveries_per_second_per_sender: schema::limits::DELIVERIES_PER_SECOND_PER_SENDER,
            edit_window_s: schema::limits::EDIT_WINDOW_S,
            delete_window_s: schema::limits::DELETE_WINDOW_S,
            fanout_members: 100,
            fanout_step: 1_000,
            fanout_jobs: 16_384,
            block_bytes: 768 << 10,
            max_block_bytes: 1 << 20,
            segment_bytes: 32 << 20,
            max_segments: 64,
            seal_after_ms: 50,
            retry_after_ms: 1_000,
        }
    }
}
