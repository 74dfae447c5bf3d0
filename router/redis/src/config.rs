//! What a mirror must be told.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

/// Redis, as a mirror uses it. Its debug form does not show the password.
#[derive(Clone)]
pub struct RedisConfig {
    pub(crate) seeds: Vec<ConnectionInfo>,
    /// The seeds are Sentinels, and this is the primary they watch.
    pub(crate) primary: Option<String>,
    /// The writer's name: what this router wrote, no other removes.
    pub(crate) writer: String,
    /// Whose directory it is: two clusters do not share one.
    pub(crate) cluster: String,
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAnAddress(String);

impl RedisConfig {
    /// `urls`: one Redis, or nodes of one Redis Cluster; `redis://[user@]host[:port][/database]`, `rediss://` for TLS.
    /// `writer`: this router's name, without spaces; may be empty. `cluster`: whose directory it is.
    ///
    /// # Errors
    /// The first that cannot be used, and why; never with a password in it.
    pub fn new(urls: &[String], password: Option<&str>, (writer, cluster): (&str, &str)) -> Result<Self, NotAnAddress> {
        let seeds = urls.iter().map(|url| seed(url, password)).collect::<Result<Vec<_>, _>>()?;
        if seeds.iter().any(|seed| seed.redis_settings().db() != seeds[0].redis_settings().db()) {
            return Err(NotAnAddress("all must name the same database, or none".to_owned()));
        }
        Ok(Self { seeds, primary: None, writer: writer.replace(char::is_whitespace, "_"), cluster: cluster.to_owned() })
    }

    /// The URLs are those of Sentinels, who are asked without a user or password where the primary of this name is.
    #[must_use]
    pub fn with_sentinels(self, primary: Option<String>) -> Self {
        Self { primary, ..self }
    }

    /// The addresses, for people.
    pub(crate) fn addresses(&self) -> String {
        self.seeds.iter().map(|seed| seed.addr().to_string()).collect::<Vec<_>>().join(", ")
    }
}

fn seed(url: &str, password: Option<&str>) -> Result<ConnectionInfo, NotAnAddress> {
    // A password must not come back in an error, nor in what a reload prints.
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    if let Some((credentials, host)) = authority.rsplit_once('@')
        && credentials.contains(':')
    {
        return Err(NotAnAddress(format!("the URL of {host} holds a password: it belongs into a file of its own")));
    }
    let invalid = |why: String| NotAnAddress(format!("{url:?}: {why}"));
    let info = url.into_connection_info().map_err(|error| invalid(error.to_string()))?;
    if !matches!(info.addr(), ConnectionAddr::Tcp(..) | ConnectionAddr::TcpTls { insecure: false, .. }) {
        return Err(invalid("redis://host:port, or rediss://host:port for TLS, is wanted".to_owned()));
    }
    let Some(password) = password else { return Ok(info) };
    let settings = info.redis_settings().clone().set_password(password);
    Ok(info.set_redis_settings(settings))
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writer, cluster, .. } = self;
        f.debug_struct("RedisConfig")
            .field("addresses", &self.addresses())
            .field("writer", writer)
            .field("cluster", cluster)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(urls: &[&str], password: Option<&str>) -> Result<RedisConfig, String> {
        let urls: Vec<String> = urls.iter().map(|&url| url.to_owned()).collect();
        RedisConfig::new(&urls, password, ("rt 1", "c")).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_urls_with_or_without_tls() {
        let config = of(&["redis://me@10.0.0.1/2", "rediss://cache.example:7000/2"], Some("se cret")).unwrap();
        assert_eq!(config.addresses(), "10.0.0.1:6379, cache.example:7000");
        let settings = config.seeds[0].redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("me"), Some("se cret"), 2));
        assert!(!format!("{config:?}").contains("se cret") && config.writer == "rt_1");
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_password() {
        for (urls, why) in [
            (&["10.0.0.1:6379"][..], "did not parse"),
            (&["http://10.0.0.1"], "did not parse"),
            (&["unix:///run/redis.sock"], "redis://host:port"),
            (&["rediss://10.0.0.1/#insecure"], "redis://host:port"),
            (&["redis://10.0.0.1/x"], "database"),
            (&["redis://10.0.0.1/1", "redis://10.0.0.2/2"], "same database"),
            (&["redis://me:hunter2@10.0.0.1"], "a file of its own"),
        ] {
            let error = of(urls, None).unwrap_err();
            assert!(error.contains(why) && !error.contains("hunter2"), "{urls:?}: {error}");
        }
    }
}
