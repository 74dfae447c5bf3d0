//! Dashboard, alert rules and the compose file's configuration are about this server: what they name exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use shardwire_tests::process::{Authority, Options, Server, binary, output};

/// Metrics of others that may be named: Prometheus' own, and node-exporter's.
const FOREIGN: [&str; 7] = [
    "up",
    "node_cpu_seconds_total",
    "node_disk_io_time_seconds_total",
    "node_memory_MemAvailable_bytes",
    "node_network_receive_bytes_total",
    "node_network_transmit_bytes_total",
    "node_timex_offset_seconds",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A node that is a whole cluster, with TLS and traces: it has every metric there is.
fn whole_cluster(folder: &Path, authority: &Authority) -> Options {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let secret = "a secret of at least thirty-two bytes";
    let [tokens, cluster] = ["tokens", "cluster"].map(|name| file(name, secret));
    let roles = r#"roles = ["gateway", "router", "storage-writer"]"#;
    let nodes = file("nodes.toml", &format!("[[node]]\nname = \"one\"\n{roles}\naddress = \"127.0.0.1:0\"\n"));
    let traces = "[traces]\nendpoint = \"http://127.0.0.1:9\"\n";
    let config =
        format!("[auth]\nhs256_secret_file = \"{tokens}\"\n[storage]\njournal_segment_bytes = 4194304\n{traces}");
    let [certificate, key] = authority.issue("server", |_| {}).map(|file| file.display().to_string());
    let arguments = [
        "--name",
        "one",
        "--nodes",
        &nodes,
        "--cluster-secret",
        &cluster,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    let arguments = arguments.map(str::to_owned).to_vec();
    Options { config, arguments, authority: Some(authority.file()), ..Options::default() }
}

/// Every name that a scrape has, of families and of samples.
fn exposed(metrics: &str) -> BTreeSet<String> {
    let name = |line: &str| line.split([' ', '{']).next().unwrap_or_default().to_owned();
    metrics.lines().map(|line| name(line.strip_prefix("# TYPE ").unwrap_or(line))).collect()
}

/// Words that may be names of metrics.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
}

/// Names in a PromQL expression: words before a selector.
fn selected(expression: &str) -> BTreeSet<&str> {
    let before = |bracket| expression.match_indices(bracket).filter_map(|(at, _)| words(&expression[..at]).last());
    before('{').chain(before('[')).filter(|name| !name.is_empty()).collect()
}

/// Every value of `key` in a JSON document that is text.
fn values<'a>(key: &str, json: &'a serde_json::Value, found: &mut Vec<&'a str>) {
    match json {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                found.extend(value.as_str().filter(|_| name == key));
                values(key, value, found);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| values(key, item, found)),
        _ => {}
    }
}

/// What only a server on Scylla or Cassandra counts (src/figures.rs, src/node/holdings.rs).
const OF_SCYLLA: [&str; 10] = [
    "shardwire_store_away",
    "shardwire_store_request_failures_total",
    "shardwire_storage_epoch",
    "shardwire_storage_chats_elsewhere",
    "shardwire_storage_chats_moving",
    "shardwire_store_breaker",
    "shardwire_spool_waiting",
    "shardwire_spool_full_total",
    "shardwire_spool_write_failures_total",
    "shardwire_spool_dead_letters",
];

/// What only a router with a copy of its directory in Redis counts (router/redis/src/metrics.rs).
const OF_REDIS: &str = "shardwire_directory_";

#[test]
fn every_metric_that_is_drawn_or_alerted_on_is_counted() {
    let (authority, folder) = (Authority::new("the test's"), tempfile::tempdir().unwrap());
    let server = Server::start(whole_cluster(folder.path(), &authority));
    let exposed = exposed(&server.get("/metrics").body);
    assert!(
        exposed.contains("shardwire_gateway_sends_total") && exposed.contains("shardwire_link_ends_total"),
        "{exposed:?}"
    );

    let files = ["deploy/monitoring/dashboard.json", "deploy/monitoring/alerts.yml", "docs/OPERATIONS.md"];
    for file in files {
        let text = text(file);
        let named: BTreeSet<&str> = words(&text).filter(|word| word.starts_with("shardwire_")).collect();
        assert!(named.len() > 4, "{file} names metrics: {named:?}");
        let counted = |name: &str| exposed.contains(name) || OF_SCYLLA.contains(&name) || name.starts_with(OF_REDIS);
        let unknown: Vec<_> = named.into_iter().filter(|name| !counted(name)).collect();
        assert!(unknown.is_empty(), "{file} names what the server does not count: {unknown:?}");
    }
}

