//! `shardwire reload`: has a running server read its configuration anew.

use std::fmt::Write as _;

use miette::Result;

use crate::admin;
use crate::cli::ReloadArgs;
use crate::reload::{Changed, Reloaded};

/// Prints on stdout what changed and what waits for a restart.
///
/// # Errors
/// When no server answers, or when it could not take the configuration: then it goes on as it was.
pub fn run(args: &ReloadArgs) -> Result<()> {
    let config = args.server.load()?;
    let reloaded: Reloaded = admin::ask(&config.server.data, "reload")?;
    super::print_answer(&reloaded, args.json, text)
}

fn text(reloaded: &Reloaded) -> String {
    let mut out = String::from("reloaded\n");
    let mut list = |changes: &[Changed], what: &str| {
        for Changed { key, before, after } in changes {
            let _ = writeln!(out, "  {key}: {before} -> {after}{what}");
        }
    };
    list(&reloaded.changed, "");
    list(&reloaded.restart, "  (needs a restart)");
    for read in &reloaded.read {
        let _ = writeln!(out, "  {read}");
    }
    out
}
