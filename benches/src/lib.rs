//! Measurements: the floor every CPU figure is compared with (`limit`), criterion benches, the history of results.
//!
//! [`floor`] holds what the floor server does to a frame, kept apart from its sockets so that it can be tested; [`fake`]
//! what stands in for the neighbours of the part that a bench is about.
pub mod fake;
pub mod floor;
pub mod owner;
