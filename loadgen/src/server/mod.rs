//! The throwaway server: started for a run with its own data folder, keys and limits, stopped and removed after it.

pub mod proc;

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use serde::Serialize;

use crate::fail::Failure;
use crate::scenario::{Scenario, TokenKind};
use crate::secure::{CERTIFICATE_FILE, Certificate};
use crate::tokens::Minter;

/// A server that is not ready after so long is given up.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A server that has not ended so long after SIGTERM is killed.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// Where a server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Size-prefixed FlatBuffers.
    pub native: SocketAddr,
    /// WebSocket; a server without it says nothing.
    pub ws: Option<SocketAddr>,
    /// HTTP, with its metrics; a server without it says nothing.
    pub http: Option<SocketAddr>,
    /// Its whole line.
    pub line: String,
}

/// A running server. Dropping it kills it and removes its folder.
pub struct Server {
    child: Child,
    /// Where it serves.
    pub ready: Ready,
    /// How it is started again.
    launch: Launch,
    /// Its first line, after it was started again.
    first_line: Option<mpsc::Receiver<String>>,
    folder: Option<tempfile::TempDir>,
    kept: Option<PathBuf>,
}

/// What a server is started with.
struct Launch {
    program: PathBuf,
    guard: Option<PathBuf>,
    data: PathBuf,
    config: PathBuf,
    log: PathBuf,
    threads: Vec<String>,
    /// What connections trust.
    certificate: Option<PathBuf>,
}

#[derive(Serialize)]
struct Config<'a> {
    auth: Auth,
    limits: &'a crate::scenario::Limits,
    storage: &'a crate::scenario::Storage,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
}

#[derive(Serialize)]
struct Tls {
    cert_file: PathBuf,
    key_file: PathBuf,
}

#[derive(Serialize)]
struct Auth {
    #[serde(skip_serializing_if = "Option::is_none")]
    hs256_secret_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    es256_public_key_file: Option<PathBuf>,
}

/// The server's program: the one named, else `shardwire` beside this executable.
///
/// # Errors
/// [`Failure::NoServer`] when it is not there.
pub fn program(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => std::env::current_exe().unwrap_or_default().with_file_name("shardwire"),
    };
    if path.is_file() { Ok(path) } else { Err(Failure::NoServer { path }) }
}

impl Launch {
    /// Starts it on these addresses: native, WebSocket, HTTP.
    fn spawn(&self, [native, ws, http]: &[String; 3]) -> Result<Child, Failure> {
        let failed = |what: &str, error: std::io::Error| Failure::ServerStart(format!("{what}: {error}"));
        let log = std::fs::OpenOptions::new().append(true).open(&self.log).map_err(|e| failed("its log", e))?;
        let mut command = command(&self.program, self.guard.as_deref());
        command.arg("--data").arg(&self.data).arg("--config").arg(&self.config);
        command.args(["--native", native, "--ws", ws, "--http", http]).args(&self.threads);
        // A process group of its own: Ctrl-C is for the load generator, which stops the server in its time.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
        command.spawn().map_err(|e| failed(&self.program.display().to_string(), e))
    }
}

fn command(program: &Path, guard: Option<&Path>) -> Command {
    let Some(guard) = guard else { return Command::new(program) };
    let mut command = Command::new(guard);
    command.arg("become-server").arg(std::process::id().to_string()).arg("--").arg(program);
    command
}

/// In the server's process, before it is the server: it is to end with `parent`, however that ends.
///
/// Returns only when the program cannot be run, with the reason.
pub fn become_server(parent: u32, program: &[OsString]) -> std::io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // It may have ended before it was asked for.
    if getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned()) != Some(parent) {
        return std::io::Error::other("the load generator has ended");
    }
    let Some((program, arguments)) = program.split_first() else {
        return std::io::Error::other("no program is named");
    };
    Command::new(program).args(arguments).exec()
}

