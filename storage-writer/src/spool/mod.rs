//! Sends that a writer keeps while its store is away, and has stored when that is back; and those that never can be.
//!
//! A send is *queued* once it is durable in the spool's files, without a place in its chat. Later it goes to whoever owns its
//! chat then, as any send: its client_msg_id makes it harmless that it may go twice. What is refused for good becomes a **dead
//! letter**, a file of its own, which an operator may have sent again or drop.
//!
//! What must stay true: whoever was told `queued` finds their send stored, or a dead letter says why not; of one user and chat
//! nothing overtakes what was queued before; the spool never grows beyond its bound. A chat may get another partition while
//! sends to it are queued: they go to the one that has it when they go, whichever queued them.

mod files;
mod format;
mod lanes;
pub mod letters;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fabric::disk::Disk;
use fabric::mutex::lock;
use fabric::tier::Send as Sending;
use fabric::time::Now;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use schema::envelope::{self, Address, Body, Envelope, Header, Settled};
use schema::errors::{ErrorCode, Retry};
use schema::ids::{ChatId, UserId};
use schema::limits::DEDUPE_KEEP_MS;
use schema::places::Places;
use smallvec::SmallVec;

use files::Files;
use format::{BatchError, Record, Writer};
use lanes::{Kept, Lanes};

pub use lanes::Ended;

/// The connection in the address of what a spool sends: no session has it.
pub const CONNECTION: u32 = u32::MAX;
/// A queued send goes no more when whoever looks for an answer to it may not find one, ms after it was queued.
pub const TOO_OLD_MS: u64 = DEDUPE_KEEP_MS - 60 * 60_000;

/// Bounds of a spool.
#[derive(Clone, Copy, Debug)]
pub struct SpoolConfig {
    /// What its files may take, dead letters included, bytes. What is queued is also held in memory.
    pub limit_bytes: u64,
    /// Length of a file, bytes; a multiple of the disk's alignment.
    pub segment_bytes: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self { limit_bytes: 256 << 20, segment_bytes: 8 << 20 }
    }
}

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk refuses.
    #[error("the spool of queued sends: {0}")]
    Io(#[source] io::Error),
    /// What was durable is not what was written.
    #[error(
        "the spool of queued sends is damaged: {file} at byte {offset}: {why}; keep a copy of the folder for analysis, and move \
         that file away: what is in it behind that place is lost"
    )]
    Damaged {
        /// Which file.
        file: String,
        /// Where.
        offset: u64,
        /// What is wrong.
        #[source]
        why: BatchError,
    },
}

/// Whether a send is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reserved {
    /// It will be: write it ([`Spool::write`]), then tell whoever asked.
    New(u64),
    /// It is being written; whoever writes it tells.
    Writing,
    /// It is, since before: tell at once.
    Kept,
}

/// What a settled send is to whoever had it stored.
#[derive(Debug)]
pub enum Found {
    /// Its session was told that it is queued: it is told the outcome.
    Queued(Ended),
    /// These have not been told that yet: they get the answer itself.
    Untold(SmallVec<[(Address, u64); 1]>),
    /// It was settled before.
    Gone,
}

/// Counted for operators.
#[derive(Debug, Default)]
struct Metrics {
    queued: Counter,
    settled: Counter,
    full: Counter,
    failed: Counter,
    dead: Counter,
    torn: Counter,
    waiting: Gauge,
    bytes: Gauge,
    letters: Gauge,
}

struct State {
    lanes: Lanes,
    /// Which partition has which chat, as far as this process knows.
    places: Places,
    last_id: u64,
    /// Sends that are settled, and files that do not say so yet: number and file.
    settled: Vec<(u64, u64)>,
    /// Dead letters to write: number, code (0 = too old).
    dead: Vec<(u64, u16)>,
    /// Bytes of the files, as of the last write.
    files_bytes: u64,
    letters_bytes: u64,
    tidy_due_ns: u64,
    /// Another thread writes.
    tidying: bool,
    /// Partitions that have a [`Ticket`].
    tickets: BTreeSet<u16>,
}

