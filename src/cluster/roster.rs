//! The list of nodes while the process runs: its file is looked at every second and at every reload, and what changed is told
//! to the shards.
//!
//! What must stay true: a list is taken whole or not at all, and one that is not says why, once, while the one before stays; a
//! node in both lists keeps its number; a number of one that went is not given again before nothing of it is left.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use fabric::link::{Peer, Roles};
use fabric::mutex::lock;
use fabric::time::{Clock as _, SystemClock};

use super::{Cluster, ClusterError, Node, list};
use crate::node::{ClusterView, Inbox, ShardChange};

/// Others there may be besides those of the start, until a restart.
pub const ROOM_TO_SPARE: usize = 64;
/// A number is free so long after its node went, ms: longer than routers remember a gateway.
const FREE_AFTER_MS: u64 = 10_000;

/// One of the numbers.
#[derive(Clone, Debug)]
struct Place {
    /// `None`: nobody has it.
    node: Option<Node>,
    /// When it may be given again, ms of the monotonic clock.
    free_at_ms: u64,
}

#[derive(Debug)]
struct State {
    places: Vec<Place>,
    /// The file, when it was last looked at.
    seen: String,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    cluster: Cluster,
    room: usize,
    view: ClusterView,
    inboxes: Vec<Inbox>,
    state: Mutex<State>,
}

/// Clones share it; any thread but a shard's: it reads a file.
#[derive(Clone, Debug)]
pub struct Roster(Arc<Inner>);

/// A list that could be taken.
#[derive(Debug)]
pub struct Relisted {
    places: Vec<Place>,
    seen: String,
    came: Vec<String>,
    went: Vec<String>,
    moved: Vec<String>,
}

