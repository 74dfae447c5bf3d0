//! The table, row by row as it comes, and the last line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::load::Found;

/// Errors that a row names; the others are counted together.
const NAMED: usize = 4;
/// What a server that stops says to its clients: no error, where that was meant.
const MOVED: &str = "disconnected: going_away";

/// One experiment.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done.
    pub fault: String,
    /// Clients must not have seen an error.
    pub unseen: bool,
    /// From the fault's end, or from a kill, until everything went through again, ms; `None`: it was given up.
    pub recovery_ms: Option<u64>,
    /// How long a process took to end after SIGTERM, ms.
    pub drained_ms: Option<u64>,
    /// What the audit found, or why there is none.
    pub found: Result<Found, String>,
}

impl Row {
    /// Whether nothing was lost, doubled or reordered, everything went through again, and clients saw no error of what they
    /// must not see.
    pub fn is_clean(&self) -> bool {
        let clean = |found: &Found| {
            let whole = found.lost + found.doubled + found.reordered == 0 && found.else_wrong.is_none();
            whole && (!self.unseen || found.errors.keys().all(|error| error == MOVED))
        };
        self.recovery_ms.is_some() && self.found.as_ref().is_ok_and(clean)
    }

    /// As a line.
    pub fn line(&self) -> String {
        let recovery = self.recovery_ms.map_or_else(|| "none".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1e3));
        let mut line = format!("{:<38} {recovery:>8}", self.fault);
        match &self.found {
            Ok(found) => {
                let _ =
                    write!(line, " {:>8} {:>6} {:>7} {:>9}", found.sent, found.lost, found.doubled, found.reordered);
                let _ = write!(line, "  {}", errors(&found.errors));
                if let Some(moved) = found.errors.get(MOVED) {
                    let _ = write!(line, "; {moved} told to go elsewhere");
                }
                if let Some(ms) = self.drained_ms {
                    let _ = write!(line, "; drained in {:.1} s", ms as f64 / 1e3);
                }
                if self.unseen && found.errors.keys().any(|error| error != MOVED) {
                    line.push_str("; NONE WERE ALLOWED");
                }
                if let Some(wrong) = &found.else_wrong {
                    let _ = write!(line, "; ALSO: {wrong}");
                }
            }
            Err(why) => {
                let _ = write!(line, " {:>8} {:>6} {:>7} {:>9}  NO AUDIT: {why}", "?", "?", "?", "?");
            }
        }
        line
    }
}

/// What stands above the rows.
pub fn head() -> String {
    format!(
        "{:<38} {:>8} {:>8} {:>6} {:>7} {:>9}  errors seen by clients",
        "fault", "recovery", "messages", "lost", "doubled", "reordered"
    )
}

/// The last line.
pub fn sum(rows: &[Row]) -> String {
    let sum = |of: fn(&Found) -> u64| rows.iter().filter_map(|row| row.found.as_ref().ok()).map(of).sum::<u64>();
    let (lost, doubled, reordered) = (sum(|f| f.lost), sum(|f| f.doubled), sum(|f| f.reordered));
    format!("faults={} lost={lost} doubled={doubled} reordered={reordered}", rows.len())
}

/// The most frequent first.
fn errors(errors: &BTreeMap<String, u64>) -> String {
    let mut all: Vec<(&String, &u64)> = errors.iter().filter(|(name, _)| *name != MOVED).collect();
    all.sort_by_key(|(_, count)| core::cmp::Reverse(**count));
    let mut said: Vec<String> = all.iter().take(NAMED).map(|(name, count)| format!("{count} {name}")).collect();
    let others: u64 = all.iter().skip(NAMED).map(|(_, count)| **count).sum();
    if others > 0 {
        said.push(format!("{others} others"));
    }
    if said.is_empty() { "none".to_owned() } else { said.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(found: Result<Found, String>, recovery_ms: Option<u64>) -> Row {
        Row { fault: "kill -9 gw-1".to_owned(), unseen: false, recovery_ms, drained_ms: None, found }
    }

    #[test]
    fn whatever_is_wrong_makes_a_row_unclean() {
        let clean = Found { sent: 100, ..Found::default() };
        assert!(row(Ok(clean.clone()), Some(3)).is_clean());
        assert!(!row(Ok(clean.clone()), None).is_clean() && !row(Err("no report".to_owned()), Some(3)).is_clean());
        for wrong in [
            Found { lost: 1, ..clean.clone() },
            Found { doubled: 1, ..clean.clone() },
            Found { reordered: 1, ..clean.clone() },
            Found { else_wrong: Some("1 never answered".to_owned()), ..clean.clone() },
        ] {
            assert!(!row(Ok(wrong), Some(3)).is_clean());
        }
    }

    #[test]
    fn what_was_planned_is_clean_only_without_an_error_at_any_client() {
        let of = |name: &str| Found { sent: 9, errors: [(name.to_owned(), 3)].into(), ..Found::default() };
        let planned = |found| Row { unseen: true, drained_ms: Some(1_250), ..row(Ok(found), Some(3)) };
        let moved = planned(of("disconnected: going_away"));
        assert!(moved.is_clean());
        assert!(moved.line().ends_with("  none; 3 told to go elsewhere; drained in 1.2 s"), "{}", moved.line());
        let lost = planned(of("disconnected: lost"));
        assert!(!lost.is_clean() && lost.line().ends_with("NONE WERE ALLOWED"), "{}", lost.line());
        assert!(row(Ok(of("disconnected: lost")), Some(3)).is_clean());
    }

    #[test]
    fn rows_and_sum_say_what_was_found() {
        let errors =
            [("disconnected: lost", 12), ("connect: connection refused", 3)].map(|(n, c)| (n.to_owned(), c)).into();
        let rows = [
            row(Ok(Found { lost: 444, errors, sent: 9, ..Found::default() }), Some(1_250)),
            row(Err("it sent nothing".to_owned()), None),
        ];
        let line = rows[0].line();
        assert!(
            line.contains("1.2 s") && line.ends_with("12 disconnected: lost, 3 connect: connection refused"),
            "{line}"
        );
        assert!(rows[1].line().contains("none") && rows[1].line().ends_with("NO AUDIT: it sent nothing"));
        assert_eq!(sum(&rows), "faults=2 lost=444 doubled=0 reordered=0");
        let ends = |text: &str, word: &str| text.find(word).map(|at| at + word.len());
        assert_eq!(ends(&head(), " lost"), ends(&line, " 444"), "{}\n{line}", head());
    }
}
