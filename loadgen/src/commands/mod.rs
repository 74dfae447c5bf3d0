//! The subcommands, one file each: its arguments and what it does with them.
pub mod become_server;
pub mod capacity;
pub mod check;
pub mod compare;
pub mod html;
pub mod knee;
pub mod run;
pub mod scenarios;
pub mod schema;
pub mod worker;
