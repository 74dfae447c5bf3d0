//! One owner partition: everything between an envelope and a durable, ordered, deduplicated entry.
//!
//! A [`Partition`] is sans-IO: envelopes in, envelopes out through an [`Egress`]; block writes and jobs are taken by
//! whoever runs the loop and their ends reported back. What must stay true: a partition has an ordered and a committed
//! position, and only what is committed is answered, pushed, read or counted by anybody.

mod config;
mod job;
mod metrics;
mod open;
mod owned;
mod settling;
mod status;
mod strangers;
mod taking;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;

use fabric::core::JobQueue;
use fabric::disk::BlockWrite;
use fabric::hash::Map;
use fabric::tier::{Egress, Send};
use fabric::time::Now;
use schema::encode::Encoder;
use schema::envelope::{Body, ChangedChat, Envelope, Header, ListedChat};
use schema::errors::ErrorCode;
use schema::timeuuid::Generator;

use crate::journal::{Journal, Lsn, SegmentDone, Watch, WriteOutcome};
use crate::log::Log;
use crate::owner::{
    Amending, Asker, Audience, Batch, Fanout, Found, Keys, MarkAnswer, Memory, Merges, Nudges, Parked, PendingChats,
    PendingMark, PendingPage, PendingStatus, Refusals, Spooling, Synced, Wanted,
};
use crate::pins::Residents;
use crate::store::StoreError;

pub use config::{Outage, PartitionConfig};
pub use job::{Job, JobDone, run_job};
pub(crate) use job::{ReadWork, Recovered, Work};
pub use metrics::StorageMetrics;
pub use open::{OpenConfig, OpenError, Opened, open};
pub use status::{PartitionStatus, RecoverySummary};
pub use taking::{Ahead, open_owned, read_ahead};

use job::{Done, ReadFound};

/// Who waits for a read.
#[derive(Debug)]
pub(crate) enum PendingRead {
    /// The sends parked behind a chat's first.
    Parked { chat: u32 },
    /// A watermark.
    Mark(PendingMark),
    /// A page.
    Page(Box<PendingPage>),
    /// The state of a message.
    Status(PendingStatus),
    /// A page of chats.
    Chats(Box<PendingChats>),
}

/// One owner partition. One thread owns it; nothing in it blocks.
pub struct Partition {
    pub(crate) number: u16,
    pub(crate) partitions: u16,
    /// The chats that it has.
    pub(crate) residents: Residents,
    pub(crate) config: PartitionConfig,
    pub(crate) metrics: StorageMetrics,
    pub(crate) keys: Keys,
    pub(crate) generator: Generator,
    pub(crate) encoder: Encoder,
    pub(crate) memory: Memory,
    pub(crate) log: Log,
    /// The batch of the block that fills.
    pub(crate) filling: Batch,
    /// Bytes of sends in it.
    pub(crate) filling_bytes: usize,
    /// Positions of it that the journal's block has already.
    pub(crate) positions_appended: usize,
    /// The batch of the block that is being written, with the block's length.
    pub(crate) in_flight: Option<Batch>,
    pub(crate) in_flight_bytes: usize,
    /// An empty batch with memory.
    pub(crate) spare: Option<Batch>,
    /// Sends that wait for a block with room.
    pub(crate) inbox: VecDeque<Envelope>,
    /// Sends on their way into the spool, while the store is away.
    pub(crate) spooling: Spooling,
    /// Sends that wait for a lookup, by chat.
    pub(crate) parked: Map<u32, Parked>,
    pub(crate) parked_sends: usize,
    pub(crate) refusals: Refusals,
    pub(crate) merges: Merges<ChangedChat>,
    pub(crate) lists: Merges<ListedChat>,
    /// What groups and senders in them may cause.
    pub(crate) audience: Audience,
    /// Amendments that are ordered and not durable.
    pub(crate) amending: Amending,
    pub(crate) fanout: Fanout,
    pub(crate) nudges: Nudges,
    pub(crate) reads: Map<u64, PendingRead>,
    pub(crate) last_read: u64,
    pub(crate) jobs: VecDeque<(JobQueue, Work)>,
    pub(crate) stopping: bool,
    /// Blocks that failed.
    pub(crate) failures: u64,
    /// When what failed is tried again, ns; 0 = nothing failed.
    pub(crate) retry_ns: u64,
    /// When the store is next told to expire, ns.
    pub(crate) expire_ns: u64,
    pub(crate) last_commit_ns: u64,
    pub(crate) applied: Lsn,
    pub(crate) flush_failing: bool,
    /// Flushes that failed since the last that did not.
    pub(crate) flushes_failed: u32,
    /// Journal bytes committed since the last freeze.
    pub(crate) unfrozen_journal_bytes: usize,
}

