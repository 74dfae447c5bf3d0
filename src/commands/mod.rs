//! One file a subcommand.

pub mod backup;
pub mod chat;
pub mod chats;
pub mod config;
pub mod dead_letters;
pub mod doctor;
pub mod manual;
pub mod migrate;
pub mod partitions;
pub mod reload;
pub mod restore;
pub mod revoke;
pub mod serve;
pub mod status;
pub mod token;

use std::io::Write as _;

use miette::{IntoDiagnostic, Result, WrapErr};
use serde::Serialize;

/// Writes to stdout; a reader that went away is an error, not a panic.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).into_diagnostic().wrap_err("cannot write to stdout")
}

/// Writes what a server answered to stdout: as JSON, or as `text` makes it.
fn print_answer<T: Serialize>(answer: &T, json: bool, text: fn(&T) -> String) -> Result<()> {
    if json {
        return print(&format!("{}\n", serde_json::to_string_pretty(answer).into_diagnostic()?));
    }
    print(&text(answer))
}