impl Roster {
    /// Of a node that has just started with the list at `path`.
    pub fn new(path: PathBuf, cluster: Cluster, view: ClusterView, inboxes: Vec<Inbox>) -> Self {
        let room = cluster.others.len() + ROOM_TO_SPARE;
        let places = cluster.others.iter().map(|node| Place { node: Some(node.clone()), free_at_ms: 0 }).collect();
        let state = Mutex::new(State { places, seen: String::new() });
        Self(Arc::new(Inner { path, cluster, room, view, inboxes, state }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// Looks whether the file is another one, and takes it if it can be taken. Blocks.
    pub fn look(&self) {
        // A file that is being replaced may not be there for a moment.
        let Ok(text) = list::read(&self.0.path) else { return };
        if text == self.state().seen {
            return;
        }
        match self.judge(&text) {
            Ok(list) => self.take(list),
            Err(error) => {
                self.state().seen = text;
                tracing::error!("{error}");
            }
        }
    }

    /// What the file says now, if it could be taken. Blocks.
    ///
    /// # Errors
    /// It cannot be read, is no list, or says what only a restart can change.
    pub fn prepare(&self) -> Result<Relisted, ClusterError> {
        self.judge(&list::read(&self.0.path)?)
    }

    fn judge(&self, text: &str) -> Result<Relisted, ClusterError> {
        let Inner { path, cluster, room, .. } = &*self.0;
        let (me, others) = list::split(path, text, &cluster.me.name)?;
        let now_ms = SystemClock.now().mono_ms();
        let judged =
            own_place_stays(&cluster.me, &me).and_then(|()| renumber(&self.state().places, others, *room, now_ms));
        let refused = |detail| ClusterError::Unchangeable { path: path.clone(), detail };
        judged.map(|list| Relisted { seen: text.to_owned(), ..list }).map_err(refused)
    }

    /// Puts a list in place.
    pub fn take(&self, list: Relisted) {
        let Inner { cluster, view, inboxes, .. } = &*self.0;
        let Relisted { places, seen, came, went, moved } = list;
        let mut state = self.state();
        let nodes = || places.iter().map(|place| place.node.as_ref());
        if !(came.is_empty() && went.is_empty() && moved.is_empty()) {
            tracing::info!(
                came = came.join(","),
                went = went.join(","),
                moved = moved.join(","),
                "the list of nodes is another one"
            );
            view.relist(nodes().map(|node| node.map(|node| cluster.info(node))));
            let peers: Arc<[Option<Peer>]> = nodes().map(|node| node.map(|node| cluster.peer(node))).collect();
            inboxes.iter().for_each(|inbox| inbox.put(ShardChange::Nodes(peers.clone())));
        }
        *state = State { places, seen };
    }
}

impl Relisted {
    /// All others, by name, for people.
    pub fn names(&self) -> String {
        let names = self.places.iter().filter_map(|place| Some(place.node.as_ref()?.name.as_str()));
        names.collect::<Vec<&str>>().join(", ")
    }
}

/// What a list says of this node itself cannot change.
fn own_place_stays(was: &Node, is: &Node) -> Result<(), String> {
    if was.roles != is.roles {
        return Err(format!(
            "{} is this node, and was {}; to be {} it has to be started anew",
            was.name, was.roles, is.roles
        ));
    }
    if was.address != is.address {
        return Err(format!(
            "{} is this node, and listens on {}; for {} it has to be started anew",
            was.name, was.address, is.address
        ));
    }
    Ok(())
}

/// Gives the nodes of another list their numbers.
fn renumber(before: &[Place], others: Vec<Node>, room: usize, now_ms: u64) -> Result<Relisted, String> {
    let mut places = before.to_vec();
    let (mut came, mut went, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for place in &mut places {
        let Some(node) = &place.node else { continue };
        let is_writer = node.roles.has(Roles::STORAGE_WRITER);
        match others.iter().find(|other| other.name == node.name) {
            Some(other) if other.roles != node.roles => {
                return Err(format!(
                    "{} was {} and would be {}; take it out of the list, and put it in again {} s later",
                    node.name,
                    node.roles,
                    other.roles,
                    FREE_AFTER_MS / 1_000
                ));
            }
            Some(other) => {
                if other.address != node.address {
                    moved.push(format!("{} to {}", node.name, other.address));
                }
                place.node = Some(other.clone());
            }
            None if is_writer => {
                return Err(format!(
                    "{} is the storage-writer, and another one needs a restart of every node",
                    node.name
                ));
            }
            None => {
                went.push(node.name.clone());
                *place = Place { node: None, free_at_ms: now_ms + FREE_AFTER_MS };
            }
        }
    }
    for node in others {
        if !places.iter().any(|place| place.node.as_ref().is_some_and(|other| other.name == node.name)) {
            came.push(node.name.clone());
            give_a_number(&mut places, node, room, now_ms)?;
        }
    }
    Ok(Relisted { places, seen: String::new(), came, went, moved })
}

/// Gives a node that came a number.
fn give_a_number(places: &mut Vec<Place>, node: Node, room: usize, now_ms: u64) -> Result<(), String> {
    if node.roles.has(Roles::STORAGE_WRITER) {
        return Err(format!(
            "{} would be the storage-writer, and another one needs a restart of every node",
            node.name
        ));
    }
    let free = places.iter().position(|place| place.node.is_none() && place.free_at_ms <= now_ms);
    let place = Place { node: Some(node), free_at_ms: 0 };
    match free {
        Some(number) => places[number] = place,
        None if places.len() < room => places.push(place),
        None => {
            return Err(format!(
                "it has more than the {room} other nodes that this one has room for, those that went in the last {} s \
                 included; start this node anew",
                FREE_AFTER_MS / 1_000
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, roles: &str, port: u16) -> Node {
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        Node { name: name.to_owned(), roles: roles.parse().unwrap(), address, http: None }
    }

    fn start() -> Vec<Node> {
        vec![node("gw-2", "gateway", 2), node("rt-1", "router", 3), node("sw-1", "storage-writer", 4)]
    }

    fn places(nodes: Vec<Node>) -> Vec<Place> {
        nodes.into_iter().map(|node| Place { node: Some(node), free_at_ms: 0 }).collect()
    }

    fn names(list: &Relisted) -> Vec<&str> {
        list.places.iter().map(|place| place.node.as_ref().map_or("-", |node| node.name.as_str())).collect()
    }

    #[test]
    fn who_stays_keeps_its_number_and_who_comes_gets_a_free_one() {
        let mut others = start();
        others.rotate_left(1);
        others.push(node("gw-3", "gateway", 5));
        let list = renumber(&places(start()), others, 5, 0).unwrap();
        assert_eq!(
            (names(&list), &list.came[..], list.went.len()),
            (vec!["gw-2", "rt-1", "sw-1", "gw-3"], &["gw-3".to_owned()][..], 0)
        );
        let without = start()[1..].to_vec();
        let list = renumber(&list.places, without.clone(), 5, 1_000).unwrap();
        assert_eq!((names(&list), list.went.join(",")), (vec!["-", "rt-1", "sw-1", "-"], "gw-2,gw-3".to_owned()));
        let with = |name: &str| [without.clone(), vec![node(name, "gateway", 6)]].concat();
        let list_soon = renumber(&list.places, with("gw-4"), 5, 1_000 + FREE_AFTER_MS - 1).unwrap();
        assert_eq!(names(&list_soon), ["-", "rt-1", "sw-1", "-", "gw-4"], "what is left of gw-2 is not gw-4's");
        let list = renumber(&list.places, with("gw-4"), 5, 1_000 + FREE_AFTER_MS).unwrap();
        assert_eq!(names(&list), ["gw-4", "rt-1", "sw-1", "-"]);
        let mut elsewhere = start();
        elsewhere[0] = node("gw-2", "gateway", 9);
        assert_eq!(renumber(&places(start()), elsewhere, 5, 0).unwrap().moved, ["gw-2 to 127.0.0.1:9"]);
    }

    #[test]
    fn what_only_a_restart_can_change_is_refused() {
        let refused = |others: Vec<Node>| renumber(&places(start()), others, 3, 0).unwrap_err();
        let changed = |at: usize, to: Node| {
            let mut others = start();
            others[at] = to;
            others
        };
        for (others, expected) in [
            (changed(0, node("gw-2", "router", 2)), "gw-2 was gateway and would be router; take it out"),
            (
                changed(2, node("sw-2", "storage-writer", 4)),
                "sw-1 is the storage-writer, and another one needs a restart",
            ),
            ([start(), vec![node("gw-3", "gateway", 5)]].concat(), "more than the 3 other nodes"),
            (changed(0, node("gw-3", "gateway", 2)), "more than the 3 other nodes"),
        ] {
            let error = refused(others);
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let me = node("gw-1", "gateway", 1);
        assert_eq!(own_place_stays(&me, &me), Ok(()));
        assert!(own_place_stays(&me, &node("gw-1", "router", 1)).unwrap_err().contains("started anew"));
        assert!(own_place_stays(&me, &node("gw-1", "gateway", 7)).unwrap_err().contains("listens on 127.0.0.1:1"));
    }
}
