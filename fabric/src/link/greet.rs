//! The acceptor's side: who may link, WELCOME, the dialer's proof.

use super::conn::{Conn, Greeted, Stage};
use super::handshake::{Hello, Prover, Welcome, common_version};
use super::links::Links;
use super::metrics::Ending;
use super::names::End;
use super::wire::{self, Kind, WireError};
use super::{LinkEvent, RefusalCode};
use crate::time::Now;

impl Links {
    /// A HELLO came. What is wrong with it is said before any proof, so that a node which is configured for another cluster
    /// hears that rather than that its secret is wrong; it is told nothing that it did not say itself but this node's name.
    pub(super) fn greet(&mut self, now: Now, index: usize, payload: &[u8]) -> Result<(), WireError> {
        let hello = Hello::read(payload)?;
        let (peer, version) = match self.judge_hello(now, &hello) {
            Ok(fine) => fine,
            Err((code, said)) => {
                self.refuse(now, index, code, &said);
                return Ok(());
            }
        };
        let nonce = self.nonce();
        let own = Hello { versions: self.versions, identity: self.config.identity.clone(), again: false, nonce };
        let covered = Welcome::covered(version, &own);
        let proof = self.key.prove(Prover::Acceptor, payload, &covered);
        let Some(conn) = &mut self.conns[index] else { return Ok(()) };
        wire::put_frame(&mut conn.control, Kind::Welcome, |out| {
            out.extend_from_slice(&proof);
            out.extend_from_slice(&covered);
        });
        let greeted = Greeted { peer, hello, said: (payload.to_vec(), covered) };
        conn.stage = Stage::AwaitProof(Box::new(greeted));
        self.flush(index);
        Ok(())
    }

    fn judge_hello(&self, now: Now, hello: &Hello) -> Result<(u16, u16), (RefusalCode, String)> {
        let (we, they) = (&self.config.identity, &hello.identity);
        let Some(version) = common_version(self.versions, hello.versions) else {
            let ((a, b), (c, d)) = (self.versions, hello.versions);
            let said = format!("{} speaks versions {a} to {b} of the link protocol, {} {c} to {d}", we.name, they.name);
            return Err((RefusalCode::Version, said));
        };
        if they.cluster != we.cluster {
            let said = format!("{} is not of cluster {:?}", we.name, they.cluster);
            return Err((RefusalCode::WrongCluster, said));
        }
        if they.name == we.name {
            return Err((RefusalCode::NameInUse, format!("this node is named {} itself", we.name)));
        }
        let Some(peer) = self.nodes.iter().position(|node| node.listed && node.peer.name == they.name) else {
            return Err((RefusalCode::UnknownNode, format!("the list of {} has no node {:?}", we.name, they.name)));
        };
        let listed = self.nodes[peer].peer.roles;
        if !listed.has(they.roles) {
            let said = format!("{} is {}, the list of {} says {listed}", they.name, they.roles, we.name);
            return Err((RefusalCode::WrongRole, said));
        }
        if !self.names.may_link(&they.name, they.incarnation, self.heard_after_ns(now)) {
            return Err((RefusalCode::NameInUse, self.in_use(&they.name)));
        }
        Ok((peer as u16, version))
    }

    fn in_use(&self, name: &str) -> String {
        format!("another process named {name} is linked with {}", self.config.identity.name)
    }

    /// The dialer's proof came: the link stands, or it is refused.
    pub(super) fn proved(&mut self, now: Now, index: usize, proof: &[u8]) {
        let Some(conn) = &self.conns[index] else { return };
        let Stage::AwaitProof(greeted) = &conn.stage else { return };
        let Greeted { peer, hello, said } = &**greeted;
        let (peer, incarnation, lost) = (*peer, hello.identity.incarnation, hello.again);
        if !self.key.is_proved(Prover::Dialer, &said.0, &said.1, proof) {
            let said = format!("the secret of {} is not that of {}", hello.identity.name, self.config.identity.name);
            return self.refuse(now, index, RefusalCode::BadSecret, &said);
        }
        let (shard, shards) = (hello.identity.shard, hello.identity.shards);
        let times = (now.mono_ns, self.heard_after_ns(now));
        let name = &self.nodes[usize::from(peer)].peer.name;
        let Some(number) = self.names.link(name, incarnation, End::Dialer(shard), times) else {
            let said = self.in_use(name);
            return self.refuse(now, index, RefusalCode::NameInUse, &said);
        };
        tracing::info!(node = name, incarnation, shard, again = lost, "a link from a node stands");
        self.end_older(now, peer);
        let Some(conn) = &mut self.conns[index] else { return };
        conn.stand(now.mono_ns, Stage::Accepted { peer, incarnation, shard, count: wire::first_count(proof) });
        (conn.number, conn.newest_at) = (number, number);
        self.metrics.heard.inc();
        self.events.push_back(LinkEvent::Heard { peer, incarnation, shards, lost });
        self.dial_now(now, peer);
        // Its first heartbeat is due at once: it tells the dialer.
        self.due_ns = now.mono_ns;
    }

    /// Ends links of a peer that newer ones replace: what they still bring is older than what the newer one will.
    fn end_older(&mut self, now: Now, peer: u16) {
        for index in 0..self.conns.len() {
            let of_it = |conn: &Conn| matches!(conn.stage, Stage::Accepted { peer: other, .. } if other == peer);
            if self.conns[index].as_ref().is_some_and(of_it) {
                self.end_if_older(now, index);
            }
        }
    }

    /// Ends an accepted link if its dialer has a newer one, here or at another shard of the process. `true`: it has ended.
    pub(super) fn end_if_older(&mut self, now: Now, index: usize) -> bool {
        let Some(conn) = &mut self.conns[index] else { return true };
        let Stage::Accepted { peer, incarnation, shard, .. } = conn.stage else { return false };
        let links = self.names.links();
        if conn.newest_at == links {
            return false;
        }
        conn.newest_at = links;
        if self.names.is_newest(&self.nodes[usize::from(peer)].peer.name, incarnation, shard, conn.number) {
            return false;
        }
        self.end(now, index, Ending::Peer, &"its shard has dialed anew");
        true
    }

    /// A heartbeat came over a link that stands.
    pub(super) fn heard(&self, now: Now, index: usize) {
        let Some(conn) = &self.conns[index] else { return };
        if let Stage::Dialed { peer, incarnation, .. } | Stage::Accepted { peer, incarnation, .. } = conn.stage {
            self.names.heard(&self.nodes[usize::from(peer)].peer.name, incarnation, now.mono_ns);
        }
    }
}
