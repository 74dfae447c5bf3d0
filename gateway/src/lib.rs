//! Sockets and sessions: frames in, verified, admitted, dispatched; entries out.
//!
//! [`Shard`] is one thread's connections and sessions, sans-IO: bytes and envelopes in, bytes and envelopes out. Nothing
//! here is durable and nothing here waits; what a session misses is read again from the chat's owner.

pub mod auth;
pub mod change;
pub mod config;
mod conn;
mod deliver;
mod drain;
pub mod http;
pub mod json;
pub mod metrics;
pub mod rates;
mod session;
pub mod shard;
pub mod strangers;
mod ways;
pub mod websocket;
pub mod wire;

pub use change::{Change, Settings};
pub use config::{Epochs, Limits, ShardConfig, Traces};
pub use drain::Next;
pub use metrics::GatewayMetrics;
pub use rates::{UserRate, UserRates};
pub use shard::Shard;
pub use strangers::Strangers;
