//! One node of a cluster: its process, from its start to its end, and its log.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::layout::{CONFIG_FILE, SECRET_FILE};
use super::{ClusterError, Options, Place, Spot};
use crate::process::{Answer, Deadline, output};

/// A frozen node takes connections and says nothing: it is not waited for longer.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_000);
/// Lines of a log that are shown.
const LINES_SHOWN: usize = 12;

/// A node. Dropping it kills its process.
pub struct Node {
    place: Place,
    folder: PathBuf,
    program: PathBuf,
    guard: PathBuf,
    list: PathBuf,
    spot: Spot,
    /// More of its environment.
    environment: Vec<(&'static str, OsString)>,
    child: Option<Child>,
}

impl Node {
    pub(super) fn new(place: Place, options: &Options, list: &str) -> Result<Self, ClusterError> {
        let folder = options.folder.clone();
        let path = folder.join(match options.relays {
            true => format!("nodes-{}.toml", place.name),
            false => "nodes.toml".to_owned(),
        });
        std::fs::write(&path, list).map_err(|source| ClusterError::Folder { path: path.clone(), source })?;
        let (program, guard) = (options.program.clone(), options.guard.clone());
        Ok(Self {
            place,
            folder,
            program,
            guard,
            list: path,
            spot: Spot::loopback(0),
            environment: Vec::new(),
            child: None,
        })
    }

    /// It runs there.
    pub(super) fn at(mut self, spot: Spot) -> Self {
        self.spot = spot;
        self
    }

    /// From its next start on it has this in its environment, besides this process's own.
    pub fn set_environment(&mut self, environment: Vec<(&'static str, OsString)>) {
        self.environment = environment;
    }

    /// Whether its next start has more in its environment than this process.
    pub const fn has_environment(&self) -> bool {
        !self.environment.is_empty()
    }

    /// Its name and addresses.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it writes stdout and stderr.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.place.name))
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join(&self.place.name)
    }

    fn arguments(&self) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        let mut arguments: Vec<String> =
            ["serve", "--name", &self.place.name, "--role", self.place.role.word()].map(str::to_owned).into();
        for (option, path) in [
            ("--nodes", self.list.clone()),
            ("--cluster-secret", self.folder.join(SECRET_FILE)),
            ("--data", self.data()),
            ("--config", self.folder.join(CONFIG_FILE)),
        ] {
            arguments.extend([option.to_owned(), text(path)]);
        }
        let listeners = [("--native", self.place.native), ("--ws", self.place.ws), ("--http", Some(self.place.http))];
        for (option, address) in listeners.into_iter().filter_map(|(option, address)| Some((option, address?))) {
            arguments.extend([option.to_owned(), address.to_string()]);
        }
        arguments
    }

