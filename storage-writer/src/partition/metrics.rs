//! What a partition counts. Every guard has a counter, so that a simulation can show that each fired.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use schema::errors::ErrorCode;

/// The label of a refusal: the error table's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    code: &'static str,
}

/// Counters of one partition. Clones share them; any thread may read.
#[derive(Clone, Debug)]
pub struct StorageMetrics {
    /// Sends taken from gateways.
    pub sends: Counter,
    /// Sends answered as durable, duplicates included.
    pub acks: Counter,
    /// Resends of a send that was not yet durable; they waited for its commit.
    pub dedupe_overlay_hits: Counter,
    /// Resends answered from memory.
    pub dedupe_memory_hits: Counter,
    /// Resends answered from the store.
    pub dedupe_store_hits: Counter,
    /// Lookups of a resend in the store.
    pub dedupe_store_lookups: Counter,
    /// Dedupe answers dropped from memory before their time, for want of room.
    pub dedupe_dropped_early: Counter,
    /// Sends that waited behind a lookup of their chat.
    pub parked: Counter,
    /// Sends that waited for a block with room.
    pub queued: Counter,
    /// Blocks that became durable: of the journal, or of the partition's log in a store that is shared.
    pub blocks: Counter,
    /// Records in them.
    pub records: Counter,
    /// Their bytes.
    pub journal_bytes: Counter,
    /// Writes of blocks that failed.
    pub write_failures: Counter,
    /// Times a failed write stopped the partition.
    pub poisonings: Counter,
    /// Times a new segment took over after a failed write.
    pub takeovers: Counter,
    /// Times it was opened with what had been read ahead, while its former owner still had it.
    pub read_ahead: Counter,
    /// Segments that could not be prepared.
    pub segment_failures: Counter,
    /// Watermarks taken from gateways.
    pub marks: Counter,
    /// Watermarks above the head, clamped to it.
    pub marks_clamped: Counter,
    /// Watermarks that raised nothing.
    pub marks_stale: Counter,
    /// Watermarks whose message had to be looked up in the store.
    pub marks_looked_up: Counter,
    /// Receipts sent to other members.
    pub receipts: Counter,
    /// Answers to questions about chats and messages.
    pub answers: Counter,
    /// Entries that large groups' members read from a page: too many waited to be pushed.
    pub fanout_overflows: Counter,
    /// Entries of large groups that are being pushed.
    pub fanout_jobs: Gauge,
    /// Positions raised because a device sent the entry itself.
    pub own_absorbed: Counter,
    /// Nudges sent.
    pub nudges: Counter,
    /// Refusals forgotten because the table was full.
    pub refusals_forgotten: Counter,
    /// Sync requests taken.
    pub sync_requests: Counter,
    /// Sync pages sent.
    pub sync_pages: Counter,
    /// Sync requests refused because a part did not come.
    pub sync_timeouts: Counter,
    /// Pages cut from memory alone.
    pub pages_memory: Counter,
    /// Pages that needed the store.
    pub pages_store: Counter,
    /// Pages that only the hot tails kept from the store.
    pub hot_tail_hits: Counter,
    /// Hot tails evicted.
    pub hot_tail_evictions: Counter,
    /// Memory tables frozen.
    pub freezes: Counter,
    /// Memory tables that are in the store.
    pub flushes: Counter,
    /// Flushes that failed.
    pub flush_failures: Counter,
    /// Entries written by flushes.
    pub flushed_entries: Counter,
    /// Bytes written by flushes.
    pub flushed_bytes: Counter,
    /// Reads of the store that failed.
    pub read_failures: Counter,
    /// Envelopes that were not for this partition.
    pub misrouted: Counter,
    /// Bytes of entries in memory tables.
    pub memory_bytes: Gauge,
    /// Frozen tables not yet in the store.
    pub frozen_tables: Gauge,
    /// 1 while sends are refused after a failed write.
    pub poisoned: Gauge,
    /// Chats held.
    pub chats: Gauge,
    /// Records in a block.
    pub block_records: Histogram,
    /// Refused sends, marks and reads, by error code.
    pub refused: Family<RefusalLabels, Counter>,
}

/// Refusals that operators are told of begin at 0: a counter that first appears with its first event has not risen.
fn refusals() -> Family<RefusalLabels, Counter> {
    let refused = Family::default();
    for code in [ErrorCode::ClockBehind, ErrorCode::Overloaded, ErrorCode::StorageUnavailable] {
        drop(refused.get_or_create(&RefusalLabels { code: code.info().name }));
    }
    refused
}

impl Default for StorageMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl StorageMetrics {
    /// All at zero.
    pub fn new() -> Self {
        Self {
            sends: Counter::default(),
            acks: Counter::default(),
            dedupe_overlay_hits: Counter::default(),
            dedupe_memory_hits: Counter::default(),
            dedupe_store_hits: Counter::default(),
            dedupe_store_lookups: Counter::default(),
            dedupe_dropped_early: Counter::default(),
            parked: Counter::default(),
            queued: Counter::default(),
            blocks: Counter::default(),
            records: Counter::default(),
            journal_bytes: Counter::default(),
            write_failures: Counter::default(),
            poisonings: Counter::default(),
            takeovers: Counter::default(),
            read_ahead: Counter::default(),
            segment_failures: Counter::default(),
            marks: Counter::default(),
            marks_clamped: Counter::default(),
            marks_stale: Counter::default(),
            marks_looked_up: Counter::default(),
            receipts: Counter::default(),
            answers: Counter::default(),
            fanout_overflows: Counter::default(),
            fanout_jobs: Gauge::default(),
            own_absorbed: Counter::default(),
            nudges: Counter::default(),
            refusals_forgotten: Counter::default(),
            sync_requests: Counter::default(),
            sync_pages: Counter::default(),
            sync_timeouts: Counter::default(),
            pages_memory: Counter::default(),
            pages_store: Counter::default(),
            hot_tail_hits: Counter::default(),
            hot_tail_evictions: Counter::default(),
            freezes: Counter::default(),
            flushes: Counter::default(),
            flush_failures: Counter::default(),
            flushed_entries: Counter::default(),
            flushed_bytes: Counter::default(),
            read_failures: Counter::default(),
            misrouted: Counter::default(),
            memory_bytes: Gauge::default(),
            frozen_tables: Gauge::default(),
            poisoned: Gauge::default(),
            chats: Gauge::default(),
            block_records: Histogram::new([
                1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0,
            ]),
            refused: refusals(),
        }
    }

