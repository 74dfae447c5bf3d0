//! Dependencies point one way: schema ← fabric ← gateway, router, storage-writer ← shardwire;
//! storage-writer ← scylla-store ← shardwire; router ← redis-directory ← shardwire; fabric ← client ← loadgen; fabric ← tuning ← shardwire, loadgen.

use std::path::Path;

use miette::Result;

use super::Finding;

/// Folder, and the workspace crates it may depend on outside its tests.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("schema", &[]),
    ("fabric", &["schema"]),
    ("gateway", &["schema", "fabric"]),
    ("router", &["schema", "fabric"]),
    ("router/redis", &["schema", "fabric", "router"]),
    ("storage-writer", &["schema", "fabric"]),
    ("storage-writer/scylla", &["schema", "fabric", "storage-writer"]),
    ("tuning", &["fabric"]),
    ("client", &["schema", "fabric"]),
    ("loadgen", &["schema", "fabric", "client", "tuning"]),
];
const OURS: [&str; 11] = [
    "schema",
    "fabric",
    "gateway",
    "router",
    "redis-directory",
    "storage-writer",
    "scylla-store",
    "client",
    "loadgen",
    "tuning",
    "shardwire",
];

/// Checks each crate's `[dependencies]`.
pub fn check() -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (folder, allowed) in ALLOWED {
        let path = Path::new(folder).join("Cargo.toml");
        let manifest: toml::Table =
            super::read(&path)?.parse().map_err(|error| miette::miette!("{path:?}: {error}"))?;
        let Some(dependencies) = manifest.get("dependencies").and_then(|table| table.as_table()) else { continue };
        for name in dependencies.keys().filter(|name| OURS.contains(&name.as_str())) {
            if !allowed.contains(&name.as_str()) {
                let what = format!("depends on `{name}`: dependencies point one way (see the list in tidy/layers.rs)");
                findings.push(Finding { place: path.display().to_string(), what });
            }
        }
    }
    Ok(findings)
}
