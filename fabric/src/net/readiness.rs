//! Which of many sockets have something to read: one epoll instance a shard, edge-triggered.
//!
//! The runtime waits for the instance, not for each socket, so a socket that is silent has no task, no operation in the ring
//! and no registration there. What must stay true: whoever leaves something unread after an event asks for another one with
//! [`Readiness::again`], or the rest is never seen.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use monoio::net::TcpStream;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::tcp;

/// Events taken at once.
const BATCH: usize = 256;
const INTEREST: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);
const ENDS: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// A socket that had something to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Its descriptor when the event came; it may have been closed, and even opened anew, since.
    pub fd: RawFd,
    /// The peer's end, or an error, is behind what is there to read.
    pub ends: bool,
}

/// Sockets that are watched. Belongs to one thread. A socket leaves by being closed.
pub struct Readiness {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Readiness {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// What `epoll_create1(2)` says.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(BATCH) })
    }

    /// What becomes readable on the running monoio runtime when an event waits.
    ///
    /// # Errors
    /// What duplicating or registering it says.
    pub fn join_runtime(&self) -> io::Result<TcpStream> {
        tcp::adopt(self.epoll.try_clone()?)
    }

    /// Watches `socket`: one event now if it has something, then one whenever more comes.
    ///
    /// # Errors
    /// What `epoll_ctl(2)` says: no memory, or the user's limit on watches (`fs.epoll.max_user_watches`).
    pub fn watch(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, data(socket), INTEREST)?)
    }

    /// Another event for a watched socket if it still has something.
    ///
    /// # Errors
    /// What `epoll_ctl(2)` says.
    pub fn again(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, data(socket), INTEREST)?)
    }

    /// Takes the events that wait, without waiting for any; whether there may be more.
    ///
    /// # Errors
    /// What `epoll_wait(2)` says.
    pub fn take(&mut self, ready: &mut Vec<Ready>) -> io::Result<bool> {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.events.clear();
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&NOW))?;
        ready.extend(self.events.iter().map(|event| {
            let flags = event.flags;
            Ready { fd: event.data.u64() as RawFd, ends: flags.intersects(ENDS) }
        }));
        Ok(self.events.len() >= BATCH)
    }
}

fn data(socket: BorrowedFd<'_>) -> EventData {
    EventData::new_u64(u64::from(socket.as_raw_fd().cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn taken(readiness: &mut Readiness) -> Vec<Ready> {
        let mut ready = Vec::new();
        readiness.take(&mut ready).unwrap();
        ready
    }

    #[test]
    fn an_event_comes_once_for_what_came_and_again_when_asked_for() {
        let mut readiness = Readiness::new().unwrap();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let event = |ends| vec![Ready { fd: near.as_raw_fd(), ends }];
        let (open, ended) = (event(false), event(true));
        readiness.watch(near.as_fd()).unwrap();
        assert_eq!(taken(&mut readiness), []);
        far.write_all(b"ab").unwrap();
        assert_eq!(taken(&mut readiness), open);
        assert_eq!(taken(&mut readiness), [], "once");
        near.read_exact(&mut [0]).unwrap();
        readiness.again(near.as_fd()).unwrap();
        assert_eq!(taken(&mut readiness), open, "something is left");
        near.read_exact(&mut [0]).unwrap();
        readiness.again(near.as_fd()).unwrap();
        assert_eq!(taken(&mut readiness), [], "nothing is left");
        drop(far);
        assert_eq!(taken(&mut readiness), ended);
        drop(near);
        assert_eq!(taken(&mut readiness), [], "a closed socket has left");
    }

    #[test]
    fn what_was_there_before_the_watch_is_told() {
        let mut readiness = Readiness::new().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"early").unwrap();
        readiness.watch(near.as_fd()).unwrap();
        assert_eq!(taken(&mut readiness), [Ready { fd: near.as_raw_fd(), ends: false }]);
    }
}
