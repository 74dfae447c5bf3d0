//! What routers send to sessions: entries, receipts, nudges.
//!
//! An entry is encoded at most once a dialect and envelope; all its sessions share the bytes. What must stay true: an
//! entry is written only as the next one of what its device has (invariant 4).

pub(crate) mod gaps;

use bytes::Bytes;
use fabric::count::Tally as _;
use fabric::net::websocket::{Kind, server_frame};
use fabric::tier::{Egress, Push};
use fabric::time::Now;
use fabric::trace::Step;
use schema::envelope::{Target, Trace};
use schema::frame::{FrameRef, entry_kind};
use schema::ids::{ChatId, MessageId};
use schema::wire::EntryKind;

use crate::conn::wheel::tick_of;
use crate::conn::{FLAG_PRIVATE, FLAG_SLOW, FLAG_UNKNOWN, Phase};
use crate::session::cursors::Offer;
use crate::shard::Shard;
use crate::wire::{Dialect, ServerEvent};

/// A receipt is of a mark that its owner took at most so long ago, ms; clocks of nodes differ.
const RECEIPT_AGE_MS: u64 = 10_000;

/// An entry's or receipt's frame with its encodings, made when first needed.
pub(crate) struct Shared<'a> {
    frame: &'a Bytes,
    json: Option<Bytes>,
    binary: Option<Bytes>,
    message: Option<MessageId>,
}

impl<'a> Shared<'a> {
    pub(crate) const fn new(frame: &'a Bytes) -> Self {
        Self { frame, json: None, binary: None, message: None }
    }

    /// The entry's id, for those who acknowledge by it.
    fn message(&mut self) -> Option<MessageId> {
        if self.message.is_none() {
            let frame = FrameRef::verify(self.frame).ok()?;
            self.message = frame.root().body_as_entry()?.message_id().map(MessageId::from);
        }
        self.message
    }
}

/// Whether an entry is of an account log: such entries are nowhere else.
pub(crate) fn is_of_account(frame: &[u8]) -> bool {
    entry_kind(frame).is_some_and(|kind| kind.0 >= EntryKind::setting.0)
}

impl Shard {
    /// The place of a live session that an envelope names.
    fn target(&mut self, connection: u32, generation: u32) -> Option<u32> {
        let found = self.conns.find(connection, generation).filter(|&index| self.conns[index].phase == Phase::Ready);
        if found.is_none() {
            self.metrics.stale_addresses.inc();
        }
        found
    }

    /// A live entry for some of this shard's sessions.
    pub fn deliver(&mut self, now: Now, push: &Push<'_>, targets: &[Target], egress: &mut dyn Egress) {
        // All recipients of an account's entry are the same user.
        let &Push { chat, seq, account, frame, trace, .. } = push;
        let mut shared = Shared::new(frame);
        let (seed, limit) = (self.config.hash_seed, self.config.limits.cursors_per_session as usize);
        for target in targets {
            let Some(index) = self.target(target.connection, target.generation) else { continue };
            if account && !self.own_account(now, index, frame, egress) {
                continue;
            }
            let place = &mut self.conns[index];
            let acked = target.acked_seq;
            let slow = place.has(FLAG_SLOW | FLAG_UNKNOWN);
            let active = place.active();
            if slow || active.sync.as_ref().is_some_and(|sync| sync.expected > 0) {
                if seq <= active.base(chat, acked) {
                    self.metrics.entries_duplicate.inc();
                } else {
                    self.metrics.entries_held_back.inc();
                    self.missed(now, index, (chat, seq, acked), egress);
                }
                continue;
            }
            let cursors = active.cursors(seed);
            match cursors.offer(chat, seq, acked, tick_of(now)) {
                Offer::Write => {
                    self.metrics.cursors_evicted.add(cursors.evict(chat, limit) as u64);
                    self.metrics.entries_live.one();
                    self.write_entry(now, index, chat, seq, &mut shared);
                    if let Some(trace @ Trace { stages, .. }) = trace {
                        self.record(now, trace, Step::Deliver, now.mono_ns);
                        let took_ns = now.mono_ns.saturating_sub(stages.accepted);
                        self.metrics.delivery_seconds.observe(took_ns as f64 / 1e9);
                        self.metrics.observe_stages(now.mono_ns, stages);
                    }
                }
                Offer::Duplicate => {
                    self.metrics.entries_duplicate.inc();
                }
                Offer::Missed => {
                    self.metrics.cursors_evicted.add(cursors.evict(chat, limit) as u64);
                    self.metrics.entries_missed.inc();
                    self.missed(now, index, (chat, seq, acked), egress);
                }
            }
        }
    }

