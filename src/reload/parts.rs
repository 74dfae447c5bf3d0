//! The parts that reload: keys, settings of gateway shards, the log level, the certificate.

use std::sync::Arc;

use gateway::auth::Trust;
use gateway::{Change, Settings, UserRates};

use super::{Prepared, Reloadable};
use crate::auth;
use crate::cluster::Roster;
use crate::config::Config;
use crate::http::Names;
use crate::logging::LogLevel;
use crate::node::{Inbox, ShardChange};
use crate::tls::{self, Certificates};

/// Signing keys, audiences, issuers.
#[derive(Debug)]
pub struct AuthPart(pub Arc<Trust>);

impl Reloadable for AuthPart {
    fn prepare(&self, config: &Config) -> Result<Prepared, String> {
        if !config.auth.has_keys() && !self.0.trusted().development {
            return Err(
                "[auth] names no key any more. A server that has keys does not fall back to the development key \
                        while it runs; start it anew if that is meant"
                    .to_owned(),
            );
        }
        let trusted = auth::trusted(config).map_err(|error| error.to_string())?;
        let read = match trusted.development {
            true => "the development key".to_owned(),
            false => format!("keys: {}", trusted.keys.names().join(", ")),
        };
        let trust = self.0.clone();
        Ok(Prepared { read: vec![read], apply: Box::new(move || trust.replace(trusted)) })
    }
}

/// Hosts, rates and the spread of a drain.
pub struct SettingsPart {
    /// Every shard's.
    pub inboxes: Vec<Inbox>,
    /// One for all shards.
    pub rates: Arc<UserRates>,
}

impl Reloadable for SettingsPart {
    fn prepare(&self, config: &Config) -> Result<Prepared, String> {
        let settings = Arc::new(Settings {
            allowed_hosts: config.http.allowed_hosts.clone(),
            sends_per_second_per_user: config.limits.sends_per_second_per_user,
            burst_per_user: config.limits.burst_per_user,
            drain_spread_ms: config.limits.drain_spread_ms,
        });
        let (inboxes, rates) = (self.inboxes.clone(), self.rates.clone());
        let apply = move || {
            rates.set(settings.sends_per_second_per_user, settings.burst_per_user);
            inboxes.iter().for_each(|inbox| inbox.put(ShardChange::Gateway(Change::Settings(settings.clone()))));
        };
        Ok(Prepared { read: Vec::new(), apply: Box::new(apply) })
    }
}

/// The names HTTP goes by.
#[derive(Debug)]
pub struct HttpPart(pub Arc<Names>);

impl Reloadable for HttpPart {
    fn prepare(&self, config: &Config) -> Result<Prepared, String> {
        let (names, allowed) = (self.0.clone(), config.http.allowed_hosts.clone());
        Ok(Prepared { read: Vec::new(), apply: Box::new(move || names.allow(&allowed)) })
    }
}

/// What is logged.
#[derive(Debug)]
pub struct LogPart(pub LogLevel);

impl Reloadable for LogPart {
    fn prepare(&self, config: &Config) -> Result<Prepared, String> {
        let (log, level) = (self.0.clone(), config.log.level.clone());
        Ok(Prepared { read: Vec::new(), apply: Box::new(move || log.set(&level)) })
    }
}

/// The list of nodes; `None` in one process.
#[derive(Debug)]
pub struct NodesPart(pub Option<Roster>);

impl Reloadable for NodesPart {
    fn prepare(&self, _config: &Config) -> Result<Prepared, String> {
        let Some(roster) = self.0.clone() else { return Ok(Prepared { read: Vec::new(), apply: Box::new(|| ()) }) };
        let list = roster.prepare().map_err(|error| error.to_string())?;
        let read = format!("other nodes: {}", list.names());
        Ok(Prepared { read: vec![read], apply: Box::new(move || roster.take(list)) })
    }
}

/// The certificate of every listener; `None` on a server that serves without TLS.
#[derive(Debug)]
pub struct TlsPart(pub Option<Certificates>);

impl Reloadable for TlsPart {
    fn prepare(&self, config: &Config) -> Result<Prepared, String> {
        let identity = tls::read(config).map_err(|error| error.to_string())?;
        match (&self.0, identity) {
            (None, None) => Ok(Prepared { read: Vec::new(), apply: Box::new(|| ()) }),
            (Some(certificates), Some(identity)) => {
                let certificates = certificates.clone();
                let read = format!("TLS certificate: {identity}");
                let apply = move || {
                    certificates.replace(identity);
                };
                Ok(Prepared { read: vec![read], apply: Box::new(apply) })
            }
            _ => {
                Err("TLS cannot be turned on or off while the server runs (tls.cert_file, tls.key_file): start it anew"
                    .to_owned())
            }
        }
    }
}