    /// The partition is not here any more: what it had is nobody's here.
    pub(super) fn left(&self) {
        let gauges = [&self.memory_bytes, &self.frozen_tables, &self.poisoned, &self.chats, &self.fanout_jobs];
        gauges.into_iter().for_each(|gauge| {
            gauge.set(0);
        });
    }

    /// Counts a refusal.
    pub fn refused(&self, code: ErrorCode) {
        self.refused.get_or_create(&RefusalLabels { code: code.info().name }).inc();
    }

    /// How often `code` was answered.
    pub fn refused_count(&self, code: ErrorCode) -> u64 {
        self.refused.get(&RefusalLabels { code: code.info().name }).map_or(0, |counter| counter.get())
    }

    /// Makes them visible in `registry`, under names that start with `storage_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("storage");
        let counters: &[(&str, &str, &Counter)] = &[
            ("sends", "Sends taken from gateways", &self.sends),
            ("acks", "Sends answered as durable, duplicates included", &self.acks),
            (
                "dedupe_overlay_hits",
                "Resends of a send that was not yet durable; they waited for its commit",
                &self.dedupe_overlay_hits,
            ),
            ("dedupe_memory_hits", "Resends answered from memory", &self.dedupe_memory_hits),
            ("dedupe_store_hits", "Resends answered from the store", &self.dedupe_store_hits),
            ("dedupe_store_lookups", "Lookups of a resend in the store", &self.dedupe_store_lookups),
            (
                "dedupe_dropped_early",
                "Dedupe answers dropped from memory before their time, for want of room",
                &self.dedupe_dropped_early,
            ),
            ("parked", "Sends that waited behind a lookup of their chat", &self.parked),
            ("queued", "Sends that waited for a block with room", &self.queued),
            ("blocks", "Blocks of the journal, or of the log in a shared store, that became durable", &self.blocks),
            ("records", "Records in blocks that became durable", &self.records),
            ("journal_bytes", "Bytes of blocks that became durable", &self.journal_bytes),
            ("write_failures", "Writes of blocks that failed", &self.write_failures),
            ("poisonings", "Times a failed write stopped the partition", &self.poisonings),
            ("takeovers", "Times a new journal segment took over after a failed write", &self.takeovers),
            ("read_ahead", "Times a partition was opened with what had been read ahead of its move", &self.read_ahead),
            ("segment_failures", "Journal segments that could not be prepared", &self.segment_failures),
            ("marks", "Watermarks taken from gateways", &self.marks),
            ("marks_clamped", "Watermarks above the head, clamped to it", &self.marks_clamped),
            ("marks_stale", "Watermarks that raised nothing", &self.marks_stale),
            ("marks_looked_up", "Watermarks whose message had to be looked up in the store", &self.marks_looked_up),
            ("receipts", "Receipts sent to other members", &self.receipts),
            ("answers", "Answers to questions about chats and messages", &self.answers),
            ("fanout_overflows", "Entries of large groups left to be read from pages", &self.fanout_overflows),
            ("own_absorbed", "Positions raised because a device sent the entry itself", &self.own_absorbed),
            ("nudges", "Nudges sent", &self.nudges),
            ("refusals_forgotten", "Refusals forgotten because the table was full", &self.refusals_forgotten),
            ("sync_requests", "Sync requests taken", &self.sync_requests),
            ("sync_pages", "Sync pages sent", &self.sync_pages),
            ("sync_timeouts", "Sync requests refused because a part did not come", &self.sync_timeouts),
            ("pages_memory", "Pages cut from memory alone", &self.pages_memory),
            ("pages_store", "Pages that needed the store", &self.pages_store),
            ("hot_tail_hits", "Pages that only the hot tails kept from the store", &self.hot_tail_hits),
            ("hot_tail_evictions", "Hot tails evicted", &self.hot_tail_evictions),
            ("freezes", "Memory tables frozen", &self.freezes),
            ("flushes", "Memory tables that are in the store", &self.flushes),
            ("flush_failures", "Flushes that failed", &self.flush_failures),
            ("flushed_entries", "Entries written by flushes", &self.flushed_entries),
            ("flushed_bytes", "Bytes written by flushes", &self.flushed_bytes),
            ("read_failures", "Reads of the store that failed", &self.read_failures),
            ("misrouted", "Envelopes that were not for this partition", &self.misrouted),
        ];
        for &(name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        self.register_rest(registry);
    }

    fn register_rest(&self, registry: &mut Registry) {
        let gauges: &[(&str, &str, &Gauge)] = &[
            ("memory_bytes", "Bytes of entries in memory tables", &self.memory_bytes),
            ("frozen_tables", "Frozen tables not yet in the store", &self.frozen_tables),
            ("poisoned", "1 while sends are refused: after a failed write, or because a lease is over", &self.poisoned),
            ("chats", "Chats held", &self.chats),
        ];
        for &(name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register("block_records", "Records in a block", self.block_records.clone());
        registry.register("refused", "Refused sends, marks and reads, by error code", self.refused.clone());
    }
}
