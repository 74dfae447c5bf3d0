//! REST over real sockets: messages in, pages out, the same ids and entries as sessions see, over restarts too.

use schema::ids::{ChatId, UserId};
use schema::wire::Body;
use serde_json::{Value, json};
use shardwire_tests::process::{Answer, Native, Options, Server};

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

/// A server and one user's token.
pub struct Rest<'a> {
    pub server: &'a Server,
    pub token: String,
}

impl Rest<'_> {
    pub fn of(server: &Server, user: u64) -> Rest<'_> {
        Rest { server, token: server.token(user, 1) }
    }

    pub fn ask(&self, what: (&str, &str), headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let all: Vec<_> = [("Authorization", bearer.as_str())].iter().chain(headers).copied().collect();
        Answer::request(self.server.http(), what, &all, body).expect("an answer")
    }

    pub fn send(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let all: Vec<_> = [("Content-Type", "application/json")].iter().chain(headers).copied().collect();
        self.ask(("POST", "/api/v1/messages"), &all, body.to_string().as_bytes())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(("GET", path), &[], b"")
    }
}

fn contents(page: &Value) -> Vec<String> {
    let messages = page["messages"].as_array().expect("messages");
    messages.iter().map(|message| message["content"].as_str().expect("text").to_owned()).collect()
}

fn seqs(page: &Value) -> Vec<u64> {
    page["messages"].as_array().expect("messages").iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

#[test]
fn a_message_by_rest_is_stored_delivered_and_read_back() {
    let mut server = Server::start(Options::default());
    let mut nine = Native::login(server.native(), &server.token(9, 1)).expect("lets user 9 in");
    let chat = ChatId::direct(user(7), user(9));
    let (first, again) = {
        let seven = Rest::of(&server, 7);
        let body = json!({ "senderId": "7", "receiverId": "9", "message": "hello 🦀", "client_msg_id": "a1" });
        let first = seven.send(&body, &[]);
        assert_eq!(first.status, 200, "{first:?}");
        (first.json(), seven.send(&body, &[]).json())
    };
    assert_eq!(first, again, "the same client_msg_id gets the same answer");
    assert_eq!((&first["status"], &first["seq"]), (&json!("sent"), &json!(1)));
    assert_eq!(first["chat_id"], json!(chat.to_string()));
    let pushed = loop {
        let got = nine.next(10).expect("a frame").expect("a frame in time");
        if got.kind() == Body::Entry {
            break got;
        }
    };
    let entry = pushed.root().body_as_entry().unwrap();
    assert_eq!(entry.body().unwrap().bytes(), "hello 🦀".as_bytes());
    let (_, seq) = nine.send("b1", user(7), b"and back").expect("acknowledged");
    assert_eq!(seq, 2);

    server.terminate();
    server.start_again();
    let (seven, nine) = (Rest::of(&server, 7), Rest::of(&server, 9));
    let by_key = |key: &str| {
        let body = json!({ "senderId": "9", "receiverId": "7", "message": "third" });
        nine.send(&body, &[("Idempotency-Key", key)]).json()
    };
    let (third, repeated) = (by_key("\"k-1\""), by_key("k-1"));
    assert_eq!(third, repeated, "quotes are not part of the key");
    assert_eq!((&third["seq"], &third["client_msg_id"]), (&json!(3), &json!("k-1")));
    let page = seven.get("/api/v1/messages?user1=9&user2=7").json();
    assert_eq!(contents(&page), ["hello 🦀", "and back", "third"]);
    assert_eq!((&page["has_more"], &page["head_seq"]), (&json!(false), &json!(3)));
    assert_eq!(page["covered"], json!({ "first_seq": 1, "last_seq": 3 }));
    let message = &page["messages"][0];
    assert_eq!((&message["message_id"], &message["sender_id"]), (&first["message_id"], &json!("7")));
    assert_eq!(message["timestamp"], first["timestamp"]);
    server.terminate();
}

#[test]
fn pages_reach_every_message_from_both_ends() {
    let server =
        Server::start(Options { config: "[http]\nsends_per_second_per_user = 0\n".to_owned(), ..Options::default() });
    let seven = Rest::of(&server, 7);
    let mut session = Native::login(server.native(), &server.token(7, 2)).expect("lets user 7 in");
    for n in 1..=23 {
        session.send(&format!("m{n}"), user(9), format!("text {n}").as_bytes()).expect("acknowledged");
    }
    let chat = ChatId::direct(user(7), user(9));
    let page = |query: &str| seven.get(&format!("/api/chats/{chat}/messages?{query}")).json();
    let (mut before, mut down) = (String::new(), Vec::new());
    loop {
        let page = page(&format!("limit=5{before}"));
        let mut got = seqs(&page);
        got.extend(down);
        down = got;
        if page["has_more"] == json!(false) {
            break;
        }
        before = format!("&before={}", page["covered"]["first_seq"]);
    }
    assert_eq!(down, (1..=23).collect::<Vec<_>>());
    let (mut after, mut up) = (0, Vec::new());
    loop {
        let page = page(&format!("limit=5&after={after}"));
        up.extend(seqs(&page));
        after = page["covered"]["last_seq"].as_u64().unwrap();
        if page["has_more"] == json!(false) {
            break;
        }
    }
    assert_eq!(up, down);
    assert_eq!(seqs(&page("before=1")), Vec::<u64>::new());
    assert_eq!(seqs(&page("after=3&before=6")), [4, 5]);
    assert_eq!(seqs(&page("before=9007199254740991&limit=1")), [23]);
    assert_eq!(seqs(&page("after=9007199254740991")), Vec::<u64>::new());
    let empty = seven.get("/api/v1/messages?user1=7&user2=8").json();
    assert_eq!((&empty["messages"], &empty["head_seq"]), (&json!([]), &json!(0)));
    let stranger = Rest::of(&server, 8).get(&format!("/api/chats/{chat}/messages"));
    assert_eq!((stranger.status, &stranger.json()["code"]), (404, &json!("unknown_chat")));
}

#[test]
fn many_requests_on_one_connection_and_many_connections_are_answered() {
    let server =
        Server::start(Options { config: "[http]\nsends_per_second_per_user = 0\n".to_owned(), ..Options::default() });
    let address = server.http();
    let threads: Vec<_> = (1..=8u64)
        .map(|from| {
            let token = server.token(from, 1);
            std::thread::spawn(move || {
                let bearer = format!("Bearer {token}");
                let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
                for n in 0..20 {
                    let message = format!("{from} says {n}");
                    let body = json!({ "senderId": from.to_string(), "receiverId": "100", "message": message });
                    let what = ("POST", "/api/v1/messages");
                    let answer =
                        Answer::request(address, what, &headers, body.to_string().as_bytes()).expect("an answer");
                    assert_eq!((answer.status, answer.json()["seq"].as_u64()), (200, Some(n + 1)), "{answer:?}");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("every answer is right"));
    assert_eq!(server.metric("http_sends_total"), 160);
    assert_eq!(server.metric("http_in_flight"), 0);
}
