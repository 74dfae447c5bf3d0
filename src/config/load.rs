//! Loads a configuration: the file's keys, overridden by the command line's, checked.

use std::path::{Path, PathBuf};

use confique::{Config as _, Layer as _};

use super::Config;

/// The layer type: the same keys, all optional.
pub type Layer = <Config as confique::Config>::Layer;

/// A value outside its bounds.
#[derive(Debug)]
pub struct OutOfBounds {
    /// Its key, dotted.
    pub key: &'static str,
    /// As given.
    pub value: String,
    /// What would do.
    pub allowed: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read: {source}", path = path.display())]
    #[diagnostic(help("`shardwire config` prints a commented default configuration"))]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An unknown key, a wrong type, or no TOML at all. The detail names line and key.
    #[error("the configuration file {path} is not valid:\n{detail}", path = path.display())]
    #[diagnostic(help("`shardwire config` prints every key with its meaning, default and bounds"))]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Line, key and what was expected.
        detail: String,
    },
    /// A value outside its bounds.
    #[error("{key} = {value} in {origin} is not allowed: {allowed}")]
    OutOfBounds {
        /// Its key, dotted.
        key: &'static str,
        /// As given.
        value: String,
        /// File, or the command line.
        origin: String,
        /// What would do.
        allowed: String,
    },
    /// The layers do not make a configuration.
    #[error("the configuration is not complete: {0}")]
    Incomplete(String),
}

/// Loads `file` if one is given, lets `overrides` win, fills in defaults and checks bounds.
///
/// # Errors
/// [`ConfigError`], which names key, file and what is allowed.
pub fn load(file: Option<&Path>, overrides: Layer) -> Result<Config, ConfigError> {
    let mut layer = overrides;
    let mut origin = "the command line".to_owned();
    if let Some(path) = file {
        let path = path.to_owned();
        let text =
            std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        let from_file: Layer = toml::from_str(&text)
            .map_err(|error| ConfigError::Invalid { path: path.clone(), detail: error.to_string() })?;
        origin = format!("{} (or on the command line)", path.display());
        layer = layer.with_fallback(from_file);
    }
    let layer = layer.with_fallback(Layer::default_values());
    let config = Config::from_layer(layer).map_err(|error| ConfigError::Incomplete(error.to_string()))?;
    config.check().map_err(|bad| ConfigError::OutOfBounds {
        key: bad.key,
        value: bad.value,
        origin,
        allowed: bad.allowed,
    })?;
    Ok(config)
}

/// The commented default configuration.
pub fn template() -> String {
    let text = confique::toml::template::<Config>(confique::toml::FormatOptions::default());
    format!(
        "# Shardwire's configuration: every key with its default. (reloadable) or (restart) says when a change counts.\n\n{text}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shardwire.toml");
        std::fs::write(&path, text).unwrap();
        load(Some(&path), Layer::empty()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_template_is_the_default_configuration() {
        let uncommented: String = template()
            .lines()
            .filter_map(|line| line.strip_prefix('#').or(Some(line)))
            .filter(|line| line.starts_with('[') || (line.contains(" = ") && !line.starts_with(' ')))
            .map(|line| format!("{line}\n"))
            .collect();
        let from_template = load_text(&uncommented).unwrap();
        let default = load(None, Layer::empty()).unwrap();
        assert_eq!(format!("{from_template:?}"), format!("{default:?}"));
    }

    #[test]
    fn every_key_says_when_a_change_counts() {
        let text = template();
        let keys = text.lines().filter(|line| line.starts_with('#') && line.contains('=') && !line.starts_with("# "));
        let marks = text.matches("(restart)").count() + text.matches("(reloadable)").count();
        assert_eq!(marks - 2, keys.count(), "one mark a key, and two in the head");
    }

    #[test]
    fn an_unknown_key_names_key_file_and_what_is_allowed() {
        let error = load_text("[limits]\nin_flight = 3\n").unwrap_err();
        assert!(error.contains("shardwire.toml") && error.contains("in_flight_per_session"), "{error}");
        let error = load_text("[limit]\n").unwrap_err();
        assert!(error.contains("`limit`") && error.contains("`limits`"), "{error}");
    }

    #[test]
    fn a_bad_value_names_key_file_and_what_is_allowed() {
        let error = load_text("[limits]\nframe_bytes = 7\n").unwrap_err();
        assert!(error.contains("limits.frame_bytes = 7") && error.contains("1024 to 1048576"), "{error}");
        assert!(error.contains("shardwire.toml"), "{error}");
        let error = load_text("[server]\nnative = \"nowhere\"\n").unwrap_err();
        assert!(error.contains("native") && error.contains("socket address"), "{error}");
        let error = load_text("[edge]\ntrusted_proxies = [\"10.0.0.0/8\", \"lb-1\"]\n").unwrap_err();
        assert!(error.contains("edge.trusted_proxies = \"lb-1\"") && error.contains("networks (10.0.0.0/8"), "{error}");
        let error = load_text("[edge]\nproxy_protocol = \"on\"\n").unwrap_err();
        assert!(error.contains("off, optional, required"), "{error}");
        let error = load_text("[edge]\nproxy_protocol = \"required\"\n").unwrap_err();
        assert!(error.contains("edge.trusted_proxies names nobody"), "{error}");
        let error = load_text("[traces]\nendpoint = \"otel:4317\"\n").unwrap_err();
        assert!(error.contains("traces.endpoint = \"otel:4317\"") && error.contains("http://host:port"), "{error}");
        let error = load_text("[traces]\nsample = 2.0\n").unwrap_err();
        assert!(error.contains("traces.sample = 2") && error.contains("0.000001 to 1"), "{error}");
        let error = load_text("[log]\nlevel = \"loud\"\n").unwrap_err();
        assert!(error.contains("error, warn, info, debug, trace"), "{error}");
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "[server]\nshards = 3\npartitions = 2\n").unwrap();
        let mut overrides = Layer::empty();
        overrides.server.shards = Some(5);
        let config = load(Some(&path), overrides).unwrap();
        assert_eq!((config.server.shards, config.server.partitions), (5, 2));
    }
}
