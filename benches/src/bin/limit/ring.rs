//! The ring: its operations, its buffers, one turn after another.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;

use fabric::time::{Clock, SystemClock};
use io_uring::{IoUring, cqueue, opcode, squeue, types};

use benches::floor::conn::{Conn, OUTPUT_LIMIT_BYTES};
use benches::floor::forward::{Forwarder, mark_dirty};

const CONNECTIONS_MAX: u32 = 65_536;
const GROUP: u16 = 0;
const BUFFERS: u16 = 2_048;
const BUFFER_BYTES: usize = 4_096;

const ACCEPT: u64 = 1 << 32;
const RECV: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
const CLOSE: u64 = 4 << 32;

/// Provided buffers, shared with the kernel. Page-aligned; lives as long as the ring.
struct Buffers {
    entries: *mut types::BufRingEntry,
    memory: Vec<u8>,
    tail: u16,
}

impl Buffers {
    fn new() -> io::Result<Self> {
        let bytes = usize::from(BUFFERS) * size_of::<types::BufRingEntry>();
        // SAFETY: an anonymous private mapping of `bytes`, checked below; never unmapped, it lives as long as the process.
        let entries = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_ANONYMOUS | libc::MAP_PRIVATE,
                -1,
                0,
            )
        };
        if entries == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { entries: entries.cast(), memory: vec![0; usize::from(BUFFERS) * BUFFER_BYTES], tail: 0 })
    }

    fn bytes(&self, id: u16, len: usize) -> &[u8] {
        let start = usize::from(id) * BUFFER_BYTES;
        &self.memory[start..start + len]
    }

    /// Gives a buffer to the kernel; seen by it after [`Self::publish`].
    fn give(&mut self, id: u16) {
        let at = usize::from(self.tail & (BUFFERS - 1));
        let addr = self.memory[usize::from(id) * BUFFER_BYTES..].as_mut_ptr();
        // SAFETY: `at` is below BUFFERS, the mapping holds that many entries, and the kernel reads an entry only below
        // the published tail. The fields are set one by one: entry 0's last one is the ring's tail.
        let entry = unsafe { &mut *self.entries.add(at) };
        entry.set_addr(addr as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: `entries` is the base of the registered ring; the kernel reads the tail with acquire order.
        unsafe {
            let tail = types::BufRingEntry::tail(self.entries).cast_mut().cast::<core::sync::atomic::AtomicU16>();
            (*tail).store(self.tail, core::sync::atomic::Ordering::Release);
        }
    }
}

/// The server.
pub struct Server {
    ring: IoUring,
    buffers: Buffers,
    listener: i32,
    conns: Vec<Conn>,
    dirty: Vec<u32>,
    forwarder: Forwarder,
}

