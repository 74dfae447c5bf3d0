//! Everything a run makes faults in: the cluster, the engines below it, and, where there are any, a host for each process.
//!
//! Without engines all runs on this host, and links go through relays, which hold back, slow down and lose. With engines, whose
//! clients learn addresses from them, each process has a host of its own, and packets between two hosts vanish; links between
//! nodes go through relays all the same.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FaultsError;
use super::fault::{STOPS_WITHIN_S, is_engine};
use crate::process::cluster::{Cluster, ClusterError, Hosts, Options};
use crate::process::engines::{EngineShape, Engines};
use crate::process::{Deadline, Signal};

/// What a cluster's tables are in.
const KEYSPACE: &str = "shardwire";
/// The copies of the directory are written again within, s.
const COPIED_WITHIN_S: u64 = 30;
/// Names the library that a writer whose clock jumps is started with.
const FAKETIME: &str = "SHARDWIRE_FAKETIME";

/// See the module.
pub struct World {
    /// The cluster.
    pub cluster: Cluster,
    /// What is below it.
    pub engines: Engines,
    /// After what runs there.
    hosts: Option<Arc<Hosts>>,
}

impl World {
    /// Starts engines and cluster; the options say what of the cluster, but for its hosts and where its engines are.
    ///
    /// # Errors
    /// As [`Cluster::start`]; this host does not let this process make network namespaces.
    ///
    /// # Panics
    /// When an engine does not start, with its log.
    pub fn start(options: Options, engines: EngineShape) -> Result<Self, ClusterError> {
        let nodes = options.shape.nodes();
        let hosts = match engines {
            EngineShape::NONE => None,
            _ => Some(Arc::new(Hosts::new(nodes + engines.processes())?)),
        };
        let engines = Engines::start(engines, hosts.as_deref().map(|hosts| (hosts, nodes)));
        let config = options.config.clone() + &engines.config(KEYSPACE);
        let mut cluster = Cluster::new(&Options { hosts: hosts.clone(), config, ..options })?;
        if engines.keep_messages() {
            cluster.migrate()?;
        }
        cluster.start()?;
        Ok(Self { cluster, engines, hosts })
    }

    /// Everything goes through again, and every node says that it is ready; the directory is copied again.
    ///
    /// # Errors
    /// Who is not, or what has ended by itself.
    pub fn mend_all(&mut self) -> Result<(), FaultsError> {
        if let Some(relays) = self.cluster.relays() {
            relays.heal();
        }
        if let Some(hosts) = &self.hosts {
            hosts.heal()?;
        }
        self.cluster.wait_ready()?;
        self.engines.check().and_then(|()| self.engines.wait_whole()).map_err(|how| FaultsError::Engine { how })?;
        let cluster = &self.cluster;
        let away = || -> u64 { cluster.nodes().iter().map(|node| node.metric("directory_away")).sum() };
        if self.engines.shape().directory.servers() > 0
            && !Deadline::after_s(COPIED_WITHIN_S).wait_until(|| away() == 0)
        {
            let how = format!("Redis serves, and a router does not find it within {COPIED_WITHIN_S} s");
            return Err(FaultsError::Engine { how });
        }
        Ok(())
    }

    /// Sends a process a signal.
    pub fn signal(&mut self, name: &str, signal: Signal) {
        if is_engine(name) {
            self.engines.signal(name, signal);
        } else {
            self.cluster.node(name).signal(signal);
        }
    }

    /// Ends a process at once.
    pub fn kill(&mut self, name: &str) {
        if is_engine(name) {
            self.engines.kill(name);
        } else {
            self.cluster.node(name).kill9();
        }
    }