/// See the module. Shared by all shards of a writer; the lock of what is in memory is held for a few instructions, that of the
/// files by whoever writes them.
pub struct Spool {
    config: SpoolConfig,
    /// How many share the slots.
    partitions: u16,
    disk: Box<dyn Disk + Send + Sync>,
    align: u64,
    files: Mutex<Files>,
    state: Mutex<State>,
    /// Sends in the spool: so that one look tells that there is none.
    waiting: AtomicUsize,
    metrics: Metrics,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// How often files are tidied and the folder is looked at for letters that are to go again, ns.
const TIDY_NS: u64 = 1_000_000_000;

impl Spool {
    /// Opens the spool of a folder and reads what an earlier start has left. `partitions`: how many share the slots. Blocks.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open(
        disk: impl Disk + Send + Sync + 'static,
        config: SpoolConfig,
        partitions: u16,
        now: Now,
    ) -> Result<Self, SpoolError> {
        let (mut files, found) = Files::open(&disk, config.segment_bytes)?;
        let align = disk.align_bytes() as u64;
        let mut lanes = Lanes::new(now.wall_ticks);
        // Rising over starts, whatever files are left: dead letters are named by it.
        let mut last_id = now.wall_ms() << 20;
        let settled: BTreeSet<u64> = found
            .records
            .iter()
            .filter_map(|(record, _)| if let Record::Settled { id } = record { Some(*id) } else { None })
            .collect();
        for (record, file) in found.records {
            let Record::Queued { id, queued_ms, send } = record else { continue };
            last_id = last_id.max(id);
            if settled.contains(&id) {
                continue;
            }
            // At home, until the table of pinned chats says otherwise: whoever does not have the chat has it sent again.
            let Body::Send { chat, .. } = &send.body else { continue };
            let home = chat.slot().partition(partitions);
            if lanes.insert(id, (home, home, queued_ms), (file, 0), send).is_some() {
                files.lives(file);
            }
        }
        files.tidy(&disk).map_err(SpoolError::Io)?;
        let (waiting, files_bytes) = (AtomicUsize::new(lanes.len()), files.bytes());
        let state = State {
            lanes,
            places: Places::default(),
            last_id,
            settled: Vec::new(),
            dead: Vec::new(),
            files_bytes,
            letters_bytes: 0,
            tidy_due_ns: 0,
            tidying: false,
            tickets: BTreeSet::new(),
        };
        let (files, state) = (Mutex::new(files), Mutex::new(state));
        let disk: Box<dyn Disk + Send + Sync> = Box::new(disk);
        let spool = Self { config, partitions, disk, align, files, state, waiting, metrics: Metrics::default() };
        spool.metrics.torn.inc_by(found.torn);
        spool.look_at_letters(now).map_err(SpoolError::Io)?;
        spool.count(&mut lock(&spool.state));
        let queued = spool.waiting();
        if queued > 0 || found.torn > 0 {
            tracing::info!(queued, torn = found.torn, "queued sends of an earlier start go as soon as they can");
        }
        Ok(spool)
    }

    /// Makes it visible in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("spool");
        let m = &self.metrics;
        for (name, help, counter) in [
            ("queued", "Sends queued because the store was away", &m.queued),
            ("settled", "Queued sends that were stored", &m.settled),
            ("full", "Sends refused because the spool was full", &m.full),
            ("write_failures", "Writes of the spool that failed", &m.failed),
            ("dead", "Queued sends that became dead letters", &m.dead),
            ("torn", "Torn ends cut at the start", &m.torn),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in [
            ("waiting", "Queued sends that are not stored yet", &m.waiting),
            ("bytes", "Bytes of the spool's files and dead letters", &m.bytes),
            ("dead_letters", "Dead letters in the folder", &m.letters),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }

    fn count(&self, state: &mut State) {
        self.waiting.store(state.lanes.len(), Ordering::Release);
        self.metrics.waiting.set(state.lanes.len() as i64);
        self.metrics.bytes.set((state.files_bytes + state.letters_bytes) as i64);
    }

    /// Sends that are not stored yet. A look, without a lock.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Whether something that this user sent to this chat is kept: what they send now has to go behind it.
    pub fn has_lane(&self, user: UserId, chat: ChatId) -> bool {
        self.waiting() > 0 && lock(&self.state).lanes.has_lane((user, chat))
    }

    /// Whether a send is kept, or about to be.
    pub fn has(&self, user: UserId, chat: ChatId, client_msg_id: &[u8]) -> bool {
        self.waiting() > 0 && lock(&self.state).lanes.find((user, chat), client_msg_id).is_some()
    }

    /// Another one asks about a send that may be kept: as [`Self::reserve`], of one that is not `None`.
    pub fn ask(&self, (user, chat): (UserId, ChatId), client_msg_id: &[u8], asker: (Address, u64)) -> Option<Reserved> {
        let mut state = lock(&self.state);
        let known = state.lanes.find((user, chat), client_msg_id)?;
        Some(if state.lanes.ask(known, asker) { Reserved::Kept } else { Reserved::Writing })
    }

    /// Chats have other partitions from now on: what is queued for them goes there. Words of an older table than the newest that
    /// was heard mean nothing.
    pub fn set_places(&self, places: &Places) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        if places.version > state.places.version {
            state.places = places.clone();
            state.lanes.set_places(|chat| places.partition(chat, self.partitions));
        }
    }

