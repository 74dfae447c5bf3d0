//! Reports read back: whatever version of the load generator wrote them, a figure is looked up by its path and may be absent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::report::outputs::JSON as FILE;
use crate::scenario::Scenario;

/// A report that was read.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its file.
    pub path: PathBuf,
    json: Value,
}

/// Why reports cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The file or folder cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not JSON, or not of a run.
    #[error("{}: is not a report of `loadgen run`: {what}", path.display())]
    NoReport {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A folder without reports.
    #[error("{}: no {FILE} in it nor in a folder in it: `loadgen run SCENARIO --out DIR` writes one", .0.display())]
    Empty(PathBuf),
}

impl Recorded {
    /// Reads one report.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, Unread> {
        let text = fs::read_to_string(path).map_err(|source| Unread::Unreadable { path: path.to_owned(), source })?;
        let none = |what: String| Unread::NoReport { path: path.to_owned(), what };
        let json: Value = serde_json::from_str(&text).map_err(|error| none(error.to_string()))?;
        for key in ["schema", "verdict", "scenario"] {
            if json.get(key).is_none() {
                return Err(none(format!("it has no `{key}`")));
            }
        }
        Ok(Self { path: path.to_owned(), json })
    }

    /// Reads what is named: files, folders with a report, folders of such folders; several, separated by commas.
    ///
    /// # Errors
    /// One cannot be read, or holds no report.
    pub fn all(named: &str) -> Result<Vec<Self>, Unread> {
        let mut found = Vec::new();
        for path in named.split(',').filter(|p| !p.is_empty()).map(Path::new) {
            for file in files(path)? {
                found.push(Self::read(&file)?);
            }
        }
        if found.is_empty() { Err(Unread::Empty(PathBuf::from(named))) } else { Ok(found) }
    }

    /// All of it, as it was read.
    pub const fn json(&self) -> &Value {
        &self.json
    }

    /// A number by its path, `latency_us.p99`.
    pub fn number(&self, path: &str) -> Option<f64> {
        self.at(path)?.as_f64()
    }

    /// A text by its path.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// Yes or no by its path; absent is no.
    pub fn yes(&self, path: &str) -> bool {
        self.at(path).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The sum of an object's or array's numbers.
    pub fn sum(&self, path: &str) -> Option<f64> {
        match self.at(path)? {
            Value::Object(map) => Some(map.values().filter_map(Value::as_f64).fold(0.0, |sum, v| sum + v)),
            Value::Array(list) => Some(list.iter().filter_map(Value::as_f64).fold(0.0, |sum, v| sum + v)),
            _ => None,
        }
    }

    fn at(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.json, |value, key| value.get(key))
    }

    /// What was run, key by key (`load.users` → `100`), without names and thresholds. A report of an older scenario gets the
    /// defaults of the keys it did not know.
    pub fn scenario(&self) -> BTreeMap<String, String> {
        let raw = self.at("scenario").cloned().unwrap_or_default();
        let filled = serde_json::from_value::<Scenario>(raw.clone()).ok().and_then(|s| serde_json::to_value(s).ok());
        let mut keys = BTreeMap::new();
        flatten("", &filled.unwrap_or(raw), &mut keys);
        keys.retain(|key, _| !["name", "description"].contains(&key.as_str()) && !key.starts_with("thresholds"));
        keys
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Unread> {
    let unreadable = |source| Unread::Unreadable { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let own = path.join(FILE);
    if own.is_file() {
        return Ok(vec![own]);
    }
    let entries = fs::read_dir(path).map_err(unreadable)?.flatten();
    let mut found: Vec<PathBuf> = entries.map(|e| e.path().join(FILE)).filter(|p| p.is_file()).collect();
    found.sort();
    if found.is_empty() { Err(Unread::Empty(path.to_owned())) } else { Ok(found) }
}

fn flatten(prefix: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&path, value, into);
            }
        }
        Value::Null => {}
        other => {
            into.insert(prefix.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> Recorded {
        Recorded { path: PathBuf::from("x"), json: serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn figures_are_found_by_path() {
        let report = report(r#"{"a": {"b": 3}, "errors": {"x": 1, "y": 2}, "s": "t", "n": null, "yes": true}"#);
        assert_eq!((report.number("a.b"), report.sum("errors"), report.text("s")), (Some(3.0), Some(3.0), Some("t")));
        assert_eq!((report.number("a.c"), report.number("n"), report.number("a.b.c")), (None, None, None));
        assert!(report.yes("yes") && !report.yes("no"));
    }

    #[test]
    fn a_scenario_without_a_later_key_has_its_default() {
        let least = r#"{"scenario": {"load": {"users": 10, "mode": "open", "rate": 5.0, "steady_s": 1.0}}}"#;
        let more = least.replace("\"steady_s\"", "\"size_bytes\": 128, \"peers\": 1, \"steady_s\"");
        assert_eq!(report(least).scenario(), report(&more).scenario());
        assert_eq!(report(least).scenario()["load.users"], "10");
    }

    #[test]
    fn a_scenario_of_another_version_is_taken_as_it_stands() {
        let keys =
            report(r#"{"scenario": {"load": {"users": 10, "moon": "full"}, "thresholds": {"p99_us": 1}}}"#).scenario();
        assert_eq!(
            keys.into_iter().collect::<Vec<_>>(),
            [("load.moon".to_owned(), "\"full\"".to_owned()), ("load.users".to_owned(), "10".to_owned())]
        );
    }

    #[test]
    fn a_folder_of_runs_is_read_in_order_and_an_empty_one_named() {
        let folder = tempfile::tempdir().unwrap();
        for run in ["1", "2"] {
            fs::create_dir(folder.path().join(run)).unwrap();
            fs::write(folder.path().join(run).join(FILE), r#"{"schema": 1, "verdict": "pass", "scenario": {}}"#)
                .unwrap();
        }
        let all = Recorded::all(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(all.len(), 2);
        assert!(all[0].path.ends_with("1/report.json"));
        let empty = tempfile::tempdir().unwrap();
        let refusal = Recorded::all(empty.path().to_str().unwrap()).unwrap_err().to_string();
        assert!(refusal.contains("no report.json"), "{refusal}");
        fs::write(empty.path().join("x.json"), "{}").unwrap();
        let refusal = Recorded::read(&empty.path().join("x.json")).unwrap_err().to_string();
        assert!(refusal.contains("no `schema`"), "{refusal}");
    }
}
