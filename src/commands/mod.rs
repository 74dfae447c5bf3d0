//! One file a subcommand.

pub mod chat;
pub mod config;
pub mod doctor;
pub mod manual;
pub mod reload;
pub mod revoke;
pub mod serve;
pub mod status;
pub mod token;
