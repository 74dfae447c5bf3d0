//! One Cassandra node: its settings, its process, its log.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Ports, jars};
use crate::process::cluster::Spot;
use crate::process::{Deadline, binary};

/// How long a node may take to drain and end, s.
const DRAIN_S: u64 = 60;
/// One that is frozen or cut off is asked again then.
const CONNECT_WITHIN: Duration = Duration::from_millis(1_000);
/// Lines of a log that are shown.
const LINES_SHOWN: usize = 30;
/// What the log says once clients are taken.
const READY: &str = "Starting listening for CQL clients";

/// Modules that Cassandra looks into (Java's `--add-exports` and `--add-opens`).
const EXPORTS: [&str; 8] = [
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
    "jdk.attach/sun.tools.attach",
];
const OPENS: [&str; 13] = [
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.lang.reflect",
    "java.base/java.lang",
    "java.base/java.util",
    "jdk.management/com.sun.management.internal",
];
/// A start alone on a machine need not wait for others to be heard of.
const PROPERTIES: [&str; 5] = [
    "cassandra-foreground=yes",
    "cassandra.skip_wait_for_gossip_to_settle=0",
    "cassandra.superuser_setup_delay_ms=0",
    "jdk.attach.allowAttachSelf=true",
    "io.netty.tryReflectionSetAccessible=true",
];
/// What it says of a node that has joined the ring: from then on clients hear of that one.
const JOINED: &str = "state NORMAL";
const LOGGING: &str = r#"<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder>
<pattern>%-5level %date{HH:mm:ss.SSS} %logger{0} %msg%n</pattern></encoder></appender>
<logger name="org.apache.cassandra.service.StorageService" level="DEBUG"/>
<root level="INFO"><appender-ref ref="out"/></root></configuration>"#;

/// A node and its folder. Dropping it kills its process.
pub struct Node {
    folder: PathBuf,
    spot: Spot,
    heap_mb: u32,
    /// How long others are waited for, ms.
    ring_delay_ms: u32,
    cql: u16,
    storage: u16,
    child: Option<Child>,
    /// The thread that its process is tied to ends with this.
    keeper: Option<Sender<()>>,
}

