//! A real server as a child process, or several as a [`cluster`], real Cassandra and Redis nodes, and what a test needs to talk to
//! them: the command line, HTTP, a raw native client, Python programs, journal files.
//!
//! Everything waits with a bound and panics with what the server wrote on stderr; no process outlives its [`Server`].

pub mod cassandra;
mod chatter;
pub mod cluster;
pub mod engines;
mod http;
pub mod journal;
mod native;
mod programs;
mod proxy;
mod redis;
mod s3;
mod server;
mod tls;
mod wait;

pub use cassandra::CassandraCluster;
pub use chatter::{Chatter, Manner};
pub use http::Answer;
pub use native::{Got, Native, Wire};
pub use programs::{binary, chromium, example, node, output, python, python_with, run_node, unwrapped};
pub use proxy::Proxy;
pub use redis::Redis;
pub use s3::S3;
pub use server::{Options, Server, Signal};
pub use tls::{Authority, Tls};
pub use wait::{Deadline, Dice};
