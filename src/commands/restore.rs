//! `shardwire restore`: makes a data folder of a backup.

use fabric::entropy::OsEntropy;
use miette::{IntoDiagnostic as _, Result, WrapErr as _};

use crate::backup::files::Progress;
use crate::backup::restore::{Restored, restore};
use crate::backup::rfc3339;
use crate::cli::RestoreArgs;

/// Restores, and says on stdout what.
///
/// # Errors
/// When nothing was restored; the folder is as it was.
pub fn run(args: &RestoreArgs) -> Result<()> {
    let restored = restore(&args.from, &args.data, args.until, &mut OsEntropy, &Progress::default());
    let restored = restored.into_diagnostic().wrap_err("nothing was restored")?;
    super::print_answer(&restored, args.json, text)
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
