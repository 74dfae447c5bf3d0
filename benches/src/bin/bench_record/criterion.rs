//! The criterion benches' medians, from where criterion keeps them.

use std::collections::BTreeMap;
use std::fs::{self, read_to_string};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::entry::round;

/// Older figures are of another build.
const WITHIN: Duration = Duration::from_secs(6 * 3_600);

/// Medians in ns an iteration by the bench's full name; empty when none was measured within six hours.
pub fn medians(folder: &Path) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    search(folder, &mut found);
    found
}

fn search(folder: &Path, found: &mut BTreeMap<String, f64>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if path.ends_with("new") {
            found.extend(median(&path));
        } else {
            search(&path, found);
        }
    }
}

fn median(folder: &Path) -> Option<(String, f64)> {
    let file = folder.join("estimates.json");
    let written = fs::metadata(&file).ok()?.modified().ok()?;
    if SystemTime::now().duration_since(written).unwrap_or_default() > WITHIN {
        return None;
    }
    let json = |path: &Path| serde_json::from_str::<Value>(&read_to_string(path).ok()?).ok();
    let name = json(&folder.join("benchmark.json"))?["full_id"].as_str()?.to_owned();
    let median = json(&file)?.pointer("/median/point_estimate")?.as_f64()?;
    Some((name, round(median)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_found_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("group/bench/new");
        fs::create_dir_all(&new).unwrap();
        fs::write(new.join("benchmark.json"), r#"{"full_id":"group/bench"}"#).unwrap();
        fs::write(new.join("estimates.json"), r#"{"median":{"point_estimate":123.456}}"#).unwrap();
        assert_eq!(medians(folder.path()), [("group/bench".to_owned(), 123.5)].into());
        assert!(medians(&folder.path().join("missing")).is_empty());
    }
}
