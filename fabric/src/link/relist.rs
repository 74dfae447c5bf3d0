//! Another list of nodes while links stand: who came is dialed, who went is let go.
//!
//! What must stay true: a peer keeps its number for as long as it is in the list, and nothing that is still to be told of one
//! that went is taken for its successor's: whoever makes the list leaves a number free for a while before it gives it again.

use super::Peer;
use super::conn::Stage;
use super::links::{Links, Node};
use super::metrics::Ending;
use super::queue::Queue;
use super::wire::{self, Kind};
use crate::time::Now;

impl Node {
    pub(super) fn new(peer: Peer, config: &super::LinkConfig) -> Self {
        Self {
            peer,
            listed: true,
            conn: None,
            up: false,
            lost: false,
            dial_at_ns: 0,
            backoff_ms: config.backoff_ms.0,
            refused: None,
            let_go: false,
            queue: Queue::new(&config.capacities, config.queue_bytes),
        }
    }
}

impl Links {
    /// Makes room for so many peers in all; before the first connection.
    #[must_use]
    pub fn with_room(mut self, peers: usize) -> Self {
        self.room = peers.max(self.nodes.len());
        self
    }

    /// Takes another list, by number; `None`: nobody has this number (any more).
    ///
    /// # Panics
    /// With more peers than there is room for.
    pub fn relist(&mut self, now: Now, peers: &[Option<Peer>]) {
        assert!(peers.len() <= self.room, "{} peers, and room for {}", peers.len(), self.room);
        for (number, peer) in peers.iter().enumerate() {
            let stays = |node: &Node, peer: &Peer| node.listed && node.peer.name == peer.name;
            match (self.nodes.get_mut(number), peer) {
                (Some(node), Some(peer)) if stays(node, peer) => {
                    node.dial_at_ns = if node.peer.address == peer.address { node.dial_at_ns } else { now.mono_ns };
                    node.peer = peer.clone();
                }
                (Some(_), peer) => {
                    self.unlist(now, number);
                    if let Some(peer) = peer {
                        self.nodes[number] = Node::new(peer.clone(), &self.config);
                    }
                }
                (None, Some(peer)) => self.nodes.push(Node::new(peer.clone(), &self.config)),
                (None, None) => debug_assert!(false, "a number that nobody has had"),
            }
        }
        self.due_ns = now.mono_ns;
    }

    /// Ends every link with a peer that is in the list no more.
    fn unlist(&mut self, now: Now, number: usize) {
        let node = &mut self.nodes[number];
        if !std::mem::replace(&mut node.listed, false) {
            return;
        }
        node.peer.dial = false;
        for index in 0..self.conns.len() {
            let Some(conn) = self.conns[index].as_mut().filter(|conn| conn.peer() == Some(number as u16)) else {
                continue;
            };
            if conn.stands() {
                wire::put_frame(&mut conn.control, Kind::Bye, |_| ());
            }
            self.end(now, index, Ending::Planned, &"it is not in the list of nodes any more");
        }
    }
}

impl super::conn::Conn {
    /// Whose it is, where that is known and it has not been given up.
    fn peer(&self) -> Option<u16> {
        match &self.stage {
            Stage::Connecting { peer }
            | Stage::AwaitWelcome { peer, .. }
            | Stage::AwaitReady { peer, .. }
            | Stage::Dialed { peer, .. }
            | Stage::Accepted { peer, .. } => Some(*peer),
            Stage::AwaitProof(greeted) => Some(greeted.peer),
            Stage::AwaitHello { .. } | Stage::Closing => None,
        }
    }
}
