//! What happened, for the report of a failure, and a hash of it, to show that a seed repeats.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// One event. What the numbers mean depends on `what`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Noted {
    at_ns: u64,
    what: &'static str,
    numbers: [u64; 3],
}

struct Ring {
    last: VecDeque<Noted>,
    keep: usize,
    events: u64,
    hash: u64,
}

/// The last events of one world. Clones share it, so it outlives a world that panics.
#[derive(Clone)]
pub struct Trace(Rc<RefCell<Ring>>);

/// FNV-1a of some bytes: stable over versions, which a seed's meaning needs.
pub fn hash_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Trace {
    /// Keeps the last `keep` events.
    pub fn new(keep: usize) -> Self {
        Self(Rc::new(RefCell::new(Ring { last: VecDeque::new(), keep, events: 0, hash: 0 })))
    }

    /// Notes an event.
    pub fn note(&self, at_ns: u64, what: &'static str, numbers: [u64; 3]) {
        let mut ring = self.0.borrow_mut();
        ring.events += 1;
        let mut hash = ring.hash;
        for number in [at_ns, what.len() as u64].into_iter().chain(numbers) {
            hash = (hash.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        ring.hash = hash;
        if ring.last.len() >= ring.keep {
            ring.last.pop_front();
        }
        ring.last.push_back(Noted { at_ns, what, numbers });
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.0.borrow().events
    }

    /// Equal for equal sequences of events.
    pub fn hash(&self) -> u64 {
        self.0.borrow().hash
    }

    /// The last events, one a line.
    pub fn tail(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for Noted { at_ns, what, numbers: [a, b, c] } in &self.0.borrow().last {
            let _ = writeln!(text, "  {:>14.6} ms  {what:<22} {a} {b} {c}", *at_ns as f64 / 1e6);
        }
        text
    }
}
