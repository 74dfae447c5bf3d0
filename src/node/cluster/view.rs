//! What a process knows of the other nodes, from all its shards' links together: for readiness, status, and for telling a link
//! that broke from a node that is gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use fabric::link::{LinkRefusal, Roles};
use fabric::mutex::lock;
use serde::{Deserialize, Serialize};

/// Another node, as `shardwire status` shows it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct NodeLine {
    /// Its name.
    pub name: String,
    /// What it does.
    pub roles: String,
    /// Where its links come in.
    pub address: String,
    /// This process's shards that are linked to it.
    pub links_out: u32,
    /// Of its shards, those that are linked to this process.
    pub links_in: u32,
    /// Why it, or this node, refused the last link that was refused.
    #[serde(default)]
    pub refused: Option<String>,
}

/// One of the other nodes, as its process begins to see it.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// What it does.
    pub roles: Roles,
    /// Where its links come in.
    pub address: String,
    /// This node keeps links to it, and is not ready without any of its kind.
    pub dialled: bool,
}

#[derive(Debug)]
struct Node {
    /// It is in the list.
    listed: bool,
    name: String,
    roles: Roles,
    address: String,
    dialled: bool,
    out: u32,
    /// Links from it, by its incarnation.
    incoming: BTreeMap<u64, u32>,
    /// Of the incarnation that was heard last: links whose standing everybody here has been told of, and how many it dials.
    settled: (u64, u32, u16),
    /// Each of its shards has had a link to this process, once at least.
    has_stood: bool,
    /// Gateways that it hears, by incarnation, as it says; `None`: it has not said.
    hears: Option<Vec<u64>>,
    refused: Option<LinkRefusal>,
}

impl Node {
    fn new(NodeInfo { name, roles, address, dialled }: NodeInfo) -> Self {
        Self {
            listed: true,
            name,
            roles,
            address,
            dialled,
            out: 0,
            incoming: BTreeMap::new(),
            settled: (0, 0, 0),
            has_stood: false,
            hears: None,
            refused: None,
        }
    }

    fn is_heard(&self) -> bool {
        self.incoming.values().any(|&links| links > 0)
    }

    fn is_whole(&self) -> bool {
        let (_, links, shards) = self.settled;
        links >= u32::from(shards.max(1))
    }
}

#[derive(Debug)]
struct Inner {
    nodes: Mutex<Vec<Node>>,
    /// This process's incarnation, if it is a gateway.
    own: OnceLock<u64>,
    /// See [`misses`].
    misses_gateways: AtomicBool,
    /// Rises when a link from another node comes or goes.
    changes: AtomicU64,
}

