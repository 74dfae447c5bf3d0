//! SIGTERM under load and a restart on the same ports: every client is told when to come back, does, and misses nothing.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::core::{Cause, Config, Event};
use client::store::MemoryStore;
use client::{Client, Handling};
use fabric::net::websocket::{Decoder, Message, Role};
use schema::errors::ErrorCode;
use schema::ids::UserId;
use shardwire_tests::process::{Answer, Deadline, Native, Options, Server, Signal};

const CLIENTS: u64 = 24;
const SPREAD_MS: u32 = 600;

fn options() -> Options {
    let config = format!(
        "[limits]\nsends_per_second_per_user = 0\ndrain_spread_ms = {SPREAD_MS}\n[storage]\njournal_segment_bytes = 4194304\n"
    );
    Options { config, same_ports: true, ..Options::default() }
}

/// What a test and its clients tell each other.
#[derive(Default)]
struct Shared {
    acked: AtomicU64,
    /// Sessions that stand.
    sessions: AtomicU64,
    /// Send no more.
    enough: AtomicBool,
}

/// What one client lived through.
#[derive(Default)]
struct Life {
    /// (code, wait asked for, wait taken), ms, of each goodbye.
    told: Vec<(u16, u32, u32)>,
    /// Disconnects without a word, once the server was there.
    untold: Vec<Cause>,
    /// client_msg_ids sent, and how often each was answered.
    sent: BTreeMap<Vec<u8>, u32>,
    /// Bodies that came, in order.
    got: Vec<String>,
}

/// Sends to `peer` as fast as answers come, 8 at a time, until told that it is enough and all is answered and delivered.
async fn live(address: String, token: String, peer: UserId, shared: &Shared) -> Life {
    let config = Config { handling: Handling::OnDelivery, backoff_ms: (20, 200), ..Config::default() };
    let builder = Client::builder().address(address).config(config).store(MemoryStore::new());
    let mut client = builder.token_source(move || token.clone()).connect().await.expect("a first session");
    shared.sessions.fetch_add(1, Ordering::SeqCst);
    let (mut life, mut waiting, mut connected) = (Life::default(), 0, true);
    let mut quiet = 0;
    while quiet < 15 {
        while waiting < 8 && !shared.enough.load(Ordering::SeqCst) {
            let number = life.sent.len();
            let handle = client.send(peer, format!("{number}")).await.expect("the outbox has room");
            life.sent.insert(handle.client_msg_id().to_vec(), 0);
            waiting += 1;
        }
        let Ok(event) = tokio::time::timeout(Duration::from_millis(100), client.next()).await else {
            quiet = if shared.enough.load(Ordering::SeqCst) && waiting == 0 && connected { quiet + 1 } else { 0 };
            continue;
        };
        quiet = 0;
        match event.expect("the client lives") {
            Event::Sent { client_msg_id, .. } => {
                *life.sent.get_mut(&client_msg_id[..]).expect("an answer to what was sent") += 1;
                waiting -= 1;
                shared.acked.fetch_add(1, Ordering::Relaxed);
            }
            Event::Entry(entry) => life.got.push(String::from_utf8_lossy(entry.body()).into_owned()),
            Event::Welcome(_) => {
                connected = true;
                shared.sessions.fetch_add(1, Ordering::SeqCst);
            }
            Event::Disconnected { cause, retry_in_ms } => {
                match cause {
                    Cause::Server(why) => life.told.push((why.code, why.retry_after_ms, retry_in_ms)),
                    cause if connected => life.untold.push(cause),
                    _ => {}
                }
                connected = false;
            }
            Event::Failed { failure, .. } => panic!("a send failed: {failure}"),
            Event::Ended(end) => panic!("a client ended: {end}"),
            _ => {}
        }
    }
    life
}