    /// Starts a process that was killed. Waits for an engine's until it serves.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_again(&mut self, name: &str) -> Result<(), ClusterError> {
        if is_engine(name) {
            self.engines.start_again(name);
            return Ok(());
        }
        self.cluster.node(name).start()
    }

    /// From now on packets between a process and each of the others vanish, both ways.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn cut(&self, name: &str, others: &[String]) -> Result<(), ClusterError> {
        self.each_way(name, others, Hosts::cut)
    }

    /// Ends that.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn mend(&self, name: &str, others: &[String]) -> Result<(), ClusterError> {
        self.each_way(name, others, Hosts::mend)
    }

    fn each_way(
        &self,
        name: &str,
        others: &[String],
        act: fn(&Hosts, u8, u8) -> Result<(), ClusterError>,
    ) -> Result<(), ClusterError> {
        let hosts = self.hosts.as_ref().expect("where there are engines, each process has a host of its own");
        let one = self.number(name);
        others.iter().map(|other| self.number(other)).try_for_each(|other| {
            act(hosts, one, other)?;
            act(hosts, other, one)
        })
    }

    /// The number of a process's host.
    fn number(&self, name: &str) -> u8 {
        let nodes = self.cluster.nodes().iter().map(|node| node.place().name.clone());
        let engines = self.engines.processes().into_iter().map(|process| process.name);
        let found = nodes.chain(engines).position(|known| known == name);
        found.unwrap_or_else(|| panic!("there is no process {name}")) as u8
    }

    /// Starts a node again under `faketime`, its clock as it is, unless it runs so already.
    ///
    /// # Errors
    /// The library is not there, or the node does not stop or start.
    pub fn fake_clock(&mut self, name: &str) -> Result<(), ClusterError> {
        if self.cluster.node(name).has_environment() {
            return Ok(());
        }
        let library = faketime()?;
        self.set_clock(name, 0)?;
        let file = self.clock_file(name);
        self.restart(
            name,
            vec![
                ("LD_PRELOAD", library.into()),
                ("FAKETIME_TIMESTAMP_FILE", file.into()),
                // The file is read again after a second.
                ("FAKETIME_CACHE_DURATION", OsString::from("1")),
                ("FAKETIME_DONT_FAKE_MONOTONIC", OsString::from("1")),
            ],
        )
    }

    /// Starts nodes again whose clocks are faked and need not be.
    ///
    /// # Errors
    /// A node does not stop or start.
    pub fn true_clocks(&mut self, but: &[&str]) -> Result<(), ClusterError> {
        let faked = self.cluster.nodes().iter().filter(|node| node.has_environment());
        let faked: Vec<String> = faked.map(|node| node.place().name.clone()).collect();
        faked.iter().filter(|name| !but.contains(&name.as_str())).try_for_each(|name| self.restart(name, Vec::new()))
    }

    fn restart(&mut self, name: &str, environment: Vec<(&'static str, OsString)>) -> Result<(), ClusterError> {
        let node = self.cluster.node(name);
        node.terminate();
        node.wait_for_the_end(STOPS_WITHIN_S)?;
        node.set_environment(environment);
        node.start()?;
        self.cluster.wait_ready()
    }

    /// From within a second on, a node that runs under `faketime` has a wall clock so many seconds off.
    ///
    /// # Errors
    /// The file that says so cannot be written.
    pub fn set_clock(&self, name: &str, by_s: i64) -> Result<(), ClusterError> {
        let path = self.clock_file(name);
        // Renamed, so that nobody reads half of it.
        let new = path.with_extension("new");
        let written = std::fs::write(&new, format!("{by_s:+}\n")).and_then(|()| std::fs::rename(&new, &path));
        written.map_err(|source| ClusterError::Folder { path, source })
    }

    fn clock_file(&self, name: &str) -> PathBuf {
        self.cluster.folder().join(format!("{name}.clock"))
    }
}

/// The library that `SHARDWIRE_FAKETIME` names, or where Debian and Fedora put it.
fn faketime() -> Result<PathBuf, ClusterError> {
    if let Some(path) = std::env::var_os(FAKETIME) {
        return Ok(path.into());
    }
    let below = |folder: &Path| folder.join("faketime").join("libfaketimeMT.so.1");
    let architectures = std::fs::read_dir("/usr/lib").into_iter().flatten().filter_map(Result::ok).map(|e| e.path());
    let found = architectures.chain([PathBuf::from("/usr/lib64")]).map(|folder| below(&folder));
    found.into_iter().find(|path| path.is_file()).ok_or(ClusterError::NoFaketime)
}
