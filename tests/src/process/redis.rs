//! Real Redis servers as child processes on loopback: one, or a Redis Cluster.
//!
//! `redis-server` and `redis-cli` are the system's; `cargo xtask test` installs them. No server outlives the process that
//! started it: each is tied to a thread that lives as long as it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};

use fabric::entropy::{Entropy as _, OsEntropy};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::cluster::Spot;
use super::{Authority, Deadline, binary, output};

/// How long a start may take, s.
const PATIENCE_S: u64 = 30;
/// A command that has no answer after so long has none, s.
const ANSWER_S: u64 = 10;
/// Ports: below what hosts give to outgoing connections, for a server comes back where it was, and so is its bus port above it.
const PORTS: core::ops::Range<u16> = 10_000..20_000;
const BUS: u16 = 10_000;
/// Where a host has one server and nothing else.
const USUAL_PORT: u16 = 6_379;
/// A cluster's node that has not been heard for so long is taken for dead by the others, ms.
const NODE_TIMEOUT_MS: &str = "1000";

struct Node {
    spot: Spot,
    port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    /// The thread that its process is tied to ends with this.
    keeper: Option<Sender<()>>,
}

/// One Redis or several that are a cluster. Dropping it ends them, and removes what they stored.
pub struct Redis {
    nodes: Vec<Node>,
    scheme: &'static str,
    /// How `redis-cli` comes in.
    cli: Vec<String>,
    is_cluster: bool,
    _folder: TempDir,
}

impl Redis {
    /// One server.
    ///
    /// # Panics
    /// When it does not start, with its log.
    pub fn single() -> Self {
        Self::start(1, "redis", &|_| Vec::new(), &[])
    }

    /// One server that asks for a password.
    ///
    /// # Panics
    /// As [`Self::single`].
    pub fn with_password(password: &str) -> Self {
        let options = |_| ["--requirepass", password].map(str::to_owned).to_vec();
        Self::start(1, "redis", &options, &["-a", password])
    }

    /// One server that speaks TLS and nothing else, with a certificate of this authority.
    ///
    /// # Panics
    /// As [`Self::single`].
    pub fn with_tls(authority: &Authority) -> Self {
        let files = authority.issue("redis", |_| {}).map(|file| file.display().to_string());
        let trusted = authority.file().display().to_string();
        let options = |port: u16| {
            let files = ["--tls-cert-file", &files[0], "--tls-key-file", &files[1], "--tls-ca-cert-file", &trusted];
            let ports = ["--port", "0", "--tls-auth-clients", "no", "--tls-port", &port.to_string()];
            ports.into_iter().chain(files).map(str::to_owned).collect()
        };
        Self::start(1, "rediss", &options, &["--tls", "--cacert", &trusted])
    }

    /// One server, there.
    ///
    /// # Panics
    /// As [`Self::single`].
    pub fn single_on(spot: Spot) -> Self {
        Self::start_on(vec![spot], "redis", &|_| Vec::new(), &[])
    }

    /// A cluster of three primaries, each with so many replicas.
    ///
    /// # Panics
    /// As [`Self::single`].
    pub fn cluster(replicas: usize) -> Self {
        let options = |_| cluster_options();
        Self::start(3 * (1 + replicas), "redis", &options, &[]).joined(replicas)
    }