impl Server {
    /// Starts it and waits until it serves; with it comes what signs tokens it accepts. Its log goes to `log`. `guard`:
    /// the load generator's own program, by way of which it starts ([`become_server`]).
    ///
    /// # Errors
    /// It does not start, ends, or is not ready in time: with the end of its log.
    pub fn start(
        program: &Path,
        guard: Option<&Path>,
        scenario: &Scenario,
        log: &Path,
    ) -> Result<(Self, Minter), Failure> {
        let failed = |what: &str, error: std::io::Error| Failure::ServerStart(format!("{what}: {error}"));
        let folder = tempfile::Builder::new()
            .prefix("shardwire-loadgen-")
            .tempdir()
            .map_err(|e| failed("a folder for its data", e))?;
        let (minter, config) = configure(scenario, folder.path()).map_err(|e| failed("its configuration", e))??;
        std::fs::write(log, b"").map_err(|e| failed("its log", e))?;
        let mut threads = Vec::new();
        for (name, count) in [("--shards", scenario.server.shards), ("--partitions", scenario.server.partitions)] {
            threads.extend(count.into_iter().flat_map(|count| [name.to_owned(), count.to_string()]));
        }
        let (program, guard) = (program.to_owned(), guard.map(Path::to_owned));
        let certificate = scenario.load.tls.then(|| folder.path().join(CERTIFICATE_FILE));
        let (data, log_file) = (folder.path().join("data"), log.to_owned());
        let launch = Launch { program, guard, data, config, log: log_file, threads, certificate };
        let mut child = launch.spawn(&["127.0.0.1:0"; 3].map(str::to_owned))?;
        let ready = wait_ready(&mut child).map_err(|reason| {
            let _ = child.kill();
            let _ = child.wait();
            Failure::ServerStart(format!("{reason}{}", tail(log)))
        })?;
        Ok((Self { child, ready, launch, first_line: None, folder: Some(folder), kept: None }, minter))
    }

    /// Sends SIGTERM, or SIGKILL.
    pub fn signal(&mut self, kill: bool) {
        if let (Some(pid), true) = (Pid::from_raw(self.child.id().cast_signed()), self.runs()) {
            // It may end by itself meanwhile.
            let _ = kill_process(pid, if kill { Signal::KILL } else { Signal::TERM });
        }
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// After its end: starts it again, on the same ports and the same folder. Does not wait: see [`Self::is_ready`].
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_again(&mut self) -> Result<(), Failure> {
        let address = |key: &str| value(&self.ready.line, key).unwrap_or("127.0.0.1:0").to_owned();
        self.child = self.launch.spawn(&[address("native"), address("ws"), address("http")])?;
        self.first_line = Some(first_line(&mut self.child).map_err(Failure::ServerStart)?);
        Ok(())
    }

    /// Whether it serves again.
    pub fn is_ready(&mut self) -> Option<Result<(), Failure>> {
        let failed = |reason: String, log: &Path| Some(Err(Failure::ServerStart(format!("{reason}{}", tail(log)))));
        match self.first_line.as_ref()?.try_recv() {
            Ok(line) => match parse_ready(&line) {
                Ok(ready) => {
                    self.ready = ready;
                    Some(Ok(()))
                }
                Err(reason) => failed(reason, &self.launch.log),
            },
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => failed("it ended".to_owned(), &self.launch.log),
        }
    }

    /// Whose certificate it shows, when it speaks TLS.
    pub fn authority(&self) -> Option<&Path> {
        self.launch.certificate.as_deref()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Keeps its folder; where.
    pub fn keep(&mut self) -> Option<PathBuf> {
        if let Some(folder) = self.folder.take() {
            self.kept = Some(folder.keep());
        }
        self.kept.clone()
    }

    /// Stops it with SIGTERM and reaps it; killed if it takes too long. How it ended.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let step = Duration::from_millis(10);
        for _ in 0..STOP_WITHIN.as_millis() / step.as_millis() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(step);
        }
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.runs() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Writes keys and configuration; the inner result is a key that could not be made.
fn configure(scenario: &Scenario, folder: &Path) -> std::io::Result<Result<(Minter, PathBuf), Failure>> {
    let mut auth = Auth { hs256_secret_file: None, es256_public_key_file: None };
    let minter = match scenario.load.token {
        TokenKind::Hs256 => {
            let (minter, secret) = Minter::new_hs256();
            let file = folder.join("token-secret");
            std::fs::write(&file, secret)?;
            auth.hs256_secret_file = Some(file);
            minter
        }
        TokenKind::Es256 => {
            let (minter, public) = match Minter::new_es256() {
                Ok(made) => made,
                Err(failure) => return Ok(Err(failure)),
            };
            let file = folder.join("token-public.pem");
            std::fs::write(&file, public)?;
            auth.es256_public_key_file = Some(file);
            minter
        }
    };
    let certificate = scenario.load.tls.then(|| Certificate::make(folder)).transpose()?;
    let tls = certificate.map(|certificate| Tls { cert_file: certificate.file, key_file: certificate.key_file });
    let config = Config { auth, limits: &scenario.server.limits, storage: &scenario.server.storage, tls };
    let text = toml::to_string(&config).map_err(std::io::Error::other)?;
    let file = folder.join("config.toml");
    std::fs::write(&file, text)?;
    Ok(Ok((minter, file)))
}

/// Where its first line will be.
fn first_line(child: &mut Child) -> Result<mpsc::Receiver<String>, String> {
    let stdout = child.stdout.take().ok_or("it has no output")?;
    let (line_to, lines) = mpsc::sync_channel(1);
    // Reads on after the first line, so that the server never waits for a reader.
    std::thread::Builder::new()
        .name("server-stdout".to_owned())
        .spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                let _ = line_to.try_send(line);
            }
        })
        .map_err(|e| e.to_string())?;
    Ok(lines)
}

