//! The list of nodes: a TOML file that is the same on all of them.

use std::path::Path;

use fabric::link::Roles;
use fabric::net::resolve::Target;
use serde::Deserialize;

use super::ClusterError;

/// Longest name of a node, bytes.
const NAME_BYTES_MAX: usize = 64;
/// Most nodes of a list.
const NODES_MAX: usize = 1_024;

/// One node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Unique in the cluster.
    pub name: String,
    /// What it does.
    pub roles: Roles,
    /// Where its links come in.
    pub address: Target,
    /// URL of its HTTP, for whoever asks how it stands.
    pub http: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    node: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    roles: Vec<String>,
    address: String,
    http: Option<String>,
}

/// The file's text.
pub(super) fn read(path: &Path) -> Result<String, ClusterError> {
    std::fs::read_to_string(path).map_err(|source| ClusterError::Unreadable {
        key: "cluster.nodes_file",
        path: path.to_owned(),
        source,
    })
}

/// All nodes of the list at `path` with this text.
pub(super) fn nodes(path: &Path, text: &str) -> Result<Vec<Node>, ClusterError> {
    parse(text).map_err(|detail| ClusterError::InvalidList { path: path.to_owned(), detail })
}

/// As [`nodes`]: the one called `name`, and the others in the list's order.
pub(super) fn split(path: &Path, text: &str, name: &str) -> Result<(Node, Vec<Node>), ClusterError> {
    let mut nodes = nodes(path, text)?;
    match nodes.iter().position(|node| node.name == name) {
        Some(at) => Ok((nodes.remove(at), nodes)),
        None => {
            let known: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            Err(ClusterError::UnknownNode { path: path.to_owned(), name: name.to_owned(), known: known.join(", ") })
        }
    }
}

fn parse(text: &str) -> Result<Vec<Node>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    if file.node.len() > NODES_MAX {
        return Err(format!("{} nodes are too many; {NODES_MAX} is the limit", file.node.len()));
    }
    let mut nodes: Vec<Node> = Vec::with_capacity(file.node.len());
    for Line { name, roles, address, http } in file.node {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(format!("a node's name has 1 to {NAME_BYTES_MAX} bytes, and {name:?} has {}", name.len()));
        }
        let address: Target = address.parse().map_err(|error| format!("the address of {name}: {error}"))?;
        let roles: Roles = roles.join(",").parse().map_err(|error| format!("{name}: {error}"))?;
        if let Some(twin) = nodes.iter().find(|node| node.name == name || node.address == address) {
            return Err(format!("{name} at {address} and {} at {} are not two nodes", twin.name, twin.address));
        }
        if let Some(http) = &http
            && !is_url(http)
        {
            return Err(format!("http of {name}: {http:?} is no URL of a node; write http://ADDRESS:PORT"));
        }
        nodes.push(Node { name, roles, address, http });
    }
    for (role, what, bounds) in [
        (Roles::GATEWAY, "gateway", 1..=NODES_MAX),
        (Roles::ROUTER, "router", 1..=NODES_MAX),
        (Roles::STORAGE_WRITER, "storage-writer", 1..=NODES_MAX),
    ] {
        let count = nodes.iter().filter(|node| node.roles.has(role)).count();
        if !bounds.contains(&count) {
            return Err(format!("there are {count} nodes with the role {what}; a cluster has at least one"));
        }
    }
    Ok(nodes)
}

/// Whether this is http:// or https:// with a host and no path.
fn is_url(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or_default();
    let host = host.strip_suffix('/').unwrap_or(host);
    !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"
        [[node]]
        name = "gw-1"
        roles = ["gateway"]
        address = "127.0.0.1:7501"
        [[node]]
        name = "rt-1"
        roles = ["router"]
        address = "127.0.0.1:7502"
        [[node]]
        name = "sw-1"
        roles = ["storage-writer"]
        address = "127.0.0.1:7503"
    "#;

    #[test]
    fn a_list_says_who_does_what_where() {
        let nodes = parse(LIST).unwrap();
        let names: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.roles)).collect();
        assert_eq!(names, [("gw-1", Roles::GATEWAY), ("rt-1", Roles::ROUTER), ("sw-1", Roles::STORAGE_WRITER)]);
    }

    #[test]
    fn what_is_wrong_with_a_list_is_named() {
        let without = |name: &str| {
            let at = LIST.find(&format!("name = \"{name}\"")).unwrap();
            let from = LIST[..at].rfind("[[node]]").unwrap();
            let to = LIST[at..].find("[[node]]").map_or(LIST.len(), |next| at + next);
            format!("{}{}", &LIST[..from], &LIST[to..])
        };
        for (text, expected) in [
            (without("rt-1"), "there are 0 nodes with the role router; a cluster has at least one"),
            (without("sw-1"), "there are 0 nodes with the role storage-writer; a cluster has at least one"),
            (LIST.replace("rt-1", "gw-1"), "gw-1 at 127.0.0.1:7502 and gw-1 at 127.0.0.1:7501 are not two nodes"),
            (LIST.replace("7502", "7501"), "are not two nodes"),
            (LIST.replace("\"router\"", "\"rooter\""), "rt-1: "),
            (LIST.replace("[\"router\"]", "[]"), "rt-1: no role is given"),
            (LIST.replace("127.0.0.1:7501", "somewhere"), "the address of gw-1: \"somewhere\" is neither"),
            (LIST.replace("127.0.0.1:7501", "rt:7502").replace("127.0.0.1:7502", "rt:7502"), "are not two nodes"),
            (LIST.replace("name = \"gw-1\"", "name = \"gw-1\"\nport = 1"), "port"),
            (LIST.replace("name = \"gw-1\"", "name = \"gw-1\"\nhttp = \"10.0.0.1:7480\""), "http of gw-1"),
            (LIST.replace("name = \"gw-1\"", "name = \"gw-1\"\nhttp = \"http://a/b\""), "http of gw-1"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
