//! `loadgen html`: draws a report's page again.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Deserialize;

use crate::html;
use crate::report::{Report, SCHEMA, outputs};

/// What it is asked for.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A run's report.json.
    report: PathBuf,
    /// The page; report.html beside the report by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Draws it.
pub fn run(args: &Args) -> ExitCode {
    let page = args.out.clone().unwrap_or_else(|| args.report.with_file_name(outputs::PAGE));
    let drawn = read(args).and_then(|report| {
        outputs::replace(&page, &html::page(&report)).map_err(|e| format!("{} cannot be written: {e}", page.display()))
    });
    match drawn {
        Ok(()) => {
            println!("{}", page.display());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("loadgen: {why}");
            ExitCode::from(2)
        }
    }
}

fn read(args: &Args) -> Result<Report, String> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let path = args.report.display();
    let text = std::fs::read_to_string(&args.report).map_err(|e| format!("{path}: cannot be read: {e}"))?;
    let version: Version = serde_json::from_str(&text).map_err(|e| format!("{path}: is not a report: {e}"))?;
    if version.schema != SCHEMA {
        return Err(format!(
            "{path}: is a report of schema {}, this loadgen draws schema {SCHEMA}: use the loadgen that wrote it",
            version.schema
        ));
    }
    serde_json::from_str(&text).map_err(|e| format!("{path}: is not a report: {e}"))
}
