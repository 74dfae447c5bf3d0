//! One connection as the server's skin sees it: a socket buffer of one write, reads that can be paused.

use std::collections::VecDeque;

use bytes::Bytes;
use fabric::sim::StreamId;

/// What the network brought.
pub enum Input {
    /// Bytes.
    Bytes(Bytes),
    /// The peer's end.
    End,
}

/// See the module.
pub struct SkinConn {
    /// Its stream.
    pub stream: StreamId,
    /// A write on its way into the socket: when it is through, and what.
    pub writing: Option<(u64, Vec<u8>)>,
    /// More output may wait.
    pub more: bool,
    /// Flushed, then closed; at the latest then, ns.
    pub closing: Option<u64>,
    /// Not read.
    pub paused: bool,
    /// Came while it was paused.
    pub inbox: VecDeque<Input>,
    /// When the inbox is looked at again, ns.
    pub resume_ns: Option<u64>,
}

impl SkinConn {
    /// A fresh connection.
    pub fn new(stream: StreamId) -> Self {
        Self {
            stream,
            writing: None,
            more: false,
            closing: None,
            paused: false,
            inbox: VecDeque::new(),
            resume_ns: None,
        }
    }
}
