//! `limit`: a bare io_uring echo-and-forward server, the floor that every CPU figure is compared with.
//!
//! One thread, one ring: multishot accept and recv, provided buffers, direct descriptors, one send in flight a connection.
//! It speaks just enough of the native protocol for the load generator to drive it as it drives `shardwire`: Hello →
//! Welcome and Synced, Send → an Entry to the receiver's connection (a group's: to every member's) and a SendAck to the
//! sender, Ping → Pong; marks are read and forgotten. It stores nothing, orders nothing but a counter a chat, checks nothing
//! but lengths and believes any token and any list of members. Fields are read by bounds-checked offsets (no verifier),
//! answers are patched templates (no builder): the work that no server can leave out.
//!
//! `limit [--native ADDR]`; the other options of `shardwire serve` are accepted and ignored, so that it can stand in for
//! it (`loadgen run … --server target/release/limit`).
mod ring;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};

fn main() {
    match serve() {
        Ok(()) => {}
        Err(error) => {
            eprintln!("limit: {error}");
            std::process::exit(2);
        }
    }
}

fn serve() -> std::io::Result<()> {
    let mut native = String::from("127.0.0.1:7400");
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--native" {
            native = args.next().unwrap_or(native);
        } else if let Some(addr) = arg.strip_prefix("--native=") {
            native = addr.to_owned();
        }
    }
    let addr: SocketAddr = native.parse().map_err(|_| {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, format!("--native {native}: expected ADDRESS:PORT"))
    })?;
    let listener = TcpListener::bind(addr)?;
    exit_on_sigterm();
    let mut server = ring::Server::new(&listener)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready native={}", listener.local_addr()?)?;
    stdout.flush()?;
    server.run()
}

fn exit_on_sigterm() {
    extern "C" fn leave(_: libc::c_int) {
        // SAFETY: `_exit` is async-signal-safe and touches nothing of this process's state.
        unsafe { libc::_exit(0) }
    }
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: `leave` has the handler's signature and only calls an async-signal-safe function.
        unsafe { libc::signal(signal, leave as *const () as libc::sighandler_t) };
    }
}
