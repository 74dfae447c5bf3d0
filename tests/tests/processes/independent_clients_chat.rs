//! Clients written in Python from the documents alone: WebSocket JSON, native frames, the conformance vectors.

use std::fs::File;

use shardwire_tests::process::{Deadline, Options, Server, example, output, python};

#[test]
fn a_python_websocket_client_chats_and_resumes() {
    let server = Server::start(Options::default());
    let url = format!("ws://{}/ws", server.ws());
    let printed = python("chat.py", &[&url, &server.token(7, 1), &server.token(9, 1)]);
    assert_eq!(printed, "ok\n");
}

#[test]
fn a_python_flatbuffers_client_chats_and_resumes() {
    let mut server = Server::start(Options::default());
    let printed = python("native_chat.py", &[&server.native().to_string(), &server.token(7, 1), &server.token(9, 1)]);
    assert_eq!(printed, "ok\n");
    server.terminate();
}

#[test]
fn the_python_flatbuffers_runtime_agrees_on_the_conformance_vectors() {
    let printed = python("conformance.py", &[]);
    assert!(printed.ends_with("; 0 wrong\n"), "{printed}");
}

/// `docs/examples/native.py` on both sides: one listens, one writes while the server is down.
#[test]
fn the_python_example_on_native_frames_loses_and_doubles_nothing_over_a_killed_server() {
    let mut server = Server::start(Options { same_ports: true, ..Options::default() });
    let (address, tokens) = (server.native().to_string(), [server.token(7, 1), server.token(9, 1)]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let heard = folder.path().join("heard");
    let hears = |what: &str| std::fs::read_to_string(&heard).unwrap_or_default().contains(what);
    let mut listener = example("native.py", &["--user", "9", "--address", &address, "--token", &tokens[1]]);
    listener.stdout(File::create(&heard).expect("a file for what it prints"));
    let mut listener = listener.spawn().expect("Python starts");
    let listens = Deadline::after_s(30).wait_until(|| hears("connected as user 9"));
    server.kill9();
    let arguments =
        ["--user", "7", "--to", "9", "--address", &address, "--token", &tokens[0], "--until-read", "over a restart"];
    let sender = example("native.py", &arguments);
    let sender = std::thread::spawn(move || output(sender, 60));
    server.start_again();
    let sent = sender.join();
    let told = Deadline::after_s(30).wait_until(|| hears("7: over a restart"));
    listener.kill().expect("it runs until it is ended");
    listener.wait().expect("it is a child");
    assert!(listens, "the listener never connected");
    let sent = sent.expect("the sender ended");
    let printed = String::from_utf8_lossy(&sent.stdout);
    assert!(sent.status.success(), "{printed}\n{}", String::from_utf8_lossy(&sent.stderr));
    assert!(printed.contains("#1: over a restart") && printed.contains("read by 9: over a restart"), "{printed}");
    let heard = std::fs::read_to_string(&heard).expect("what it printed");
    assert!(told && heard.matches("over a restart").count() == 1, "{heard}");
}
