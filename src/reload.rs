//! Reload: the configuration and the files it names, read anew while the server serves. Whole or not at all.
//!
//! Every part that can change says first what it would take ([`Reloadable::prepare`]: reads, checks, changes nothing); only
//! when all of them could is anything put in place, and that cannot fail. Keys that need a restart are named and wait for it.

mod keys;
mod parts;

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::cli::ServeArgs;
use crate::config::{self, Config, ConfigError};

pub use keys::Changed;
pub use parts::{AuthPart, HttpPart, LogPart, SettingsPart, TlsPart};

/// A part of the server that takes a new configuration without a restart.
pub trait Reloadable: Send + Sync {
    /// Reads and checks what `config` says of this part, the files it names included. Changes nothing yet. Blocks.
    ///
    /// # Errors
    /// For people: which file or key cannot be used, and why. Nothing is reloaded then.
    fn prepare(&self, config: &Config) -> Result<Prepared, String>;
}

/// What a part would take.
pub struct Prepared {
    /// Files read anew and what they hold, for people; empty when the part has none.
    pub read: Vec<String>,
    /// Puts it in place.
    pub apply: Box<dyn FnOnce() + Send>,
}

/// What a reload did. Fields are only ever added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Keys whose new values count from now on.
    pub changed: Vec<Changed>,
    /// Keys whose new values wait for a restart.
    pub restart: Vec<Changed>,
    /// Files read anew, and what they hold.
    pub read: Vec<String>,
}

/// Why nothing was reloaded.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration itself.
    #[error("nothing is reloaded: {0}")]
    Config(#[from] ConfigError),
    /// What it names.
    #[error("nothing is reloaded: {0}")]
    Part(String),
}

/// Reloads a running server. One a process; any thread.
pub struct Reloader {
    args: ServeArgs,
    parts: Vec<Box<dyn Reloadable>>,
    configs: Mutex<Configs>,
}

struct Configs {
    /// As of the start: what needs a restart is as it says.
    started: Config,
    /// As of the last reload.
    current: Config,
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

impl Reloader {
    /// For a server started with `args` and the `config` they gave.
    pub fn new(args: ServeArgs, config: Config, parts: Vec<Box<dyn Reloadable>>) -> Self {
        let configs = Configs { started: config.clone(), current: config };
        Self { args, parts, configs: Mutex::new(configs) }
    }

    /// Reads the configuration anew and puts it in place. Blocks.
    ///
    /// # Errors
    /// [`ReloadError`]: everything is as it was.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut config = config::load(self.args.config.as_deref(), self.args.layer())?;
        let (changed, restart) = keys::changes(&configs.started, &configs.current, &config);
        // The folder is the one that is open, whatever the file says now.
        config.server = configs.started.server.clone();
        let prepared = self.parts.iter().map(|part| part.prepare(&config)).collect::<Result<Vec<_>, String>>();
        let mut read = Vec::new();
        for part in prepared.map_err(ReloadError::Part)? {
            (part.apply)();
            read.extend(part.read);
        }
        configs.current = config;
        Ok(Reloaded { changed, restart, read })
    }
}
