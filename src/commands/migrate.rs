//! `shardwire migrate`: makes or brings up to date the tables of a Scylla or Cassandra cluster.

use std::process::ExitCode;

use fabric::entropy::OsEntropy;
use miette::{IntoDiagnostic as _, Result, miette};
use schema::cql;
use scylla_store::{Migrated, migrate};
use storage_writer::folder::{DataFolder, Expected};

use super::print;
use crate::cli::MigrateArgs;
use crate::logging;

/// Applies what is missing, or says what is; exit code 1 when `--check` finds something.
///
/// # Errors
/// Configuration, data folder in use, a cluster that cannot be reached or a keyspace that is not this data folder's.
pub fn run(args: &MigrateArgs) -> Result<ExitCode> {
    let config = args.server.load()?;
    if !config.store.is_scylla() {
        return Err(miette!(
            "store.engine is embedded, which has nothing to migrate; set it to scylla in the file given by --config"
        ));
    }
    let _log = logging::start(&config.log.level);
    let folder = DataFolder::open(&config.server.data, Expected::default(), &mut OsEntropy).into_diagnostic()?;
    let scylla = config.store.scylla()?;
    let found = migrate(&scylla, folder.format().cluster, args.check).into_diagnostic()?;
    let is_current = found == Migrated::default();
    print(&report(&scylla.keyspace, &found, args.check))?;
    Ok(if args.check && !is_current { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report(keyspace: &str, found: &Migrated, check: bool) -> String {
    let (made, applied) = if check { ("is missing", "to be applied") } else { ("made", "applied") };
    let mut text = String::new();
    if found.made_keyspace {
        text.push_str(&format!("keyspace {keyspace}: {made}\n"));
    }
    for migration in &found.applied {
        text.push_str(&format!("migration {migration}: {applied}\n"));
    }
    if *found == Migrated::default() || !check {
        text.push_str(&format!("keyspace {keyspace}: schema version {}, as this build's\n", cql::VERSION));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_and_what_is_to_be_done_are_told_apart() {
        let found = Migrated { made_keyspace: true, applied: vec!["1 store".to_owned()] };
        let done = report("s", &found, false);
        assert!(
            done.starts_with("keyspace s: made\nmigration 1 store: applied\n") && done.contains("version"),
            "{done}"
        );
        let missing = report("s", &found, true);
        assert!(missing.contains("is missing") && missing.contains("to be applied") && !missing.contains("version"));
        assert_eq!(report("s", &Migrated::default(), true), report("s", &Migrated::default(), false));
    }
}
