//! The rules of a host: what many connections need of it, how bad it is where it is missing, why, and what mends it.
//!
//! [`read`] takes a snapshot of a host ([`host::Host`]); [`need`] says what is asked of it; [`rules`] compares the two and
//! [`verdict`] collects what came out, for people ([`text`]) or programs (JSON). `shardwire doctor` and the load generator
//! speak through it, so that they say the same thing in the same words. What must stay true: a rule reads nothing but the
//! snapshot, so that it can be tested on hosts there are not; every rule says what its effect is and where that is known
//! from; the files kept beside this crate say what the rules say.

pub mod generator;
pub mod host;
mod measured;
pub mod need;
pub mod read;
pub mod rule;
pub mod rules;
pub mod text;
pub mod verdict;
