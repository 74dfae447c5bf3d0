//! Measurements: the floor every CPU figure is compared with (`limit`), criterion benches, the history of results.
//!
//! [`floor`] holds what the floor server does to a frame, kept apart from its sockets so that it can be tested; [`fake`]
//! what stands in for the neighbours of the part that a bench is about. [`owner`], [`session`], [`fanout`] and [`journal`] set
//! those parts up, for criterion (time) and gungraun (instructions) alike.
pub mod fake;
pub mod fanout;
pub mod floor;
pub mod journal;
pub mod owner;
pub mod session;
