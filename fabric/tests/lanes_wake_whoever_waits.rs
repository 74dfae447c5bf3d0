//! Lanes between threads: a shard that waits for room, or for envelopes, is woken.

use fabric::lane::{Capacities, Mesh, Port};
use schema::envelope::{Body, Class, Envelope, GapScope};

fn envelope(class: Class, number: u64) -> Envelope {
    let mut envelope = Envelope::new(class, Body::Gap(GapScope::All));
    envelope.header.request_id = number;
    envelope
}

fn pair(slots: usize) -> (Port, Port) {
    let mut ports = Mesh::new(2, 7, Capacities::uniform(slots)).unwrap().into_iter();
    (ports.next().unwrap(), ports.next().unwrap())
}

#[test]
fn a_producer_that_waits_for_room_is_woken_by_the_drain() {
    let (mut a, mut b) = pair(64);
    for number in 0..100 {
        a.push(1, envelope(Class::Control, number)).unwrap();
    }
    assert_eq!((a.overflowing(), a.metrics().overflowed(Class::Control)), (36, 0), "counted with the next flush");
    a.flush();
    assert_eq!(a.metrics().overflowed(Class::Control), 36);
    let waker = a.waker();
    waker.begin_turn();
    assert!(waker.try_sleep());
    let mut taken = 0;
    b.drain(1_000, |_, _| taken += 1);
    assert_eq!(taken, 64);
    assert!(!waker.try_sleep(), "the drain woke the producer");
}

/// What one shard of the two does: echoes requests as answers, both without bound on what is in flight, so that both
/// directions are full most of the time.
struct Side {
    port: Port,
    sent: u64,
    answers: u64,
    /// Requests taken, not yet answered because the lane back gave them up.
    peer_next: u64,
}

const REQUESTS: u64 = 20_000;

impl Side {
    fn new(port: Port) -> Self {
        Self { port, sent: 0, answers: 0, peer_next: 0 }
    }

    fn turn(&mut self) -> bool {
        let other = 1 - self.port.shard();
        let mut requests = Vec::new();
        let answers = &mut self.answers;
        self.port.drain(256, |_, envelope| match envelope.header.class {
            Class::Send => requests.push(envelope.header.request_id),
            _ => {
                assert_eq!(envelope.header.request_id, *answers, "answers come in order, once");
                *answers += 1;
            }
        });
        for request in requests {
            assert_eq!(request, self.peer_next, "requests come in order, once");
            self.peer_next += 1;
            self.port.push(other, envelope(Class::Control, request)).expect("bounded by the window");
        }
        // Ten times the lane's slots may be in flight.
        while self.sent < REQUESTS && self.sent - self.answers < 640 {
            self.port.push(other, envelope(Class::Send, self.sent)).expect("bounded by the window");
            self.sent += 1;
        }
        self.port.flush();
        self.answers == REQUESTS && self.peer_next == REQUESTS && self.port.overflowing() == 0
    }
}

#[test]
fn lanes_full_in_both_directions_make_progress_on_one_thread() {
    let (a, b) = pair(64);
    let (mut a, mut b) = (Side::new(a), Side::new(b));
    let (mut a_done, mut b_done) = (false, false);
    while !(a_done && b_done) {
        a_done = a.turn();
        b_done = b.turn();
    }
    assert!(a.port.metrics().overflowed(Class::Send) > 0, "the lanes were full");
}

/// Sleeps as a shard does; ends never if a wake is lost.
fn run(mut side: Side) -> u64 {
    let waker = side.port.waker();
    loop {
        waker.begin_turn();
        if side.turn() {
            return side.port.metrics().overflowed(Class::Send);
        }
        if waker.try_sleep() {
            let mut poll = libc::pollfd { fd: waker.raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one valid pollfd.
            unsafe { libc::poll(&mut poll, 1, -1) };
            waker.clear();
        }
    }
}

#[test]
fn lanes_full_in_both_directions_make_progress_on_two_threads() {
    let (a, b) = pair(64);
    let other = std::thread::spawn(move || run(Side::new(b)));
    let here = run(Side::new(a));
    assert!(here + other.join().unwrap() > 0, "the lanes were full");
}