#[test]
fn what_others_count_is_named_on_purpose() {
    let dashboard: serde_json::Value = serde_json::from_str(&text("deploy/monitoring/dashboard.json")).unwrap();
    let mut expressions = Vec::new();
    values("expr", &dashboard, &mut expressions);
    assert!(expressions.len() > 100, "{}", expressions.len());
    let alerts = text("deploy/monitoring/alerts.yml");
    let rules = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    for expression in rules.chain(expressions) {
        let named = selected(expression);
        assert!(expression.contains("shardwire_") || !named.is_empty(), "{expression}");
        for name in named {
            assert!(name.starts_with("shardwire_") || FOREIGN.contains(&name), "{name}: {expression}");
        }
    }
}

#[test]
fn every_alert_says_what_it_is_and_what_to_do() {
    let (alerts, manual) = (text("deploy/monitoring/alerts.yml"), text("docs/OPERATIONS.md"));
    let (_, advice) = manual.split_once("\n## When an alert fires\n").unwrap();
    let advice = advice.split("\n## ").next().unwrap();
    let slug = |title: &str| title.to_lowercase().replace(' ', "-");
    let headings: BTreeSet<String> = advice.lines().filter_map(|line| line.strip_prefix("### ")).map(slug).collect();
    let mut pointed_at = BTreeSet::new();
    let mut rules = alerts.split("- alert: ").skip(1).peekable();
    assert!(rules.peek().is_some());
    for rule in rules {
        let name = rule.lines().next().unwrap();
        let field = |key: &str| {
            let line = rule.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("{name} has no {key}")).to_owned()
        };
        for key in ["summary", "description", "expr"] {
            assert!(field(key).len() > 10, "{name}: {key}");
        }
        let severity = field("labels");
        assert!(["{severity: page}", "{severity: ticket}"].contains(&severity.as_str()), "{name}: {severity}");
        let runbook = field("runbook");
        let anchor = runbook.strip_prefix("docs/OPERATIONS.md#").unwrap_or_else(|| panic!("{name}: {runbook}"));
        assert!(headings.contains(anchor), "{name} points at {anchor}; there are {headings:?}");
        assert!(advice.contains(&format!("`{name}`")), "{name} is not in the advice");
        pointed_at.insert(anchor.to_owned());
    }
    assert_eq!(pointed_at, headings, "every piece of advice has an alert");
}

#[test]
fn the_compose_file_s_nodes_are_a_cluster_that_the_server_takes() {
    let (compose, nodes) = (text("deploy/compose/compose.yaml"), text("deploy/compose/nodes.toml"));
    let nodes: Vec<&str> = nodes.split("[[node]]").skip(1).collect();
    assert_eq!(nodes.len(), 5);
    for node in nodes {
        let field = |key: &str| {
            let value = node.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ")).unwrap();
            value.trim_matches(['[', ']', '"']).to_owned()
        };
        let [name, role, address] = ["name", "roles", "address"].map(field);
        let service = compose.split(&format!("\n  {name}:\n")).nth(1).unwrap().split("\n\n").next().unwrap();
        assert!(service.contains(&format!("--name, {name}, --role, {role}]")), "{service}");
        let host = address.strip_suffix(":7500").unwrap();
        assert!(service.contains(&format!("ipv4_address: {host}\n")) || service.ends_with(host), "{service}");

        // It comes as far as the secret, which only the container has: configuration, list and role are good.
        let (folder, compose) = (tempfile::tempdir().unwrap(), root().join("deploy/compose"));
        let mut command = Command::new(binary("shardwire"));
        command.arg("serve").args(["--name", &name, "--role", &role]);
        command.arg("--data").arg(folder.path().join("data"));
        command.arg("--config").arg(compose.join("shardwire.toml"));
        command.arg("--nodes").arg(compose.join("nodes.toml"));
        let ended = output(command, 30);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.contains("/run/secrets/"), "{name}: {said}");
    }
}
