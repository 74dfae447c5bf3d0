//! Reload: the configuration and the files it names, read anew while the server serves. Whole or not at all.
//!
//! Every part that can change says first what it would take ([`Reloadable::prepare`]: reads, checks, changes nothing); only
//! when all of them could is anything put in place, and that cannot fail. Keys that need a restart are named and wait for it.

mod keys;
mod parts;

use std::sync::Mutex;

use fabric::mutex::lock;
use serde::{Deserialize, Serialize};

use crate::cli::ServeArgs;
use crate::config::{self, Config, ConfigError};

pub use keys::Changed;
pub use parts::{AuthPart, HttpPart, LogPart, NodesPart, SettingsPart, TlsPart};

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
        let mut configs = lock(&self.configs);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    /// Notes the level it was given; refuses `error`.
    struct Level(Arc<Mutex<Vec<String>>>, bool);

    impl Reloadable for Level {
        fn prepare(&self, config: &Config) -> Result<Prepared, String> {
            let (seen, level) = (self.0.clone(), config.log.level.clone());
            if self.1 && level == "error" {
                return Err("not this one".to_owned());
            }
            let apply = Box::new(move || seen.lock().unwrap().push(level));
            Ok(Prepared { read: vec!["a file".to_owned()], apply })
        }
    }

    #[test]
    fn all_parts_take_a_configuration_or_none_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shardwire.toml");
        let write = |level: &str, shards: u16| {
            std::fs::write(&file, format!("[log]\nlevel = \"{level}\"\n[server]\nshards = {shards}\n")).unwrap();
        };
        write("info", 1);
        let args = Cli::try_parse_from(["shardwire", "--config", file.to_str().unwrap()]).unwrap().serve;
        let started = config::load(Some(&file), args.layer()).unwrap();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let part = |fussy| Box::new(Level(seen.clone(), fussy)) as Box<dyn Reloadable>;
        let reloader = Reloader::new(args, started, vec![part(false), part(true)]);

        write("debug", 2);
        let reloaded = reloader.reload().unwrap();
        assert_eq!(*seen.lock().unwrap(), ["debug", "debug"]);
        assert_eq!(reloaded.read, ["a file", "a file"]);
        assert_eq!((&reloaded.changed[0].key[..], &reloaded.restart[0].key[..]), ("log.level", "server.shards"));
        write("error", 2);
        assert!(matches!(reloader.reload(), Err(ReloadError::Part(why)) if why == "not this one"));
        write("loud", 2);
        assert!(matches!(reloader.reload(), Err(ReloadError::Config(_))));
        assert_eq!(seen.lock().unwrap().len(), 2, "the first part was not given what the second refused");
        write("debug", 2);
        let reloaded = reloader.reload().unwrap();
        assert!(reloaded.changed.is_empty(), "as it was before the refused ones");
        assert_eq!(reloaded.restart.len(), 1, "still waiting for a restart");
    }
}
