//! Unit costs: what one message, connection, connect costs, and who says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Refused;
use super::sheet::Kind;
use crate::recorded::Recorded;

/// The kept unit costs, as they were when this was built.
const KEPT: &str = include_str!("../../unit-costs.toml");
/// Fewer connections than this say more of the server's start than of a connection.
const CONNECTIONS_MIN: f64 = 1_000.0;

/// The file of unit costs.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Where the measured figures come from.
    pub history: History,
    /// Every figure, by its name in formulas.
    pub figure: BTreeMap<String, Figure>,
}

/// An entry of the history of measurements.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Its file, from the repository's root.
    pub file: String,
    /// When it was made.
    pub date: String,
    /// What was measured.
    pub commit: String,
    /// On what.
    pub machine: String,
}

/// A unit cost.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// Its value.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// How it is known.
    pub kind: Kind,
    /// Measured: its path in the history entry.
    #[serde(default)]
    pub from: String,
    /// Measured: the entry's figure times this.
    #[serde(default = "one")]
    pub scale: f64,
    /// When it was found, if not with the history entry.
    #[serde(default)]
    pub date: String,
    /// Who says so, if not the history entry.
    #[serde(default)]
    pub source: String,
    /// What it is.
    pub says: String,
}

const fn one() -> f64 {
    1.0
}

impl Costs {
    /// The kept unit costs, or those of a file.
    ///
    /// # Errors
    /// The file cannot be read; the figure that is wrong.
    pub fn load(path: Option<&Path>) -> Result<Self, Refused> {
        let Some(path) = path else { return Self::read(KEPT, Path::new("unit-costs.toml")) };
        let wrong = |what: String| Refused::File { path: path.to_owned(), what };
        let text = fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        Self::read(&text, path)
    }

    fn read(text: &str, path: &Path) -> Result<Self, Refused> {
        let wrong = |what: String| Refused::File { path: path.to_owned(), what };
        let costs: Self = toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        for (name, figure) in &costs.figure {
            if !figure.value.is_finite() || figure.value < 0.0 {
                return Err(wrong(format!("figure.{name}.value = {}: expected 0 or more", figure.value)));
            }
            let known = match figure.kind {
                Kind::Measured => !figure.from.is_empty(),
                Kind::Given | Kind::Assumed => !figure.source.is_empty(),
                Kind::Computed => false,
            };
            if !known {
                return Err(wrong(format!(
                    "figure.{name}: a {} figure needs {}",
                    figure.kind.name(),
                    if figure.kind == Kind::Measured {
                        "`from`"
                    } else {
                        "`source`; kinds are measured, given, assumed"
                    }
                )));
            }
        }
        Ok(costs)
    }

    /// Who says a figure, with date, commit and machine where it was measured.
    pub fn source(&self, figure: &Figure) -> String {
        match figure.kind {
            Kind::Measured if figure.source.is_empty() => {
                let History { file, date, commit, machine } = &self.history;
                format!("{file}, {}; {date}, commit {commit}, {machine}", figure.from)
            }
            _ if figure.date.is_empty() => figure.source.clone(),
            _ => format!("{} ({})", figure.source, figure.date),
        }
    }

    /// Takes what a run of the load generator measured in place of the kept figures.
    ///
    /// # Errors
    /// The report says nothing that is a unit cost.
    pub fn take_report(&mut self, report: &Recorded) -> Result<(), Refused> {
        let held = report.number("connections.held").unwrap_or(0.0);
        let idle = report.text("scenario.load.mode") == Some("idle") && held > 0.0;
        let taken = [
            ("message_cpu_us", report.number("server.cpu_s_per_million_without_apply")),
            ("connect_cpu_us", report.number("server.cpu_s_per_thousand_connects").map(|s| s * 1e3)),
            ("idle_cpu_us", report.number("server.cores_used").filter(|_| idle).map(|cores| cores / held * 1e6)),
            (
                "connection_bytes",
                report.number("server.rss_bytes_per_connection").filter(|b| held >= CONNECTIONS_MIN && *b > 0.0),
            ),
        ];
        let mut any = false;
        for (name, value) in taken {
            if let (Some(value), Some(figure)) = (value, self.figure.get_mut(name)) {
                figure.value = value;
                figure.kind = Kind::Measured;
                figure.source = format!("report {}", report.path.display());
                figure.date = String::new();
                any = true;
            }
        }
        if any {
            return Ok(());
        }
        Err(Refused::File {
            path: report.path.clone(),
            what: format!(
                "says no unit cost: none of server.cpu_s_per_million_without_apply, server.cpu_s_per_thousand_connects, an idle load's server.cores_used, or server.rss_bytes_per_connection of {CONNECTIONS_MIN} connections or more"
            ),
        })
    }
}