impl Server {
    /// A ring with its buffers, accepting.
    pub fn new(listener: &TcpListener) -> io::Result<Self> {
        let nodelay: libc::c_int = 1;
        // SAFETY: the pointer and length describe `nodelay`. Accepted sockets inherit it.
        let set = unsafe {
            libc::setsockopt(
                listener.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_NODELAY,
                (&raw const nodelay).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_cqsize(32_768)
            .build(8_192)?;
        let files = CONNECTIONS_MAX.min(open_files_limit());
        ring.submitter().register_files_sparse(files)?;
        let mut buffers = Buffers::new()?;
        for id in 0..BUFFERS {
            buffers.give(id);
        }
        // SAFETY: the entries are page-aligned, BUFFERS long and live as long as the process.
        unsafe { ring.submitter().register_buf_ring_with_flags(buffers.entries as u64, BUFFERS, GROUP, 0)? };
        buffers.publish();
        let conns = (0..files).map(|_| Conn::default()).collect();
        Ok(Self {
            ring,
            buffers,
            listener: listener.as_raw_fd(),
            conns,
            dirty: Vec::new(),
            forwarder: Forwarder::new(),
        })
    }

    /// Serves until a signal ends the process.
    pub fn run(&mut self) -> io::Result<()> {
        self.arm_accept()?;
        let mut done: Vec<(u64, i32, u32)> = Vec::with_capacity(4_096);
        loop {
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.forwarder.now_ms = SystemClock.now().wall_ms();
            done.extend(self.ring.completion().map(|c| (c.user_data(), c.result(), c.flags())));
            for (what, result, flags) in done.drain(..) {
                self.completed(what, result, flags)?;
            }
            self.buffers.publish();
            self.flush()?;
        }
    }

    fn completed(&mut self, what: u64, result: i32, flags: u32) -> io::Result<()> {
        let index = what as u32;
        match what & !0xffff_ffff {
            ACCEPT => {
                if result >= 0 {
                    self.conns[result as usize].reset();
                    self.arm_recv(result as u32)?;
                }
                if !cqueue::more(flags) {
                    self.arm_accept()?;
                }
            }
            RECV => self.received(index, result, flags)?,
            SEND => {
                let conn = &mut self.conns[index as usize];
                conn.in_flight = false;
                if result <= 0 && !conn.closing {
                    conn.closing = true;
                    self.cancel_recv(index)?;
                }
                if self.conns[index as usize].closing {
                    self.close(index)?;
                } else if !self.conns[index as usize].out.is_empty() {
                    mark_dirty(&mut self.conns[index as usize], index, &mut self.dirty);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn received(&mut self, index: u32, result: i32, flags: u32) -> io::Result<()> {
        let mut keep = result > 0 || result == -libc::ENOBUFS;
        if let Some(id) = cqueue::buffer_select(flags) {
            if result > 0 && !self.conns[index as usize].closing {
                let bytes = self.buffers.bytes(id, result as usize);
                keep = self.forwarder.received(&mut self.conns, index, bytes, &mut self.dirty);
            }
            self.buffers.give(id);
        }
        let more = cqueue::more(flags);
        self.conns[index as usize].receiving = more;
        if !keep {
            self.conns[index as usize].closing = true;
            if more {
                return self.cancel_recv(index);
            }
        }
        if more {
            return Ok(());
        }
        if self.conns[index as usize].closing { self.close(index) } else { self.arm_recv(index) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut dirty = core::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let conn = &mut self.conns[index as usize];
            conn.dirty = false;
            if conn.in_flight || conn.closing || conn.out.is_empty() {
                continue;
            }
            if conn.out.len() > OUTPUT_LIMIT_BYTES {
                conn.out.clear();
                continue;
            }
            core::mem::swap(&mut conn.out, &mut conn.sending);
            conn.out.clear();
            conn.in_flight = true;
            let send = opcode::Send::new(types::Fixed(index), conn.sending.as_ptr(), conn.sending.len() as u32)
                .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
                .build()
                .user_data(SEND | u64::from(index));
            self.push(&send)?;
        }
        self.dirty = dirty;
        Ok(())
    }

    /// Closes the descriptor once neither a send nor a recv can complete on it any more.
    fn close(&mut self, index: u32) -> io::Result<()> {
        let conn = &mut self.conns[index as usize];
        if conn.in_flight || conn.receiving || !conn.open {
            return Ok(());
        }
        conn.open = false;
        let user = core::mem::take(&mut conn.user);
        self.forwarder.closed(user, index);
        let close = opcode::Close::new(types::Fixed(index)).build().user_data(CLOSE);
        self.push(&close)
    }

    fn arm_accept(&mut self) -> io::Result<()> {
        let accept =
            opcode::AcceptMulti::new(types::Fd(self.listener)).allocate_file_index(true).build().user_data(ACCEPT);
        self.push(&accept)
    }

    /// Ends an armed recv; its last completion closes the connection.
    fn cancel_recv(&mut self, index: u32) -> io::Result<()> {
        if !self.conns[index as usize].receiving {
            return Ok(());
        }
        let cancel = opcode::AsyncCancel::new(RECV | u64::from(index)).build().user_data(CLOSE);
        self.push(&cancel)
    }

    fn arm_recv(&mut self, index: u32) -> io::Result<()> {
        self.conns[index as usize].receiving = true;
        let recv = opcode::RecvMulti::new(types::Fixed(index), GROUP).build().user_data(RECV | u64::from(index));
        self.push(&recv)
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: what a send points into is not touched or freed before it completes (`Conn::sending`,
            // `Conn::in_flight`); receives write into the registered buffers, which live as long as the process.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }
}

fn open_files_limit() -> u32 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the answer.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if got == 0 { u32::try_from(limit.rlim_cur).unwrap_or(u32::MAX) } else { 1_024 }
}
