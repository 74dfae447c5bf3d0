//! The folder of entries: a file an entry, and a table with a line for each.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::entry::{Entry, Shape, Spread};

const TABLE: &str = "README.md";
const HEAD: &str = "\
# History of the figures

One line an entry, the newest last; made by `cargo xtask bench-record`, each entry's file has everything. CPU is in seconds
for a million delivered messages, `×` is the ratio to `limit` in the same run; medians.

| date | label | commit | cores | closed: without apply | closed: all | one in flight: without apply | one in flight: all | apply, µs a message | open: p50 / p99, µs | idle: bytes a connection | connects/s | group of 500, a delivery | group of 500: ack / last p99, µs |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

/// Writes the entry's file and its line of the table. Never overwrites an entry.
///
/// # Errors
/// What the folder says.
pub fn add(folder: &Path, entry: &Entry) -> Result<PathBuf, String> {
    let json = serde_json::to_string_pretty(entry).map_err(|error| error.to_string())? + "\n";
    let file = write_new(folder, &format!("{}-{}", entry.date, entry.label), &json)?;
    let table = folder.join(TABLE);
    let failed = |error: std::io::Error| format!("{}: {error}", table.display());
    let before = match std::fs::read_to_string(&table) {
        Err(error) if error.kind() == ErrorKind::NotFound => HEAD.to_owned(),
        read => read.map_err(failed)?,
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    std::fs::write(&table, with_row(&before, &row(entry, &name))).map_err(failed)?;
    Ok(file)
}

/// The page with one more row at the end of its table, above what is noted below.
fn with_row(page: &str, row: &str) -> String {
    let last = page.rfind("\n|").map_or(page.len(), |before| before + 1);
    let end = page[last..].find('\n').map_or(page.len(), |length| last + length + 1);
    format!("{}{row}{}", &page[..end], &page[end..])
}

fn write_new(folder: &Path, stem: &str, text: &str) -> Result<PathBuf, String> {
    for number in 1.. {
        let name = if number == 1 { format!("{stem}.json") } else { format!("{stem}-{number}.json") };
        let path = folder.join(name);
        let written = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => Err(error),
            Ok(mut file) => file.write_all(text.as_bytes()),
        };
        return written.map_err(|error| format!("{}: {error}", path.display())).map(|()| path);
    }
    unreachable!("some number is free")
}

fn row(entry: &Entry, file: &str) -> String {
    let shape = |name: &str| entry.shapes.get(name);
    let cpu = |name: &str, figure: &str, ratio: fn(&Shape) -> Option<Spread>| {
        let Some((shape, spread)) = shape(name).and_then(|s| Some((s, s.server.figures.get(figure)?))) else {
            return "–".to_owned();
        };
        let ratio = ratio(shape).map_or_else(String::new, |ratio| format!(" ({:.2} ×)", ratio.median));
        format!("{:.2}{ratio}", spread.median)
    };
    let plain = |name: &str, figure: &str, decimals: usize| {
        let spread = shape(name).and_then(|shape| shape.server.figures.get(figure));
        spread.map_or_else(|| "–".to_owned(), |spread| format!("{:.decimals$}", spread.median))
    };
    let (all, rest) = ("cpu_s_per_million", "cpu_s_per_million_without_apply");
    let cells = [
        entry.date.clone(),
        format!("[{}]({file})", entry.label),
        entry.commit.clone().unwrap_or_else(|| "–".to_owned()),
        entry.machine.cores.to_string(),
        cpu("closed", rest, |shape| shape.cpu_ratio_without_apply),
        cpu("closed", all, |shape| shape.cpu_ratio),
        cpu("one-in-flight", rest, |shape| shape.cpu_ratio_without_apply),
        cpu("one-in-flight", all, |shape| shape.cpu_ratio),
        plain("closed", "apply_us_per_message", 2),
        format!("{} / {}", plain("open", "latency_p50_us", 0), plain("open", "latency_p99_us", 0)),
        plain("idle", "bytes_per_connection", 0),
        plain("connects", "connects_per_second", 0),
        cpu("group-500", all, |shape| shape.cpu_ratio),
        format!("{} / {}", plain("group-500", "group_ack_p99_us", 0), plain("group-500", "group_last_p99_us", 0)),
    ];
    format!("| {} |\n", cells.join(" | "))
}

/// The entry for people: a line a shape.
pub fn lines(entry: &Entry) -> String {
    let mut lines = Vec::new();
    for (name, shape) in &entry.shapes {
        for (who, side) in [("shardwire", &shape.server), ("limit", &shape.limit)] {
            let figures: Vec<String> = side
                .figures
                .iter()
                .map(|(figure, spread)| format!("{figure} {} ({}–{})", spread.median, spread.min, spread.max))
                .collect();
            lines.push(format!("{name:<14} {who:<10} {}", figures.join(", ")));
        }
        for (what, ratio) in [("without apply", shape.cpu_ratio_without_apply), ("all threads", shape.cpu_ratio)] {
            lines.extend(ratio.map(|r| format!("{name:<14} {what}: {} × the limit ({}–{})", r.median, r.min, r.max)));
        }
    }
    lines.push(format!(
        "{} criterion medians, {} instruction counts",
        entry.criterion_ns.len(),
        entry.instructions.len()
    ));
    lines.join("\n")
}

/// The date, UTC.
pub fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Days since 1970 as (year, month, day) of the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years that begin in March: the leap day is a year's last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Machine, SCHEMA, Side};

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }

    fn entry() -> Entry {
        let spread = |value| Spread { median: value, min: value, max: value };
        let figures = [("cpu_s_per_million_without_apply", spread(4.0))].into();
        let server = Side { verdicts: vec!["pass".to_owned()], figures };
        let shape = Shape { server, cpu_ratio_without_apply: Some(spread(2.5)), ..Shape::default() };
        Entry {
            schema: SCHEMA,
            label: "first".to_owned(),
            date: "2026-01-01".to_owned(),
            commit: None,
            machine: Machine { cores: 2, cpu: String::new(), kernel: String::new(), memory_bytes: 1 },
            runs: 1,
            shapes: [("closed".to_owned(), shape)].into(),
            criterion_ns: [("frame/verify".to_owned(), 105.0)].into(),
            instructions: [("frame/verify".to_owned(), 1_234)].into(),
        }
    }

    #[test]
    fn entries_are_added_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let first = add(folder.path(), &entry()).unwrap();
        let second = add(folder.path(), &entry()).unwrap();
        assert!(first.ends_with("2026-01-01-first.json") && second.ends_with("2026-01-01-first-2.json"));
        let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(second).unwrap()).unwrap();
        assert_eq!(json["shapes"]["closed"]["server"]["cpu_s_per_million_without_apply"]["median"], 4.0);
        let table = std::fs::read_to_string(folder.path().join(TABLE)).unwrap();
        std::fs::write(folder.path().join(TABLE), table + "\nA note.\n").unwrap();
        add(folder.path(), &entry()).unwrap();
        let table = std::fs::read_to_string(folder.path().join(TABLE)).unwrap();
        assert!(table.ends_with(" |\n\nA note.\n") && table.contains("first-3.json"), "{table}");
        let rows: Vec<&str> = table.lines().filter(|line| line.contains("2026-01-01")).collect();
        assert_eq!(rows.len(), 3);
        assert!(rows[0].contains("4.00 (2.50 ×)") && rows[1].contains("first-2.json"), "{table}");
        let columns = |line: &str| line.matches('|').count();
        assert!(table.lines().filter(|line| line.starts_with('|')).all(|line| columns(line) == 15), "{table}");
    }
}
