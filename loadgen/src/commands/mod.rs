//! The subcommands, one file each: its arguments and what it does with them.
pub mod become_server;
pub mod check;
pub mod html;
pub mod run;
pub mod scenarios;
pub mod schema;
