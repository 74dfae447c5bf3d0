//! The network: what is spoken on a socket, and the sockets themselves.

pub mod tcp;
pub mod websocket;