impl Partition {
    /// Its number, `0..partitions`.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Takes an envelope: Send, ForgetRefusals, Mark, SyncRequest, PageRequest, SyncProbe, SyncPart, and questions about chats
    /// and messages. Others are counted and dropped.
    pub fn handle(&mut self, now: Now, envelope: Envelope, egress: &mut dyn Egress) {
        if let Some(send) = Send::of(&envelope) {
            return self.take_send(now, &send, egress);
        }
        if self.is_elsewhere(&envelope.body) {
            return self.refuse_stranger(&envelope, egress);
        }
        let header = envelope.header;
        match envelope.body {
            Body::ForgetRefusals { chat } => self.refusals.forget(header.reply, chat),
            Body::Mark { chat, user, device, seq, message, status, secret } => {
                self.handle_mark(&header, chat, (user, device), (seq, message, status, secret), egress);
            }
            Body::SyncRequest { user, device, before, since_ms } => {
                self.memory.latest_ms(now);
                self.handle_sync(now, &header, Synced { user, device, since_ms }, before, egress);
            }
            Body::PageRequest {
                ticks,
                blind,
                chat,
                user,
                after_seq,
                before_seq,
                newest,
                limit_entries,
                limit_bytes,
            } => {
                let ticks = ticks.then_some(Asker { user, blind });
                let wanted = Wanted { after: after_seq, before: before_seq, newest, limit_entries, limit_bytes, ticks };
                self.handle_page(now, &header, chat, user, wanted, egress);
            }
            Body::SyncProbe { user, device, before, since_ms, partition } => {
                self.memory.latest_ms(now);
                self.handle_probe(&header, Synced { user, device, since_ms }, before, partition, egress);
            }
            Body::SyncPart { chats, more, partition } => {
                self.sync_part(header.request_id, partition, chats, more, egress);
            }
            body => self.handle_question(now, &header, body, egress),
        }
    }

    /// Questions about chats and messages.
    fn handle_question(&mut self, now: Now, header: &Header, body: Body, egress: &mut dyn Egress) {
        match body {
            Body::ChatRequest { chat, user, client_request, after_user, limit, blind } => {
                self.handle_chat(header, (chat, Asker { user, blind }), client_request, (after_user, limit), egress);
            }
            Body::StatusRequest { chat, user, client_request, message, blind } => {
                self.handle_status(header, (chat, Asker { user, blind }), client_request, message, egress);
            }
            Body::ChatsRequest { user, client_request, before, limit } => {
                self.handle_chats(now, header, user, client_request, (before, limit), egress);
            }
            Body::AccountRequest { user, client_request, chat } => {
                self.handle_account(header, user, client_request, chat, egress);
            }
            Body::ChatsProbe { user, before, limit, partition, blind } => {
                self.handle_chats_probe(now, header, Asker { user, blind }, (before, limit), partition, egress);
            }
            Body::ChatsPart { chats, more, partition } => {
                self.chats_part(header.request_id, partition, chats, more, egress);
            }
            _ => {
                debug_assert!(false, "not for an owner");
                self.metrics.misrouted.inc();
            }
        }
    }

    /// A gateway is gone without a word: what is remembered for its sessions is forgotten, once nothing of theirs can be on its
    /// way any more. Reads and pages for them end by themselves, and their answers go nowhere.
    pub fn gateway_lost(&mut self, incarnation: u64) {
        self.refusals.lose(incarnation);
    }

    /// Once a turn, after all inputs: timers, waiting sends, a step of housekeeping. Then take writes and jobs.
    pub fn turn(&mut self, now: Now, egress: &mut dyn Egress) {
        if self.stopping {
            self.refuse_waiting(ErrorCode::GoingAway, egress);
        }
        self.spool_outstanding(now, egress);
        self.drain_inbox(now, egress);
        self.fire_nudges(now, egress);
        self.expire_merges(now, egress);
        self.fan_out(now, egress);
        self.refusals.step();
        self.housekeeping(now);
        if self.log.journal_mut().is_some_and(Journal::give_up_without_segment) {
            tracing::error!(
                partition = self.number,
                "the journal has no room and no segment can be made; sends are refused until one can"
            );
            self.discard(now, egress);
        }
        self.start_commit(now);
        self.start_spooling();
    }

