//! `shardwire config`: prints a commented default configuration.

use miette::Result;

/// Prints it on stdout.
///
/// # Errors
/// When stdout is closed.
pub fn run() -> Result<()> {
    super::print(&crate::config::template())
}