impl Inner {
    /// A link from another node came or went.
    fn changed(&self, nodes: &[Node]) {
        self.misses_gateways.store(misses(nodes, &self.gateways(nodes)), Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Gateways that are heard, this one too, ascending.
    fn gateways(&self, nodes: &[Node]) -> Vec<u64> {
        let heard = nodes.iter().filter(|node| node.roles.has(Roles::GATEWAY)).flat_map(|node| &node.incoming);
        let heard = heard.filter(|(_, links)| **links > 0).map(|(incarnation, _)| *incarnation);
        let mut all: Vec<u64> = heard.chain(self.own.get().copied()).collect();
        all.sort_unstable();
        all
    }
}

/// Whether another router, which is heard, hears a gateway that is not among `heard` here: that gateway's sessions may be
/// registered there. One that nobody hears has none. Of a router that does not say whom it hears anything is believed.
fn misses(nodes: &[Node], heard: &[u64]) -> bool {
    let silent = nodes.iter().any(|node| node.listed && node.roles.has(Roles::GATEWAY) && !node.is_heard());
    let others = nodes.iter().filter(|node| node.listed && node.roles.has(Roles::ROUTER) && node.is_heard());
    others.into_iter().any(|router| match &router.hears {
        Some(hears) => hears.iter().any(|gateway| heard.binary_search(gateway).is_err()),
        None => silent,
    })
}

/// Shared by the shards of a process; the lock is held for a few instructions, and only when a link comes or goes.
#[derive(Clone, Debug)]
pub struct ClusterView(Arc<Inner>);

impl ClusterView {
    /// Of these nodes, by their numbers as links' peers.
    pub fn new(nodes: impl IntoIterator<Item = NodeInfo>) -> Self {
        let nodes: Vec<Node> = nodes.into_iter().map(Node::new).collect();
        let inner = Inner {
            nodes: Mutex::default(),
            own: OnceLock::new(),
            misses_gateways: AtomicBool::default(),
            changes: AtomicU64::default(),
        };
        inner.changed(&nodes);
        *lock(&inner.nodes) = nodes;
        Self(Arc::new(inner))
    }

    /// Another list, by number; before the shards have it. `None`: nobody has this number (any more); what its links still
    /// tell is noted, and shown to nobody.
    pub fn relist(&self, list: impl IntoIterator<Item = Option<NodeInfo>>) {
        let mut nodes = self.nodes();
        for (number, info) in list.into_iter().enumerate() {
            match (nodes.get_mut(number), info) {
                (Some(node), Some(info)) if node.listed && node.name == info.name => {
                    (node.address, node.dialled) = (info.address, info.dialled);
                }
                (Some(node), Some(info)) => *node = Node::new(info),
                (Some(node), None) => node.listed = false,
                (None, Some(info)) => nodes.push(Node::new(info)),
                (None, None) => {}
            }
        }
        self.0.changed(&nodes);
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Node>> {
        lock(&self.0.nodes)
    }

    /// Another number after every link from another node that came or went: cheap to look at.
    pub(super) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Relaxed)
    }

    /// From which nodes there are links; of those in the role `whole`, from each shard.
    pub(super) fn heard_from(&self, whole: Option<Roles>) -> Vec<bool> {
        let may_be_part = |node: &Node| whole.is_none_or(|role| !node.roles.has(role));
        let heard = |node: &Node| node.is_heard() && (node.is_whole() || may_be_part(node));
        self.nodes().iter().map(heard).collect()
    }

    /// Incarnations of other nodes from which there are links.
    pub fn incarnations(&self) -> Vec<u64> {
        let nodes = self.nodes();
        let incoming = nodes.iter().flat_map(|node| &node.incoming);
        incoming.filter(|(_, links)| **links > 0).map(|(&incarnation, _)| incarnation).collect()
    }

    /// This process is a gateway, of this incarnation.
    pub(super) fn is_gateway(&self, incarnation: u64) {
        // Every shard says the same.
        let _ = self.0.own.set(incarnation);
    }

    /// Gateways that are heard, this one too.
    pub(super) fn gateways(&self) -> Vec<u64> {
        self.0.gateways(&self.nodes())
    }

    /// Another router says which gateways it hears.
    pub(super) fn hears(&self, peer: u16, whom: Vec<u64>) {
        let mut nodes = self.nodes();
        nodes[usize::from(peer)].hears = Some(whom);
        self.0.changed(&nodes);
    }

    /// Whether a gateway that has no link to this process may have sessions at another router.
    pub(super) fn misses_gateways(&self) -> bool {
        self.0.misses_gateways.load(Ordering::Relaxed)
    }

    /// A shard's link to `peer` stands.
    pub(super) fn up(&self, peer: u16) {
        let node = &mut self.nodes()[usize::from(peer)];
        node.out += 1;
        node.refused = None;
    }

    /// A shard's link to `peer` is gone.
    pub(super) fn down(&self, peer: u16) {
        let node = &mut self.nodes()[usize::from(peer)];
        node.out = node.out.saturating_sub(1);
    }

    /// A link from `peer` stands; the incarnations of it from which there are none any more.
    pub(super) fn heard(&self, peer: u16, incarnation: u64) -> Vec<u64> {
        let mut nodes = self.nodes();
        let node = &mut nodes[usize::from(peer)];
        *node.incoming.entry(incarnation).or_default() += 1;
        let gone: Vec<u64> = node.incoming.iter().filter(|(_, links)| **links == 0).map(|(&of, _)| of).collect();
        node.incoming.retain(|_, links| *links > 0);
        self.0.changed(&nodes);
        gone
    }

    /// Whoever has to know that a link from `peer` stands, and what may have been lost before it, has been told. `shards`: of
    /// the peer, so many dial. Returns whether each of them has a link now.
    pub(super) fn settled(&self, peer: u16, incarnation: u64, shards: u16) -> bool {
        let mut nodes = self.nodes();
        let node = &mut nodes[usize::from(peer)];
        let links = if node.settled.0 == incarnation { node.settled.1 } else { 0 };
        node.settled = (incarnation, links + 1, shards);
        let is_whole = node.is_whole();
        node.has_stood |= is_whole;
        self.0.changed(&nodes);
        is_whole
    }

    /// Whether each shard of `peer` has a link to this process.
    pub(super) fn hears_all_shards(&self, peer: u16) -> bool {
        self.nodes()[usize::from(peer)].is_whole()
    }

    /// Whether each shard of `peer`, in whatever incarnation, has had a link to this process.
    pub(super) fn has_stood(&self, peer: u16) -> bool {
        self.nodes()[usize::from(peer)].has_stood
    }

    /// A link from `peer` is gone; how many there still are from this incarnation.
    pub(super) fn silent(&self, peer: u16, incarnation: u64) -> u32 {
        let mut nodes = self.nodes();
        let links = nodes[usize::from(peer)].incoming.entry(incarnation).or_default();
        *links = links.saturating_sub(1);
        let left = *links;
        let node = &mut nodes[usize::from(peer)];
        if node.settled.0 == incarnation {
            node.settled.1 = node.settled.1.saturating_sub(1);
        }
        if !node.is_heard() {
            node.hears = None;
        }
        self.0.changed(&nodes);
        left
    }

    /// Links from this incarnation of `peer`.
    pub(super) fn links_from(&self, peer: u16, incarnation: u64) -> u32 {
        self.nodes()[usize::from(peer)].incoming.get(&incarnation).copied().unwrap_or_default()
    }

    /// A link to or from `peer` was refused.
    pub(super) fn refused(&self, peer: u16, why: LinkRefusal) {
        self.nodes()[usize::from(peer)].refused = Some(why);
    }

    /// Why a link was refused, while there is none to any other node: then it is this node that is wrong, or alone.
    pub fn refused_by_all(&self) -> Option<LinkRefusal> {
        let nodes = self.nodes();
        if nodes.iter().any(|node| node.out > 0) {
            return None;
        }
        nodes.iter().filter(|node| node.listed).find_map(|node| node.refused.clone())
    }

    /// `Ok` while this node reaches, and is reached by, somebody of each role it needs.
    ///
    /// # Errors
    /// For people: whom it misses.
    pub fn readiness(&self) -> Result<(), String> {
        let nodes = self.nodes();
        for (role, what) in [(Roles::STORAGE_WRITER, "storage-writer"), (Roles::ROUTER, "router")] {
            let mut needed = nodes.iter().filter(|node| node.listed && node.dialled && node.roles.has(role)).peekable();
            if needed.peek().is_none() {
                continue;
            }
            let whom: Vec<&Node> = needed.collect();
            let reached = |node: &&Node| node.out > 0 && node.is_heard();
            if !whom.iter().any(reached) {
                let names: Vec<String> = whom.iter().map(|node| describe(node)).collect();
                return Err(format!("no {what} is linked: {}", names.join("; ")));
            }
        }
        Ok(())
    }

    /// Every other node.
    pub fn lines(&self) -> Vec<NodeLine> {
        let line = |node: &Node| NodeLine {
            name: node.name.clone(),
            roles: node.roles.to_string(),
            address: node.address.clone(),
            links_out: node.out,
            links_in: node.incoming.values().sum(),
            refused: node.refused.as_ref().map(ToString::to_string),
        };
        self.nodes().iter().filter(|node| node.listed).map(line).collect()
    }
}

fn describe(node: &Node) -> String {
    let why = node.refused.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{} at {}{why}", node.name, node.address)
}

#[cfg(test)]
mod tests {
    use fabric::link::RefusalCode;

