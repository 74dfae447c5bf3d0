//! One file a subcommand.

pub mod config;
pub mod doctor;
pub mod reload;
pub mod revoke;
pub mod serve;
pub mod status;
pub mod token;
