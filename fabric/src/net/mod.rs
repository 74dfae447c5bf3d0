//! The network: what is spoken on a socket, and the sockets themselves.

pub mod proxy;
pub mod readiness;
pub mod resolve;
pub mod tcp;
pub mod tls;
pub mod websocket;
