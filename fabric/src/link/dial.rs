//! The dialer's side: connect, HELLO, the acceptor's proof, ours, and how a link ends and is dialed again.

use std::fmt::Display;

use super::conn::Stage;
use super::handshake::{Hello, Nonce, Prover, Welcome};
use super::links::Links;
use super::metrics::Ending;
use super::names::End;
use super::wire::{self, Kind, WireError};
use super::{LinkEvent, LinkRefusal, RefusalCode};
use crate::core::Action;
use crate::count::Tally as _;
use crate::time::Now;

impl Links {
    pub(super) fn dial(&mut self, now: Now, peer: usize) {
        if !self.may_dial() {
            return self.dial_later(now, peer);
        }
        let conn = self.open(now, Stage::Connecting { peer: peer as u16 });
        self.dialed += 1;
        self.metrics.dials.one();
        let node = &mut self.nodes[peer];
        node.conn = Some(conn.index);
        self.actions.push_back(Action::Connect { conn, target: node.peer.address.clone() });
    }

    /// A peer that is to be dialed has come by itself: it is there, so nothing is gained by waiting.
    pub(super) fn dial_now(&mut self, now: Now, peer: u16) {
        let node = &mut self.nodes[usize::from(peer)];
        if node.peer.dial && node.conn.is_none() {
            node.dial_at_ns = node.dial_at_ns.min(now.mono_ns);
            self.due_ns = now.mono_ns;
        }
    }

    /// Sets the time of the next try: at most twice as long as before, half of it random.
    fn dial_later(&mut self, now: Now, peer: usize) {
        let random = self.entropy.next_u64();
        let node = &mut self.nodes[peer];
        let half_ns = u64::from(node.backoff_ms) * 500_000;
        node.dial_at_ns = now.mono_ns + half_ns + random % half_ns.max(1);
        node.backoff_ms = (node.backoff_ms * 2).min(self.config.backoff_ms.1);
        node.conn = None;
        self.due_ns = self.due_ns.min(node.dial_at_ns);
    }

    pub(super) fn nonce(&mut self) -> Nonce {
        let mut nonce = Nonce::default();
        self.entropy.fill(&mut nonce);
        nonce
    }

    pub(super) fn say_hello(&mut self, now: Now, index: usize) {
        let nonce = self.nonce();
        let Some(conn) = &mut self.conns[index] else { return };
        let Stage::Connecting { peer } = conn.stage else { return };
        let again = self.nodes[usize::from(peer)].lost;
        let hello = Hello { versions: self.versions, identity: self.config.identity.clone(), again, nonce };
        let mut said = Vec::new();
        hello.write(&mut said);
        wire::put_frame(&mut conn.control, Kind::Hello, |out| out.extend_from_slice(&said));
        conn.heard_ns = now.mono_ns;
        conn.stage = Stage::AwaitWelcome { peer, hello: said };
        self.flush(index);
    }

    /// The acceptor says who it is. Nothing of it is believed before its proof is checked.
    pub(super) fn welcomed(&mut self, now: Now, index: usize, payload: &[u8]) -> Result<(), WireError> {
        let Some(conn) = &mut self.conns[index] else { return Ok(()) };
        let Stage::AwaitWelcome { peer, hello: said } = &mut conn.stage else { return Ok(()) };
        let (peer, said) = (*peer, std::mem::take(said));
        let welcome = Welcome::read(payload)?;
        if let Err((code, text)) = self.judge_welcome(now, peer, &said, &welcome) {
            self.refuse(now, index, code, &text);
            return Ok(());
        }
        let proof = self.key.prove(Prover::Dialer, &said, welcome.covered);
        let Some(conn) = &mut self.conns[index] else { return Ok(()) };
        wire::put_frame(&mut conn.control, Kind::Proof, |out| out.extend_from_slice(&proof));
        let incarnation = welcome.hello.identity.incarnation;
        conn.stage = Stage::AwaitReady { peer, incarnation, count: wire::first_count(&proof) };
        self.flush(index);
        Ok(())
    }

