//! What others script against: subcommands, the ready line, configuration, health and metrics, the folder's lock.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use shardwire_tests::process::{Answer, Options, Server, binary, output, unwrapped};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fails_naming(output: &Output, names: &[&str]) {
    let error = text(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{error}");
    let words = unwrapped(&error);
    for name in names {
        assert!(words.contains(name), "names {name}\n{error}");
    }
}

fn ids(user: &str, device: &str) -> Vec<String> {
    ["--user", user, "--device", device].map(str::to_owned).to_vec()
}

fn is_token(printed: &str) -> bool {
    let token = printed.strip_suffix('\n').unwrap_or_default();
    let url_safe = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    token.split('.').count() == 3 && token.split('.').all(|part| !part.is_empty() && url_safe(part))
}

#[test]
fn token_prints_only_a_token_before_and_while_the_server_runs() {
    let mut server = Server::new(Options::default());
    let before = server.cli("token", &ids("7", "1"));
    assert!(before.status.success() && is_token(&text(&before.stdout)), "{before:?}");
    let key = server.data().join("dev-key");
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only the owner reads the development key");
    let secret = std::fs::read(&key).unwrap();
    server.start_again();
    let during = server.cli("token", &ids("9", "2"));
    assert!(during.status.success() && is_token(&text(&during.stdout)), "{during:?}");
    assert_eq!(std::fs::read(&key).unwrap(), secret, "the same key");
    for token in [before, during] {
        let token = text(&token.stdout);
        shardwire_tests::process::Native::login(server.native(), token.trim_end()).expect("it lets its user in");
    }
    for (user, device, allowed) in
        [("0", "1", "1 to 18446744073709551615"), ("x", "1", "1 to"), ("7", "-", "0 to 4294967295")]
    {
        fails_naming(&server.cli("token", &ids(user, device)), &[allowed]);
    }
    let mut for_ages = ids("7", "1");
    for_ages.extend(["--ttl", "7y"].map(str::to_owned));
    fails_naming(&server.cli("token", &for_ages), &["--ttl", "s, m, h or d"]);
}

#[test]
fn the_printed_configuration_is_one_that_loads() {
    let mut command = Command::new(binary("shardwire"));
    command.arg("config");
    let printed = output(command, 30);
    assert!(printed.status.success() && printed.stderr.is_empty());
    let template = text(&printed.stdout);
    for key in ["in_flight_per_session", "sends_per_second_per_user", "burst_per_user", "allowed_hosts", "partitions"] {
        assert!(template.contains(key), "{key}\n{template}");
    }
    assert!(template.contains("(restart)"), "says when a change counts");
    // As printed, and with every key uncommented that has a default.
    let is_set = |rest: &&str| !rest.starts_with(' ') && rest.contains(" = ");
    let set = |line: &str| line.strip_prefix('#').filter(is_set).unwrap_or(line).to_owned();
    let all_set: String = template.lines().map(|line| set(line) + "\n").collect();
    for config in [template.clone(), all_set] {
        let mut server = Server::start(Options { config, ..Options::default() });
        server.terminate();
    }
}

#[test]
fn a_wrong_configuration_stops_the_start_and_names_key_file_and_what_is_allowed() {
    let start = |config: &str| Server::new(Options { config: config.to_owned(), ..Options::default() }).start_in_vain();
    fails_naming(&start("[limits]\nin_flight = 3\n"), &["shardwire.toml", "in_flight", "in_flight_per_session"]);
    fails_naming(&start("[colour]\n"), &["shardwire.toml", "colour", "limits"]);
    fails_naming(&start("[limits]\nframe_bytes = 7\n"), &["shardwire.toml", "limits.frame_bytes", "1024 to 1048576"]);
    fails_naming(&start("[limits]\nframe_bytes = \"big\"\n"), &["shardwire.toml", "frame_bytes", "u32"]);
    fails_naming(&start("[log]\nlevel = \"loud\"\n"), &["log.level", "error, warn, info, debug, trace"]);
    let mut command = Command::new(binary("shardwire"));
    command.args(["--config", "/nowhere/shardwire.toml"]);
    fails_naming(&output(command, 30), &["/nowhere/shardwire.toml", "No such file"]);
}

#[test]
fn health_readiness_metrics_and_status_say_what_is() {
    let mut server = Server::start(Options::default());
    let answers = ["/healthz", "/readyz", "/metrics"].map(|path| server.get(path));
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let metrics = &answers[2].body;
    let driver = metrics.lines().find(|line| line.contains("driver=\"")).unwrap_or_default();
    assert!(driver.contains("io_uring") || driver.contains("epoll"), "the driver in use is shown: {driver}");
    assert!(server.log().contains("driver="), "and logged");
    assert!(metrics.ends_with("# EOF\n"), "whole");
    assert_eq!(server.get("/nothing").status, 404);

    let status = server.cli("status", &[]);
    let shown = text(&status.stdout);
    assert!(status.status.success() && shown.contains("ready") && shown.contains(&server.pid().to_string()), "{shown}");
    let status = server.cli("status", &["--json".to_owned()]);
    let json: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&json["readiness"], &json["shards"]), (&"ready".into(), &2.into()));
    assert_eq!(json["native"], server.native().to_string());
    assert_eq!(json["partitions"].as_array().map(Vec::len), Some(2));
    server.terminate();
    let line = server.stdout();
    let words: Vec<&str> = line.trim_end().split(' ').map(|word| word.split('=').next().unwrap()).collect();
    assert_eq!(words, ["ready", "native", "ws", "http", "shards", "store"], "one line, nothing else: {line}");
    assert!(line.ends_with(" shards=2 store=embedded\n") && line.lines().count() == 1, "{line}");
    fails_naming(&server.cli("status", &[]), &["no server answers"]);
}

#[test]
fn metrics_can_be_moved_to_an_address_of_their_own() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let arguments = vec!["--metrics".to_owned(), port.to_string()];
    let server = Server::start(Options { arguments, ..Options::default() });
    assert_eq!(server.get("/metrics").status, 404);
    assert_eq!(server.get("/healthz").status, 200);
    let moved = Answer::get(port, "/metrics").unwrap();
    assert!(moved.status == 200 && moved.metric("shardwire_gateway_connections").is_some());
    assert_eq!(Answer::get(port, "/healthz").unwrap().status, 404);
}

#[test]
fn a_folder_serves_one_server_and_only_its_own() {
    let mut server = Server::start(Options::default());
    fails_naming(&server.start_in_vain(), &["in use by another process"]);
    assert_eq!(server.get("/readyz").status, 200, "the first is not disturbed");
    server.kill9();
    server.start_again();
    server.terminate();

    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("thesis.doc"), "not ours").unwrap();
    let foreign = Server::new(Options { data: Some(other.path().to_owned()), ..Options::default() });
    fails_naming(&foreign.start_in_vain(), &["thesis.doc", "not Shardwire's"]);
    let format = server.data().join("FORMAT");
    std::fs::write(&format, "damaged").unwrap();
    fails_naming(&server.start_in_vain(), &["FORMAT", "damaged"]);
}
