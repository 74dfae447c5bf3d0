//! The TypeScript client against a real server: chats by both codecs, and exactly once over connections and servers that break.

use std::time::Duration;

use shardwire_tests::process::{Deadline, Dice, Options, Proxy, Server, node, output, run_node};

const TESTS: &str = "clients/typescript/dist-test/test/live";

#[test]
fn it_chats_resends_comes_back_and_says_what_cannot_be() {
    let server = Server::start(Options::default());
    let url = format!("ws://{}/ws", server.ws());
    let users = [7, 9, 17, 19, 27, 29, 31, 33, 37, 39, 41, 43, 47, 49, 57, 59];
    let tokens = users.map(|user| (format!("SHARDWIRE_TOKEN_{user}"), server.token(user, 1)));
    let mut variables = vec![("SHARDWIRE_WS", url.as_str())];
    variables.extend(tokens.iter().map(|(name, token)| (name.as_str(), token.as_str())));
    let [chats, groups, amendments] = ["chat", "groups", "amendments"].map(|name| format!("{TESTS}/{name}.test.js"));
    let printed = run_node(&["--test", "--test-reporter=tap", &chats, &groups, &amendments], &variables, 120);
    assert!(printed.contains("# fail 0") && !printed.contains("# pass 0"), "{printed}");
}

/// Two clients write to each other and the connections of both keep breaking; the server is killed in between.
#[test]
fn it_loses_and_doubles_nothing_while_connections_break_and_the_server_is_killed() {
    let dice = Dice::seeded();
    let mut options = Options::default();
    // The clients' Host names the relay.
    options.config.push_str("[http]\nallowed_hosts = [\"127.0.0.1\"]\n");
    let mut server = Server::start(options);
    let (first, second) = (server.token(7, 1), server.token(9, 1));
    let proxy = Proxy::start(server.ws(), 60_000, dice);
    let url = format!("ws://{}/ws", proxy.address());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let half = folder.path().join("half");
    let half_text = half.to_string_lossy().into_owned();
    let variables = [("SHARDWIRE_WS", url.as_str()), ("FIRST", &first), ("SECOND", &second), ("HALF", &half_text)];
    let script = format!("{TESTS}/torn.js");
    let mut command = node(&[&script], &variables);
    command.env("MESSAGES", "1500");
    let child = std::thread::spawn(move || output(command, 150));
    // The script says when half of all has arrived.
    assert!(Deadline::after_s(90).wait_until(|| half.exists() || child.is_finished()), "half never came");
    server.kill9();
    std::thread::sleep(Duration::from_millis(300));
    server.start_again();
    proxy.lead_to(server.ws());
    let output = child.join().expect("it was awaited");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}\n{}", server.log());
    assert!(stdout.ends_with("ok\n"), "{stdout}");
    assert!(proxy.cuts() > 3, "connections broke only {} times", proxy.cuts());
}
