//! One run of the load generator, ended when the fault is over, and what its report says.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use fabric::mutex::lock;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::FaultsError;
use crate::process::Deadline;
use crate::process::cluster::Cluster;

/// Users of a run.
const USERS: u64 = 36;
/// The load goes on for so long at most, s: it is ended when the fault is over.
const LOAD_S: u64 = 120;
/// What is outstanding then is waited for, s.
const DRAIN_S: u64 = 30;
/// It must send within, s.
const STEADY_WITHIN_S: u64 = 40;

/// What a run's audit found, and what its users saw.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Neither delivered nor refused for good.
    pub lost: u64,
    /// Delivered more than once.
    pub doubled: u64,
    /// Delivered after one that was sent later.
    pub reordered: u64,
    /// Whatever else the audit does not allow; `None`: nothing.
    pub else_wrong: Option<String>,
    /// Messages that were sent.
    pub sent: u64,
    /// Errors by name.
    pub errors: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Report {
    audit: Audit,
    #[serde(default)]
    errors: BTreeMap<String, u64>,
    #[serde(default)]
    errors_tolerated: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Audit {
    sent: u64,
    lost: u64,
    doubled: u64,
    reordered: u64,
    unanswered: u64,
    mismatched: u64,
    misdelivered: u64,
}

/// What a run's users speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    /// Frames over TCP.
    Native,
    /// JSON over WebSocket.
    WebSocket,
}

impl Speaks {
    const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::WebSocket => "websocket",
        }
    }

    /// Users that no other run has.
    const fn first_user(self, number: u64) -> u64 {
        1 + number * 1_000 + if matches!(self, Self::Native) { 0 } else { 500 }
    }
}

impl Found {
    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.sent += other.sent;
        self.else_wrong = match (self.else_wrong, other.else_wrong) {
            (Some(one), Some(two)) => Some(format!("{one}, {two}")),
            (one, two) => one.or(two),
        };
        for (name, count) in other.errors {
            *self.errors.entry(name).or_default() += count;
        }
        self
    }
}

/// A run that goes on. Dropping it kills it.
pub struct Load {
    child: Child,
    out: PathBuf,
    said: Arc<Mutex<String>>,
}

impl Load {
    /// Starts the `number`th run against all gateways, with users that no run had before and so many messages a second, and
    /// waits until it sends.
    ///
    /// # Errors
    /// It ended, or did not come to send: with what it said.
    pub fn start(
        (program, guard): (&Path, &Path),
        cluster: &Cluster,
        folder: &Path,
        (number, speaks, rate): (u64, Speaks, u64),
    ) -> Result<Self, FaultsError> {
        let failed = |path: &Path, source| FaultsError::Folder { path: path.to_owned(), source };
        let out = folder.join(format!("run-{number}-{}", speaks.word()));
        std::fs::create_dir_all(&out).map_err(|error| failed(&out, error))?;
        let scenario = out.join("scenario.toml");
        std::fs::write(&scenario, text(number, speaks, rate)).map_err(|error| failed(&scenario, error))?;
        let targets = match speaks {
            Speaks::Native => cluster.natives(),
            Speaks::WebSocket => cluster.websockets(),
        };
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let mut command = Command::new(guard);
        command.arg("become-server").arg(std::process::id().to_string()).arg("--").arg(program);
        command.arg("run").arg(&scenario).arg("--out").arg(&out).args(["--target", &targets.join(",")]);
        command.arg("--token-key").arg(cluster.token_key());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(guard, error))?;
        let said = Arc::new(Mutex::new(String::new()));
        collect(child.stderr.take(), &said);
        let mut load = Self { child, out, said };
        let mut ended = None;
        let steady = Deadline::after_s(STEADY_WITHIN_S).wait_until(|| {
            ended = load.child.try_wait().ok().flatten();
            ended.is_some() || load.said().lines().any(|line| line.starts_with("steady"))
        });
        match ended {
            None if steady => Ok(load),
            _ => Err(FaultsError::Load { how: "it did not come to send".to_owned(), said: load.said() }),
        }
    }

    fn said(&self) -> String {
        lock(&self.said).clone()
    }

    /// Ends the load, waits for what is outstanding, and reads the report.
    ///
    /// # Errors
    /// There is no report.
    pub fn end(mut self) -> Result<Found, FaultsError> {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let ended = Deadline::after_s(DRAIN_S + 30).wait_until(|| self.child.try_wait().ok().flatten().is_some());
        let no_report = |how: String| FaultsError::Load { how, said: self.said() };
        if !ended {
            return Err(no_report("it did not end".to_owned()));
        }
        let path = self.out.join("report.json");
        let text = std::fs::read_to_string(&path).map_err(|error| no_report(format!("{}: {error}", path.display())))?;
        let report: Report = serde_json::from_str(&text).map_err(|error| no_report(error.to_string()))?;
        if report.audit.sent == 0 {
            return Err(no_report("it sent nothing".to_owned()));
        }
        Ok(report.into())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl From<Report> for Found {
    fn from(report: Report) -> Self {
        let audit = report.audit;
        let others = [
            (audit.unanswered, "never answered"),
            (audit.mismatched, "chats whose ack and delivery differ"),
            (audit.misdelivered, "delivered to others"),
        ];
        let others: Vec<String> =
            others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let mut errors = report.errors;
        for (name, count) in report.errors_tolerated {
            *errors.entry(name).or_default() += count;
        }
        Self {
            lost: audit.lost,
            doubled: audit.doubled,
            reordered: audit.reordered,
            else_wrong: (!others.is_empty()).then(|| others.join(", ")),
            sent: audit.sent,
            errors,
        }
    }
}

/// The scenario: people in pairs and two groups over all gateways, everything delivered is audited.
fn text(number: u64, speaks: Speaks, rate: u64) -> String {
    let (first_user, protocol) = (speaks.first_user(number), speaks.word());
    format!(
        "[load]\nprotocol = \"{protocol}\"\nusers = {USERS}\nfirst_user = {first_user}\nmode = \"open\"\nrate = {rate}.0\npairs = \"ring\"\npeers = 2\n\
         ramp_s = 0.5\nsteady_s = {LOAD_S}.0\ndrain_s = {DRAIN_S}.0\nreceipts = false\nworkers = 1\n\
         tolerate = [\"connect\", \"disconnected\", \"postponed\", \"complaint\"]\n\
         [[load.groups]]\nmembers = 9\ncount = 2\nshare = 0.3\n"
    )
}

fn collect(stream: Option<impl Read + Send + 'static>, into: &Arc<Mutex<String>>) {
    let Some(stream) = stream else { return };
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut text = lock(&into);
            text.push_str(&line);
            text.push('\n');
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_with_all_its_errors() {
        let text = r#"{"audit": {"sent": 5, "lost": 1, "doubled": 2, "reordered": 3, "unanswered": 4, "mismatched": 0, "misdelivered": 0},
            "errors": {"a": 1, "b": 1}, "errors_tolerated": {"b": 2}}"#;
        let found = Found::from(serde_json::from_str::<Report>(text).unwrap());
        assert_eq!((found.lost, found.doubled, found.reordered, found.sent), (1, 2, 3, 5));
        assert_eq!(found.else_wrong.as_deref(), Some("4 never answered"));
        assert_eq!(found.errors, BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 3)]));
    }
}