    /// Starts it; waits for nothing.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self) -> Result<(), ClusterError> {
        let log = self.log_file();
        let failed = |source| ClusterError::Folder { path: log.clone(), source };
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(failed)?;
        let both = file.try_clone().map_err(failed)?;
        let mut command = self.spot.command(&self.guard);
        command.arg(&self.program);
        command.args(self.arguments()).envs(self.environment.iter().map(|(name, value)| (name, value)));
        // A process group of its own: Ctrl-C is for who started the cluster, who ends the nodes in their order.
        command.stdin(Stdio::null()).stdout(both).stderr(file).process_group(0);
        let failed =
            |source| ClusterError::Start { name: self.place.name.clone(), program: self.guard.clone(), source };
        self.child = Some(command.spawn().map_err(failed)?);
        Ok(())
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends it at once, with SIGKILL, frozen or not.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself a moment before.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends it a signal, while it runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // Unreaped, so the id is still its own.
            let _ = rustix::process::kill_process(Pid::from_child(child), signal);
        }
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Whether it runs, if it was started.
    ///
    /// # Errors
    /// It ended by itself: how, and what it wrote last.
    pub fn check(&mut self) -> Result<(), ClusterError> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let Some(status) = child.try_wait().ok().flatten() else { return Ok(()) };
        let pid = child.id();
        self.child = None;
        Err(ClusterError::Ended {
            name: self.place.name.clone(),
            pid,
            status,
            log: self.log_file(),
            said: self.said_last(),
        })
    }

    /// Waits for its end after a SIGTERM; kills it when it takes longer.
    ///
    /// # Errors
    /// It took longer, or failed.
    pub fn wait_for_the_end(&mut self, within_s: u64) -> Result<(), ClusterError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let mut status: Option<ExitStatus> = None;
        Deadline::after_s(within_s).wait_until(|| {
            status = child.try_wait().ok().flatten();
            status.is_some()
        });
        let how = match status {
            Some(status) if status.success() => return Ok(()),
            Some(status) => status.to_string(),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                format!("it was killed after {within_s} s")
            }
        };
        Err(ClusterError::NotStopped { name: self.place.name.clone(), how, log: self.log_file() })
    }

    /// Whether it says that it is ready.
    pub fn is_ready(&self) -> bool {
        readyz(self.place.http).is_ok_and(|(status, _)| status == 200)
    }

    /// What `/readyz` says, for people.
    pub(super) fn what_it_says(&self) -> String {
        let said = match readyz(self.place.http) {
            Ok((status, body)) => format!("/readyz says {status} {}", body.trim()),
            Err(error) => format!("/readyz does not answer: {error}"),
        };
        format!("{}: {said}; its log is {}\n{}", self.place.name, self.log_file().display(), self.said_last())
    }

    /// Its metrics as text; empty while it does not answer.
    pub fn metrics(&self) -> String {
        Answer::get(self.place.http, "/metrics").map(|answer| answer.body).unwrap_or_default()
    }

    /// A metric's sum over its labels, 0 when it is not there. `name` without the prefix `shardwire_`.
    pub fn metric(&self, name: &str) -> u64 {
        let answer = Answer::get(self.place.http, "/metrics").ok();
        answer.and_then(|answer| answer.metric(&format!("shardwire_{name}"))).unwrap_or(0.0) as u64
    }

    /// The list of nodes that it reads.
    pub(super) fn list(&self) -> &Path {
        &self.list
    }

    /// Makes the tables of the configured store.
    pub(super) fn migrate(&self) -> Result<(), ClusterError> {
        let mut command = Command::new(&self.program);
        command.arg("migrate").arg("--config").arg(self.folder.join(CONFIG_FILE));
        command.arg("--data").arg(self.folder.join("migrate"));
        let made = command.output().map_err(|error| ClusterError::Migrate(error.to_string()))?;
        if !made.status.success() {
            return Err(ClusterError::Migrate(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        Ok(())
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn said_last(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
    }

    /// Starts it with other values of some options, where that must fail; what it printed.
    ///
    /// # Panics
    /// When an option is none of its own, or it does not end by itself.
    pub fn start_in_vain(&self, others: &[(&str, String)]) -> Output {
        let mut arguments = self.arguments();
        for (option, value) in others {
            let at =
                arguments.iter().position(|argument| argument == option).expect("an option that it is started with");
            arguments[at + 1].clone_from(value);
        }
        let mut command = Command::new(&self.program);
        command.args(arguments);
        output(command, super::READY_WITHIN_S)
    }

    pub(super) fn token(&self, config: &Path, user: u64, device: u32) -> Result<String, ClusterError> {
        let mut command = Command::new(&self.program);
        command.arg("token").arg("--config").arg(config).arg("--data").arg(self.data());
        command.args(["--user", &user.to_string(), "--device", &device.to_string()]);
        let made = command.output().map_err(|error| ClusterError::Token(error.to_string()))?;
        if !made.status.success() {
            return Err(ClusterError::Token(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        Ok(String::from_utf8_lossy(&made.stdout).trim_end().to_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Status and body of `/readyz`.
fn readyz(address: SocketAddr) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    write!(stream, "GET /readyz HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let invalid = || std::io::Error::other(format!("no HTTP answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(invalid)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(invalid)?;
    Ok((status, body.to_owned()))
}
