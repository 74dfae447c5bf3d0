//! Clients written in Python from the documents alone: WebSocket JSON, native frames, the conformance vectors.

use shardwire_tests::process::{Options, Server, python};

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
