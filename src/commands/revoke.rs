//! `shardwire revoke`: has a running server refuse a user's or a device's tokens and end their sessions.

use gateway::auth::revoked::Revocation;
use miette::Result;

use crate::admin;
use crate::cli::RevokeArgs;

/// Revokes, and says on stdout what is refused from now on.
///
/// # Errors
/// When no server answers, or when it could not write the revocation down: then nothing is revoked.
pub fn run(args: &RevokeArgs) -> Result<()> {
    let config = args.server.load()?;
    let request = match args.device {
        Some(device) => format!("revoke {} {}", args.user, device.0),
        None => format!("revoke {}", args.user),
    };
    let Revocation { user, device, at_s } = admin::ask(&config.server.data, &request)?;
    let whose = device.map_or("every device".to_owned(), |device| format!("device {device}"));
    super::print(&format!(
        "revoked: tokens of user {user}, {whose}, issued until now ({at_s} s since 1970) are refused; its sessions end\n"
    ))
}
