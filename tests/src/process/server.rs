//! One server process at a time on one data folder, started and ended as a test says.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fabric::mutex::lock;

pub use rustix::process::Signal;
use tempfile::TempDir;

use super::{Answer, Deadline, binary, output};

/// How long a start or a stop may take, s.
const PATIENCE_S: u64 = 60;

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--shards`.
    pub shards: u16,
    /// `--partitions`.
    pub partitions: u16,
    /// The configuration file's text.
    pub config: String,
    /// More arguments.
    pub arguments: Vec<String>,
    /// A command that starts the server in its place, e.g. in another namespace.
    pub through: Vec<String>,
    /// The data folder, if not one of the server's own.
    pub data: Option<PathBuf>,
    /// Every start after the first takes the first one's ports.
    pub same_ports: bool,
    /// Whom to trust: the server's listeners speak TLS.
    pub authority: Option<PathBuf>,
}

impl Default for Options {
    /// Two shards, two partitions, small journal segments, no limit on sends.
    fn default() -> Self {
        let config = "[limits]\nsends_per_second_per_user = 0\n[storage]\njournal_segment_bytes = 4194304\n";
        Self {
            shards: 2,
            partitions: 2,
            config: config.to_owned(),
            arguments: Vec::new(),
            through: Vec::new(),
            data: None,
            same_ports: false,
            authority: None,
        }
    }
}

type Lines = Arc<Mutex<String>>;

struct Running {
    child: Child,
    native: SocketAddr,
    ws: SocketAddr,
    http: SocketAddr,
}

/// A server and its data folder. Dropping it kills the process; in a failing test it shows the log first.
pub struct Server {
    folder: TempDir,
    options: Options,
    ports: Option<[SocketAddr; 3]>,
    running: Option<Running>,
    stdout: Lines,
    stderr: Lines,
}

impl Server {
    /// Starts one and waits until it serves.
    ///
    /// # Panics
    /// When it does not, with its log.
    pub fn start(options: Options) -> Self {
        let mut server = Self::new(options);
        server.start_again();
        server
    }

    /// A folder and options, nothing started.
    ///
    /// # Panics
    /// When there is no place for temporary files.
    pub fn new(options: Options) -> Self {
        let folder = tempfile::Builder::new().prefix("shardwire-test-").tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("shardwire.toml"), &options.config)
            .expect("the configuration can be written");
        Self { folder, options, ports: None, running: None, stdout: Lines::default(), stderr: Lines::default() }
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.options.data.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("shardwire.toml")
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let program = binary("shardwire");
        let mut command = match self.options.through.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg("--data").arg(self.data()).arg("--config").arg(self.config_file());
        let ports = self.ports.filter(|_| self.options.same_ports);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        for (listener, port) in ["--native", "--ws", "--http"].into_iter().zip(ports.unwrap_or([any; 3])) {
            command.arg(listener).arg(port.to_string());
        }
        command.args(["--shards", &self.options.shards.to_string()]);
        command.args(["--partitions", &self.options.partitions.to_string()]);
        command.args(&self.options.arguments);
        command
    }

    /// Starts it on what is there, and waits until it serves.
    ///
    /// # Panics
    /// When it runs already or does not come up, with its log.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        self.stdout = Lines::default();
        self.stderr = Lines::default();
        let mut command = self.command();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        collect(child.stdout.take(), &self.stdout);
        collect(child.stderr.take(), &self.stderr);
        let mut ready = None;
        let mut ended = None;
        Deadline::after_s(PATIENCE_S).wait_until(|| {
            ready = text(&self.stdout).lines().find_map(parse_ready);
            ended = child.try_wait().ok().flatten();
            ready.is_some() || ended.is_some()
        });
        let Some([native, ws, http]) = ready else {
            let _ = child.kill();
            let _ = child.wait();
            // What it said last may still be on its way here.
            std::thread::sleep(Duration::from_millis(300));
            panic!("the server is not ready ({ended:?}); it wrote\n{}", self.log());
        };
        self.ports.get_or_insert([native, ws, http]);
        self.running = Some(Running { child, native, ws, http });
    }

    /// Runs it where its start must fail; gives what it printed.
    ///
    /// # Panics
    /// When it does not end by itself.
    pub fn start_in_vain(&self) -> Output {
        output(self.command(), PATIENCE_S)
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the server runs")
    }

    /// Where native clients connect.
    pub fn native(&self) -> SocketAddr {
        self.running().native
    }

    /// Where WebSocket clients connect.
    pub fn ws(&self) -> SocketAddr {
        self.running().ws
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.running().http
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    /// Ends it at once, with SIGKILL.
    ///
    /// # Panics
    /// When it is not there to be killed.
    pub fn kill9(&mut self) {
        let mut running = self.running.take().expect("the server runs");
        running.child.kill().expect("it can be killed");
        running.child.wait().expect("it is a child");
    }

    /// Ends it with SIGTERM and waits.
    ///
    /// # Panics
    /// When it does not end in time, or not with success.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        self.wait_for_the_end();
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(&self.running().child);
        rustix::process::kill_process(pid, signal).expect("it can be sent a signal");
    }

    /// Waits until it has ended, after a SIGTERM.
    ///
    /// # Panics
    /// As [`Self::terminate`].
    pub fn wait_for_the_end(&mut self) {
        let mut running = self.running.take().expect("the server runs");
        let status = wait(&mut running.child);
        assert!(status.is_some_and(|status| status.success()), "SIGTERM: {status:?}\n{}", self.log());
    }

    /// Starts it with other numbers of shards and partitions.
    ///
    /// # Panics
    /// As [`Self::start_again`].
    pub fn restart(&mut self, shards: u16, partitions: u16) {
        (self.options.shards, self.options.partitions) = (shards, partitions);
        self.start_again();
    }

    /// A token, by `shardwire token`.
    ///
    /// # Panics
    /// When that fails.
    pub fn token(&self, user: u64, device: u32) -> String {
        let ids = ["--user", &user.to_string(), "--device", &device.to_string()].map(str::to_owned);
        let output = self.cli("token", &ids);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// A subcommand on this data folder.
    pub fn cli(&self, subcommand: &str, arguments: &[String]) -> Output {
        let mut command = Command::new(binary("shardwire"));
        command.arg(subcommand).arg("--data").arg(self.data()).args(arguments);
        output(command, 30)
    }

    /// A GET on the HTTP listener.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn get(&self, path: &str) -> Answer {
        let answer = match &self.options.authority {
            Some(authority) => Answer::get_tls(self.http(), authority, path),
            None => Answer::get(self.http(), path),
        };
        answer.unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.log()))
    }

    /// A metric's sum over its labels, 0 when it is not there. `name` without the prefix `shardwire_`.
    pub fn metric(&self, name: &str) -> u64 {
        self.get("/metrics").metric(&format!("shardwire_{name}")).unwrap_or(0.0) as u64
    }

    /// What the last process wrote on stderr so far.
    pub fn log(&self) -> String {
        text(&self.stderr)
    }

    /// What the last process wrote on stdout so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// The journals' folder.
    pub fn journal(&self) -> PathBuf {
        Path::new(&self.data()).join("journal")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        if std::thread::panicking() {
            println!("the server's log:\n{}", self.log());
        }
    }
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let mut status = None;
    Deadline::after_s(PATIENCE_S).wait_until(|| {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    status
}

/// Keeps what a child writes; the thread ends with the child.
fn collect(stream: Option<impl Read + Send + 'static>, into: &Lines) {
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

fn text(lines: &Lines) -> String {
    lock(lines).clone()
}

/// The addresses of `ready native=… ws=… http=… shards=N store=embedded`.
fn parse_ready(line: &str) -> Option<[SocketAddr; 3]> {
    let words = line.strip_prefix("ready ")?;
    let address = |key| words.split(' ').find_map(|word| word.strip_prefix(key)?.parse().ok());
    Some([address("native=")?, address("ws=")?, address("http=")?])
}
