//! A keyspace of a test's own on the shared node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::serialize::row::SerializeRow;
use scylla_store::{ScyllaConfig, ScyllaStore, Writer, migrate};
use shardwire_tests::process::CassandraCluster;
use storage_writer::folder::FolderId;
use storage_writer::store::contract::{Place, SharedPlace};
use storage_writer::store::{SharedStore, Store};

/// The data folder that all of them belong to.
pub const WRITER: Writer = Writer { cluster: FolderId([7; 16]), node: FolderId([8; 16]) };

pub struct Keyspace {
    pub config: ScyllaConfig,
}

impl Keyspace {
    /// One that nobody has made yet.
    pub fn named() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let nodes = CassandraCluster::shared().addresses();
        let mut config = ScyllaConfig::new(nodes.iter().map(ToString::to_string).collect());
        config.keyspace = format!("shardwire_{}", LAST.fetch_add(1, Ordering::Relaxed));
        config.replication = [("datacenter1".to_owned(), 1)].into();
        Self { config }
    }

    /// One with all tables.
    pub fn new() -> Self {
        let this = Self::named();
        migrate(&this.config, WRITER.cluster, false).expect("migrations apply");
        this
    }

    /// One with all tables, for several writers.
    pub fn shared(partitions: u16) -> Self {
        let mut this = Self::named();
        this.config.partitions = Some(partitions);
        migrate(&this.config, WRITER.cluster, false).expect("migrations apply");
        this
    }

    /// One more of its writers.
    pub fn writer(&self) -> Arc<ScyllaStore> {
        Arc::new(ScyllaStore::open_shared(&self.config).expect("a store"))
    }

    pub fn store(&self) -> ScyllaStore {
        ScyllaStore::open(&self.config, WRITER).expect("a store")
    }

    /// Runs one statement on a connection of its own, as somebody else might. `{}` in it is the keyspace.
    pub fn run(&self, statement: &str, values: impl SerializeRow) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let statement = statement.replace("{}", &self.config.keyspace);
        runtime.block_on(async {
            let session: Session =
                SessionBuilder::new().known_nodes(&self.config.nodes).build().await.expect("the node answers");
            session.query_unpaged(statement, values).await.expect("the node does it");
        });
    }
}

impl Place for Keyspace {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.store())
    }
}

impl SharedPlace for Keyspace {
    fn open(&self) -> Arc<dyn SharedStore> {
        self.writer()
    }
}
