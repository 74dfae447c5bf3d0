//! A user who was away gets every message, in order, once, whatever the server went through meanwhile.

use std::time::Duration;

use client::core::{Config, Event};
use client::store::{FileStore, MemoryStore};
use client::{Client, Handling};
use schema::ids::UserId;
use schema::wire::Body;
use shardwire_tests::process::{Native, Options, Server};

const SENDER: u64 = 1;
const ABSENT: u64 = 2;
const EACH: usize = 120;
/// (shards, partitions, whether the server before is killed rather than told to stop).
const STARTS: [(u16, u16, bool); 7] =
    [(1, 1, false), (2, 5, true), (5, 2, false), (2, 1, true), (1, 5, true), (5, 5, false), (1, 2, true)];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connect(server: &Server, user: u64, store: Option<FileStore>) -> Client {
    let config = Config { handling: Handling::Explicit, ..Config::default() };
    let builder = Client::builder().address(server.native().to_string()).config(config).token(server.token(user, 1));
    let builder = match store {
        Some(store) => builder.store(store),
        None => builder.store(MemoryStore::new()),
    };
    builder.connect().await.unwrap()
}

async fn send(server: &Server, first: usize) {
    let client = connect(server, SENDER, None).await;
    let mut handles = Vec::new();
    for number in first..first + EACH {
        handles.push(client.send(UserId::new(ABSENT).unwrap(), format!("message {number}")).await.unwrap());
    }
    for handle in handles {
        tokio::time::timeout(Duration::from_secs(30), handle.ack()).await.expect("an ack in time").unwrap();
    }
    client.close().await.unwrap();
}

/// Takes entries until there were `most` or the sync has ended; says each is handled.
async fn receive(client: &mut Client, got: &mut Vec<String>, most: usize) {
    let mut taken = 0;
    while taken < most {
        let event = tokio::time::timeout(Duration::from_secs(30), client.next()).await.expect("an event in time");
        match event.expect("the client lives") {
            Event::Entry(entry) => {
                assert_eq!(entry.seq() as usize, got.len() + 1, "in order, without holes");
                got.push(String::from_utf8(entry.body().to_vec()).unwrap());
                client.handled(entry.chat(), entry.seq()).await.unwrap();
                taken += 1;
            }
            Event::Synced { .. } => return,
            _ => {}
        }
    }
}

#[test]
fn restarts_with_other_shards_and_partitions_lose_and_double_nothing() {
    let store = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let mut got = Vec::new();
    let mut server = Server::new(Options::default());
    for (start, (shards, partitions, kill)) in STARTS.into_iter().enumerate() {
        server.restart(shards, partitions);
        runtime.block_on(async {
            send(&server, start * EACH).await;
            // Twice the user comes for a moment, and goes in the middle.
            if start == 2 || start == 4 {
                let file = FileStore::open(store.path()).unwrap();
                let mut client = connect(&server, ABSENT, Some(file)).await;
                receive(&mut client, &mut got, EACH + 7).await;
                client.close().await.unwrap();
            }
        });
        if kill { server.kill9() } else { server.terminate() }
    }
    server.restart(2, 2);
    runtime.block_on(async {
        let mut client = connect(&server, ABSENT, Some(FileStore::open(store.path()).unwrap())).await;
        receive(&mut client, &mut got, usize::MAX).await;
        client.close().await.unwrap();
    });
    let expected: Vec<String> = (0..STARTS.len() * EACH).map(|number| format!("message {number}")).collect();
    assert!(got == expected, "got {} of {}", got.len(), expected.len());
    a_new_device_gets_all_of_it(&server);
    server.terminate();
}

/// A device that never was here gets everything too, and once.
fn a_new_device_gets_all_of_it(server: &Server) {
    let mut native = Native::login(server.native(), &server.token(ABSENT, 2)).unwrap();
    let mut last = 0;
    loop {
        let got = native.next(30).unwrap().expect("the sync goes on");
        match got.kind() {
            Body::Entry => {
                last += 1;
                assert_eq!(got.root().body_as_entry().unwrap().seq(), last, "in order, once");
            }
            Body::Synced => break,
            _ => {}
        }
    }
    assert_eq!(last as usize, STARTS.len() * EACH);
}
