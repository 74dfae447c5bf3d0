//! One run of the load generator's release binary, bounded in time, and what tasks read of its report.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde::Deserialize;

use crate::shell;

/// A run that has not ended after so long is stopped; the longest takes some seconds.
const RUN_WITHIN: Duration = Duration::from_secs(90);

/// What tasks read of a report.
#[derive(Deserialize)]
pub struct Report {
    /// `pass`, `threshold`, `audit`, `saturated` or `interrupted`.
    pub verdict: String,
    /// Why, in one line.
    pub reason: String,
    /// Send to receipt.
    pub latency_us: Latency,
    /// The server's process.
    pub server: Server,
}

/// Send to receipt, µs.
#[derive(Deserialize)]
#[allow(missing_docs)] // each says itself
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
}

/// The server's process; absent where it was not measured.
#[derive(Deserialize)]
pub struct Server {
    /// CPU of all threads.
    pub cpu_s_per_million: Option<f64>,
    /// Without those that apply to the engine.
    pub cpu_s_per_million_without_apply: Option<f64>,
    /// Resident memory.
    pub rss_bytes_per_connection: Option<f64>,
}

/// Runs a scenario against a server's program; report and log go to `out`.
///
/// # Errors
/// When no report came of it: the load generator could not begin, or did not end in time.
pub fn run(scenario: &Path, server: &Path, out: &Path) -> Result<Report> {
    std::fs::create_dir_all(out).into_diagnostic().wrap_err_with(|| format!("cannot make {}", out.display()))?;
    let report = out.join("report.json");
    // A report of an earlier run must not be taken for this one's.
    let _ = std::fs::remove_file(&report);
    let log = out.join("loadgen.log");
    let mut command = shell::command(shell::target().join("release").join("loadgen"), &["run"]);
    command.arg(scenario).arg("--out").arg(out).arg("--server").arg(server);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(std::fs::File::create(&log).into_diagnostic()?);
    let what = format!("{} against {}", scenario.display(), server.display());
    let status = bounded(&mut command).wrap_err_with(|| format!("{what}: {}", tail(&log)))?;
    // 3, 4 and 5 come with a report that says why.
    if !matches!(status.code(), Some(0 | 3 | 4 | 5)) {
        return Err(miette!("{what} ended with {status}: {}", tail(&log)));
    }
    read(&report)
}

fn read(report: &Path) -> Result<Report> {
    let name = || format!("{} cannot be read", report.display());
    let text = std::fs::read_to_string(report).into_diagnostic().wrap_err_with(name)?;
    serde_json::from_str(&text).into_diagnostic().wrap_err_with(name)
}

/// Runs to the end, which must come within [`RUN_WITHIN`].
#[allow(clippy::disallowed_methods)] // a task's own bound, not the product's time
fn bounded(command: &mut Command) -> Result<ExitStatus> {
    let mut child = command.spawn().into_diagnostic().wrap_err("cannot start the load generator")?;
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().into_diagnostic()? {
            return Ok(status);
        }
        if begin.elapsed() > RUN_WITHIN {
            child.kill().and_then(|()| child.wait().map(drop)).into_diagnostic()?;
            return Err(miette!("had not ended after {} s and was stopped", RUN_WITHIN.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tasks_read_is_in_a_report() {
        let text = r#"{"verdict":"pass","reason":"","latency_us":{"p50":1,"p99":2,"more":3},
            "server":{"cpu_s_per_million":1.5,"cpu_s_per_million_without_apply":1.0,"rss_bytes_per_connection":null,"pid":1}}"#;
        let report: Report = serde_json::from_str(text).unwrap();
        assert_eq!((report.server.cpu_s_per_million, report.server.rss_bytes_per_connection), (Some(1.5), None));
    }
}