    use super::*;

    fn view() -> ClusterView {
        ClusterView::new([
            info("sw-1", Roles::STORAGE_WRITER, "a", true),
            info("rt-1", Roles::ROUTER, "b", true),
            info("rt-2", Roles::ROUTER, "c", true),
            info("gw-2", Roles::GATEWAY, "d", false),
        ])
    }

    fn info(name: &str, roles: Roles, address: &str, dialled: bool) -> NodeInfo {
        NodeInfo { name: name.to_owned(), roles, address: address.to_owned(), dialled }
    }

    #[test]
    fn a_list_that_changes_shows_who_is_in_it() {
        let view = view();
        assert!(view.heard(3, 7).is_empty());
        view.up(1);
        view.heard(1, 5);
        assert!(!view.misses_gateways());
        let changes = view.changes();
        let gateway = |name| Some(info(name, Roles::GATEWAY, "e", false));
        let kept = [info("sw-1", Roles::STORAGE_WRITER, "z", true), info("rt-1", Roles::ROUTER, "b", true)];
        view.relist(kept.map(Some).into_iter().chain([None, None, gateway("gw-3")]));
        let lines = view.lines();
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!((names, lines[0].address.as_str(), lines[1].links_out), (vec!["sw-1", "rt-1", "gw-3"], "z", 1));
        assert!(view.misses_gateways() && view.changes() != changes, "the new one has no link yet");
        assert_eq!(view.silent(3, 7), 0, "what went ends its links");
    }

