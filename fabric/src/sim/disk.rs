//! A disk that forgets, tears and garbles what was not yet durable when it lost power, and fails when told to.
//!
//! What must stay true: what was reported durable is there after a crash, unless [`DiskFaults::sync_lies`] says otherwise.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::mutex::lock;

use super::entropy::SeededEntropy;
use crate::disk::{BlockWrite, Disk};
use crate::entropy::Entropy;

/// Smallest piece that is written whole or not at all.
const SECTOR: usize = 512;
const ALIGN: usize = 4_096;

/// What may go wrong. All off by default; may be changed at any time.
#[derive(Clone, Copy, Debug)]
pub struct DiskFaults {
    /// One submitted write in so many fails (`EIO`), leaving any part of itself behind. 0 = none.
    pub fail_one_in: u32,
    /// A submitted write takes at least this long, ns.
    pub min_latency_ns: u64,
    /// And at most this.
    pub max_latency_ns: u64,
    /// One submitted write in so many takes a hundred times as long. 0 = none.
    pub slow_one_in: u32,
    /// Room for so many bytes of files; making more fails with `StorageFull`. (Writes into files made do not.)
    pub capacity_bytes: u64,
    /// Writes are reported durable when they are not: a crash may forget them.
    pub sync_lies: bool,
}

impl Default for DiskFaults {
    fn default() -> Self {
        Self {
            fail_one_in: 0,
            min_latency_ns: 50_000,
            max_latency_ns: 500_000,
            slow_one_in: 0,
            capacity_bytes: u64::MAX,
            sync_lies: false,
        }
    }
}

/// What went wrong so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskCounters {
    /// Power losses.
    pub crashes: u64,
    /// Writes in flight at a crash of which nothing was kept.
    pub lost_writes: u64,
    /// Of which a part was kept.
    pub torn_writes: u64,
    /// Of which sectors were kept garbled.
    pub garbled_writes: u64,
    /// Which were kept whole although nobody was told.
    pub kept_writes: u64,
    /// Writes reported durable that a crash forgot (`sync_lies`).
    pub forgotten_writes: u64,
    /// Submitted writes that failed.
    pub failed_writes: u64,
    /// Slowed down.
    pub slow_writes: u64,
    /// Files refused for want of room.
    pub full: u64,
    /// Blocking calls cut off in the middle by a power loss.
    pub interrupted: u64,
}

/// The end of a submitted write.
#[derive(Debug)]
pub struct DiskCompletion {
    /// As submitted.
    pub owner: u64,
    /// The write's ticket.
    pub ticket: u64,
    /// How it went.
    pub result: io::Result<()>,
}

/// See the module. Clones share the disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    entropy: SeededEntropy,
    faults: DiskFaults,
    counters: DiskCounters,
    /// What reads see.
    live: BTreeMap<String, Vec<u8>>,
    /// What a crash leaves.
    durable: BTreeMap<String, Vec<u8>>,
    /// (when, owner, write), in submission order.
    in_flight: Vec<(u64, u64, BlockWrite)>,
    /// Reported durable, and not.
    unsynced: Vec<(String, u64, Vec<u8>)>,
    /// So many changing blocking calls until power is lost in the middle of one.
    calls_left: Option<u64>,
    off: bool,
}

