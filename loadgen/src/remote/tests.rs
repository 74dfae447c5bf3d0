//! The channel between leader and worker, over sockets of this process.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::channel::{self, Error};
use super::secret::Secret;

const WITHIN: Duration = Duration::from_secs(10);

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes()).unwrap()
}

fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let leader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (leader, listener.accept().unwrap().0)
}

#[test]
fn what_one_side_says_the_other_hears() {
    let (leader, worker) = sockets();
    let worker = std::thread::spawn(move || {
        let (mut sender, mut receiver) = channel::follow(worker, &secret("0123456789abcdef")).unwrap();
        let heard: Vec<u64> = receiver.receive(WITHIN).unwrap();
        sender.send(&heard.iter().sum::<u64>()).unwrap();
    });
    // A newline at the end of a secret's file is no part of it.
    let (mut sender, mut receiver) = channel::lead(leader, &secret("0123456789abcdef\n")).unwrap();
    sender.send(&vec![1u64; 100_000]).unwrap();
    assert_eq!(receiver.receive::<u64>(WITHIN).unwrap(), 100_000);
    worker.join().unwrap();
}

#[test]
fn both_sides_refuse_another_secret() {
    let (leader, worker) = sockets();
    let worker = std::thread::spawn(move || channel::follow(worker, &secret("0123456789abcdef")).err());
    let error = channel::lead(leader, &secret("0123456789abcdeX")).err();
    assert!(matches!(error, Some(Error::Secret)), "{error:?}");
    assert!(matches!(worker.join().unwrap(), Some(Error::Secret)));
    assert!(Secret::new(b"short").err().unwrap().to_string().contains("5 bytes"));
}

#[test]
fn something_else_that_listens_is_told_apart() {
    let (leader, mut other) = sockets();
    other.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    assert!(matches!(channel::lead(leader, &secret("0123456789abcdef")).err(), Some(Error::Greeting)));
}

/// Takes so many bytes on; `turned`: what is changed in the last one.
fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: usize, turned: u8) {
    let mut part = vec![0; bytes];
    from.read_exact(&mut part).unwrap();
    part[bytes - 1] ^= turned;
    to.write_all(&part).unwrap();
}

#[test]
fn a_frame_that_was_changed_on_its_way_is_refused() {
    let (leader, mut between) = sockets();
    let (mut on, worker) = sockets();
    let worker = std::thread::spawn(move || {
        let (_sender, mut receiver) = channel::follow(worker, &secret("0123456789abcdef")).unwrap();
        (receiver.receive::<String>(WITHIN).unwrap(), receiver.receive::<String>(WITHIN).err())
    });
    let middle = std::thread::spawn(move || {
        // The handshake as it is: greeting and nonce, nonce and proof, answer.
        pass(&mut on, &mut between, 52, 0);
        pass(&mut between, &mut on, 64, 0);
        pass(&mut on, &mut between, 33, 0);
        // Then one frame as it is and one with a bit turned.
        pass(&mut between, &mut on, 24, 0);
        pass(&mut between, &mut on, 24, 1);
    });
    let (mut sender, _receiver) = channel::lead(leader, &secret("0123456789abcdef")).unwrap();
    sender.send(&"ab").unwrap();
    sender.send(&"cd").unwrap();
    middle.join().unwrap();
    let (heard, refused) = worker.join().unwrap();
    assert_eq!(heard, "ab");
    assert!(matches!(refused, Some(Error::Frame)), "{refused:?}");
}
