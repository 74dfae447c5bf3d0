//! `journal-writer NAME FOLDER SECONDS [RATE]`: runs one of the journal's writers and prints what it came to as JSON.

use std::path::Path;
use std::time::Duration;

use shardwire_runtimes::journal::{WRITERS, run};

fn main() {
    if let Err(error) = write() {
        eprintln!("journal-writer: {error}");
        std::process::exit(2);
    }
}

fn write() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let names = WRITERS.map(|(name, _)| name).join("|");
    let usage = || format!("usage: journal-writer {names} FOLDER SECONDS [RATE]");
    let [name, folder, seconds, rate @ ..] = &args[..] else { return Err(usage()) };
    let (_, writer) = WRITERS.into_iter().find(|(known, _)| known == name).ok_or_else(usage)?;
    let seconds: f64 = seconds.parse().map_err(|_| usage())?;
    let rate = rate.first().map(|rate| rate.parse().map_err(|_| usage())).transpose()?;
    let done =
        run(writer, Path::new(folder), rate, Duration::from_secs_f64(seconds)).map_err(|e| format!("{name}: {e}"))?;
    println!(
        r#"{{"records":{},"blocks":{},"took_s":{:.3},"cpu_s":{:.3}}}"#,
        done.records, done.blocks, done.took_s, done.cpu_s
    );
    Ok(())
}