impl SimDisk {
    /// Empty.
    pub fn new(seed: u64) -> Self {
        let state = State {
            entropy: SeededEntropy::new(seed),
            faults: DiskFaults::default(),
            counters: DiskCounters::default(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            in_flight: Vec::new(),
            unsynced: Vec::new(),
            calls_left: None,
            off: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What may go wrong from now on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.lock().faults = faults;
    }

    /// What may go wrong now.
    pub fn faults(&self) -> DiskFaults {
        self.lock().faults
    }

    /// What went wrong so far.
    pub fn counters(&self) -> DiskCounters {
        self.lock().counters
    }

    /// Starts a write. `owner` comes back with its end: whose write it is.
    pub fn submit(&self, now_ns: u64, owner: u64, write: BlockWrite) {
        let aligned = write.offset.is_multiple_of(ALIGN as u64) && write.bytes.len().is_multiple_of(ALIGN);
        assert!(aligned && !write.bytes.is_empty(), "unaligned write into {}", write.file);
        let mut state = self.lock();
        let DiskFaults { min_latency_ns, max_latency_ns, slow_one_in, .. } = state.faults;
        let mut latency = state.entropy.between(min_latency_ns, max_latency_ns);
        if state.entropy.one_in(slow_one_in) {
            state.counters.slow_writes += 1;
            latency *= 100;
        }
        state.in_flight.push((now_ns + latency, owner, write));
    }

    /// When the next write in flight ends, ns.
    pub fn next_completion_ns(&self) -> Option<u64> {
        self.lock().in_flight.iter().map(|(at, ..)| *at).min()
    }

    /// The writes that have ended by now, in the order they ended.
    pub fn completions(&self, now_ns: u64) -> Vec<DiskCompletion> {
        let mut state = self.lock();
        let mut ended: Vec<_> = state.in_flight.extract_if(.., |(at, ..)| *at <= now_ns).collect();
        ended.sort_by_key(|(at, ..)| *at);
        ended.into_iter().map(|(_, owner, write)| state.end(owner, write)).collect()
    }

    /// Power is lost: of writes in flight nothing, a part, a garbled part or all is kept. The disk is usable again at once.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.counters.crashes += 1;
        for (file, offset, bytes) in std::mem::take(&mut state.unsynced) {
            if state.entropy.one_in(2) {
                state.counters.forgotten_writes += 1;
            } else {
                put(&mut state.durable, &file, offset, &bytes);
            }
        }
        for (_, _, write) in std::mem::take(&mut state.in_flight) {
            let fate = state.entropy.below(4);
            state.keep_part(fate, &write.file, write.offset, write.bytes.as_slice());
        }
        state.live = state.durable.clone();
        state.calls_left = None;
        state.off = false;
    }

    /// Lets power be lost in the middle of the blocking call that comes after `calls` more that change something: that call
    /// leaves a part of itself, and every one from then on fails until [`Self::crash`].
    pub fn lose_power_after(&self, calls: u64) {
        self.lock().calls_left = Some(calls);
    }

    /// Flips one bit of a file, as damage does.
    pub fn flip_bit(&self, file: &str, byte: u64, bit: u8) {
        let mut state = self.lock();
        let State { live, durable, .. } = &mut *state;
        for files in [live, durable] {
            if let Some(byte) = files.get_mut(file).and_then(|bytes| bytes.get_mut(byte as usize)) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Overwrites a part of a file, as damage does.
    pub fn overwrite(&self, file: &str, offset: u64, bytes: &[u8]) {
        let mut state = self.lock();
        put(&mut state.live, file, offset, bytes);
        put(&mut state.durable, file, offset, bytes);
    }
}

impl State {
    fn end(&mut self, owner: u64, write: BlockWrite) -> DiskCompletion {
        let (bytes, ticket) = (write.bytes.as_slice(), write.ticket);
        if !self.live.contains_key(&*write.file) {
            return DiskCompletion { owner, ticket, result: Err(ErrorKind::NotFound.into()) };
        }
        if self.entropy.one_in(self.faults.fail_one_in) {
            self.counters.failed_writes += 1;
            let part = self.entropy.below((bytes.len() / SECTOR) as u64 + 1) as usize * SECTOR;
            put(&mut self.live, &write.file, write.offset, &bytes[..part]);
            put(&mut self.durable, &write.file, write.offset, &bytes[..part]);
            return DiskCompletion { owner, ticket, result: Err(io::Error::from_raw_os_error(libc::EIO)) };
        }
        put(&mut self.live, &write.file, write.offset, bytes);
        if self.faults.sync_lies {
            self.unsynced.push((write.file.to_string(), write.offset, bytes.to_vec()));
        } else {
            put(&mut self.durable, &write.file, write.offset, bytes);
        }
        DiskCompletion { owner, ticket, result: Ok(()) }
    }

    /// What a crash leaves of a write.
    fn keep_part(&mut self, fate: u64, file: &str, offset: u64, bytes: &[u8]) {
        let sectors = (bytes.len() / SECTOR) as u64;
        match fate {
            0 => self.counters.lost_writes += 1,
            1 => {
                self.counters.torn_writes += 1;
                for sector in 0..sectors as usize {
                    if self.entropy.one_in(2) {
                        let from = sector * SECTOR;
                        put(&mut self.durable, file, offset + from as u64, &bytes[from..from + SECTOR]);
                    }
                }
            }
            2 => {
                self.counters.garbled_writes += 1;
                let mut garbled = bytes.to_vec();
                for _ in 0..=sectors / 8 {
                    let from = self.entropy.below(sectors) as usize * SECTOR;
                    self.entropy.fill(&mut garbled[from..from + SECTOR]);
                }
                put(&mut self.durable, file, offset, &garbled);
            }
            _ => {
                self.counters.kept_writes += 1;
                put(&mut self.durable, file, offset, bytes);
            }
        }
    }

    /// Whether a blocking call that changes something goes on, or loses power in its middle.
    fn powered(&mut self) -> io::Result<bool> {
        if self.off {
            return Err(no_power());
        }
        match &mut self.calls_left {
            Some(0) => {
                self.off = true;
                self.counters.interrupted += 1;
                Ok(false)
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    /// Applies a change of names to what is live and, unless power is lost just before, to what is durable.
    fn change(&mut self, change: impl Fn(&mut BTreeMap<String, Vec<u8>>)) -> io::Result<()> {
        let powered = self.powered()?;
        if powered || self.entropy.one_in(2) {
            change(&mut self.live);
            change(&mut self.durable);
        }
        if powered { Ok(()) } else { Err(no_power()) }
    }
}

fn no_power() -> io::Error {
    io::Error::other("simulated power loss")
}

fn put(files: &mut BTreeMap<String, Vec<u8>>, file: &str, offset: u64, bytes: &[u8]) {
    if let Some(content) = files.get_mut(file) {
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        assert!(to <= content.len(), "write up to {to} of {file}, which has {} bytes", content.len());
        content[from..to].copy_from_slice(bytes);
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().live.keys().cloned().collect())
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.lock().live.get(name).map(|bytes| bytes.len() as u64).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn create_zeroed(&self, name: &str, len_bytes: u64) -> io::Result<()> {
        let mut state = self.lock();
        if state.live.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let used: u64 = state.live.values().map(|bytes| bytes.len() as u64).sum();
        if used + len_bytes > state.faults.capacity_bytes {
            state.counters.full += 1;
            return Err(ErrorKind::StorageFull.into());
        }
        // Power lost in the middle may leave a shorter file.
        let powered = state.calls_left != Some(0);
        let len = if powered { len_bytes } else { state.entropy.below(len_bytes + 1) };
        state.change(|files| {
            files.insert(name.to_owned(), vec![0; len as usize]);
        })
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.lock();
        let bytes = state.live.get(name).ok_or(ErrorKind::NotFound)?;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_durable(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let aligned = offset.is_multiple_of(ALIGN as u64) && bytes.len().is_multiple_of(ALIGN);
        assert!(aligned, "unaligned write into {name}");
        let mut state = self.lock();
        if !state.live.contains_key(name) {
            return Err(ErrorKind::NotFound.into());
        }
        if !state.powered()? {
            let fate = state.entropy.below(4);
            state.keep_part(fate, name, offset, bytes);
            return Err(no_power());
        }
        put(&mut state.live, name, offset, bytes);
        put(&mut state.durable, name, offset, bytes);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        if !state.live.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        state.change(|files| {
            if let Some(bytes) = files.remove(from) {
                files.insert(to.to_owned(), bytes);
            }
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().change(|files| {
            files.remove(name);
        })
    }

    fn align_bytes(&self) -> usize {
        ALIGN
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
