//! `shardwire token`: prints a JWT for one device, and nothing else. Works while the server runs, and before it ever ran.

use std::io::Write as _;

use fabric::time::{Clock as _, SystemClock};
use miette::{IntoDiagnostic, Result, WrapErr};

use crate::auth;
use crate::cli::TokenArgs;

/// Prints the token on stdout.
///
/// # Errors
/// When the configuration or its key cannot be used.
pub fn run(args: &TokenArgs) -> Result<()> {
    let config = args.server.load()?;
    let minter = auth::minter(&config)?.for_admins(args.admin);
    let token = minter.mint(args.user, args.device, SystemClock.now().wall_ms(), args.ttl);
    print(&format!("{}\n", token.into_diagnostic()?))
}

/// Writes to stdout; a reader that went away is an error, not a panic.
pub(super) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).into_diagnostic().wrap_err("cannot write to stdout")
}
