//! `loadgen schema`: prints the report's JSON schema.

use std::process::ExitCode;

use crate::report::schema;

/// Prints it.
pub fn run() -> ExitCode {
    print!("{}", schema::text());
    ExitCode::SUCCESS
}