/// A history entry.
pub struct Entry {
    json: Value,
    path: PathBuf,
}

impl Entry {
    /// Reads an entry; of a folder the newest (by its date, then its name).
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, Refused> {
        let wrong = |path: &Path, what: String| Refused::File { path: path.to_owned(), what };
        let mut files = vec![path.to_owned()];
        if path.is_dir() {
            let entries = fs::read_dir(path).map_err(|error| wrong(path, format!("cannot be read: {error}")))?;
            files =
                entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
            files.sort();
        }
        let read = |file: &PathBuf| {
            let text = fs::read_to_string(file).map_err(|error| wrong(file, format!("cannot be read: {error}")))?;
            let json: Value = serde_json::from_str(&text).map_err(|error| wrong(file, error.to_string()))?;
            if json.get("shapes").is_none() {
                return Err(wrong(file, "is no entry of the history: it has no `shapes`".to_owned()));
            }
            Ok(Self { json, path: file.clone() })
        };
        let all = files.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let newest = all.into_iter().max_by_key(|entry| (entry.text("date"), entry.path.clone()));
        newest.ok_or_else(|| wrong(path, "no entry of the history is in it".to_owned()))
    }

    fn at(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.json, |value, key| value.get(key))
    }

    fn text(&self, path: &str) -> String {
        self.at(path).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// A measured figure's value in this entry.
    ///
    /// # Errors
    /// The entry does not have it.
    pub fn value(&self, figure: &Figure) -> Result<f64, Refused> {
        let what = || format!("has no number at {}: record the whole set of shapes", figure.from);
        let value = self.at(&figure.from).and_then(Value::as_f64);
        // Four digits are known of a median; the product must not show more.
        let rounded = value.map(|v| (v * figure.scale * 1e6).round() / 1e6);
        rounded.ok_or_else(|| Refused::File { path: self.path.clone(), what: what() })
    }

    /// What a file of unit costs says of this entry. `root` is cut from its path.
    pub fn history(&self, root: &Path) -> History {
        let number = |path: &str| self.at(path).and_then(Value::as_f64).unwrap_or(0.0);
        let absolute = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (file, root) = (absolute(&self.path), absolute(root));
        History {
            file: file.strip_prefix(&root).unwrap_or(&self.path).display().to_string(),
            date: self.text("date"),
            commit: self.text("commit"),
            machine: format!(
                "{} cores, {}, {:.1} GiB, Linux {}",
                number("machine.cores"),
                self.text("machine.cpu"),
                number("machine.memory_bytes") / f64::from(1 << 30),
                self.text("machine.kernel")
            ),
        }
    }
}

/// Rewrites the measured figures of a file of unit costs from an entry; comments and all else stay. Returns what changed.
///
/// # Errors
/// A file cannot be read or written, or the entry lacks a figure; nothing is written then.
pub fn update(costs: &Path, entry: &Entry) -> Result<Vec<String>, Refused> {
    let wrong = |what: String| Refused::File { path: costs.to_owned(), what };
    let read = Costs::load(Some(costs))?;
    let text = fs::read_to_string(costs).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let mut document: toml_edit::DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| wrong(error.to_string()))?;
    let mut changed = Vec::new();
    for (name, figure) in read.figure.iter().filter(|(_, figure)| figure.kind == Kind::Measured) {
        let value = entry.value(figure)?;
        if value != figure.value {
            changed.push(format!("{name}: {} → {value} {}", figure.value, figure.unit));
        }
        document["figure"][name]["value"] = toml_edit::value(value);
    }
    // The file lies in loadgen/, the history beside it.
    let root = costs.parent().and_then(Path::parent).filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let history = entry.history(root);
    for (key, value) in
        [("file", history.file), ("date", history.date), ("commit", history.commit), ("machine", history.machine)]
    {
        document["history"][key] = toml_edit::value(value);
    }
    fs::write(costs, document.to_string()).map_err(|error| wrong(format!("cannot be written: {error}")))?;
    Ok(changed)
}

#[cfg(test)]
mod tests;