    #[test]
    fn a_gateway_that_no_router_hears_is_not_missed() {
        let view = view();
        view.heard(1, 11);
        assert!(view.misses_gateways(), "rt-1 has not said whom it hears");
        view.hears(1, vec![]);
        assert!(!view.misses_gateways(), "gw-2 is down");
        view.hears(1, vec![7]);
        assert!(view.misses_gateways(), "it has come up, and its way to here is broken or not there yet");
        view.heard(3, 7);
        assert!(!view.misses_gateways());
        view.silent(3, 7);
        assert!(view.misses_gateways());
        view.heard(3, 8);
        assert!(view.misses_gateways(), "rt-1 still hears the one before");
        view.hears(1, vec![8]);
        assert!(!view.misses_gateways());
        assert_eq!(view.gateways(), [8]);
        view.is_gateway(3);
        assert_eq!(view.gateways(), [3, 8]);
        view.hears(1, vec![3, 8]);
        assert!(!view.misses_gateways(), "this process is a gateway too");
        // What a router has said goes with its links.
        view.hears(1, vec![9]);
        view.silent(1, 11);
        assert!(!view.misses_gateways(), "nothing can be passed to it");
        view.heard(1, 12);
        assert!(!view.misses_gateways(), "and every gateway is heard");
    }

    fn refusal() -> LinkRefusal {
        LinkRefusal { code: RefusalCode::WrongCluster, node: "sw-1".to_owned(), said: "not mine".to_owned() }
    }

    #[test]
    fn a_gateway_is_ready_with_its_writer_and_one_router_both_ways() {
        let view = view();
        view.refused(0, refusal());
        let why = view.readiness().unwrap_err();
        assert!(why.starts_with("no storage-writer is linked: sw-1 at a (the link with sw-1 is refused"), "{why}");
        assert_eq!(view.refused_by_all(), Some(refusal()));
        view.up(0);
        assert_eq!(view.refused_by_all(), None);
        assert!(view.readiness().is_err(), "it cannot answer");
        view.heard(0, 7);
        assert_eq!(view.readiness().unwrap_err(), "no router is linked: rt-1 at b; rt-2 at c");
        view.up(2);
        view.heard(2, 9);
        assert!(view.readiness().is_ok());
        view.down(2);
        assert!(view.readiness().is_err());
    }

    #[test]
    fn an_incarnation_is_gone_with_its_last_link() {
        let view = view();
        assert!(view.heard(3, 7).is_empty() && view.heard(3, 7).is_empty());
        assert_eq!(view.silent(3, 7), 1);
        assert_eq!(view.silent(3, 7), 0);
        assert_eq!(view.links_from(3, 7), 0);
        assert_eq!(view.heard(3, 8), [7]);
        assert_eq!((view.lines()[3].links_in, view.incarnations()), (1, vec![8]));
    }

    #[test]
    fn a_node_is_whole_once_each_of_its_shards_has_a_link_that_everybody_knows_of() {
        let view = view();
        assert!(!view.hears_all_shards(0));
        view.heard(0, 7);
        view.heard(0, 7);
        assert!(!view.hears_all_shards(0), "others have not been told");
        view.settled(0, 7, 2);
        assert!(!view.hears_all_shards(0));
        view.settled(0, 7, 2);
        assert!(view.hears_all_shards(0));
        view.silent(0, 7);
        assert!(!view.hears_all_shards(0));
        view.settled(0, 8, 1);
        assert!(view.hears_all_shards(0), "another process");
        view.silent(0, 7);
        assert!(view.hears_all_shards(0));
        view.settled(1, 3, 0);
        assert!(view.hears_all_shards(1), "one that does not say");
    }

    #[test]
    fn a_writer_is_heard_once_it_is_whole_where_that_is_asked() {
        let view = view();
        let writers = || view.heard_from(Some(Roles::STORAGE_WRITER))[..2].to_vec();
        view.heard(0, 7);
        view.heard(1, 9);
        assert_eq!((writers(), &view.heard_from(None)[..2]), (vec![false, true], &[true, true][..]));
        assert!(!view.settled(0, 7, 2) && !view.has_stood(0));
        view.heard(0, 7);
        assert_eq!(writers(), [false, true]);
        let changes = view.changes();
        assert!(view.settled(0, 7, 2) && view.has_stood(0) && view.changes() != changes);
        assert_eq!(writers(), [true, true]);
        view.silent(0, 7);
        assert_eq!((writers(), view.has_stood(0)), (vec![false, true], true), "it has, and answers may be lost now");
    }
}
