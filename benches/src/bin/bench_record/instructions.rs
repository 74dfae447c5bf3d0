//! Instruction counts, from where gungraun's runner keeps its summaries.

use std::collections::BTreeMap;
use std::fs::{self, read_to_string};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

/// Older counts are of another build.
const WITHIN: Duration = Duration::from_secs(6 * 3_600);
/// The runner's file of one bench.
const SUMMARY: &str = "summary.json";

/// Instructions by `group/function case`; empty when none were counted within six hours.
pub fn counts(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    search(folder, &mut found);
    found
}

fn search(folder: &Path, found: &mut BTreeMap<String, u64>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            search(&path, found);
        } else if path.ends_with(SUMMARY) {
            found.extend(count(&path));
        }
    }
}

fn count(summary: &Path) -> Option<(String, u64)> {
    let written = fs::metadata(summary).ok()?.modified().ok()?;
    if SystemTime::now().duration_since(written).unwrap_or_default() > WITHIN {
        return None;
    }
    let json: Value = serde_json::from_str(&read_to_string(summary).ok()?).ok()?;
    let (group, function) = (json["group"].as_str()?, json["function_name"].as_str()?);
    let case = json["id"].as_str().map(|id| format!(" {}", id.replace('_', " "))).unwrap_or_default();
    let instructions = json.pointer("/profiles/0/data/total/metrics/Ir/values/new")?.as_u64()?;
    Some((format!("{group}/{}{case}", function.replace('_', " ")), instructions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        let bench = folder.path().join("shardwire-benches/instructions/owner/send_commit_ack.of_256");
        fs::create_dir_all(&bench).unwrap();
        let metrics = r#"{"Ir":{"values":{"new":1234,"old":1200}}}"#;
        let summary = format!(
            r#"{{"group":"owner","function_name":"send_commit_ack","id":"of_256",
                "profiles":[{{"tool":"Callgrind","data":{{"parts":[],"total":{{"metrics":{metrics}}}}}}}]}}"#
        );
        fs::write(bench.join(SUMMARY), summary).unwrap();
        assert_eq!(counts(folder.path()), [("owner/send commit ack of 256".to_owned(), 1_234)].into());
        assert!(counts(&folder.path().join("missing")).is_empty());
    }
}