    fn judge_welcome(
        &self,
        now: Now,
        peer: u16,
        said: &[u8],
        welcome: &Welcome<'_>,
    ) -> Result<(), (RefusalCode, String)> {
        let (we, they) = (&self.config.identity, &welcome.hello.identity);
        let expected = &self.nodes[usize::from(peer)].peer;
        if !self.key.is_proved(Prover::Acceptor, said, welcome.covered, welcome.proof) {
            return Err((
                RefusalCode::BadSecret,
                format!("the secret of {} is not that of {}", expected.name, we.name),
            ));
        }
        if !(self.versions.0..=self.versions.1).contains(&welcome.version) {
            return Err((RefusalCode::Version, format!("version {} is not offered", welcome.version)));
        }
        if they.cluster != we.cluster {
            return Err((RefusalCode::WrongCluster, format!("{} is of cluster {:?}", they.name, they.cluster)));
        }
        if they.name != expected.name {
            let text = format!("node {:?} answers at the address of {:?}", they.name, expected.name);
            return Err((RefusalCode::UnknownNode, text));
        }
        if !expected.roles.has(they.roles) {
            let text = format!("{} is {}, the list of {} says {}", they.name, they.roles, we.name, expected.roles);
            return Err((RefusalCode::WrongRole, text));
        }
        if !self.names.may_link(&they.name, they.incarnation, self.heard_after_ns(now)) {
            return Err((RefusalCode::NameInUse, format!("another process named {} is alive", they.name)));
        }
        Ok(())
    }

    /// The acceptor's first heartbeat: the link stands.
    pub(super) fn is_ready(&mut self, now: Now, index: usize) {
        let Some(conn) = &mut self.conns[index] else { return };
        let Stage::AwaitReady { peer, incarnation, count } = conn.stage else { return };
        let times = (now.mono_ns, now.mono_ns.saturating_sub(self.times.silent_ns));
        let node = &mut self.nodes[usize::from(peer)];
        if self.names.link(&node.peer.name, incarnation, End::Acceptor, times).is_none() {
            let said = format!("another process named {} is alive", node.peer.name);
            return self.refuse(now, index, RefusalCode::NameInUse, &said);
        }
        conn.stand(now.mono_ns, Stage::Dialed { peer, incarnation, count });
        node.up = true;
        node.refused = None;
        node.backoff_ms = self.config.backoff_ms.0;
        tracing::info!(node = node.peer.name, incarnation, again = node.lost, "the link stands");
        self.metrics.up.inc();
        self.events.push_back(LinkEvent::Up { peer, incarnation, lost: node.lost });
        self.due_ns = now.mono_ns;
    }

    /// The other end refuses.
    pub(super) fn refused(&mut self, now: Now, index: usize, code: RefusalCode, said: String) {
        self.tell_refused(now, index, code, &said);
        self.end(now, index, Ending::Refused, &code);
    }

    /// This end does: says so, then closes.
    pub(super) fn refuse(&mut self, now: Now, index: usize, code: RefusalCode, said: &str) {
        self.tell_refused(now, index, code, said);
        if let Some(conn) = &mut self.conns[index] {
            wire::put_refusal(&mut conn.control, code, said);
        }
        self.end(now, index, Ending::Refused, &code);
    }

    fn tell_refused(&mut self, now: Now, index: usize, code: RefusalCode, said: &str) {
        let Some(conn) = &self.conns[index] else { return };
        let refusal = |node: String| LinkRefusal { code, node, said: said.to_owned() };
        match &conn.stage {
            Stage::Connecting { peer }
            | Stage::AwaitWelcome { peer, .. }
            | Stage::AwaitReady { peer, .. }
            | Stage::Dialed { peer, .. } => {
                let (peer, node) = (*peer, &mut self.nodes[usize::from(*peer)]);
                // Worth no hurry: somebody has to change something first.
                node.backoff_ms = self.config.backoff_ms.1;
                if node.refused.replace(code) != Some(code) {
                    let why = refusal(node.peer.name.clone());
                    self.events.push_back(LinkEvent::Refused { peer: Some(peer), why });
                }
            }
            Stage::AwaitHello { from } => {
                let why = refusal(from.to_string());
                self.tell_stranger(now, why);
            }
            Stage::AwaitProof(greeted) => {
                let why = refusal(greeted.hello.identity.name.clone());
                self.tell_stranger(now, why);
            }
            Stage::Accepted { .. } | Stage::Closing => (),
        }
    }