    /// Finds room for a send, behind what its user sent to its chat before. `by`: the partition that has it written. `None`: it is
    /// full, or what it belongs behind is being written for another partition, which had the chat before.
    pub fn reserve(&self, now: Now, by: u16, send: &Sending<'_>) -> Option<Reserved> {
        // A copy of its own: what is read from sockets lies in larger pieces.
        let mut envelope = Sending { owned: None, trace: None, ..*send }.to_envelope(|frame| frame.to_frame());
        envelope.header.request_id = send.request_id;
        let lane = (send.user, send.chat);
        let id = send.frame.root().body_as_send()?.client_msg_id()?;
        let mut state = lock(&self.state);
        if state.lanes.is_written_elsewhere(lane, by) {
            return None;
        }
        if let Some(known) = state.lanes.find(lane, id.bytes()) {
            let durable = state.lanes.ask(known, (send.reply, send.request_id));
            return Some(if durable { Reserved::Kept } else { Reserved::Writing });
        }
        // In the worst case it gets a batch of its own, and its end another.
        let len = format::HEAD + format::RECORD_HEAD + 256 + send.frame.bytes().len();
        let bytes = (len as u64).next_multiple_of(self.align) + self.align;
        let used = state.files_bytes + state.letters_bytes + state.lanes.writing_bytes();
        if used + bytes > self.config.limit_bytes {
            self.metrics.full.inc();
            return None;
        }
        let number = state.last_id + 1;
        let partition = state.places.partition(send.chat, self.partitions);
        state.lanes.insert(number, (partition, by, now.wall_ms()), (0, bytes), envelope)?;
        state.last_id = number;
        self.count(&mut state);
        Some(Reserved::New(number))
    }

    /// The right to write what was reserved of a partition; `None` while another one has it, be it that the partition was another
    /// owner's then. So what fails is known before anything behind it is written.
    pub fn ticket(self: &Arc<Self>, partition: u16) -> Option<Ticket> {
        let is_free = lock(&self.state).tickets.insert(partition);
        is_free.then(|| Ticket { spool: Arc::clone(self), partition })
    }

    /// Makes sends durable that were reserved, in this order; from then on they go as soon as they can. After an error they are as
    /// if they had never been: [`Written::Failed`] says who is to be told. Blocks.
    pub fn write(&self, ids: &[u64]) -> Written {
        let mut files = lock(&self.files);
        let (sends, settled) = {
            let mut state = lock(&self.state);
            let encoded = |id: &u64| {
                let Kept { send, queued_ms, .. } = state.lanes.get(*id)?;
                Some((*id, *queued_ms, envelope::encode(send).to_vec()))
            };
            let sends: Vec<_> = ids.iter().filter_map(encoded).collect();
            (sends, std::mem::take(&mut state.settled))
        };
        let numbers: Vec<u64> = settled.iter().map(|(id, _)| *id).collect();
        let result = files.write(&*self.disk, &sends, &numbers);
        let mut state = lock(&self.state);
        match result {
            Ok(places) => {
                for ((id, ..), place) in sends.iter().zip(places) {
                    if state.lanes.durable(*id, place) {
                        files.lives(place);
                    }
                }
                settled.iter().for_each(|(_, file)| files.dies(*file));
                self.metrics.queued.inc_by(sends.len() as u64);
                state.files_bytes = files.bytes();
                self.count(&mut state);
                Written::Durable(ids.to_vec())
            }
            Err(error) => {
                tracing::error!(%error, "queued sends cannot be written; they are refused");
                self.metrics.failed.inc();
                state.settled.extend(settled);
                drop(state);
                Written::Failed(self.withdraw(ids))
            }
        }
    }

