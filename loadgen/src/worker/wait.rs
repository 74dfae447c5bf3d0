//! Waiting for sockets and taking what they have, in portions, so that a burst of deliveries does not keep sends back.

use fabric::time::{Clock, SystemClock};
use rustix::event::{Timespec, epoll};

use super::Worker;
use super::socket::Read;
use super::user::Link;

/// Events of one wait: what is ready then counts as read late until it is read.
pub(super) const EVENTS: usize = 8_192;
/// Of these, so many are looked at before what is due is sent.
const EVENTS_AT_ONCE: usize = 256;

impl Worker {
    /// Waits for sockets or the next due time, and takes what came.
    pub(super) fn wait(&mut self) {
        self.now = SystemClock.now();
        let timeout_ns = self.next_due_ns().saturating_sub(self.now.mono_ns);
        let timeout =
            Timespec { tv_sec: (timeout_ns / 1_000_000_000) as i64, tv_nsec: (timeout_ns % 1_000_000_000) as i64 };
        let mut events = core::mem::take(&mut self.events);
        events.clear();
        // An interrupted or failed wait is a turn without events.
        let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
        self.now = SystemClock.now();
        self.woken_ns = self.now.mono_ns;
        for some in events.chunks(EVENTS_AT_ONCE) {
            for event in some {
                let key = event.data.u64();
                let (generation, user) = ((key >> 32) as u32, key as u32);
                if self.users[user as usize].generation == generation {
                    self.ready(user, event.flags);
                }
            }
            if events.len() > EVENTS_AT_ONCE {
                // A burst of deliveries does not keep sends back.
                self.send_due();
                self.flush();
            }
        }
        self.events = events;
    }

    /// How long what is read now has waited since it was known to be there, ns.
    pub(super) fn read_late_ns(&self) -> u64 {
        self.now.mono_ns.saturating_sub(self.woken_ns)
    }

    /// A socket of a user has something to say.
    fn ready(&mut self, user: u32, flags: epoll::EventFlags) {
        if self.users[user as usize].link == Link::Connecting {
            self.connected(user);
            return;
        }
        if flags.contains(epoll::EventFlags::OUT) {
            self.mark_dirty(user);
        }
        let mut buffer = core::mem::take(&mut self.buffer);
        if let Some(socket) = &mut self.users[user as usize].socket
            && flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
            // An event from before it stopped reading; its end is an event of its own.
            && (flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR) || !self.absences.is_stalled(user))
        {
            let read = socket.receive(&mut buffer);
            let failure = socket.failure();
            if socket.waiting() > 0 {
                self.mark_dirty(user);
            }
            if let Some(failure) = failure {
                self.error(&failure.to_string());
            }
            match read {
                Read::Bytes(bytes) => {
                    self.now = SystemClock.now();
                    self.received(user, &buffer[..bytes]);
                }
                Read::Nothing => {}
                Read::End => self.ended(user),
            }
        }
        self.buffer = buffer;
        self.refill();
    }
}
