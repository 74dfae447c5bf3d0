//! `shardwire restore`: makes a data folder of a backup.

use fabric::entropy::OsEntropy;
use miette::{IntoDiagnostic as _, Result, WrapErr as _};

use super::backup::shown;
use crate::backup::bucket::{self, Staging};
use crate::backup::files::Progress;
use crate::backup::restore::{self, Restored, restore};
use crate::backup::rfc3339;
use crate::backup::s3::Place;
use crate::cli::RestoreArgs;

/// Restores, and says on stdout what.
///
/// # Errors
/// When nothing was restored; the folder is as it was.
pub fn run(args: &RestoreArgs) -> Result<()> {
    let restored = match args.s3.place(&args.from).into_diagnostic()? {
        Some(place) => from_bucket(&place, args),
        None => restore(&args.from, &args.data, args.until, &mut OsEntropy, &Progress::default()).into_diagnostic(),
    };
    let restored = restored.wrap_err("nothing was restored")?;
    super::print_answer(&restored, args.json, text)
}

/// Brings a backup and restores it.
fn from_bucket(place: &Place, args: &RestoreArgs) -> Result<Restored> {
    restore::check_empty(&args.data).into_diagnostic()?;
    let staging = Staging::new(args.s3.staging.as_deref(), &args.data).into_diagnostic()?;
    let progress = Progress::default();
    let backup =
        shown("brought", &progress, || bucket::bring(place, &staging, args.until, &progress)).into_diagnostic()?;
    let restored = restore(&backup, &args.data, args.until, &mut OsEntropy, &Progress::default()).into_diagnostic()?;
    let name = backup.strip_prefix(staging.folder()).unwrap_or(&backup);
    Ok(Restored { backup: place.show(&name.to_string_lossy()).into(), ..restored })
}

fn text(restored: &Restored) -> String {
    let Restored { backup, data, chats, entries, accounts, until_ms, cut_journals, .. } = restored;
    let until = if *until_ms > 0 { format!(", up to {}", rfc3339(*until_ms)) } else { String::new() };
    let cut = if *cut_journals > 0 { "; what is later was left out" } else { "" };
    format!(
        "restored {} from {}\n  {chats} chats with {entries} entries, {accounts} account logs{until}{cut}\n  start it with: shardwire --data {}\n",
        data.display(),
        backup.display(),
        data.display(),
    )
}