    /// Forgets sends that are not durable. Returns who waits to be told.
    pub fn withdraw(&self, ids: &[u64]) -> Vec<Withdrawn> {
        let mut state = lock(&self.state);
        let mut withdrawn = Vec::new();
        for kept in ids.iter().filter_map(|id| state.lanes.withdraw(*id)) {
            let (chat, client_msg_id) = (kept.lane.1, kept.client_msg_id);
            withdrawn.extend(kept.askers.into_iter().map(|asker| Withdrawn {
                asker,
                chat,
                user: kept.lane.0,
                client_msg_id: client_msg_id.clone(),
            }));
        }
        self.count(&mut state);
        withdrawn
    }

    /// Who is to be told that a send is queued.
    #[allow(clippy::type_complexity)] // one answer's parts
    pub fn take_askers(&self, id: u64) -> Option<(SmallVec<[(Address, u64); 1]>, bytes::Bytes, ChatId)> {
        lock(&self.state).lanes.take_askers(id)
    }

    /// Partitions that have sends to go.
    pub fn partitions(&self) -> Vec<u16> {
        if self.waiting() == 0 { Vec::new() } else { lock(&self.state).lanes.partitions().collect() }
    }

    /// The next send of a partition that is to go to its owner now, as from a session of its own at `from`; tell the answer
    /// with [`Self::answered`].
    pub fn next(&self, now: Now, partition: u16, from: Address) -> Next {
        let mut state = lock(&self.state);
        let Some((id, queued_ms, mut send)) = state.lanes.next(partition, now.mono_ns) else { return Next::Nothing };
        if now.wall_ms().saturating_sub(queued_ms) > TOO_OLD_MS {
            return self.die(&mut state, id, 0).map_or(Next::Nothing, Next::Dead);
        }
        if let Body::Send { retry, chat, .. } = &mut send.body {
            *retry = true;
            send.header.slot = state.places.slot(*chat, self.partitions);
        }
        send.header.reply = Address { connection: CONNECTION, ..from };
        (send.header.request_id, send.header.slot_epoch, send.header.passed_on) = (id, 0, false);
        Next::Send(Box::new(send))
    }

    /// An owner has answered a send of the spool's.
    pub fn answered(&self, now: Now, id: u64, outcome: Result<Settled, ErrorCode>) -> Option<Ended> {
        let mut state = lock(&self.state);
        match outcome {
            Ok(_) => self.end(&mut state, id, outcome),
            Err(code) if code.info().retry == Retry::Never => self.die(&mut state, id, code as u16),
            Err(_) => {
                state.lanes.postpone(id, now.mono_ns);
                None
            }
        }
    }

    /// A send of the spool's could not be handed to anybody: it goes again, later.
    pub fn postpone(&self, now: Now, id: u64) {
        lock(&self.state).lanes.postpone(id, now.mono_ns);
    }

    /// The owner of a partition, or the way there, is lost: what it has not answered goes again, to whoever is the next.
    pub fn lost(&self, partition: u16) {
        if self.waiting() > 0 {
            lock(&self.state).lanes.lost(partition);
        }
    }

    fn end(&self, state: &mut State, id: u64, outcome: Result<Settled, ErrorCode>) -> Option<Ended> {
        let (ended, file) = state.lanes.end(id, outcome, false)?;
        self.metrics.settled.inc();
        state.settled.push((id, file));
        self.count(state);
        Some(ended)
    }

    fn die(&self, state: &mut State, id: u64, code: u16) -> Option<Ended> {
        let told = ErrorCode::from_code(code).unwrap_or(ErrorCode::StorageUnavailable);
        let (ended, _) = state.lanes.end(id, Err(told), true)?;
        self.metrics.dead.inc();
        state.dead.push((id, code));
        tracing::warn!(code = told.info().name, "a queued send is refused for good: it is a dead letter");
        Some(ended)
    }

    /// A block with this send has become durable at its owner, which had it queued meanwhile.
    pub fn stored(&self, user: UserId, chat: ChatId, client_msg_id: &[u8], stored: Settled) -> Found {
        let mut state = lock(&self.state);
        let Some(id) = state.lanes.find((user, chat), client_msg_id) else { return Found::Gone };
        if let Some(askers) = state.lanes.take_untold(id) {
            // Once durable it goes all the same, and is found to be stored.
            return Found::Untold(askers);
        }
        self.end(&mut state, id, Ok(stored)).map_or(Found::Gone, Found::Queued)
    }

    /// Whether [`Self::tidy`] is due. Whoever gets `true` has to call it.
    pub fn begin_tidy(&self, now: Now) -> bool {
        let mut state = lock(&self.state);
        if state.tidying || state.tidy_due_ns > now.mono_ns {
            return false;
        }
        (state.tidying, state.tidy_due_ns) = (true, now.mono_ns + TIDY_NS);
        true
    }

