//! Reads the entries, in the order in which they were made.

use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::Value;

/// One entry of the history, as it is kept.
pub struct Entry(Value);

impl Entry {
    /// Its label; the date is on the page by the order.
    pub fn name(&self) -> String {
        let text = |key: &str| self.0[key].as_str().unwrap_or("–").to_owned();
        format!("{} {}", text("date"), text("label"))
    }

    /// Cores of its machine.
    pub fn cores(&self) -> u64 {
        self.0.pointer("/machine/cores").and_then(Value::as_u64).unwrap_or(0)
    }

    /// (median, least, most) of a figure.
    pub fn spread(&self, path: &str) -> Option<(f64, f64, f64)> {
        let figure = self.0.pointer(path)?;
        let number = |key: &str| figure[key].as_f64();
        Some((number("median")?, number("min")?, number("max")?))
    }

    /// The instruction counts it has.
    pub fn instruction_names(&self) -> impl Iterator<Item = &str> {
        self.0["instructions"].as_object().into_iter().flat_map(|counts| counts.keys().map(String::as_str))
    }

    /// One of them.
    pub fn instructions(&self, name: &str) -> Option<f64> {
        self.0["instructions"][name].as_f64()
    }
}

/// The entries of a folder: those its table names in the table's order, then others by name. Files without load shapes are
/// no entries.
pub fn read(folder: &Path) -> Result<Vec<Entry>> {
    let failed = || format!("cannot read {}", folder.display());
    let table = std::fs::read_to_string(folder.join("README.md")).into_diagnostic().wrap_err_with(failed)?;
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder).into_diagnostic().wrap_err_with(failed)? {
        let name = file.into_diagnostic().wrap_err_with(failed)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".json") {
            names.push((table.find(&format!("({name})")).unwrap_or(usize::MAX), name));
        }
    }
    names.sort();
    let mut entries = Vec::new();
    for (_, name) in names {
        let path = folder.join(&name);
        let text = std::fs::read_to_string(&path).into_diagnostic().wrap_err_with(|| format!("cannot read {name}"))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| miette!("{}: {error}", path.display()))?;
        if value["shapes"].is_object() {
            entries.push(Entry(value));
        }
    }
    Ok(entries)
}
