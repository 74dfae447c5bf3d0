//! Which engine keeps messages behind the journal, and where it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use confique::Config as Confique;
use scylla_store::{Credentials, ScyllaConfig};
use serde::Serialize;

use super::load::OutOfBounds;

/// How many partitions may move.
const PARTITIONS: core::ops::RangeInclusive<u16> = 1..=storage_writer::store::Sharing::PARTITIONS_MAX;

/// The engine behind the journal (docs/OPERATIONS.md).
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Store {
    /// embedded: in the data folder. scylla: in a Scylla or Cassandra cluster, whose tables `shardwire migrate` makes. (restart)
    #[config(default = "embedded")]
    pub engine: String,
    /// When a message is acknowledged there. journal: when this host's journal has it; one writer. store: when that cluster has it;
    /// any number of writers. The same on every node. (restart)
    #[config(default = "journal")]
    pub ack: String,
    /// Partitions that move between writers where ack is store, 1 to 128: as many as `shardwire migrate` noted when it made
    /// the tables, the same on every node. (restart)
    #[config(default = 16)]
    pub partitions: u16,
    /// Where ack is store: bytes of the data folder that a writer may fill with sends, and hold of them in memory, while that
    /// cluster does not answer; 0 = sends wait for it instead. (restart)
    #[config(default = 268435456)]
    pub spool_bytes: u64,
    /// Some nodes of that cluster, `host:port`; the others are learned from them. (restart)
    #[config(default = [])]
    pub nodes: Vec<String>,
    /// Its keyspace: lower case letters, digits and `_`. One data folder has one keyspace. (restart)
    #[config(default = "shardwire")]
    pub keyspace: String,
    /// Copies of everything, by datacenter. (restart)
    #[config(default = { "datacenter1": 3 })]
    pub replication: BTreeMap<String, u32>,
    /// The datacenter whose quorum answers; unset = the only one of `replication`. (restart)
    pub datacenter: Option<String>,
    /// File with the cluster's user on its first line and the password on its second; unset = it asks for nobody. (restart)
    pub credentials_file: Option<PathBuf>,
}

/// Why the engine's settings cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StoreConfigError {
    /// The credentials' file cannot be read.
    #[error("store.credentials_file {path}: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("store.credentials_file {path}: the user's name belongs on the first line and the password on the second, and nothing else", path = path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

impl Store {
    /// Whether messages are kept in a cluster.
    pub fn is_scylla(&self) -> bool {
        self.engine == "scylla"
    }

    /// Whether several writers share the cluster, and partitions move between them.
    pub fn is_shared(&self) -> bool {
        self.is_scylla() && self.ack == "store"
    }

    /// The only datacenter that can be meant, or the one that is.
    fn datacenter(&self) -> Option<&String> {
        let only = || self.replication.keys().next().filter(|_| self.replication.len() == 1);
        self.datacenter.as_ref().or_else(only)
    }

    /// Checks what types cannot say.
    pub(super) fn check(&self) -> Result<(), OutOfBounds> {
        let bad = |key, value: String, allowed: &str| Err(OutOfBounds { key, value, allowed: allowed.to_owned() });
        if !["embedded", "scylla"].contains(&self.engine.as_str()) {
            return bad("store.engine", self.engine.clone(), "embedded or scylla");
        }
        if !["journal", "store"].contains(&self.ack.as_str()) {
            return bad("store.ack", self.ack.clone(), "journal or store");
        }
        if self.ack == "store" && !self.is_scylla() {
            return bad("store.ack", self.ack.clone(), "journal, unless store.engine is scylla");
        }
        if !PARTITIONS.contains(&self.partitions) {
            return bad("store.partitions", self.partitions.to_string(), "1 to 128");
        }
        let is_node = |node: &String| {
            node.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if self.is_scylla() && self.nodes.is_empty() || !self.nodes.iter().all(is_node) {
            return bad(
                "store.nodes",
                format!("{:?}", self.nodes),
                "at least one host:port where store.engine is scylla",
            );
        }
        if !ScyllaConfig::is_keyspace(&self.keyspace) {
            return bad("store.keyspace", self.keyspace.clone(), "1 to 48 of a-z, 0-9 and _, a letter first");
        }
        let copies = format!("{:?}", self.replication);
        // The names go into a statement.
        let is_name = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if self.replication.iter().any(|(name, copies)| name.is_empty() || !is_name(name) || !(1..=9).contains(copies))
        {
            return bad(
                "store.replication",
                copies,
                "1 to 9 copies in each datacenter; names of letters, digits, -, _ and .",
            );
        }
        match self.datacenter() {
            Some(datacenter) if self.replication.contains_key(datacenter) => Ok(()),
            datacenter => {
                bad("store.datacenter", format!("{datacenter:?}"), "one of the datacenters in store.replication")
            }
        }
    }

    /// What the cluster's store is opened with. Blocks.
    ///
    /// # Errors
    /// [`StoreConfigError`] names the file that cannot be used.
    pub fn scylla(&self) -> Result<ScyllaConfig, StoreConfigError> {
        let credentials = match &self.credentials_file {
            None => None,
            Some(path) => {
                let path = path.clone();
                let text = std::fs::read_to_string(&path);
                let text = text.map_err(|source| StoreConfigError::Unreadable { path: path.clone(), source })?;
                Some(Credentials::parse(&text).ok_or(StoreConfigError::Malformed { path })?)
            }
        };
        Ok(ScyllaConfig {
            keyspace: self.keyspace.clone(),
            replication: self.replication.clone(),
            datacenter: self.datacenter().cloned().unwrap_or_default(),
            credentials,
            partitions: self.is_shared().then_some(self.partitions),
            ..ScyllaConfig::new(self.nodes.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Layer, load};

    fn error_of(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shardwire.toml");
        std::fs::write(&path, text).unwrap();
        load(Some(&path), confique::Layer::empty()).map(|_: super::super::Config| ()).unwrap_err().to_string()
    }

    #[test]
    fn an_engine_that_cannot_be_is_refused_by_key() {
        let _: Option<Layer> = None;
        for (text, key) in [
            ("engine = \"postgres\"", "store.engine"),
            ("ack = \"soon\"", "store.ack"),
            ("ack = \"store\"", "store.ack"),
            ("partitions = 0", "store.partitions"),
            ("partitions = 129", "store.partitions"),
            ("engine = \"scylla\"", "store.nodes"),
            ("nodes = [\"db1\"]", "store.nodes"),
            ("keyspace = \"a; DROP\"", "store.keyspace"),
            ("replication = { dc1 = 0 }", "store.replication"),
            ("replication = { \"dc'1\" = 1 }", "store.replication"),
            ("datacenter = \"elsewhere\"", "store.datacenter"),
            ("replication = { dc1 = 3, dc2 = 3 }", "store.datacenter"),
        ] {
            let error = error_of(&format!("[store]\n{text}\n"));
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
