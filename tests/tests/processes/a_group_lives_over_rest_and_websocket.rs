//! A group from its making on: changed by REST and over WebSocket, seen by who is in it, the same after a restart.

use serde_json::{Value, json};
use shardwire_tests::process::{Options, Server, python};

use crate::rest_sends_and_reads_what_sessions_do::Rest;

#[test]
fn a_group_is_what_its_changes_made_of_it() {
    let mut server = Server::start(Options::default());
    let (url, base) = (format!("ws://{}/ws", server.ws()), format!("http://{}", server.http()));
    let tokens = [7, 9, 11, 12, 99].map(|user| server.token(user, 1));
    let arguments: Vec<&str> = [&url, &base].into_iter().chain(&tokens).map(String::as_str).collect();
    let printed = python("group.py", &arguments);
    let path = format!("/api/chats/{}", printed.trim_end());
    let entries = |server: &Server, user| Rest::of(server, user).get(&format!("{path}/messages?limit=100")).json();
    let before = [9, 12].map(|user| entries(&server, user));
    server.kill9();
    server.start_again();
    let after = [9, 12].map(|user| entries(&server, user));
    assert_eq!(before, after);
    let about = Rest::of(&server, 11).get(&path).json();
    let members: Vec<(&Value, &Value)> = about["members"]
        .as_array()
        .expect("members")
        .iter()
        .map(|member| (&member["user_id"], &member["role"]))
        .collect();
    assert_eq!(members, [(&json!("9"), &json!("admin")), (&json!("11"), &json!("member"))]);
    assert_eq!((&about["name"], &about["head_seq"]), (&json!("Climbing"), &after[0]["head_seq"]));
    server.terminate();
}
