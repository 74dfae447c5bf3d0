//! A device that is synced while others write, and whose connection keeps breaking.

use std::time::Duration;

use client::core::{Config, Event};
use client::store::MemoryStore;
use client::{Client, Handling};
use schema::ids::{ChatId, UserId};
use schema::wire::{Body, MarkStatus};
use shardwire_tests::process::{Deadline, Dice, Native, Options, Proxy, Server};

const SENDERS: [u64; 3] = [1, 2, 3];
const DEVICE_USER: u64 = 9;
const EACH: u64 = 700;

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

/// Writes `EACH` messages to the device's user, a few at a time, each burst after the acks of the one before.
fn write_all(address: std::net::SocketAddr, token: &str, sender: u64) {
    let mut native = Native::login(address, token).unwrap();
    let (mut next, mut acked) = (0, 0);
    while acked < EACH {
        while next < EACH && next < acked + 8 {
            let frame =
                native.message(&format!("{sender}-{next}"), user(DEVICE_USER), format!("{next}").as_bytes(), false);
            native.write(&frame).unwrap();
            next += 1;
        }
        let got = native.next(30).unwrap().expect("an answer in time");
        assert_eq!(got.code(), None);
        acked += u64::from(got.ack().is_some());
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// What a raw device has had of each sender's chat.
struct Device {
    had: [u64; 3],
    sessions: u32,
}

impl Device {
    fn chat(&self, chat: ChatId) -> usize {
        let of = |&&sender: &&u64| ChatId::direct(user(sender), user(DEVICE_USER)) == chat;
        let sender = SENDERS.iter().find(of).expect("only these chats");
        SENDERS.iter().position(|other| other == sender).unwrap()
    }

    fn is_done(&self) -> bool {
        self.had.iter().all(|&had| had == EACH)
    }

    /// One session of at most `frames` entries; acknowledges now and then. Within it each chat goes on by one.
    fn session(&mut self, address: std::net::SocketAddr, token: &str, frames: u64, dice: &mut Dice) {
        let mut native = Native::login(address, token).unwrap();
        self.sessions += 1;
        let mut here: [Option<u64>; 3] = [None; 3];
        for _ in 0..frames {
            if self.is_done() {
                return;
            }
            let got = native.next(30).unwrap().expect("the session goes on");
            let root = got.root();
            if got.kind() != Body::Entry {
                assert_eq!(got.code(), None);
                continue;
            }
            let entry = root.body_as_entry().unwrap();
            let chat_id = ChatId::from(entry.chat_id().unwrap());
            let (chat, seq) = (self.chat(chat_id), entry.seq());
            match here[chat] {
                Some(last) => assert_eq!(seq, last + 1, "within a session each entry comes once, in order"),
                None => assert!(seq <= self.had[chat] + 1, "{seq} came though {} was the last", self.had[chat]),
            }
            here[chat] = Some(seq);
            if seq > self.had[chat] {
                assert_eq!(entry.body().unwrap().bytes(), format!("{}", seq - 1).as_bytes());
                self.had[chat] = seq;
            }
            if dice.below(4) == 0 {
                native.mark(chat_id, seq, MarkStatus::delivered).unwrap();
            }
        }
    }
}

#[test]
fn a_raw_device_that_reconnects_again_and_again_during_live_traffic_gets_everything_once() {
    let mut dice = Dice::seeded();
    let server = Server::start(Options::default());
    let address = server.native();
    let token = server.token(DEVICE_USER, 1);
    let tokens = SENDERS.map(|sender| server.token(sender, 1));
    let mut device = Device { had: [0; 3], sessions: 0 };
    std::thread::scope(|scope| {
        for (sender, token) in SENDERS.into_iter().zip(&tokens) {
            scope.spawn(move || write_all(address, token, sender));
        }
        let deadline = Deadline::after_s(120);
        while !device.is_done() {
            assert!(!deadline.has_passed(), "{:?} after {} sessions\n{}", device.had, device.sessions, server.log());
            let frames = 1 + dice.below(150);
            device.session(address, &token, frames, &mut dice);
        }
    });
    assert!(device.sessions > 10, "its connection was dropped {} times", device.sessions);
}

/// Collects what the client hands over: each chat's seqs, in the order they came.
async fn collect(proxy: &Proxy, token: String) -> Vec<(ChatId, u64)> {
    let config = Config { handling: Handling::OnDelivery, backoff_ms: (5, 50), ..Config::default() };
    let builder = Client::builder().address(proxy.address().to_string()).config(config);
    let builder = builder.store(MemoryStore::new()).token_source(move || token.clone());
    let mut client = builder.connect().await.expect("a first session");
    let (mut got, mut calm) = (Vec::new(), false);
    let all = SENDERS.len() * EACH as usize;
    while got.len() < all {
        let event = tokio::time::timeout(Duration::from_secs(60), client.next()).await;
        let event =
            event.unwrap_or_else(|_| panic!("{} of {all} entries, {} cuts, then nothing", got.len(), proxy.cuts()));
        if let Event::Entry(entry) = event.expect("the client lives") {
            got.push((entry.chat(), entry.seq()));
        }
        if !calm && got.len() > all * 3 / 4 {
            calm = true;
            proxy.stop_breaking();
        }
    }
    // What comes after the last would be a double.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(300), client.next()).await {
        if let Event::Entry(entry) = event {
            got.push((entry.chat(), entry.seq()));
        }
    }
    got
}

#[test]
fn the_client_library_hands_over_each_entry_once_through_a_connection_that_breaks() {
    let server = Server::start(Options::default());
    let proxy = Proxy::start(server.native(), 6_000, Dice::seeded());
    let address = server.native();
    let tokens = SENDERS.map(|sender| server.token(sender, 1));
    let token = server.token(DEVICE_USER, 1);
    let got = std::thread::scope(|scope| {
        for (sender, token) in SENDERS.into_iter().zip(&tokens) {
            scope.spawn(move || write_all(address, token, sender));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(collect(&proxy, token))
    });
    for sender in SENDERS {
        let chat = ChatId::direct(user(sender), user(DEVICE_USER));
        let seqs = got.iter().filter(|entry| entry.0 == chat).map(|entry| entry.1);
        assert!(seqs.eq(1..=EACH), "sender {sender}: in order, once, none missing");
    }
    assert!(proxy.cuts() >= 5, "the connection broke {} times", proxy.cuts());
}
