//! TLS 1.3 and 1.2 without I/O: who a server is, whom a client trusts, and what one connection does to bytes.
//!
//! A [`Session`] works on a borrowed read buffer, through rustls' unbuffered API, and keeps nothing of it but a record that
//! has not come whole; so an idle connection owns no buffer here. What must stay true: bytes leave in the order in which
//! they were sealed, nothing is sealed after a close notify, and the end of a stream without one is never taken for its end.

mod client;
mod identity;
mod server;
mod session;
#[cfg(test)]
mod tests;

pub use client::{Client, Trust, TrustError};
pub use identity::{Identity, IdentityError};
pub use server::Server;
pub use session::{Heard, Session, Side, TlsError};

use rustls::CipherSuite;
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::CryptoProvider;
use rustls::server::UnbufferedServerConnection;

/// A server's end of a connection.
pub type ServerSession = Session<UnbufferedServerConnection>;
/// A client's end of a connection.
pub type ClientSession = Session<UnbufferedClientConnection>;

/// The application protocol (ALPN) of HTTP and WebSocket.
pub const ALPN_HTTP: &[u8] = b"http/1.1";
/// The application protocol (ALPN) of native connections. Both are offered, never demanded: a client that names none is
/// served, one that names others is not.
pub const ALPN_NATIVE: &[u8] = b"shardwire";

/// aws-lc's, with AES-128 first where the choice is ours: its key schedule runs on SHA-256, which makes a handshake a sixth
/// cheaper than with AES-256 and SHA-384. What a client prefers goes before what a server does.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}
