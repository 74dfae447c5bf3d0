//! Schemathesis, from the description alone: what it allows is taken, what it does not is refused, and every answer has the
//! shape it says.

use schema::ids::{ChatId, UserId};
use serde_json::json;
use shardwire_tests::process::{Native, Options, Server, python};

use crate::rest_sends_and_reads_what_sessions_do::Rest;

#[test]
fn schemathesis_finds_nothing() {
    let config = "[http]\nsends_per_second_per_user = 0\nreads_per_second_per_user = 0\n\
                  tokens_per_second_per_address = 0\nrefused_tokens_per_second_per_address = 0\n";
    let mut server = Server::start(Options { config: config.to_owned(), ..Options::default() });
    let (seven, nine) = (UserId::new(7).unwrap(), UserId::new(9).unwrap());
    let mut session = Native::login(server.native(), &server.token(7, 2)).expect("lets user 7 in");
    for n in 0..5 {
        session.send(&format!("m{n}"), nine, b"something to read").expect("acknowledged");
    }
    let (base, chat) = (format!("http://{}", server.http()), ChatId::direct(seven, nine).to_string());
    let printed = server.cli("token", &["--user", "7", "--device", "1", "--admin"].map(str::to_owned));
    let token = String::from_utf8_lossy(&printed.stdout).trim_end().to_owned();
    let rest = Rest { server: &server, token: token.clone() };
    let group = json!({ "name": "Hiking", "participants": ["9", "11"] });
    let headers = [("Content-Type", "application/json")];
    let group = rest.ask(("POST", "/api/groups"), &headers, group.to_string().as_bytes()).json();
    let group = group["chat_id"].as_str().expect("a group").to_owned();
    let path = format!("/api/chats/{group}/messages");
    let message = rest.ask(("POST", &path), &headers, json!({ "message": "hello" }).to_string().as_bytes()).json();
    let message = message["message_id"].as_str().expect("a message").to_owned();
    assert_eq!(python("rest_description.py", &[&base, &token, &chat, &group, &message]), "ok\n");
    for name in ["sends", "pages", "asks", "marks"] {
        assert!(server.metric(&format!("http_{name}_total")) > 0, "{name} reached the owners");
    }
    assert_eq!(server.metric("http_expired_total"), 0);
    server.terminate();
}
