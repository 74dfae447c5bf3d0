//! The Rust client: connect, authenticate, send with retry under the same client_msg_id, receive in order exactly once,
//! resume.
//!
//! [`core::Core`] holds every rule without doing I/O. [`store`] keeps what a crash must not lose. [`driver`] puts
//! both on tokio. [`conversation`] folds a chat's entries into its messages as they are now.
pub mod conversation;
pub mod core;
pub mod driver;
pub mod store;

pub use crate::core::{Config, Core, Counters, Cx, Entry, Event, Handling, Input, NewSend, Output};
pub use crate::driver::{Client, ClientError};