    /// At most once a second: anyone who reaches the port may cause it, and whoever hears of it will log it.
    fn tell_stranger(&mut self, now: Now, why: LinkRefusal) {
        if now.mono_ns >= self.tell_at_ns {
            self.tell_at_ns = now.mono_ns + 1_000_000_000;
            self.events.push_back(LinkEvent::Refused { peer: None, why });
        }
    }

    // ---- the end ----------------------------------------------------------------------------------------------------

    /// This end closes a connection.
    pub(super) fn end(&mut self, now: Now, index: usize, why: Ending, detail: &dyn Display) {
        if self.give_up(now, index, why, detail)
            && let Some(conn) = &self.conns[index]
        {
            self.actions.push_back(Action::Close(conn.id));
        }
    }

    /// Does what follows from a connection's end; `false` if that has been done.
    pub(super) fn give_up(&mut self, now: Now, index: usize, why: Ending, detail: &dyn Display) -> bool {
        let Some(conn) = &mut self.conns[index] else { return false };
        if conn.is_closing() {
            return false;
        }
        let stage = std::mem::replace(&mut conn.stage, Stage::Closing);
        conn.input = bytes::BytesMut::new();
        if matches!(why, Ending::Silent | Ending::Stuck | Ending::Handshake) {
            conn.control = Vec::new(); // nobody reads it
        }
        self.metrics.ended(why).one();
        match stage {
            Stage::Connecting { peer } | Stage::AwaitWelcome { peer, .. } | Stage::AwaitReady { peer, .. } => {
                tracing::debug!(node = self.nodes[usize::from(peer)].peer.name, ?why, %detail, "no link");
                self.dial_later(now, usize::from(peer));
            }
            Stage::Dialed { peer, incarnation, .. } => {
                self.unlink(peer, incarnation, End::Acceptor);
                let node = &mut self.nodes[usize::from(peer)];
                let lost = node.queue.clear();
                (node.up, node.lost, node.let_go) = (false, true, false);
                let all: usize = lost.iter().sum();
                let name = &node.peer.name;
                match why {
                    Ending::Planned if all == 0 => tracing::info!(node = name, %detail, "the link to a node has ended"),
                    _ => tracing::warn!(node = name, ?why, %detail, lost = all, "the link to a node is gone"),
                }
                for (lost, class) in lost.into_iter().zip(super::BY_NUMBER) {
                    self.metrics.class(class).lost.add(lost as u64);
                }
                self.metrics.up.dec();
                self.events.push_back(LinkEvent::Down { peer });
                self.dial_later(now, usize::from(peer));
            }
            Stage::Accepted { peer, incarnation, shard, .. } => {
                self.unlink(peer, incarnation, End::Dialer(shard));
                let node = &self.nodes[usize::from(peer)].peer.name;
                match why {
                    Ending::Planned => tracing::info!(node, %detail, "a link from a node has ended"),
                    _ => tracing::warn!(node, ?why, %detail, "a link from a node is gone"),
                }
                self.metrics.heard.dec();
                self.events.push_back(LinkEvent::Silent { peer, incarnation });
            }
            Stage::AwaitHello { from } => tracing::debug!(%from, ?why, %detail, "a stranger is gone"),
            Stage::AwaitProof(_) | Stage::Closing => (),
        }
        true
    }

    fn unlink(&self, peer: u16, incarnation: u64, end: End) {
        self.names.unlink(&self.nodes[usize::from(peer)].peer.name, incarnation, end);
    }

    /// Whoever was last heard before this is no longer alive, ns.
    pub(super) const fn heard_after_ns(&self, now: Now) -> u64 {
        now.mono_ns.saturating_sub(self.times.silent_ns)
    }
}