    /// The block to write next; `None` while one is in flight, when nothing waits, while the journal has no segment, and
    /// always where there is no journal.
    pub fn take_write(&mut self) -> Option<BlockWrite> {
        if self.in_flight.is_some() || self.log.journal().is_none() {
            return None;
        }
        self.append_positions();
        let write = self.log.journal_mut()?.take_write()?;
        self.batch_taken(write.bytes.as_slice().len());
        Some(write)
    }

    /// The filling block is on its way: its batch too, and the next one fills.
    fn batch_taken(&mut self, block_bytes: usize) {
        let next = Batch { number: self.filling.number.wrapping_add(1), ..self.spare.take().unwrap_or_default() };
        let mut batch = core::mem::replace(&mut self.filling, next);
        let rest = batch.positions.split_off(self.positions_appended);
        (self.filling_bytes, self.positions_appended) = (0, 0);
        for position in rest {
            self.keep_position(position);
        }
        self.in_flight = Some(batch);
        self.in_flight_bytes = block_bytes;
    }

    /// The write of `ticket` ended: what it held is answered and pushed, or refused. Call [`Self::turn`] after it. Drop the
    /// block before: its memory is used again.
    pub fn write_done(&mut self, now: Now, ticket: u64, result: io::Result<()>, egress: &mut dyn Egress) {
        match self.log.journal_mut().and_then(|journal| journal.write_done(ticket, result)) {
            None => {}
            Some(WriteOutcome::Committed { .. }) => self.block_committed(now, egress),
            Some(WriteOutcome::Poisoned { committed, error }) => {
                tracing::error!(
                    partition = self.number,
                    committed = committed.0,
                    %error,
                    "a journal write failed; sends are refused until a new segment takes over"
                );
                self.metrics.write_failures.inc();
                self.discard(now, egress);
            }
        }
    }

    /// The block in flight is durable.
    fn block_committed(&mut self, now: Now, egress: &mut dyn Egress) {
        self.last_commit_ns = now.mono_ns;
        self.unfrozen_journal_bytes += self.in_flight_bytes;
        self.metrics.blocks.inc();
        self.metrics.journal_bytes.inc_by(self.in_flight_bytes as u64);
        if let Some(batch) = self.in_flight.take() {
            let records = (batch.entries + batch.positions.len()) as u64;
            self.metrics.records.inc_by(records);
            self.metrics.block_records.observe(records as f64);
            self.commit(now, batch, egress);
        }
    }

    /// A job to start; `None` when there is none at the moment. Call until `None` after every turn.
    pub fn take_job(&mut self) -> Option<(JobQueue, Job)> {
        let (queue, work) = self.jobs.pop_front()?;
        Some((queue, Job { partition: self.number, epoch: self.epoch(), work }))
    }

    /// A job of this partition ended. Call [`Self::turn`] after it. What was begun under another epoch is
    /// ignored, but for writes of the spool.
    pub fn job_done(&mut self, now: Now, done: JobDone, egress: &mut dyn Egress) {
        debug_assert_eq!(done.partition, self.number);
        let own = done.epoch == self.epoch();
        match done.done {
            Done::Spooled(written, ticket) => self.spooled(now, written, (ticket, own), egress),
            _ if !own => {}
            Done::Commit(result) => self.commit_done(now, result, egress),
            Done::Flush(result) => self.flushed(now, result),
            Done::Segment(done) => self.segment_done(now, done),
            Done::Read { read, found } => self.read_done(now, read, found, egress),
            Done::Nothing => {}
        }
    }

    fn segment_done(&mut self, now: Now, done: SegmentDone) {
        let poisoned = self.log.is_poisoned();
        if let Err(error) = &done.result {
            tracing::warn!(partition = self.number, %error, "a journal segment could not be prepared; trying again");
            self.metrics.segment_failures.inc();
            self.retry_at(now);
        }
        if let Some(journal) = self.log.journal_mut() {
            journal.job_done(done);
        }
        if poisoned && !self.log.is_poisoned() {
            self.metrics.takeovers.inc();
            tracing::info!(partition = self.number, "a new journal segment took over; sends are taken again");
        }
    }

