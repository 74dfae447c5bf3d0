//! One connection to another node, from its first byte to its last.

use std::net::SocketAddr;

use bytes::BytesMut;

use super::handshake::Hello;
use super::metrics::Ending;
use super::wire::{self, PARCEL_BYTES_MAX, SMALL_BYTES_MAX, Word};
use crate::core::ConnId;

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Dialed; the socket is not connected yet.
    Connecting { peer: u16 },
    /// Dialed; HELLO is said.
    AwaitWelcome { peer: u16, hello: Vec<u8> },
    /// Dialed; the proof is given, the acceptor has to say that it is right.
    AwaitReady { peer: u16, incarnation: u64, count: u64 },
    /// Accepted; nothing is known.
    AwaitHello { from: SocketAddr },
    /// Accepted; WELCOME is said.
    AwaitProof(Box<Greeted>),
    /// Dialed, and it stands; `count` of the next parcel to send.
    Dialed { peer: u16, incarnation: u64, count: u64 },
    /// Accepted, and it stands; `count` of the next parcel to come.
    Accepted { peer: u16, incarnation: u64, shard: u16, count: u64 },
    /// Given up; what is left to say is said, nothing is heard.
    Closing,
}

/// What an acceptor knows between WELCOME and PROOF.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) peer: u16,
    pub(super) hello: Hello,
    /// HELLO as it came, and what WELCOME's proof covers.
    pub(super) said: (Vec<u8>, Vec<u8>),
}

/// When things are due, ns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) heartbeat_ns: u64,
    pub(super) silent_ns: u64,
    /// For the whole of a handshake, the connect included.
    pub(super) handshake_ns: u64,
}

/// What a look at a connection's clock says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Nothing before this time, ns.
    At(u64),
    /// It has to end.
    End(Ending),
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) dialed: bool,
    pub(super) stage: Stage,
    /// A frame that has not come whole.
    pub(super) input: BytesMut,
    /// Frames to send before parcels.
    pub(super) control: Vec<u8>,
    /// `Flush` is asked for, and output not taken since.
    pub(super) flush_asked: bool,
    /// Bytes: taken as output, of those written, of those received by the peer as it says; received here.
    pub(super) taken: u64,
    pub(super) written: u64,
    pub(super) confirmed: u64,
    pub(super) received: u64,
    /// Of an accepted one that stands: its number among the process's links, and how many there were when it was last found
    /// to be its shard's newest.
    pub(super) number: u64,
    pub(super) newest_at: u64,
    /// Something pushed could not be sent.
    pub(super) faulty: bool,
    /// What the peer's last heartbeat said.
    pub(super) word: Word,
    /// Whom the peer hears, as it said last.
    pub(super) hears: Option<Vec<u64>>,
    /// When it began.
    pub(super) since_ns: u64,
    pub(super) heard_ns: u64,
    /// When `confirmed` last rose, or all was confirmed.
    pub(super) progress_ns: u64,
    /// When the next heartbeat is due.
    beat_ns: u64,
    /// A heartbeat is among `control`.
    beating: bool,
}

impl Conn {
    pub(super) fn new(id: ConnId, now_ns: u64, stage: Stage) -> Self {
        Self {
            id,
            dialed: matches!(stage, Stage::Connecting { .. }),
            stage,
            input: BytesMut::new(),
            control: Vec::new(),
            flush_asked: false,
            taken: 0,
            written: 0,
            confirmed: 0,
            received: 0,
            number: 0,
            newest_at: 0,
            faulty: false,
            word: Word::default(),
            hears: None,
            since_ns: now_ns,
            heard_ns: now_ns,
            progress_ns: now_ns,
            beat_ns: now_ns,
            beating: false,
        }
    }

    pub(super) const fn stands(&self) -> bool {
        matches!(self.stage, Stage::Dialed { .. } | Stage::Accepted { .. })
    }

    pub(super) const fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing)
    }

    /// Most bytes of the next frame: large ones only come where parcels do.
    pub(super) const fn frame_limit(&self) -> usize {
        match self.stage {
            Stage::Accepted { .. } => PARCEL_BYTES_MAX,
            _ => SMALL_BYTES_MAX,
        }
    }

    /// It stands from now on.
    pub(super) fn stand(&mut self, now_ns: u64, stage: Stage) {
        self.stage = stage;
        self.heard_ns = now_ns;
        self.progress_ns = now_ns;
        self.beat_ns = now_ns;
    }

    /// The peer says how much it has received.
    pub(super) fn confirm(&mut self, now_ns: u64, received: u64) {
        let received = received.min(self.taken);
        if received > self.confirmed {
            self.confirmed = received;
            self.progress_ns = now_ns;
        }
    }

    /// Gives what there is to say besides parcels.
    pub(super) fn take_control(&mut self, out: &mut Vec<u8>) {
        self.beating = false;
        if !self.control.is_empty() {
            out.append(&mut self.control);
            self.control = Vec::new();
        }
    }

    /// The next heartbeat is due: there is something new to say with it.
    pub(super) const fn beat_now(&mut self) {
        self.beat_ns = 0;
    }

    /// Looks at the clock; beats, with `word` and whom this node hears, if it is time to (`true`: there is something to flush).
    pub(super) fn look(&mut self, now_ns: u64, times: Times, word: Word, hears: Option<&[u64]>) -> (Due, bool) {
        if self.is_closing() {
            return (Due::At(u64::MAX), false);
        }
        if !self.stands() {
            let until = self.since_ns + times.handshake_ns;
            let due = if now_ns >= until { Due::End(Ending::Handshake) } else { Due::At(until) };
            return (due, false);
        }
        if self.faulty {
            return (Due::End(Ending::Broken), false);
        }
        if self.confirmed == self.taken {
            self.progress_ns = now_ns;
        }
        let (silent, stuck) = (self.heard_ns + times.silent_ns, self.progress_ns + times.silent_ns);
        if now_ns >= silent {
            return (Due::End(Ending::Silent), false);
        }
        if now_ns >= stuck {
            return (Due::End(Ending::Stuck), false);
        }
        let beats = now_ns >= self.beat_ns;
        if beats {
            self.beat_ns = now_ns + times.heartbeat_ns;
            if !self.beating {
                self.beating = true;
                // Parcels go one way, and so does this.
                let hears = hears.filter(|_| self.dialed);
                wire::put_heartbeat(&mut self.control, self.received, word, hears);
            }
        }
        (Due::At(silent.min(stuck).min(self.beat_ns)), beats)
    }
}
