//! One run of the load generator against one server, bounded in time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A run that has not ended after so long is stopped: three times what the longest shape takes.
const RUN_WITHIN: Duration = Duration::from_secs(180);
/// A load generator told to stop that has not ended after so long is killed.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// Between two runs, so that the kernel is done with the last one's sockets and files.
const PAUSE: Duration = Duration::from_secs(1);

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The product.
    Shardwire,
    /// The raw limit.
    Limit,
}

impl Target {
    /// Its program's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shardwire => "shardwire",
            Self::Limit => "limit",
        }
    }
}

/// The programs of one build.
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Those beside this executable.
    ///
    /// # Errors
    /// One is missing.
    pub fn beside_this() -> Result<Self, String> {
        let here = std::env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
        let folder = here.parent().unwrap_or(Path::new(".")).to_owned();
        for name in ["loadgen", Target::Shardwire.name(), Target::Limit.name()] {
            if !folder.join(name).is_file() {
                let build = "cargo build --release --workspace --bins";
                return Err(format!("{name} is not in {}; build it with `{build}`", folder.display()));
            }
        }
        Ok(Self { folder })
    }

    /// Where criterion keeps its estimates: beside the profile's folder.
    pub fn criterion_folder(&self) -> PathBuf {
        self.folder.with_file_name("criterion")
    }

    /// Where gungraun's runner keeps its summaries.
    pub fn instructions_folder(&self) -> PathBuf {
        self.folder.with_file_name("gungraun")
    }

    /// Runs a scenario and returns its report.
    ///
    /// # Errors
    /// The run could not be made, did not end in time, or its audit was not clean.
    pub fn run(&self, scenario: &Path, target: Target) -> Result<Value, String> {
        let what = format!("{} against {}", scenario.display(), target.name());
        let failed = |error: std::io::Error| format!("{what}: {error}");
        std::thread::sleep(PAUSE);
        let out = tempfile::tempdir().map_err(failed)?;
        let log = out.path().join("loadgen.log");
        let mut command = Command::new(self.folder.join("loadgen"));
        command.arg("run").arg(scenario).arg("--out").arg(out.path());
        command.arg("--server").arg(self.folder.join(target.name()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).map_err(failed)?);
        let mut child = command.spawn().map_err(failed)?;
        let status = wait(&mut child).map_err(failed)?;
        let Some(status) = status else {
            return Err(format!(
                "{what} had not ended after {} s and was stopped; {}",
                RUN_WITHIN.as_secs(),
                tail(&log)
            ));
        };
        // 3 and 5 are the scenario's opinion of the figures, not of the run.
        if !matches!(status.code(), Some(0 | 3 | 5)) {
            return Err(format!("{what} ended with {status}; {}", tail(&log)));
        }
        let report = fs::read_to_string(out.path().join("report.json")).map_err(failed)?;
        serde_json::from_str(&report).map_err(|error| format!("{what}: report.json: {error}"))
    }
}

/// Waits for the end; `None` when it had to be stopped.
fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let begin = Instant::now();
    let (mut told, mut late) = (false, false);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((!late).then_some(status));
        }
        if begin.elapsed() > RUN_WITHIN {
            late = true;
            if !told {
                // SAFETY: no pointers; the child has not been waited for, so its id is still its own.
                unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
                told = true;
            } else if begin.elapsed() > RUN_WITHIN + STOP_WITHIN {
                child.kill()?;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("it said last:\n{}", lines[lines.len().saturating_sub(5)..].join("\n"))
}
