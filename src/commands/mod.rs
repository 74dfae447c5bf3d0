//! One file a subcommand.

pub mod config;
pub mod serve;
pub mod status;
pub mod token;
