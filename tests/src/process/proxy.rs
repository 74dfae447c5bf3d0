//! A relay that breaks connections: each is cut after a random number of bytes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fabric::mutex::lock;

use super::Dice;

/// The relay. Its threads end when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    to: Mutex<SocketAddr>,
    stopped: AtomicBool,
    breaking: AtomicBool,
    cuts: AtomicU64,
}

impl Proxy {
    /// Relays to `to`; cuts each connection after fewer than `bytes` bytes towards the client.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(to: SocketAddr, bytes: u64, mut dice: Dice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        listener.set_nonblocking(true).expect("a listener can be polled");
        let state = Arc::new(State {
            to: Mutex::new(to),
            stopped: AtomicBool::new(false),
            breaking: AtomicBool::new(true),
            cuts: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            while !shared.stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => relay(client, &shared, dice.below(bytes)),
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Self { address, state }
    }

    /// Where clients connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections go there: the server has moved.
    pub fn lead_to(&self, to: SocketAddr) {
        *lock(&self.state.to) = to;
    }

    /// From now on connections are left alone.
    pub fn stop_breaking(&self) {
        self.state.breaking.store(false, Ordering::Relaxed);
    }

    /// Connections cut so far.
    pub fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
    }
}

fn relay(client: TcpStream, state: &Arc<State>, cut_after: u64) {
    let to = *lock(&state.to);
    let Ok(server) = TcpStream::connect(to) else { return };
    let _ = client.set_nonblocking(false);
    let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
    let (up, down) = (Arc::clone(state), Arc::clone(state));
    std::thread::spawn(move || pump(client_too, server_too, &up, u64::MAX));
    std::thread::spawn(move || pump(server, client, &down, cut_after));
}

fn pump(mut from: TcpStream, mut to: TcpStream, state: &State, cut_after: u64) {
    let _ = from.set_read_timeout(Some(Duration::from_millis(200)));
    let (mut passed, mut chunk) = (0, [0; 1 << 10]);
    while !state.stopped.load(Ordering::Relaxed) {
        let n = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        passed += n as u64;
        if passed > cut_after && state.breaking.load(Ordering::Relaxed) {
            state.cuts.fetch_add(1, Ordering::Relaxed);
            break;
        }
        if to.write_all(&chunk[..n]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
