//! TCP relays between nodes, which can hold back what one node says to another.
//!
//! One relay for every pair that may connect, (who dials, who accepts). A way is a direction between two nodes, whoever has
//! dialed: what it holds back comes later or, when a side gives its connection up meanwhile, never, as with lost packets. New
//! connections wait while either way is held.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// Bytes that a slow way lets through at a time.
const CHUNK: usize = 16 << 10;

/// A lossy way loses one in so many of what is read at once, and what comes after it waits until that has been sent again.
const LOST_ONE_IN: u32 = 8;
/// As TCP does: at its shortest timeout, and a way there and back.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// How what one node says to another goes through.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Way {
    /// Nothing goes through.
    pub held: bool,
    /// Every 16 KiB take so long, ms.
    pub slow_ms: u32,
    /// Some of it is lost and sent again, which whatever follows waits for.
    pub lossy: bool,
}

type Pair = (String, String);
type Look = watch::Receiver<Way>;

/// All relays of a cluster; they end when it is dropped.
pub struct Relays {
    addresses: BTreeMap<Pair, SocketAddr>,
    ways: BTreeMap<Pair, watch::Sender<Way>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Relay {
    listener: std::net::TcpListener,
    to: SocketAddr,
    there: Look,
    back: Look,
}

impl Relays {
    /// Between all of these nodes, named with where each takes links; all relays are at `at`.
    ///
    /// # Errors
    /// No port, no thread.
    pub fn start(at: Ipv4Addr, nodes: &[(String, SocketAddr)]) -> std::io::Result<Self> {
        let pairs = || nodes.iter().flat_map(|from| nodes.iter().map(move |to| (from, to))).filter(|(a, b)| a.0 != b.0);
        let ways: BTreeMap<Pair, _> =
            pairs().map(|(from, to)| ((from.0.clone(), to.0.clone()), watch::Sender::new(Way::default()))).collect();
        let (mut addresses, mut relays) = (BTreeMap::new(), Vec::new());
        for (from, to) in pairs() {
            let pair = (from.0.clone(), to.0.clone());
            let listener = std::net::TcpListener::bind((at, 0))?;
            listener.set_nonblocking(true)?;
            addresses.insert(pair.clone(), listener.local_addr()?);
            let back = ways[&(to.0.clone(), from.0.clone())].subscribe();
            relays.push(Relay { listener, to: to.1, there: ways[&pair].subscribe(), back });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("relays".to_owned()).spawn(move || {
            runtime.block_on(async {
                for relay in relays {
                    tokio::spawn(relay.serve());
                }
                // Stopped, or nobody is there any more to say so.
                let _ = stopped.await;
            });
        })?;
        Ok(Self { addresses, ways, stop: Some(stop), thread: Some(thread) })
    }

    /// Where `from` finds `to`.
    ///
    /// # Panics
    /// When one of them is no node.
    pub fn address(&self, from: &str, to: &str) -> SocketAddr {
        self.addresses[&(from.to_owned(), to.to_owned())]
    }

    /// From now on what `from` says to `to` goes through like that.
    ///
    /// # Panics
    /// When one of them is no node.
    pub fn set(&self, from: &str, to: &str, way: Way) {
        self.ways[&(from.to_owned(), to.to_owned())].send_replace(way);
    }

    /// From now on everything goes through.
    pub fn heal(&self) {
        for way in self.ways.values() {
            way.send_replace(Way::default());
        }
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Relay {
    async fn serve(self) {
        let Ok(listener) = TcpListener::from_std(self.listener) else { return };
        loop {
            match listener.accept().await {
                Ok((dialer, _)) => drop(tokio::spawn(relay(dialer, self.to, self.there.clone(), self.back.clone()))),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// One connection, to the end of either side.
async fn relay(dialer: TcpStream, to: SocketAddr, mut there: Look, mut back: Look) {
    open(&mut there).await;
    open(&mut back).await;
    // Nobody there: the dialer's connection ends.
    let Ok(acceptor) = TcpStream::connect(to).await else { return };
    let _ = (dialer.set_nodelay(true), acceptor.set_nodelay(true));
    let (dialer, acceptor) = (dialer.into_split(), acceptor.into_split());
    // The end of one direction is the end of both: links do not half-close.
    tokio::select! {
        () = pump(dialer.0, acceptor.1, there) => {}
        () = pump(acceptor.0, dialer.1, back) => {}
    }
}

/// Waits until something goes through.
async fn open(way: &mut Look) {
    // Its sender lives as long as the relays.
    let _ = way.wait_for(|way| !way.held).await;
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut way: Look) {
    let mut chunk = vec![0; CHUNK];
    let mut reads = 0_u32;
    loop {
        open(&mut way).await;
        let read = from.read(&mut chunk).await;
        let Way { slow_ms, lossy, .. } = *way.borrow();
        if slow_ms > 0 {
            tokio::time::sleep(Duration::from_millis(slow_ms.into())).await;
        }
        reads = reads.wrapping_add(1);
        if lossy && reads.is_multiple_of(LOST_ONE_IN) {
            tokio::time::sleep(SENT_AGAIN_AFTER).await;
        }
        // Held since: an end is not heard through a held way either.
        open(&mut way).await;
        match read {
            Ok(bytes) if bytes > 0 && to.write_all(&chunk[..bytes]).await.is_ok() => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::process::Deadline;

    fn says(stream: &mut TcpStream, within_ms: u64) -> Option<u8> {
        stream.set_read_timeout(Some(Duration::from_millis(within_ms))).unwrap();
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(read) => Some(if read == 1 { byte[0] } else { 0 }),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                None
            }
        }
    }

    #[test]
    fn a_held_way_holds_one_direction_and_gives_back_what_it_held() {
        let there = TcpListener::bind("127.0.0.1:0").unwrap();
        let nodes = [("a".to_owned(), ([127, 0, 0, 1], 9).into()), ("b".to_owned(), there.local_addr().unwrap())];
        let relays = Relays::start(Ipv4Addr::LOCALHOST, &nodes).unwrap();
        let mut dialer = TcpStream::connect(relays.address("a", "b")).unwrap();
        let (mut acceptor, _) = there.accept().unwrap();
        dialer.write_all(&[1]).unwrap();
        assert_eq!(says(&mut acceptor, 10_000), Some(1));
        relays.set("a", "b", Way { held: true, ..Way::default() });
        dialer.write_all(&[2]).unwrap();
        acceptor.write_all(&[3]).unwrap();
        assert_eq!((says(&mut dialer, 10_000), says(&mut acceptor, 300)), (Some(3), None));
        relays.heal();
        assert_eq!(says(&mut acceptor, 10_000), Some(2));
        drop(dialer);
        assert_eq!(says(&mut acceptor, 10_000), Some(0), "the end goes through");
    }

    #[test]
    fn a_lossy_way_loses_nothing_for_good_and_keeps_the_order() {
        let there = TcpListener::bind("127.0.0.1:0").unwrap();
        let nodes = [("a".to_owned(), ([127, 0, 0, 1], 9).into()), ("b".to_owned(), there.local_addr().unwrap())];
        let relays = Relays::start(Ipv4Addr::LOCALHOST, &nodes).unwrap();
        relays.set("a", "b", Way { lossy: true, ..Way::default() });
        let mut dialer = TcpStream::connect(relays.address("a", "b")).unwrap();
        let (mut acceptor, _) = there.accept().unwrap();
        for byte in 1..=20 {
            dialer.write_all(&[byte]).unwrap();
            // One read each: the next one is written when this one has come.
            assert_eq!(says(&mut acceptor, 10_000), Some(byte));
        }
    }

    #[test]
    fn a_connection_made_over_a_held_way_stands_when_it_is_let_through() {
        let there = TcpListener::bind("127.0.0.1:0").unwrap();
        there.set_nonblocking(true).unwrap();
        let nodes = [("a".to_owned(), ([127, 0, 0, 1], 9).into()), ("b".to_owned(), there.local_addr().unwrap())];
        let relays = Relays::start(Ipv4Addr::LOCALHOST, &nodes).unwrap();
        relays.set("b", "a", Way { held: true, ..Way::default() });
        let mut dialer = TcpStream::connect(relays.address("a", "b")).unwrap();
        dialer.write_all(&[1]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(there.accept().is_err(), "nobody has come");
        relays.heal();
        let mut accepted = None;
        Deadline::after_s(10).wait_until(|| {
            accepted = there.accept().ok();
            accepted.is_some()
        });
        let (mut acceptor, _) = accepted.unwrap();
        acceptor.set_nonblocking(false).unwrap();
        assert_eq!(says(&mut acceptor, 10_000), Some(1));
    }
}
