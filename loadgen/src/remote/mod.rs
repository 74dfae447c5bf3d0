//! One run over several hosts: a leader (`loadgen run --worker HOST:PORT`) and remote workers (`loadgen worker`).
//!
//! The leader reads the scenario, starts or finds the server, signs the users' tokens, says when phases begin and end, and
//! makes the report. A remote worker has threads like the leader's own; they are numbered on from the leader's, so users,
//! messages and paces are split over all of them as over the threads of one process.
//!
//! What must stay true: both sides prove that they know the shared secret before anything else is said, and what they say
//! then is encrypted ([`channel`]); the key that signs tokens never leaves the leader, only the tokens' signatures do; what
//! can be refused is refused before any load; every host's times are told in the leader's clock, with the error of that
//! ([`clock`]); a worker that is lost ends the run without a verdict, never with a pass.
mod channel;
mod clock;
mod leader;
mod message;
mod secret;
mod snapshot;
mod worker;

pub use clock::Offset;
pub use leader::{Fleet, RemoteHost};
pub use secret::Secret;
pub use worker::{Options, serve};

#[cfg(test)]
mod tests;
