//! What a run looks at besides its own connections: this host's CPU and kernel memory, the server's metrics.
//!
//! What cannot be read is said to be unknown, with the reason; nothing here is guessed. None of it is on a worker's thread.
pub mod exposition;
pub mod host;
pub mod http;
pub mod kernel;
pub mod stages;