fn wait_ready(child: &mut Child) -> Result<Ready, String> {
    match first_line(child)?.recv_timeout(READY_WITHIN) {
        Ok(line) => parse_ready(&line),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("it said nothing for {} s", READY_WITHIN.as_secs())),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(match child.wait() {
            Ok(status) => format!("it ended ({status})"),
            Err(error) => format!("it ended: {error}"),
        }),
    }
}

/// A value of the ready line.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key)).and_then(|v| v.strip_prefix('='))
}

fn parse_ready(line: &str) -> Result<Ready, String> {
    if !line.starts_with("ready ") {
        return Err(format!("its first line is not `ready …`: {line}"));
    }
    let native =
        value(line, "native").and_then(|a| a.parse().ok()).ok_or_else(|| format!("no native address in: {line}"))?;
    let address = |key: &str| value(line, key).and_then(|a| a.parse().ok());
    Ok(Ready { native, ws: address("ws"), http: address("http"), line: line.to_owned() })
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!("; its log ends:\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_addresses() {
        let ready =
            parse_ready("ready native=127.0.0.1:7 ws=127.0.0.1:8 http=127.0.0.1:9 shards=2 store=embedded").unwrap();
        assert_eq!(ready.native.port(), 7);
        assert_eq!((ready.ws.unwrap().port(), ready.http.unwrap().port()), (8, 9));
        assert!(parse_ready("ready native=127.0.0.1:7").unwrap().ws.is_none());
        assert!(parse_ready("error: no").unwrap_err().contains("error: no"));
        assert!(parse_ready("ready ws=127.0.0.1:8").is_err());
    }

    #[test]
    fn a_missing_server_names_the_build_command() {
        let text = program(Some(Path::new("/nonexistent/shardwire"))).unwrap_err().to_string();
        assert!(
            text.contains("/nonexistent/shardwire") && text.contains("cargo build --release -p shardwire"),
            "{text}"
        );
    }

    #[test]
    fn the_configuration_carries_limits_and_a_key() {
        let text =
            "[server.limits]\nsends_per_second_per_user = 0\n[load]\nusers = 1\nmode = \"idle\"\nsteady_s = 1.0\n";
        let folder = tempfile::tempdir().unwrap();
        let (_, config) = configure(&Scenario::parse(text).unwrap(), folder.path()).unwrap().unwrap();
        let config: toml::Table = std::fs::read_to_string(config).unwrap().parse().unwrap();
        assert_eq!(config["limits"]["sends_per_second_per_user"].as_integer(), Some(0));
        let secret = std::fs::read(config["auth"]["hs256_secret_file"].as_str().unwrap()).unwrap();
        assert!(secret.len() >= 32);
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_log() {
        let scenario = Scenario::parse("[load]\nusers = 1\nmode = \"idle\"\nsteady_s = 1.0\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("server");
        std::fs::write(&script, "#!/bin/sh\necho the disk is full >&2\nexit 3\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = Server::start(&script, None, &scenario, &folder.path().join("log")).err().unwrap().to_string();
        assert!(error.contains("the disk is full"), "{error}");
    }
}