    /// Writes an entry's shared bytes in the connection's dialect.
    pub(crate) fn write_entry(&mut self, now: Now, index: u32, chat: ChatId, seq: u64, shared: &mut Shared<'_>) {
        let dialect = self.conns[index].dialect;
        if dialect == Dialect::Json
            && let Some(message) = shared.message()
        {
            self.conns[index].active().recent.get_or_insert_default().push(message, chat, seq);
        }
        let chunk = match dialect {
            Dialect::Native => shared.frame,
            Dialect::WebSocketNative => shared.binary.get_or_insert_with(|| server_frame(Kind::Binary, shared.frame)),
            Dialect::Json => {
                shared.json.get_or_insert_with(|| self.encode(dialect, &ServerEvent::Entry { frame: shared.frame }))
            }
        };
        self.push(now, index, chunk);
    }

    /// A receipt. It is in no chat's order, and the next one of its chat and user says all that it says: a slow reader
    /// gets none, and is told how far others are when it reads again.
    pub(crate) fn notice(&mut self, now: Now, frame: Bytes, targets: &[(u32, u32)]) {
        let mut shared = Shared::new(&frame);
        let mut veiled = None;
        for &(connection, generation) in targets {
            let Some(index) = self.target(connection, generation) else { continue };
            if self.conns[index].has(FLAG_SLOW) {
                self.receipt_dropped(now, index);
                continue;
            }
            if self.conns[index].has(FLAG_UNKNOWN) {
                self.hold_receipt(now, index, &frame);
                continue;
            }
            if self.conns[index].has(FLAG_PRIVATE) {
                let veiled = veiled.get_or_insert_with(|| self.veiled(&frame));
                if let Some(other) = veiled.as_ref().filter(|receipt| receipt.of != self.user(index).0) {
                    self.metrics.receipts.inc();
                    self.metrics.receipts_veiled.inc();
                    self.emit(now, index, &ServerEvent::Receipt { frame: &other.frame });
                    continue;
                }
            }
            self.metrics.receipts.inc();
            let dialect = self.conns[index].dialect;
            let chunk = match dialect {
                Dialect::Native => shared.frame,
                Dialect::WebSocketNative => {
                    shared.binary.get_or_insert_with(|| server_frame(Kind::Binary, shared.frame))
                }
                Dialect::Json => shared
                    .json
                    .get_or_insert_with(|| self.encode(dialect, &ServerEvent::Receipt { frame: shared.frame })),
            };
            self.push(now, index, chunk);
        }
    }

    /// A session was not told a receipt: it lists what ticked since then as soon as it may.
    pub(crate) fn receipt_dropped(&mut self, now: Now, index: u32) {
        self.metrics.receipts_dropped.inc();
        let sync = self.conns[index].active().sync(self.config.hash_seed);
        let since_ms = now.wall_ms().saturating_sub(RECEIPT_AGE_MS);
        sync.since_ms = if sync.since_ms == 0 { since_ms } else { sync.since_ms.min(since_ms) };
        sync.restart(false);
    }

    /// An owner's backstop: these devices have not acknowledged the head. Whoever was not given it, reads it again.
    pub(crate) fn nudge(&mut self, now: Now, chat: ChatId, head_seq: u64, targets: &[Target], egress: &mut dyn Egress) {
        for target in targets {
            let Some(index) = self.target(target.connection, target.generation) else { continue };
            if self.conns[index].active().base(chat, target.acked_seq) < head_seq {
                self.metrics.nudges.inc();
                self.missed(now, index, (chat, head_seq, target.acked_seq), egress);
            }
        }
    }
}