/// Lets all of them live, 1 with 2, 3 with 4 …, on this thread.
fn run(address: &str, tokens: Vec<String>, shared: &Shared) -> Vec<Life> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut lives: Vec<_> = tokens
            .into_iter()
            .zip(1..)
            .map(|(token, user)| {
                let peer = UserId::new(if user % 2 == 0 { user - 1 } else { user + 1 }).unwrap();
                Box::pin(live(address.to_owned(), token, peer, shared))
            })
            .collect();
        let mut done = Vec::new();
        std::future::poll_fn(|context| {
            lives.retain_mut(|life| match life.as_mut().poll(context) {
                std::task::Poll::Ready(life) => {
                    done.push(life);
                    false
                }
                std::task::Poll::Pending => true,
            });
            if lives.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        done
    })
}

#[test]
fn every_client_under_load_is_told_comes_back_and_misses_nothing() {
    let mut server = Server::start(options());
    let shared = &Shared::default();
    let acked = |count| move || shared.acked.load(Ordering::Relaxed) >= count;
    let address = server.native().to_string();
    let tokens: Vec<String> = (1..=CLIENTS).map(|user| server.token(user, 1)).collect();
    let lives = std::thread::scope(|scope| {
        let clients = scope.spawn(|| run(&address, tokens, shared));
        assert!(Deadline::after_s(60).wait_until(acked(2_000)), "load\n{}", server.log());
        server.terminate();
        server.start_again();
        let back = || shared.sessions.load(Ordering::SeqCst) >= 2 * CLIENTS;
        assert!(Deadline::after_s(60).wait_until(back), "all are back\n{}", server.log());
        let now = shared.acked.load(Ordering::Relaxed);
        assert!(Deadline::after_s(60).wait_until(acked(now + 2_000)), "and at work\n{}", server.log());
        shared.enough.store(true, Ordering::SeqCst);
        clients.join().expect("no client panics")
    });
    assert_eq!(lives.len() as u64, CLIENTS);
    for life in &lives {
        let [(code, asked_ms, taken_ms)] = life.told[..] else { panic!("told once: {:?}", life.told) };
        assert_eq!(ErrorCode::from_code(code), Some(ErrorCode::GoingAway));
        assert!((1_000..=1_000 + SPREAD_MS).contains(&asked_ms) && taken_ms >= asked_ms, "{asked_ms} {taken_ms}");
        assert!(life.untold.is_empty(), "{:?}", life.untold);
        assert!(life.sent.values().all(|&answers| answers == 1), "each send has one outcome");
    }
    let waits: std::collections::BTreeSet<u32> = lives.iter().map(|life| life.told[0].1).collect();
    assert!(waits.len() > 5, "the waits are spread: {waits:?}");
    // Who got how many of whose: each chat's bodies count up from 0 without a hole.
    let sent: usize = lives.iter().map(|life| life.sent.len()).sum();
    let got: usize = lives.iter().map(|life| life.got.len()).sum();
    assert_eq!(sent, got, "every message came once");
    for life in &lives {
        assert!(life.got.iter().enumerate().all(|(number, body)| *body == number.to_string()), "in order");
    }
}

