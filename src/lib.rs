//! Shardwire: the tiers assembled into one binary.
//!
//! [`node`] joins gateway, owners and router on the threads of one process; [`commands`] are what the binary can do; the
//! rest is what they need of the world: configuration, keys, HTTP for operators, the admin socket.

pub mod admin;
pub mod auth;
pub mod backup;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod edge;
mod engine;
pub mod figures;
pub mod http;
pub mod logging;
pub mod node;
pub mod operator;
pub mod outbound;
pub mod reload;
pub mod state;
pub mod status;
pub mod tls;
pub mod traces;