    /// A cluster, a server on each of these: three primaries, and each further one is the replica of the one three before it.
    ///
    /// # Panics
    /// As [`Self::single`]; or there are fewer than three or more than six.
    pub fn cluster_on(spots: Vec<Spot>) -> Self {
        assert!((3..=6).contains(&spots.len()), "three primaries and at most a replica of each");
        let this = Self::start_on(spots, "redis", &|_| cluster_options(), &[]);
        let (of, primaries) = (this.nodes.len(), this.addresses());
        let mut this = this.joined_first(3, 0);
        for replica in 3..of {
            let primary = this.ask(replica - 3, &["CLUSTER", "MYID"]).trim().to_owned();
            let mut command = Command::new("redis-cli");
            command.args(["--cluster", "add-node"]).arg(primaries[replica].to_string());
            command.arg(primaries[0].to_string()).args(["--cluster-slave", "--cluster-master-id", &primary]);
            let made = output(command, PATIENCE_S);
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&[made.stdout, made.stderr].concat()));
        }
        this.is_cluster = true;
        let follows = |node: usize| this.ask(node, &["INFO", "REPLICATION"]).contains("master_link_status:up");
        let whole = Deadline::after_s(PATIENCE_S).wait_until(|| this.is_whole() && (3..of).all(follows));
        assert!(whole, "no cluster:\n{}", this.logs());
        this
    }

    /// Makes one cluster of all.
    fn joined(self, replicas: usize) -> Self {
        let all = self.nodes.len();
        self.joined_first(all, replicas)
    }

    fn joined_first(mut self, count: usize, replicas: usize) -> Self {
        let mut create = vec!["--cluster".to_owned(), "create".to_owned()];
        create.extend(self.addresses().iter().take(count).map(SocketAddr::to_string));
        create.extend(["--cluster-replicas".to_owned(), replicas.to_string(), "--cluster-yes".to_owned()]);
        let mut command = Command::new("redis-cli");
        command.args(&create);
        let made = output(command, PATIENCE_S);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&[made.stdout, made.stderr].concat()));
        self.is_cluster = true;
        let whole = Deadline::after_s(PATIENCE_S).wait_until(|| (0..count).all(|node| self.is_whole_to(node)));
        assert!(whole, "no cluster:\n{}", self.logs());
        self
    }

    /// A primary and a replica that a Sentinel watches, by the name [`Self::PRIMARY`]; the Sentinel is the last server.
    ///
    /// # Panics
    /// As [`Self::single`].
    pub fn with_sentinel() -> Self {
        let mut this =
            Self::start(3, "redis", &|_| ["--repl-diskless-sync-delay", "0"].map(str::to_owned).to_vec(), &[]);
        let [primary, ..] = this.addresses()[..] else { unreachable!("three were started") };
        this.ask(1, &["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
        // The Sentinel asks the primary about its replicas when it starts, and then every ten seconds.
        let follows = || this.ask(1, &["INFO", "REPLICATION"]).contains("master_link_status:up");
        assert!(Deadline::after_s(PATIENCE_S).wait_until(follows), "the replica does not follow:\n{}", this.logs());
        let (name, sentinel) = (Self::PRIMARY, &mut this.nodes[2]);
        let (file, folder) = (sentinel.folder.join("sentinel.conf"), sentinel.folder.display());
        let settings = format!(
            "port {}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor {name} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 5000\n",
            sentinel.port,
            primary.port()
        );
        std::fs::write(&file, settings).expect("a Sentinel's settings");
        sentinel.kill();
        sentinel.arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
        sentinel.start();
        this.wait_for(2);
        let is_known = || this.ask(2, &["SENTINEL", "REPLICAS", name]).contains(&this.nodes[1].port.to_string());
        let ready = Deadline::after_s(PATIENCE_S).wait_until(is_known);
        assert!(ready, "the Sentinel does not know the replica:\n{}", this.logs());
        this
    }

    /// What the Sentinel of [`Self::with_sentinel`] calls the primary.
    pub const PRIMARY: &'static str = "main";

    fn start(count: usize, scheme: &'static str, options: &dyn Fn(u16) -> Vec<String>, cli: &[&str]) -> Self {
        Self::start_on(vec![Spot::loopback(0); count], scheme, options, cli)
    }

    fn start_on(spots: Vec<Spot>, scheme: &'static str, options: &dyn Fn(u16) -> Vec<String>, cli: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("shardwire-redis-").tempdir().expect("a temporary folder");
        let make = |(spot, port): (Spot, u16)| {
            let folder = folder.path().join(format!("{}-{port}", spot.address));
            std::fs::create_dir(&folder).expect("a server's folder can be made");
            let own = [("--bind", spot.address.to_string()), ("--port", port.to_string()), ("--save", String::new())];
            let more = [("--appendonly", "no".to_owned()), ("--dir", folder.display().to_string())];
            // A host of its own is reached from others, without a password.
            let open = [("--protected-mode", "no".to_owned())];
            let own = own.into_iter().chain(more).chain(open);
            let own = own.flat_map(|(option, value)| [option.to_owned(), value]);
            let arguments = own.chain(options(port)).collect();
            Node { spot, port, folder, arguments, child: None, keeper: None }
        };
        let count = spots.len();
        let ports = if spots.iter().all(Spot::is_here) { free_ports(count) } else { vec![USUAL_PORT; count] };
        let nodes = spots.into_iter().zip(ports).map(make).collect();
        let cli = cli.iter().map(|&option| option.to_owned()).collect();
        let mut this = Self { nodes, scheme, cli, is_cluster: false, _folder: folder };
        (0..count).for_each(|node| this.nodes[node].start());
        (0..count).for_each(|node| this.wait_for(node));
        this
    }

    fn wait_for(&self, node: usize) {
        let answers = || self.ask(node, &["PING"]).trim() == "PONG";
        assert!(Deadline::after_s(PATIENCE_S).wait_until(answers), "Redis does not answer:\n{}", self.logs());
    }

    /// Where it is, every server.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| SocketAddr::from((node.spot.address, node.port))).collect()
    }

    /// URLs of the first three servers at most: a cluster's others are to be learned from them.
    pub fn urls(&self) -> Vec<String> {
        self.addresses().iter().take(3).map(|address| format!("{}://{address}", self.scheme)).collect()
    }

    /// Lines of a configuration with them.
    pub fn config(&self) -> String {
        format!("[directory]\nurls = {:?}\n", self.urls())
    }

    /// What the server says to a command, as `redis-cli` prints it; errors too.
    ///
    /// # Panics
    /// When `redis-cli` cannot be run.
    pub fn ask(&self, node: usize, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        let Node { spot, port, .. } = &self.nodes[node];
        cli.args(["-h", &spot.address.to_string(), "-p", &port.to_string(), "--no-auth-warning"]).args(&self.cli);
        if self.is_cluster {
            cli.arg("-c");
        }
        cli.args(command);
        let answer = output(cli, ANSWER_S);
        String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned()
    }

    /// As [`Self::ask`], of the first server that runs.
    pub fn say(&self, command: &[&str]) -> String {
        let node = self.nodes.iter().position(|node| node.child.is_some()).expect("one runs");
        self.ask(node, command).trim_end().to_owned()
    }

    /// Whether every server of the cluster that runs says that it is one, and no replica is behind.
    pub fn is_whole(&self) -> bool {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].child.is_some()).all(|node| self.is_whole_to(node))
    }

    fn is_whole_to(&self, node: usize) -> bool {
        let info = self.ask(node, &["CLUSTER", "INFO"]);
        let is_ok = info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384");
        is_ok && !self.ask(node, &["INFO", "REPLICATION"]).contains("master_link_status:down")
    }

    /// Makes a server of the cluster the primary of its part, if it is a replica; its primary becomes its replica.
    ///
    /// # Panics
    /// When it does not.
    pub fn promote(&self, node: usize) {
        let is_primary = || self.ask(node, &["ROLE"]).starts_with("master");
        let promoted = Deadline::after_s(PATIENCE_S).wait_until(|| {
            is_primary() || {
                self.ask(node, &["CLUSTER", "FAILOVER"]);
                Deadline::after_s(2).wait_until(is_primary)
            }
        });
        assert!(promoted, "Redis on {} does not become a primary:\n{}", self.addresses()[node], self.logs());
    }

    /// A server's process, while it runs.
    pub fn pid(&self, node: usize) -> Option<u32> {
        self.nodes[node].child.as_ref().map(Child::id)
    }

    /// A server that was started and has ended by itself: its number, and its log.
    pub fn ended(&mut self) -> Option<(usize, String)> {
        let ended = |node: &mut Node| {
            node.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()))
        };
        let node = self.nodes.iter_mut().position(ended)?;
        Some((node, std::fs::read_to_string(log_file(&self.nodes[node].folder)).unwrap_or_default()))
    }

    /// Keys of all servers that run.
    pub fn key_count(&self) -> usize {
        let running = (0..self.nodes.len()).filter(|&node| self.nodes[node].child.is_some());
        let primaries = running.filter(|&node| self.ask(node, &["ROLE"]).starts_with("master"));
        primaries.map(|node| self.ask(node, &["DBSIZE"]).trim().parse::<usize>().unwrap_or(0)).sum()
    }

    /// Ends a server at once.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Starts a server that has ended, where it was, with what it has stored: nothing but who is in its cluster.
    ///
    /// # Panics
    /// As [`Self::single`].
    pub fn start_again(&mut self, node: usize) {
        self.nodes[node].start();
        self.wait_for(node);
        if self.is_cluster {
            assert!(Deadline::after_s(PATIENCE_S).wait_until(|| self.is_whole()), "no cluster:\n{}", self.logs());
        }
    }

    /// Sends a server a signal: STOP and CONT freeze it and let it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, node: usize, signal: Signal) {
        let child = self.nodes[node].child.as_ref().expect("the server runs");
        kill_process(Pid::from_child(child), signal).expect("a child can be sent a signal");
    }

    fn logs(&self) -> String {
        self.nodes.iter().map(|node| std::fs::read_to_string(log_file(&node.folder)).unwrap_or_default()).collect()
    }
}