/// Opens a WebSocket by hand.
fn websocket(server: &Server, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.ws()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = format!(
        "GET /ws?token={token} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.ws()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Texts and the close code of a WebSocket that the server ended.
fn last_words(bytes: &[u8]) -> (Vec<String>, Option<u16>) {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer to the upgrade") + 4;
    let (mut rest, mut texts, mut scratch) = (&bytes[head..], Vec::new(), Vec::new());
    let mut decoder = Decoder::new(Role::Client, 1 << 20);
    loop {
        let decoded = decoder.decode(rest, &mut scratch).expect("frames");
        match decoded.message {
            Some(Message::Text(text)) => texts.push(text.to_owned()),
            Some(Message::Close { code, .. }) => return (texts, code),
            Some(other) => panic!("{other:?}"),
            None => return (texts, None),
        }
        rest = &rest[decoded.taken..];
    }
}

#[test]
fn listeners_close_first_health_says_so_and_every_protocol_hears_it_in_its_words() {
    let mut server = Server::start(options());
    let (native, http) = (server.native(), server.http());
    let mut websocket = websocket(&server, &server.token(1, 1));
    let mut hello = [0; 12];
    websocket.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"HTTP/1.1 101");
    // Two that do not close their side hold the stop up for as long as they may: two seconds.
    let mut deaf = Native::login(native, &server.token(2, 1)).unwrap();
    let mut half = TcpStream::connect(server.ws()).unwrap();
    half.write_all(b"GET /ws HTTP/1.1\r\n").unwrap();
    half.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let counted = || server.metric("gateway_connections") == 3;
    assert!(Deadline::after_s(10).wait_until(counted), "all three are there\n{}", server.log());

    server.signal(Signal::TERM);
    let closed = || TcpStream::connect(native).is_err();
    assert!(Deadline::after_s(10).wait_until(closed), "nobody new\n{}", server.log());
    let readiness = Answer::get(http, "/readyz").expect("HTTP answers to the last");
    assert_eq!((readiness.status, readiness.body.as_str()), (503, "stopping\n"));

    let mut bytes = Vec::from(hello);
    websocket.read_to_end(&mut bytes).unwrap();
    let (texts, close) = last_words(&bytes);
    let last = texts.last().expect("an error event");
    assert!(last.contains(r#""code":"going_away""#) && last.contains(r#""retry_after_ms":1"#), "{last}");
    assert_eq!(close, Some(1001));
    let mut answer = String::new();
    half.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: "), "{answer}");
    let mut last = None;
    while let Some(got) = deaf.next(30).unwrap() {
        last = Some(got);
    }
    let last = last.expect("frames before the end");
    let root = last.root();
    let goodbye = root.body_as_goodbye().expect("a goodbye comes last");
    assert_eq!((goodbye.code(), goodbye.close_code()), (ErrorCode::GoingAway as u16, 1001));
    server.wait_for_the_end();
    server.start_again();
    assert_eq!(server.native(), native, "the same port, at once");
}

/// What HTTP said to a message.
struct Posted {
    status: u16,
    /// Message id and seq, when it was taken.
    place: Option<(String, u64)>,
    head: String,
}

/// Sends a message by HTTP.
fn post(http: std::net::SocketAddr, token: &str, id: &str) -> std::io::Result<Posted> {
    let body = format!(r#"{{"senderId":"1","receiverId":"2","message":"{id}","client_msg_id":"{id}"}}"#);
    let request = format!(
        "POST /api/v1/messages HTTP/1.1\r\nHost: {http}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = Answer::ask(http, request.as_bytes())?;
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let place = json["message_id"].as_str().map(|id| (id.to_owned(), json["seq"].as_u64().expect("a seq")));
    Ok(Posted { status: answer.status, place, head: answer.head })
}

#[test]
fn http_is_answered_or_told_to_come_back_and_a_repeat_stores_nothing_twice() {
    let mut server =
        Server::start(Options { config: options().config + "[http]\nsends_per_second_per_user = 0\n", ..options() });
    let (http, token) = (server.http(), server.token(1, 1));
    let (posted, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let first = std::thread::scope(|scope| {
        let poster = scope.spawn(|| {
            let mut first = Vec::new();
            while !over.load(Ordering::SeqCst) {
                first.push(post(http, &token, &format!("r{}", first.len())));
                posted.fetch_add(1, Ordering::SeqCst);
            }
            first
        });
        let busy = || posted.load(Ordering::SeqCst) >= 100;
        assert!(Deadline::after_s(60).wait_until(busy), "HTTP takes messages\n{}", server.log());
        server.terminate();
        over.store(true, Ordering::SeqCst);
        poster.join().expect("no panic")
    });
    server.start_again();
    let mut seqs = Vec::new();
    for (number, before) in first.iter().enumerate() {
        let again = post(http, &token, &format!("r{number}")).expect("an answer");
        let again = again.place.unwrap_or_else(|| panic!("taken now: {}", again.status));
        match before {
            Ok(Posted { status: 200, place, .. }) => assert_eq!(place.as_ref(), Some(&again), "the same answer"),
            Ok(Posted { status, head, .. }) => {
                assert!(*status == 503 && head.to_lowercase().contains("retry-after: "), "{status} {head}");
            }
            // Nobody listened any more, or the process ended before it had read the request.
            Err(_) => {}
        }
        seqs.push(again.1);
    }
    seqs.sort_unstable();
    assert!(seqs.iter().copied().eq(1..=first.len() as u64), "each once, without a hole: {seqs:?}");
}