    /// When that is, ns.
    pub fn tidy_due_ns(&self) -> u64 {
        lock(&self.state).tidy_due_ns
    }

    /// Writes dead letters, notes what is settled, removes files that nothing is needed of, and takes letters back that are to go
    /// again. Blocks.
    pub fn tidy(&self, now: Now) {
        if let Err(error) = self.try_tidy(now) {
            tracing::warn!(%error, "the spool of queued sends cannot be tidied; trying again");
        }
        lock(&self.state).tidying = false;
    }

    fn try_tidy(&self, now: Now) -> io::Result<()> {
        let dead = std::mem::take(&mut lock(&self.state).dead);
        for (at, &(id, code)) in dead.iter().enumerate() {
            let written = self.write_letter(id, code, now.wall_ms());
            let mut state = lock(&self.state);
            if let Err(error) = written {
                state.dead.extend(&dead[at..]);
                return Err(error);
            }
            if let Some(file) = state.lanes.get(id).map(|kept| kept.file) {
                state.lanes.forget(id);
                state.settled.push((id, file));
            }
            self.count(&mut state);
        }
        if !lock(&self.state).settled.is_empty()
            && let Written::Failed(_) = self.write(&[])
        {
            return Ok(());
        }
        {
            let mut files = lock(&self.files);
            files.tidy(&*self.disk)?;
            let mut state = lock(&self.state);
            state.files_bytes = files.bytes();
            self.count(&mut state);
        }
        self.look_at_letters(now)
    }

    fn write_letter(&self, id: u64, code: u16, dead_ms: u64) -> io::Result<()> {
        let (encoded, queued_ms) = {
            let state = lock(&self.state);
            let Some(Kept { send, queued_ms, .. }) = state.lanes.get(id) else { return Ok(()) };
            (envelope::encode(send), *queued_ms)
        };
        let mut letter = Writer::default();
        letter.dead(id, (queued_ms, dead_ms), code, &encoded);
        letters::put(&*self.disk, id, &letter.finish(0, self.align as usize))
    }

    /// Counts letters, and queues those again that are to go.
    fn look_at_letters(&self, now: Now) -> io::Result<()> {
        let found = letters::look(&*self.disk)?;
        {
            let mut state = lock(&self.state);
            state.letters_bytes = found.bytes;
            self.metrics.letters.set(found.letters as i64);
            self.count(&mut state);
        }
        for file in found.replays {
            let Some(send) = letters::read(&*self.disk, &file)?.map(|letter| letter.send) else { continue };
            let again = Envelope { header: Header { reply: Address::NOBODY, ..send.header }, ..send };
            let reserved = Sending::of(&again).and_then(|sending| {
                let partition = lock(&self.state).places.partition(sending.chat, self.partitions);
                self.reserve(now, partition, &sending)
            });
            match reserved {
                Some(Reserved::New(id)) => {
                    if let Written::Failed(_) = self.write(&[id]) {
                        return Ok(());
                    }
                }
                Some(Reserved::Kept) => {}
                // It is being written, or there is no room: later.
                Some(Reserved::Writing) | None => continue,
            }
            self.disk.remove(&file)?;
        }
        Ok(())
    }
}

/// See [`Spool::ticket`]. Held until the end of the write is known to the partition; dropping it gives it back.
#[derive(Debug)]
pub struct Ticket {
    spool: Arc<Spool>,
    partition: u16,
}

impl Ticket {
    /// Of which spool.
    pub const fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.spool.state).tickets.remove(&self.partition);
    }
}

/// How a write of the spool went.
#[derive(Debug)]
pub enum Written {
    /// These are kept.
    Durable(Vec<u64>),
    /// Nothing is; these have to be told.
    Failed(Vec<Withdrawn>),
}

/// Who has to be told that a send is not kept.
#[derive(Debug)]
pub struct Withdrawn {
    /// Who asked.
    pub asker: (Address, u64),
    /// Whose send.
    pub user: UserId,
    /// To which chat.
    pub chat: ChatId,
    /// As sent.
    pub client_msg_id: bytes::Bytes,
}

/// What [`Spool::next`] found.
#[derive(Debug)]
pub enum Next {
    /// Nothing is to go now.
    Nothing,
    /// This is.
    Send(Box<Envelope>),
    /// One that was too old is a dead letter: its session is to be told. Ask again.
    Dead(Ended),
}
