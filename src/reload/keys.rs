//! Which keys of the configuration differ, and whether a reload is enough for them: their documentation says so.

use std::collections::BTreeMap;

use confique::Config as _;
use confique::meta::{FieldKind, Meta};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// A key with another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Dotted.
    pub key: String,
    /// As it was, in TOML; `unset` for none.
    pub before: String,
    /// As it is now in the file or on the command line.
    pub after: String,
}

/// What differs: keys that a reload applies (against `current`), and keys that need a restart (against `started`).
pub(super) fn changes(started: &Config, current: &Config, new: &Config) -> (Vec<Changed>, Vec<Changed>) {
    let (started, current, new) = (values(started), values(current), values(new));
    let (mut reloaded, mut restart) = (Vec::new(), Vec::new());
    for (key, reloadable) in reloadable_keys() {
        let before = if reloadable { &current } else { &started };
        let value = |values: &BTreeMap<String, String>| values.get(&key).cloned().unwrap_or_else(|| "unset".to_owned());
        let (before, after) = (value(before), value(&new));
        if before != after {
            let changed = Changed { key, before, after };
            if reloadable { reloaded.push(changed) } else { restart.push(changed) }
        }
    }
    (reloaded, restart)
}

/// Every key, and whether its documentation marks it `(reloadable)`.
fn reloadable_keys() -> Vec<(String, bool)> {
    fn walk(meta: &Meta, prefix: &str, keys: &mut Vec<(String, bool)>) {
        for field in meta.fields {
            let name = format!("{prefix}{}", field.name);
            match field.kind {
                FieldKind::Nested { meta } => walk(meta, &format!("{name}."), keys),
                FieldKind::Leaf { .. } => {
                    keys.push((name, field.doc.iter().any(|line| line.contains("(reloadable)"))));
                }
            }
        }
    }
    let mut keys = Vec::new();
    walk(&Config::META, "", &mut keys);
    keys
}

/// Every set key's value as TOML writes it. A key whose value is a table is one key.
fn values(config: &Config) -> BTreeMap<String, String> {
    fn walk(meta: &Meta, table: &toml::Table, prefix: &str, values: &mut BTreeMap<String, String>) {
        for field in meta.fields {
            match (&field.kind, table.get(field.name)) {
                (FieldKind::Nested { meta }, Some(toml::Value::Table(table))) => {
                    walk(meta, table, &format!("{prefix}{}.", field.name), values);
                }
                (_, Some(value)) => {
                    values.insert(format!("{prefix}{}", field.name), value.to_string());
                }
                (_, None) => {}
            }
        }
    }
    let mut values = BTreeMap::new();
    let table = toml::Table::try_from(config).expect("a configuration is a table of numbers, texts and lists");
    walk(&Config::META, &table, "", &mut values);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layer, load};

    fn default() -> Config {
        load(None, <Layer as confique::Layer>::empty()).unwrap()
    }

    #[test]
    fn changes_are_told_apart_by_what_they_need() {
        let (started, mut new) = (default(), default());
        assert_eq!(changes(&started, &started, &new), (Vec::new(), Vec::new()));
        new.http.allowed_hosts = vec!["chat.example".to_owned()];
        new.auth.jwks_file = Some("/etc/jwks.json".into());
        new.server.shards = 3;
        let (reloaded, restart) = changes(&started, &started, &new);
        let changed = |key: &str, before: &str, after: &str| Changed {
            key: key.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        };
        assert_eq!(
            reloaded,
            [
                changed("auth.jwks_file", "unset", "\"/etc/jwks.json\""),
                changed("http.allowed_hosts", "[]", "[\"chat.example\"]")
            ]
        );
        assert_eq!(restart, [changed("server.shards", "0", "3")]);
        let (reloaded, restart) = changes(&started, &new, &new);
        assert!(reloaded.is_empty(), "applied before");
        assert_eq!(restart.len(), 1, "still waiting");
        new.store.replication.insert("elsewhere".to_owned(), 3);
        let (_, restart) = changes(&started, &new, &new);
        assert!(
            restart.iter().any(|changed| changed.key == "store.replication" && changed.after.contains("elsewhere"))
        );
    }

    #[test]
    fn every_key_is_known_by_name() {
        let keys: Vec<String> = reloadable_keys().into_iter().map(|(key, _)| key).collect();
        let table = toml::Table::try_from(default()).unwrap();
        for (section, values) in &table {
            for name in values.as_table().unwrap().keys() {
                assert!(keys.contains(&format!("{section}.{name}")), "{section}.{name}");
            }
        }
        assert!(reloadable_keys().contains(&("log.level".to_owned(), true)));
        assert!(reloadable_keys().contains(&("server.data".to_owned(), false)));
    }
}