    fn read_done(&mut self, now: Now, read: u64, found: Result<ReadFound, StoreError>, egress: &mut dyn Egress) {
        if let Err(error) = &found {
            tracing::warn!(partition = self.number, %error, "a read failed");
        }
        match (self.reads.remove(&read), found) {
            (Some(PendingRead::Parked { chat }), found) => {
                let found = found.map(|found| match found {
                    ReadFound::Original(entry) => Found::Original(entry),
                    ReadFound::Dedupe(hit) => Found::Dedupe(hit),
                    _ => Found::Dedupe(None),
                });
                self.parked_answered(now, (read, chat), found, egress);
            }
            (Some(PendingRead::Mark(mark)), found) => {
                let answer = found.map(|found| match found {
                    ReadFound::FindMessage(seq, message) => MarkAnswer::Seq(seq, Some(message)),
                    ReadFound::AtSeq(seq, entry) => MarkAnswer::Entry(seq, entry),
                    _ => MarkAnswer::Seq(None, None),
                });
                self.mark_answered(mark, answer, egress);
            }
            // Without what cannot be read the list is as true as before.
            (Some(PendingRead::Chats(chats)), found) => {
                let entries = if let Ok(ReadFound::Entries(entries)) = found { entries } else { Vec::new() };
                self.chats_gathered(now, *chats, &entries, egress);
            }
            (Some(PendingRead::Status(status)), found) => {
                let placed = found.map(|found| match found {
                    ReadFound::FindMessage(seq, _) => seq.map(|seq| (seq, None)),
                    ReadFound::AtSeq(seq, entry) => entry.map(|entry| (seq, Some(entry))),
                    _ => None,
                });
                self.status_found(status, placed, egress);
            }
            (Some(PendingRead::Page(page)), found) => {
                let stored = found.map(|found| if let ReadFound::History(page) = found { page } else { Vec::new() });
                self.page_answered(now, *page, stored, egress);
            }
            (None, _) => debug_assert!(false, "a read ends once"),
        }
    }

    /// Starts a read for `pending`; `None` when too many wait.
    pub(crate) fn start_read(&mut self, pending: PendingRead, what: ReadWork) -> Option<u64> {
        if self.reads.len() >= self.config.waiting_reads {
            return None;
        }
        self.last_read += 1;
        self.reads.insert(self.last_read, pending);
        self.jobs.push_back((JobQueue::Read, Work::Read { read: self.last_read, what }));
        Some(self.last_read)
    }

    /// When [`Self::turn`] must be called next even if nothing comes, ns of the monotonic clock; in the past = at once.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let at_once = (self.has_steps() || self.fanout.is_due() || self.refusals.is_losing()).then_some(1);
        let retry = (self.retry_ns > 0).then_some(self.retry_ns);
        let expire = (self.number == 0).then_some(self.expire_ns);
        let commit = self.commit_due_ns();
        let others = [
            commit,
            self.spooling_due_ns(),
            self.seal_due_ns(),
            self.freeze_due_ns(),
            self.flush_retry_ns(),
            self.nudges.next_ns(),
        ];
        others.into_iter().chain([at_once, retry, expire, self.merges.next_ns(), self.lists.next_ns()]).flatten().min()
    }

    /// No more sends; what is ordered is written, then the journal is sealed. Go on taking writes until
    /// [`Self::stopped`]. What memory holds stays in the journal for the next start. An owned partition goes on with all that
    /// is in it, and that still comes: whoever stops it sends what is new elsewhere.
    pub fn stop(&mut self, _now: Now) {
        match &mut self.log {
            Log::Owned(log) => log.stopping = true,
            Log::Journal(_) if self.stopping => {}
            Log::Journal(_) => {
                self.append_positions();
                self.stopping = true;
                self.log.journal_mut().into_iter().for_each(Journal::stop);
            }
        }
    }

    /// After [`Self::stop`]: the journal is sealed, or cannot be, being poisoned; an owned partition has nothing under way.
    pub fn stopped(&self) -> bool {
        match &self.log {
            Log::Journal(journal) => journal.stopped(),
            Log::Owned(log) => log.stopping && self.is_drained(),
        }
    }

    /// For whoever copies its journal while it is written, if it has one.
    pub fn journal_watch(&self) -> Option<Watch> {
        self.log.journal().map(|journal| journal.watch().clone())
    }

    /// Where it stands.
    pub fn status(&self) -> PartitionStatus {
        let journal = self.log.status();
        PartitionStatus {
            partition: self.number,
            ordered_lsn: journal.ordered.0,
            committed_lsn: journal.committed.0,
            applied_lsn: self.applied.0,
            chats: self.memory.chats.len(),
            memory_bytes: self.memory.tables.bytes() + self.memory.hot.bytes(),
            dedupe_entries: self.memory.dedupe.len(),
            frozen_tables: self.memory.tables.unflushed(),
            poisoned: journal.poisoned,
            flush_failing: self.flush_failing,
            journal_segments: journal.segments,
            waiting_sends: self.waiting_sends(),
            waiting_reads: self.reads.len(),
        }
    }
}
