//! Sockets of the simulated server.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use fabric::core::{Action, ConnId, Core, Protocol};
use fabric::sim::{Side, StreamId};

use super::Server;
use super::conn::{Input, SkinConn};
use crate::sim::env::Env;

/// Most output taken for one write: the socket buffer.
const WRITE_BYTES: usize = 2_048;
/// How long a closing connection may take.
const LINGER_NS: u64 = 2_000_000_000;

impl Server {
    /// A client connected.
    pub fn opened(&mut self, env: &mut Env, stream: StreamId) {
        let number = env.rng.below(self.shards.len() as u64) as usize;
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let accepted = self.shards[number].core.accepted(env.now(), Protocol::Native, peer);
        self.touch(env, number);
        env.note("accepted", [number as u64, stream.0, u64::from(accepted.is_some())]);
        let Some(id) = accepted else {
            let now_ns = env.ns();
            return env.net.close(now_ns, stream, Side::Server);
        };
        self.streams.insert(stream, (number, id));
        let before = self.shards[number].conns.insert(id, SkinConn::new(stream));
        assert!(before.is_none(), "the core gave a place to two connections");
    }

    /// The network brought something for a connection.
    pub fn input(&mut self, env: &mut Env, stream: StreamId, input: Input) {
        let Some(&(number, id)) = self.streams.get(&stream) else { return };
        let conn = self.shards[number].conns.get_mut(&id).expect("every stream has its connection");
        if conn.paused || !conn.inbox.is_empty() {
            conn.inbox.push_back(input);
            return;
        }
        self.feed(env, number, id, input);
    }

    /// Bytes came.
    pub fn received(&mut self, env: &mut Env, stream: StreamId, bytes: Bytes) {
        self.input(env, stream, Input::Bytes(bytes));
    }

    /// The peer is gone.
    pub fn ended(&mut self, env: &mut Env, stream: StreamId) {
        self.input(env, stream, Input::End);
    }

    fn feed(&mut self, env: &mut Env, number: usize, id: ConnId, input: Input) {
        let shard = &mut self.shards[number];
        let closing = shard.conns[&id].closing.is_some();
        match input {
            Input::Bytes(_) if closing => {}
            Input::Bytes(bytes) => shard.core.received(env.now(), id, &bytes),
            Input::End => return self.drop_conn(env, number, id),
        }
        self.touch(env, number);
    }

    /// Closes our side at once and tells the core.
    pub(super) fn drop_conn(&mut self, env: &mut Env, number: usize, id: ConnId) {
        let Some(conn) = self.shards[number].conns.remove(&id) else { return };
        self.streams.remove(&conn.stream);
        env.stalls.remove(&conn.stream);
        env.note("conn closed", [number as u64, conn.stream.0, 0]);
        let now = env.now();
        env.net.close(now.mono_ns, conn.stream, Side::Server);
        self.shards[number].core.closed(now, id);
        self.touch(env, number);
    }

    pub(super) fn resume(&mut self, env: &mut Env, number: usize, id: ConnId) {
        let Some(conn) = self.shards[number].conns.get_mut(&id) else { return };
        conn.resume_ns = None;
        if conn.paused {
            return;
        }
        let Some(input) = conn.inbox.pop_front() else { return };
        if !conn.inbox.is_empty() {
            conn.resume_ns = Some(env.later(500, 20_000));
        }
        self.feed(env, number, id, input);
    }

    /// Does what the core asks for after a turn.
    pub(super) fn actions(&mut self, env: &mut Env, number: usize) {
        let mut flush = Vec::new();
        while let Some(action) = self.shards[number].core.next_action() {
            let conns = &mut self.shards[number].conns;
            match action {
                Action::Write { journal, write } => {
                    env.note("write", [number as u64, u64::from(journal), write.bytes.as_slice().len() as u64]);
                    let owner = self.life << 32 | (number as u64) << 16 | u64::from(journal);
                    env.disk.submit(env.ns(), owner, write);
                }
                Action::Flush(id) => flush.push(id),
                Action::Pause(id) => {
                    if let Some(conn) = conns.get_mut(&id) {
                        conn.paused = true;
                    }
                }
                Action::Resume(id) => self.unpause(env, number, id),
                Action::Connect { .. } => unreachable!("a process without a cluster connects to nobody"),
                Action::Close(id) => {
                    if let Some(conn) = conns.get_mut(&id) {
                        conn.closing = Some(env.later(LINGER_NS, LINGER_NS));
                        self.unpause(env, number, id);
                        flush.push(id);
                    }
                }
            }
        }
        for id in flush {
            self.flush(env, number, id);
        }
    }

    fn unpause(&mut self, env: &mut Env, number: usize, id: ConnId) {
        if let Some(conn) = self.shards[number].conns.get_mut(&id) {
            conn.paused = false;
            if !conn.inbox.is_empty() && conn.resume_ns.is_none() {
                conn.resume_ns = Some(env.later(500, 20_000));
            }
        }
    }

    fn flush(&mut self, env: &mut Env, number: usize, id: ConnId) {
        let shard = &mut self.shards[number];
        let Some(conn) = shard.conns.get_mut(&id) else { return };
        if conn.writing.is_some() {
            conn.more = true;
            return;
        }
        let mut output = Vec::new();
        shard.core.take_output(id, WRITE_BYTES, &mut output);
        if output.is_empty() {
            conn.more = false;
            if conn.closing.is_some() {
                self.drop_conn(env, number, id);
            }
            return;
        }
        conn.more = output.len() >= WRITE_BYTES / 2 || conn.closing.is_some();
        conn.writing = Some((env.later(1_000, 50_000), output));
    }

    /// A write is in the peer's hands.
    pub(super) fn written(&mut self, env: &mut Env, number: usize, id: ConnId) {
        let shard = &mut self.shards[number];
        let Some(conn) = shard.conns.get_mut(&id) else { return };
        let Some((_, bytes)) = conn.writing.take() else { return };
        let now = env.now();
        env.net.send(now.mono_ns, conn.stream, Side::Server, &bytes);
        let more = conn.more;
        shard.core.written(now, id, bytes.len());
        if more {
            self.flush(env, number, id);
        }
        self.touch(env, number);
    }
}
