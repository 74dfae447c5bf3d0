//! One simulated user: a client core, its connection, its sends.

use client::Core;

use super::socket::Socket;
use crate::wire::WebSocket;

/// Where a user's connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// No connection.
    Down,
    /// A connection is being made.
    Connecting,
    /// It stands.
    Up,
}

/// A user.
pub struct User {
    /// The client.
    pub core: Core,
    /// Its connection.
    pub socket: Option<Socket>,
    /// What translates on it; `None`: it is native.
    pub websocket: Option<Box<WebSocket>>,
    /// How that stands.
    pub link: Link,
    /// Connects that failed and connections that were lost: each leads to the next target.
    pub moves: u32,
    /// Tells events of this connection from those of one before.
    pub generation: u32,
    /// From the begin of a connect to its Welcome or its failure.
    pub joining: bool,
    /// Between Welcome and the session's end.
    pub authenticated: bool,
    /// It is in the list of users with something to write.
    pub dirty: bool,
    /// It is in the list of users whose window has room.
    pub refill: bool,
    /// The load generator has cut this connection itself.
    pub cut: bool,
    /// The earliest entry in the timer heap, ns; `u64::MAX`: none.
    pub timer_ns: u64,
    /// When the connect in progress began, ns.
    pub connect_ns: u64,
    /// Receivers are taken in turns.
    pub next_peer: u32,
    /// Sends without outcome.
    pub outstanding: u32,
    /// Pauses it has begun.
    pub pauses: u32,
    /// When its session began, ns.
    pub welcomed_ns: u64,
    /// A session of it was given what had been missed before, and its client says so from then on.
    pub synced: bool,
    /// What its session is given is what it missed since then.
    pub returned: bool,
}

impl User {
    /// Not connected yet.
    pub fn new(core: Core) -> Self {
        Self {
            core,
            socket: None,
            websocket: None,
            link: Link::Down,
            moves: 0,
            generation: 0,
            joining: false,
            authenticated: false,
            dirty: false,
            refill: false,
            cut: false,
            timer_ns: u64::MAX,
            connect_ns: 0,
            next_peer: 0,
            outstanding: 0,
            pauses: 0,
            welcomed_ns: 0,
            synced: false,
            returned: false,
        }
    }
}
