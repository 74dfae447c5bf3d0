//! A conversation with everything that changes it afterwards, by REST and over WebSocket, on several devices; and that it is the
//! same after a restart.

use serde_json::Value;
use shardwire_tests::process::{Options, Server, python};

use crate::rest_sends_and_reads_what_sessions_do::Rest;

#[test]
fn a_conversation_is_what_was_made_of_it() {
    let config = "[limits]\nsends_per_second_per_user = 0\nedit_window_s = 10\n\
                  [storage]\njournal_segment_bytes = 4194304\n";
    let mut server = Server::start(Options { config: config.to_owned(), ..Options::default() });
    let (url, base) = (format!("ws://{}/ws", server.ws()), format!("http://{}", server.http()));
    let printed = python("conversation.py", &[&url, &base]);
    let chats: Vec<&str> = printed.split_whitespace().collect();
    let [group, direct] = chats[..] else { panic!("{printed}") };
    let paths: Vec<String> = [group, direct]
        .iter()
        .map(|chat| format!("/api/chats/{chat}/messages?limit=100"))
        .chain(["/api/account", "/api/chats"].map(str::to_owned))
        .collect();
    let seen = |server: &Server| -> Vec<Value> {
        let of = |user| paths.iter().map(move |path| without_counts(Rest::of(server, user).get(path).json()));
        [7, 9].into_iter().flat_map(of).collect()
    };
    let before = seen(&server);
    assert!(before[2].to_string().contains("Ada's phone"), "{}", before[2]);
    for gone in ["secret of the", "gone in five seconds"] {
        assert!(!before.iter().any(|page| page.to_string().contains(gone)), "{gone}");
    }
    server.kill9();
    server.start_again();
    same(&seen(&server), &before, "out of the journal");
    server.terminate();
    server.start_again();
    same(&seen(&server), &before, "out of the store");
    server.terminate();
}

/// A list of chats counts what is unread roughly, once it is not in memory.
fn without_counts(mut page: Value) -> Value {
    for chat in page["chats"].as_array_mut().into_iter().flatten() {
        chat["unread_count"] = Value::Null;
    }
    page
}

fn same(now: &[Value], before: &[Value], from: &str) {
    for (now, before) in now.iter().zip(before) {
        let (now, before) = (format!("{now:#}"), format!("{before:#}"));
        let other = now.lines().zip(before.lines()).find(|(now, before)| now != before);
        assert!(now == before, "{from}: {other:?} in {before}");
    }
}
