//! The contract: what Shardwire's tiers and its clients say to each other.
//!
//! Frames of the client protocol ([`frame`], [`encode`], kept in an [`arena`]), the envelope between tiers ([`envelope`]), the error table
//! ([`errors`]), ids and their order ([`ids`], [`timeuuid`]), limits ([`limits`]), the tables of
//! the Scylla and Cassandra store ([`cql`]). Nothing here does I/O, reads a clock or
//! knows a tier. What must stay true: fields are only ever appended, a frame is verified once, and a
//! [`frame::VerifiedFrame`] can only be made by verification.
extern crate alloc;

pub mod arena;
pub mod cql;
pub mod dedupe;
pub mod encode;
pub mod envelope;
pub mod errors;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod places;
pub mod timeuuid;

#[allow(clippy::all, missing_docs, unsafe_code, unused_qualifications, mismatched_lifetime_syntaxes, rustdoc::all)]
mod generated {
    #[rustfmt::skip]
    pub mod client_generated;
    #[rustfmt::skip]
    pub mod envelope_generated;
    pub mod errors;
}

/// The generated accessors of the client protocol (`fbs/client.fbs`).
pub use generated::client_generated::shardwire::client as wire;