impl Node {
    fn start(&mut self) {
        assert!(self.child.is_none(), "the server runs already");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log_file(&self.folder));
        let log = log.expect("a log file");
        let errors = log.try_clone().expect("a log file twice");
        let mut command = self.spot.command(&binary("cluster"));
        command.arg("redis-server");
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
        let (started, child) = mpsc::channel();
        let (keeper, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let _ = started.send(command.spawn());
            let _: Result<(), _> = ended.recv();
        });
        let child = child.recv().expect("the thread starts it");
        self.child = Some(child.expect("the program `cluster` can be started"));
        self.keeper = Some(keeper);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.keeper = None;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the log of Redis:\n{}", self.logs());
        }
        self.nodes.iter_mut().for_each(Node::kill);
    }
}

fn cluster_options() -> Vec<String> {
    let options = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"];
    let timeout = ["--cluster-node-timeout", NODE_TIMEOUT_MS, "--repl-diskless-sync-delay", "0"];
    options.into_iter().chain(timeout).map(str::to_owned).collect()
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("redis.log")
}

/// Ports that are free, and so are those of the bus. They are held while they are looked for.
fn free_ports(count: usize) -> Vec<u16> {
    let mut held = Vec::new();
    for _ in 0..PORTS.len() {
        let port = PORTS.start + (OsEntropy.next_u64() % PORTS.len() as u64) as u16;
        let both = [port, port + BUS].map(|port| TcpListener::bind(("127.0.0.1", port)));
        if let [Ok(own), Ok(bus)] = both {
            held.push((port, own, bus));
        }
        if held.len() == count {
            return held.iter().map(|(port, ..)| *port).collect();
        }
    }
    panic!("no ports are free on 127.0.0.1");
}
