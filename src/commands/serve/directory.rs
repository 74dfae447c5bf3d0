//! Who is connected where: in memory, and where it is configured, in Redis too.

use std::sync::Arc;

use fabric::entropy::{Entropy as _, OsEntropy};
use fabric::link::Roles;
use miette::{IntoDiagnostic as _, Result};
use prometheus_client::registry::Registry;
use redis_directory::{Mirror, MirrorMetrics, Readers};
use router::MemoryDirectory;
use storage_writer::folder::DataFolder;

use super::place::Place;
use crate::config::Config;

/// A process's directory.
pub(super) struct Directory {
    memory: MemoryDirectory,
    mirror: Option<(Mirror, Arc<MirrorMetrics>)>,
}

impl Directory {
    /// Opens it; a router's from what was noted in Redis, where one is configured. Blocks, for some seconds where much is read.
    pub(super) fn open(config: &Config, folder: &DataFolder, place: &Place) -> Result<Self> {
        let hash_seed = OsEntropy.next_u64();
        // Alone, the folder says who one is; in a cluster all routers are one directory.
        let whose = place.identity().unwrap_or_else(|| (String::new(), folder.format().cluster.to_string()));
        let redis = config.directory.redis(&whose.0, &whose.1)?;
        let Some(redis) = redis.filter(|_| place.has(Roles::ROUTER)) else {
            return Ok(Self { memory: MemoryDirectory::new(hash_seed), mirror: None });
        };
        let (memory, metrics) = (MemoryDirectory::mirrored(hash_seed), Arc::<MirrorMetrics>::default());
        // Sessions of a process that is alone ended with it.
        let readers = place.readers().map(|(owns, heard)| Readers { owns, heard });
        let mirror = Mirror::start(redis, memory.clone(), readers, metrics.clone()).into_diagnostic()?;
        Ok(Self { memory, mirror: Some((mirror, metrics)) })
    }

    /// The part in memory.
    pub(super) fn memory(&self) -> MemoryDirectory {
        self.memory.clone()
    }

    /// Adds what the mirror counts to `registry`.
    pub(super) fn register(&self, registry: &mut Registry) {
        if let Some((_, metrics)) = &self.mirror {
            metrics.register(&self.memory, registry);
        }
    }

    /// Notes what changed last. Blocks, for a second at most.
    pub(super) fn stop(self) {
        if let Some((mirror, _)) = self.mirror {
            mirror.stop();
        }
    }
}
