//! A start with a wrong name, role, secret or cluster, or a name that is another's, ends with what was wrong and what to do.

use std::net::TcpListener;
use std::path::Path;

use shardwire_tests::process::cluster::{Cluster, Options, Shape};
use shardwire_tests::process::{binary, output};

/// The words of an error report without its frame.
fn words(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.split(|c: char| c.is_whitespace() || "│├╰─▶×".contains(c))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// `shardwire status --cluster`: its exit code, and which of the four nodes are ready.
fn ready_by_name(list: &Path) -> (Option<i32>, [bool; 4]) {
    let mut command = std::process::Command::new(binary("shardwire"));
    command.args(["status", "--cluster", "--json", "--nodes"]).arg(list);
    let answer = output(command, 30);
    let said: serde_json::Value =
        serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{}", words(&answer)));
    let ready = |name: &str| {
        let node = said["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap();
        assert_eq!(node["ready"] == true, node["state"] == "ready", "{node}");
        node["ready"] == true
    };
    (answer.status.code(), ["gw-1", "gw-2", "rt-1", "sw-1"].map(ready))
}

#[test]
fn a_node_that_does_not_belong_stops_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::of_test(Shape { gateways: 2, routers: 1, writers: 1 }, folder.path());
    let mut cluster = Cluster::new(&Options { config: String::new(), ..options }).unwrap();
    cluster.start().unwrap_or_else(|error| panic!("{error}"));
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the folder takes it");
        path.display().to_string()
    };
    let config = std::fs::read_to_string(cluster.config_file()).unwrap();
    let list = std::fs::read_to_string(folder.path().join("nodes.toml")).unwrap();
    let elsewhere = |name: &str| {
        let link = cluster.nodes().iter().find(|node| node.place().name == name).unwrap().place().link;
        file("elsewhere.toml", &list.replace(&link.to_string(), &format!("127.0.0.1:{}", free_port())))
    };
    let data = ("--data", folder.path().join("other").display().to_string());
    let http = ("--http", "127.0.0.1:0".to_owned());
    let native = ("--native", "127.0.0.1:0".to_owned());
    let ws = ("--ws", "127.0.0.1:0".to_owned());
    let aside = [data, http, native, ws];
    let cases = [
        ("--name", "gw-9".to_owned(), ["has no node \"gw-9\"", "cluster.name (or --name)"]),
        ("--role", "router".to_owned(), ["told to be router", "all nodes must agree on who does what"]),
        (
            "--cluster-secret",
            file("secret", &"another secret ".repeat(4)),
            ["bad_secret", "give every node of the cluster the same secret"],
        ),
        (
            "--config",
            file("other.toml", &format!("{config}\n[cluster]\nid = \"another\"\n")),
            ["wrong_cluster", "give both the same cluster name"],
        ),
        // gw-1 lives: this is a second one of that name, on another host.
        ("--nodes", elsewhere("gw-1"), ["name_in_use", "stop the other process of this name"]),
    ];
    let status = || ready_by_name(&folder.path().join("nodes.toml"));
    assert_eq!(status(), (Some(0), [true; 4]));
    // The place of gw-2 is free for those that come as it; gw-1 goes on.
    cluster.node("gw-2").kill9();
    assert_eq!(status(), (Some(1), [true, false, true, true]), "a node that is gone is told from the others");
    for (option, value, expected) in cases {
        let node = if option == "--nodes" { "gw-1" } else { "gw-2" };
        let others: Vec<(&str, String)> = aside.iter().cloned().chain([(option, value.clone())]).collect();
        let output = cluster.node(node).start_in_vain(&others);
        let said = words(&output);
        assert!(!output.status.success(), "{option} {value}: it ended well\n{said}");
        for text in expected {
            assert!(said.contains(text), "{option} {value}: {text:?} is not in\n{said}");
        }
    }
    cluster.check().unwrap_or_else(|error| panic!("{error}"));
    cluster.node("gw-2").start().unwrap();
    cluster.wait_ready().unwrap_or_else(|error| panic!("the one who belongs is taken again: {error}"));
}