impl Node {
    /// Makes the folder and the settings of one of all nodes.
    pub fn new(folder: &Path, number: usize, all: &[Spot], ports: &Ports) -> Self {
        let folder = folder.join(format!("node{}", number + 1));
        std::fs::create_dir_all(&folder).expect("a node's folder can be made");
        std::fs::write(folder.join("cassandra.yaml"), settings(&folder, number, all, ports)).expect("its settings");
        std::fs::write(folder.join("logback.xml"), LOGGING).expect("its log's settings");
        let (heap_mb, ring_delay_ms) = if all.len() == 1 { (1_024, 2_000) } else { (512, 15_000) };
        let (spot, Ports { cql, storage, .. }) = (all[number].clone(), *ports);
        Self { folder, spot, heap_mb, ring_delay_ms, cql, storage, child: None, keeper: None }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        (self.spot.address, self.cql).into()
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it was started and has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    fn java(&self) -> Command {
        let mut java = self.spot.command(&binary("cluster"));
        java.arg("java");
        let (heap, direct) = (self.heap_mb, self.heap_mb / 4);
        java.args([format!("-Xms{heap}m"), format!("-Xmx{heap}m"), format!("-XX:MaxDirectMemorySize={direct}m")]);
        java.args(["-XX:+UseSerialGC", "-Xss256k"]);
        let jars = jars();
        java.arg(format!("-javaagent:{}", jamm(&jars).display()));
        let packages = [("--add-exports", &EXPORTS[..]), ("--add-opens", &OPENS[..])];
        for (option, package) in packages.iter().flat_map(|(option, all)| all.iter().map(move |one| (option, one))) {
            java.arg(option).arg(format!("{package}=ALL-UNNAMED"));
        }
        java.arg(format!("-Dcassandra.ring_delay_ms={}", self.ring_delay_ms));
        java.args(PROPERTIES.map(|property| format!("-D{property}")));
        let folder = self.folder.display();
        java.arg(format!("-Dcassandra.config=file://{folder}/cassandra.yaml"));
        java.arg(format!("-Dlogback.configurationFile=file:{folder}/logback.xml"));
        java.arg(format!("-Dcassandra.storagedir={folder}")).arg(format!("-Dcassandra.logdir={folder}"));
        java.arg("-cp").arg(jars.join("*")).arg("org.apache.cassandra.service.CassandraDaemon");
        java.current_dir(&self.folder);
        java
    }

    /// Starts its process, on a thread that lives as long as the node: its end is the process's.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "the node runs already");
        let log = std::fs::File::create(self.log_file()).expect("a log file");
        let errors = log.try_clone().expect("a log file twice");
        let mut java = self.java();
        java.stdin(Stdio::null()).stdout(log).stderr(errors);
        let (started, child) = mpsc::channel();
        let (keeper, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let _ = started.send(java.spawn());
            let _: Result<(), _> = ended.recv();
        });
        let child = child.recv().expect("the thread starts it");
        self.child = Some(child.expect("the program `cluster` can be started"));
        self.keeper = Some(keeper);
    }

    /// Waits until it takes clients.
    pub fn wait_until_ready(&mut self, deadline: Deadline) {
        let place = self.address();
        let mut ended = None;
        let ready = deadline.wait_until(|| {
            ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            ended.is_some()
                || (self.log().contains(READY) && TcpStream::connect_timeout(&place, CONNECT_WITHIN).is_ok())
        });
        assert!(ready && ended.is_none(), "Cassandra on {} is not ready ({ended:?}):\n{}", place.ip(), self.log_end());
    }

    /// Waits until it has seen all others of these in the ring.
    pub fn wait_until_it_knows(&self, all: &[Spot], deadline: Deadline) {
        let others = all.iter().map(|spot| spot.address).filter(|address| *address != self.spot.address);
        let mut words: Vec<String> =
            others.map(|address| format!("Node /{address}:{} {JOINED}", self.storage)).collect();
        deadline.wait_until(|| {
            let log = self.log();
            words.retain(|word| !log.contains(word));
            words.is_empty()
        });
        assert!(words.is_empty(), "Cassandra on {} never said {words:?}:\n{}", self.address().ip(), self.log_end());
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the node runs");
        kill_process(Pid::from_child(child), signal).expect("a child can be sent a signal");
    }

    /// Ends it with SIGTERM and waits.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let child = self.child.as_mut().expect("the node runs");
        let ended = Deadline::after_s(DRAIN_S).wait_until(|| child.try_wait().is_ok_and(|status| status.is_some()));
        assert!(ended, "Cassandra does not end:\n{}", self.log_end());
        self.child = None;
        self.keeper = None;
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.keeper = None;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the end of Cassandra's log:\n{}", self.log_end());
        }
        self.kill();
    }
}

fn jamm(jars: &Path) -> PathBuf {
    let entries = std::fs::read_dir(jars).unwrap_or_else(|error| panic!("{}: {error}", jars.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_jamm = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("jamm-")
    };
    paths.into_iter().find(is_jamm).unwrap_or_else(|| panic!("{} holds no Cassandra", jars.display()))
}

/// Each node has one token, a fair share of the ring; caches and memtables are small.
fn settings(folder: &Path, number: usize, all: &[Spot], ports: &Ports) -> String {
    let token = i128::from(i64::MIN) + ((1_i128 << 64) / all.len() as i128) * number as i128;
    let (own, seed, folder) = (all[number].address, all[0].address, folder.display());
    let Ports { cql, storage, storage_tls } = ports;
    // Killed, a node has forgotten what it was told within the last 100 ms or so, unless it waits for its disk; where there are
    // others, they have it.
    let periodic = "periodic\ncommitlog_sync_period: 1000ms";
    let sync = if all.len() == 1 { "batch" } else { periodic };
    format!(
        "cluster_name: shardwire-tests
num_tokens: 1
initial_token: {token}
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
listen_address: {own}
rpc_address: {own}
storage_port: {storage}
ssl_storage_port: {storage_tls}
native_transport_port: {cql}
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: \"{seed}:{storage}\"
data_file_directories: [\"{folder}/data\"]
commitlog_directory: {folder}/commitlog
saved_caches_directory: {folder}/saved_caches
hints_directory: {folder}/hints
cdc_raw_directory: {folder}/cdc_raw
commitlog_sync: {sync}
commitlog_segment_size: 16MiB
commitlog_total_space: 256MiB
memtable_heap_space: 128MiB
memtable_offheap_space: 64MiB
key_cache_size: 4MiB
row_cache_size: 0MiB
counter_cache_size: 0MiB
concurrent_reads: 16
concurrent_writes: 32
disk_access_mode: mmap_index_only
auto_snapshot: false
"
    )
}
