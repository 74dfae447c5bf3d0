//! A skin's turn: results first, then the core, then all it asks for: journal writes before socket writes.

use std::future::Future as _;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::Waker as TaskWaker;

use super::{FLUSH_ROUNDS, LINGER, REAP_TURNS, RETRY, Skin, WRITE_BYTES};
use crate::core::{Action, ConnId, Core};
use crate::disk::BlockWrite;
use crate::net::tcp;
use crate::shard::conn::{self, CLOSING, Conn, ENDED, LISTED, MORE, Outgoing, PAUSED, REPORTED, TLS, WRITING};
use crate::shard::journal::{self, Journals};
use crate::shard::metrics::count;
use crate::shard::runtime;
use crate::time::{Clock, Now};

impl<C: Core + 'static> Skin<C> {
    /// Answers all inputs since the last turn. `true`: the shard has stopped.
    pub(in crate::shard) fn turn(self: &Rc<Self>) -> bool {
        self.waker.begin_turn();
        count(&self.tally.turns, 1);
        self.turns.set(self.turns.get() + 1);
        if let Some(ring) = self.ring
            && self.turns.get().is_multiple_of(REAP_TURNS)
        {
            let _ = runtime::reap(ring);
        }
        self.background_results();
        let now = self.clock.now();
        self.now.set(Some(now));
        if self.stopper.is_set() && !self.stopping.replace(true) {
            self.core.borrow_mut().stop(now);
        }
        self.core.borrow_mut().turn(now);
        self.actions(now);
        self.start_jobs();
        self.flush_all(now);
        self.expire(now);
        self.tally.add_to(&self.metrics);
        let again = self.arm(now);
        self.now.set(None);
        let idle = self.waker.try_sleep() && !again;
        self.waiting.borrow_mut().drain(..).for_each(TaskWaker::wake);
        if self.is_stopped() {
            return true;
        }
        if !idle {
            let skin = self.clone();
            // Not at once: tasks and the kernel come first.
            monoio::spawn(async move { skin.dirty.mark() });
        }
        false
    }

    fn is_stopped(&self) -> bool {
        // A socket that is closed with unread input is reset, and its peer loses what it was told last: each has its
        // [`LINGER`].
        let quiet = self.journal_writes.get() == 0 && self.lingering.get() == 0;
        self.stopping.get() && quiet && self.core.borrow().stopped()
    }

    fn background_results(&self) {
        let finished = match &*self.journals.borrow() {
            Journals::Thread(thread) => Some(thread.done.clone()),
            Journals::Ring(_) => None,
        };
        while let Some((journal, ticket, result)) = finished.as_ref().and_then(|done| done.pop()) {
            self.journal_written(journal, ticket, result);
        }
        loop {
            let Some(done) = self.jobs.borrow_mut().done() else { break };
            let now = self.now();
            self.core.borrow_mut().job_done(now, done);
        }
        self.dirty.set.set(false);
    }

    fn actions(self: &Rc<Self>, now: Now) {
        loop {
            let action = self.core.borrow_mut().next_action();
            match action {
                None => break,
                Some(Action::Write { journal, write }) => self.write_journal(journal, write),
                Some(Action::Flush(id)) => self.with_conn(id, |conn| self.list(conn)),
                Some(Action::Pause(id)) => self.with_conn(id, |conn| conn.set(PAUSED)),
                Some(Action::Resume(id)) => self.with_conn(id, |conn| {
                    conn.clear(PAUSED);
                    self.read_again(conn);
                }),
                Some(Action::Connect { conn, target }) => self.connect(conn, target),
                Some(Action::Close(id)) if self.give_up_connecting(id) => self.core.borrow_mut().closed(now, id),
                Some(Action::Close(id)) => self.with_conn(id, |conn| {
                    conn.set(CLOSING);
                    if conn.has(PAUSED) {
                        self.read_again(conn);
                    }
                    self.closing.borrow_mut().insert(now.plus(LINGER), Rc::downgrade(conn));
                    self.list(conn);
                }),
            }
        }
    }

    fn with_conn(&self, id: ConnId, act: impl FnOnce(&Rc<Conn>)) {
        let Some(&fd) = self.conns.borrow().get(id.index as usize) else { return };
        // -1 as an index is beyond any table.
        let conn = self.sockets.borrow().get(fd as usize).and_then(Clone::clone);
        if let Some(conn) = conn.filter(|conn| conn.id == id) {
            act(&conn);
        }
    }

    fn write_journal(self: &Rc<Self>, journal: u16, write: BlockWrite) {
        count(&self.tally.journal_writes, 1);
        count(&self.tally.journal_bytes, write.bytes.len() as u64);
        self.journal_writes.set(self.journal_writes.get() + 1);
        let ticket = write.ticket;
        let failed = match &mut *self.journals.borrow_mut() {
            Journals::Thread(thread) => thread.start_write(journal, write).err(),
            Journals::Ring(ring) => match ring.file(journal, &write.file) {
                Ok(file) => {
                    let skin = self.clone();
                    let mut write = Box::pin(async move {
                        let result = journal::write_ring(file, write.offset, write.bytes).await;
                        skin.journal_written(journal, ticket, result);
                    });
                    // Polled now, so that the kernel has it before the sockets' turn comes; its task polls it again. It
                    // cannot end here: no completion is taken before the loop comes round.
                    let mut context = std::task::Context::from_waker(TaskWaker::noop());
                    let ended = write.as_mut().poll(&mut context).is_ready();
                    debug_assert!(!ended, "a ring's write ends when its completion is taken");
                    if !ended {
                        monoio::spawn(write);
                    }
                    self.unsubmitted.set(true);
                    None
                }
                Err(error) => Some(error),
            },
        };
        if let Some(error) = failed {
            let skin = self.clone();
            monoio::spawn(async move { skin.journal_written(journal, ticket, Err(error)) });
        }
    }

    fn start_jobs(&self) {
        let mut jobs = self.jobs.borrow_mut();
        jobs.retry();
        while jobs.has_room() {
            let Some((queue, job)) = self.core.borrow_mut().next_job() else { break };
            count(&self.tally.jobs, 1);
            jobs.start(queue, job);
        }
    }

    /// Sends what waits, behind the journal's writes, and what the core has to say once that is gone.
    fn flush_all(self: &Rc<Self>, now: Now) {
        if let Some(ring) = self.ring.filter(|_| self.unsubmitted.take()) {
            let _ = runtime::submit(ring);
        }
        let mut flushed = false;
        for _ in 0..FLUSH_ROUNDS {
            let mut list = self.flush.take();
            if list.is_empty() {
                break;
            }
            flushed = true;
            for conn in list.drain(..) {
                conn.clear(LISTED);
                self.flush_one(&conn, now);
            }
            // Put back, so that its memory is kept, with what was listed meanwhile.
            list.append(&mut self.flush.borrow_mut());
            self.flush.replace(list);
            self.actions(now);
        }
        if !self.flush.borrow().is_empty() || flushed && self.core.borrow().has_work() {
            self.dirty.mark();
        }
    }

    fn flush_one(self: &Rc<Self>, conn: &Rc<Conn>, now: Now) {
        if conn.has(WRITING) {
            conn.set(MORE);
            return;
        }
        if conn.has(REPORTED) {
            return;
        }
        if conn.has(TLS) {
            return self.flush_tls(conn, now);
        }
        let mut output = self.output.borrow_mut();
        self.take_output(conn, &mut output);
        if !output.is_empty() {
            let plain = output.len();
            self.send(conn, now, &output, plain);
        } else if conn.has(CLOSING) {
            conn.shutdown(Shutdown::Write);
            self.report_closed(conn);
        }
    }

    /// Takes a connection's next output from the core.
    pub(super) fn take_output(&self, conn: &Conn, output: &mut Vec<u8>) {
        output.clear();
        self.core.borrow_mut().take_output(conn.id, WRITE_BYTES, output);
        if !output.is_empty() {
            // A whole batch was taken: there may be more behind it.
            conn.clear(MORE);
            if output.len() >= WRITE_BYTES / 2 {
                conn.set(MORE);
            }
        }
    }

    /// Sends `all`, which `plain` bytes of the core's have become.
    pub(super) fn send(self: &Rc<Self>, conn: &Rc<Conn>, now: Now, all: &[u8], plain: usize) {
        count(&self.tally.writes, 1);
        match tcp::send_now(conn.fd(), all) {
            Ok(sent) => {
                count(&self.tally.bytes_out, sent as u64);
                let done = conn::share(plain, sent, all.len());
                self.core.borrow_mut().written(now, conn.id, done);
                if sent < all.len() {
                    self.write_later(conn, &all[sent..], plain - done);
                } else if conn.has(MORE | CLOSING) {
                    self.list(conn);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                self.write_later(conn, all, plain);
            }
            Err(_) => self.write_failed(conn),
        }
    }

    /// Has the ring write what the socket's buffer did not take, as it empties.
    fn write_later(self: &Rc<Self>, conn: &Rc<Conn>, rest: &[u8], plain: usize) {
        conn.set(WRITING);
        self.writes.set(self.writes.get() + 1);
        let data = self.pool.borrow_mut().keep(rest);
        monoio::spawn(conn::write(self.clone(), conn.clone(), Outgoing::new(data, plain)));
    }

    /// Ends connections that took too long to close.
    fn expire(&self, now: Now) {
        loop {
            let Some(conn) = self.closing.borrow_mut().pop(now.mono_ns) else { break };
            if let Some(conn) = conn.upgrade() {
                conn.shutdown(Shutdown::Both);
                conn.set(ENDED);
                self.report_closed(&conn);
                self.drop_ended(&conn);
            }
        }
    }

    /// Sets the timer task to the next deadline. `true`: it has passed, so another turn is due at once.
    fn arm(&self, now: Now) -> bool {
        let core = self.core.borrow().next_deadline_ns();
        let closing = self.closing.borrow().next_deadline();
        let retry = self.jobs.borrow().stalled().then(|| now.plus(RETRY));
        let Some(next) = [core, closing, retry].into_iter().flatten().min() else { return false };
        if next <= now.mono_ns {
            return true;
        }
        // A timer that is set too early costs one turn; setting it anew each time would cost more.
        if next < self.armed_ns.get() {
            self.armed_ns.set(next);
            if let Some(timer) = &*self.timer.borrow() {
                timer.wake_by_ref();
            }
        }
        false
    }
}
