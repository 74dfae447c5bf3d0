//! The list of nodes is written anew while a cluster runs: a gateway and a router come and take sessions, the gateway goes
//! again, and what cannot change is refused and said. Some addresses are names.

use std::fmt::Write as _;

use client::{Client, Config, Event};
use schema::ids::UserId;
use shardwire_tests::process::cluster::{Cluster, Options, Role, SMALL_JOURNAL, Shape};
use shardwire_tests::process::{Answer, Deadline};

/// So many that each of two routers has some.
const USERS: core::ops::RangeInclusive<u64> = 1..=12;

/// Writes the list of these nodes; all but gateways by name.
fn write(cluster: &Cluster, names: &[&str], change: impl Fn(String) -> String) {
    let mut text = String::new();
    for place in cluster.nodes().iter().map(|node| node.place()).filter(|place| names.contains(&place.name.as_str())) {
        let address = match place.role {
            Role::Gateway | Role::GatewayRouter => place.link.to_string(),
            Role::Router | Role::Writer => format!("localhost:{}", place.link.port()),
        };
        let (name, role) = (&place.name, place.role.word());
        let _ = writeln!(text, "[[node]]\nname = \"{name}\"\nroles = [\"{role}\"]\naddress = \"{address}\"");
    }
    let path = cluster.folder().join("nodes.toml");
    std::fs::write(path.with_extension("new"), change(text)).unwrap();
    std::fs::rename(path.with_extension("new"), path).unwrap();
}

fn start(cluster: &mut Cluster, names: &[&str]) {
    for name in names {
        cluster.node(name).start().unwrap();
    }
    let ready = Deadline::after_s(60).wait_until(|| names.iter().all(|name| cluster.node(name).is_ready()));
    let logs: String = names.iter().map(|name| cluster.node(name).log()).collect();
    assert!(ready, "{names:?} are not ready\n{logs}");
}

/// Waits until every running node has written this.
fn all_say(cluster: &mut Cluster, names: &[&str], what: &str) {
    for name in names {
        let said = Deadline::after_s(30).wait_until(|| cluster.node(name).log().contains(what));
        assert!(said, "{name} does not say {what:?}\n{}", cluster.node(name).log());
    }
}

async fn connect(address: String, token: String) -> Client {
    let config = Config { backoff_ms: (50, 500), answer_timeout_ms: 2_000, ..Config::default() };
    Client::builder().config(config).address(address).token(token).connect().await.expect("a first session")
}

/// Everybody hears the next of everybody else.
async fn all_hear_all(clients: &mut [Client], word: &str) {
    let users = || USERS.map(|user| UserId::new(user).unwrap());
    let count = clients.len();
    for (at, client) in clients.iter().enumerate() {
        client.send(users().nth((at + 1) % count).unwrap(), word.to_owned()).await.unwrap();
    }
    for (at, client) in clients.iter_mut().enumerate() {
        let from = users().nth((at + count - 1) % count).unwrap();
        let heard = async {
            loop {
                if let Event::Entry(entry) = client.next().await.expect("the client goes on")
                    && (entry.sender(), entry.body()) == (from, word.as_bytes())
                {
                    return;
                }
            }
        };
        let patience = std::time::Duration::from_secs(60);
        tokio::time::timeout(patience, heard).await.unwrap_or_else(|_| panic!("user {} misses {word:?}", at + 1));
    }
}

/// What cannot be taken is said, and the list before stays.
fn what_cannot_be_taken_is_said(cluster: &mut Cluster, few: &[&str]) {
    write(cluster, few, |list| list.replace("\"router\"", "\"rooter\""));
    all_say(cluster, few, "is no role");
    write(cluster, few, |list| list.replace("sw-1", "sw-9"));
    all_say(cluster, &few[..2], "sw-1 is the storage-writer, and another one needs a restart of every node");
    all_say(cluster, &few[2..], "has no node \"sw-1\"");
    write(cluster, few, |list| list.replacen(&link_of(cluster, "gw-1"), "127.0.0.1:9", 1));
    all_say(cluster, &few[..1], "gw-1 is this node, and listens on");
}

#[test]
fn nodes_come_and_go_by_the_list_of_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::of_test(Shape { gateways: 2, routers: 2, writers: 1 }, folder.path());
    let config = format!("{SMALL_JOURNAL}[limits]\ndrain_spread_ms = 100\n");
    let mut cluster = Cluster::new(&Options { config, ..options }).unwrap();
    let (few, more, all) =
        (["gw-1", "rt-1", "sw-1"], ["gw-1", "gw-2", "rt-1", "sw-1"], ["gw-1", "gw-2", "rt-1", "rt-2", "sw-1"]);
    write(&cluster, &few, |list| list);
    start(&mut cluster, &few);
    let natives = cluster.natives();
    let tokens: Vec<String> = USERS.map(|user| cluster.token(user, 1).unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let everyone_at = |gateways: &[usize]| {
        runtime.block_on(async {
            let mut clients = Vec::new();
            for (at, token) in tokens.iter().enumerate() {
                let gateway = gateways[at % gateways.len()];
                clients.push(connect(natives[gateway].to_string(), token.clone()).await);
            }
            clients
        })
    };
    let mut clients = everyone_at(&[0]);
    runtime.block_on(all_hear_all(&mut clients, "in the beginning"));

    what_cannot_be_taken_is_said(&mut cluster, &few);
    runtime.block_on(all_hear_all(&mut clients, "as before"));
    drop(clients);

    write(&cluster, &more, |list| list);
    // A list is looked at once a second: one that comes sooner would take this one's place, and be said in one line with it.
    all_say(&mut cluster, &few, "came=\"gw-2\"");
    start(&mut cluster, &["gw-2"]);
    let mut clients = everyone_at(&[0, 1]);
    runtime.block_on(all_hear_all(&mut clients, "with a second gateway"));

    write(&cluster, &all, |list| list);
    start(&mut cluster, &["rt-2"]);
    all_say(&mut cluster, &more, "came=\"rt-2\"");
    runtime.block_on(all_hear_all(&mut clients, "with a second router"));
    let sessions = |cluster: &mut Cluster| {
        let http = cluster.node("rt-2").place().http;
        Answer::get(http, "/metrics").unwrap().metric("shardwire_router_sessions").unwrap_or_default()
    };
    assert!(Deadline::after_s(30).wait_until(|| sessions(&mut cluster) >= 1.0), "it has its share of the users");
    runtime.block_on(all_hear_all(&mut clients, "and sessions there"));
    drop(clients);

    cluster.node("gw-2").terminate();
    cluster.node("gw-2").wait_for_the_end(30).unwrap_or_else(|error| panic!("{error}"));
    let rest = ["gw-1", "rt-1", "rt-2", "sw-1"];
    write(&cluster, &rest, |list| list);
    all_say(&mut cluster, &rest, "went=\"gw-2\"");
    let mut clients = everyone_at(&[0]);
    runtime.block_on(all_hear_all(&mut clients, "without it again"));
    for name in rest {
        assert!(cluster.node(name).is_ready(), "{name}");
    }
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}

/// Where a node's links come in, as the list says it.
fn link_of(cluster: &Cluster, name: &str) -> String {
    let node = cluster.nodes().iter().find(|node| node.place().name == name).unwrap();
    node.place().link.to_string()
}
