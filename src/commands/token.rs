//! `shardwire token`: prints a JWT for one device, and nothing else. Works while the server runs, and before it ever ran.

use fabric::time::{Clock as _, SystemClock};
use miette::{IntoDiagnostic, Result};

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
    super::print(&format!("{}\n", token.into_diagnostic()?))
}
