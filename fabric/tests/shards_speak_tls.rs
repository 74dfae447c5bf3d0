//! Shards behind TLS, on every driver: the same lines, sealed.

mod toy;

use std::io::{Read, Write};
use std::net::TcpStream;

use fabric::core::Protocol;
use fabric::net::tls::{Client, Identity, Server, Trust};
use fabric::shard::{DriverChoice, Shards};
use fabric::time::{Clock as _, SystemClock};
use rustls::{ClientConnection, StreamOwned};
use toy::{DRIVERS, Talk};

/// A server that vouches for itself, and a client that believes it.
fn pair() -> (Server, Client) {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("pem"), folder.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let identity = Identity::load(&certificate, &key, SystemClock.now()).unwrap();
    (Server::new(identity).unwrap(), Client::new(&Trust::File(certificate), Protocol::Native, true).unwrap())
}

fn talk(shards: &Shards, client: &Client) -> Talk<StreamOwned<ClientConnection, TcpStream>> {
    let session = ClientConnection::new(client.config(), Client::name("localhost").unwrap()).unwrap();
    Talk::over(StreamOwned::new(session, TcpStream::connect(shards.addresses()[0].1).unwrap()))
}

fn start(driver: DriverChoice, shards: u16) -> (Shards, Client) {
    let (server, client) = pair();
    (toy::start(driver, shards, None, Some(server)), client)
}

#[test]
fn many_connections_are_echoed() {
    for driver in DRIVERS {
        let (shards, client) = start(driver, 2);
        let mut talks: Vec<Talk<_>> = (0..40).map(|_| talk(&shards, &client)).collect();
        for round in 0..5 {
            for (number, talk) in talks.iter_mut().enumerate() {
                talk.tell(&format!("echo {round} {number}\necho again\n"));
            }
            for (number, talk) in talks.iter_mut().enumerate() {
                assert_eq!(talk.hear(), format!("{round} {number}"));
                assert_eq!(talk.hear(), "again");
            }
        }
        shards.stopper().stop();
        shards.join();
    }
}

#[test]
fn a_paused_connection_is_not_read_until_it_is_resumed() {
    for driver in DRIVERS {
        let (shards, client) = start(driver, 1);
        let (mut paused, mut other) = (talk(&shards, &client), talk(&shards, &client));
        assert_eq!(paused.ask("pause"), "paused");
        paused.tell("echo later\n");
        assert_eq!(other.ask("echo now"), "now");
        assert_eq!(paused.hear(), "later");
        shards.stopper().stop();
        shards.join();
    }
}

#[test]
fn a_closed_connection_gets_all_its_output_and_a_close_notify() {
    for driver in DRIVERS {
        let (shards, client) = start(driver, 1);
        let mut talk = talk(&shards, &client);
        talk.tell("flood 4000\nclose\n");
        let mut all = Vec::new();
        // Without a close notify this is an error.
        talk.0.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 4_000 * 1_024 + 4);
        assert!(all.ends_with(b"bye\n"));
        shards.stopper().stop();
        shards.join();
    }
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody_and_a_changed_key_no_order() {
    for driver in DRIVERS {
        let (shards, client) = start(driver, 1);
        let mut stuck = talk(&shards, &client);
        stuck.tell("flood 40000\n");
        let mut other = talk(&shards, &client);
        for number in 0..100 {
            assert_eq!(other.ask(&format!("echo {number}")), number.to_string());
            if number == 50 {
                // A peer may change its keys at any time; the answer to that is a record of its own.
                other.0.get_mut().conn.refresh_traffic_keys().unwrap();
            }
        }
        // While megabytes wait to be read, a record that asks for an answer.
        stuck.0.get_mut().conn.refresh_traffic_keys().unwrap();
        stuck.tell("echo end\n");
        for _ in 0..40_000 {
            assert_eq!(stuck.hear().len(), 1_023);
        }
        assert_eq!(stuck.hear(), "end");
        shards.stopper().stop();
        shards.join();
    }
}

#[test]
fn bytes_that_are_no_tls_never_reach_the_core() {
    for driver in DRIVERS {
        let (shards, client) = start(driver, 1);
        let mut plain = TcpStream::connect(shards.addresses()[0].1).unwrap();
        plain.write_all(b"panic\n").unwrap();
        let mut said = Vec::new();
        assert_eq!(plain.read_to_end(&mut said).unwrap(), 0);
        assert_eq!(talk(&shards, &client).ask("echo on"), "on");
        let counts = shards.metrics()[0].clone();
        shards.stopper().stop();
        shards.join();
        assert_eq!((counts.tls_plain.get(), counts.tls_handshakes.get()), (1, 1));
    }
}
