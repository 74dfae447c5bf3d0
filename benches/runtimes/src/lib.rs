//! The raw limit's echo-and-forward on the runtimes there are, and the journal's writers, side by side.
//!
//! What a frame causes is [`floor`], the same files as the raw limit's (`benches/src/floor`); what differs is only the skin:
//! who waits, reads and writes. Each skin does what its runtime is good at: readiness and one shared buffer where it has
//! readiness, its pool of buffers where it has one. One thread each. `cargo xtask bench-runtimes` runs all of them.

// Shared with the raw limit.
#[path = "../../src/floor/mod.rs"]
pub mod floor;

pub mod echo;
pub mod journal;
