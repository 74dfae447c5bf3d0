//! A verdict for people.

use std::fmt::Write as _;

use crate::need::Side;
use crate::rule::{Effect, Outcome, Severity, grouped};
use crate::verdict::{Finding, Verdict};

/// Columns of the text; longer words are wrapped under their own.
const WIDTH: usize = 110;
/// Where a finding's own text begins.
const INDENT: usize = 10;

/// How text is coloured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Colour {
    /// For a terminal.
    Ansi,
    /// For a file or a pipe.
    None,
}

impl Colour {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::None => text.to_owned(),
        }
    }
}

const fn word(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Fatal => ("fatal", "1;31"),
        Severity::Warning => ("warning", "33"),
        Severity::Info => ("info", "36"),
    }
}

/// The whole verdict: what is wrong, then what is right in a few lines, then the sentence that counts.
pub fn verdict(verdict: &Verdict, colour: Colour) -> String {
    let mut out = String::new();
    let need = &verdict.need;
    let (what, tables) = match need.side {
        Side::Server => ("serving", "shards"),
        Side::Generator => ("generating load with", "workers"),
    };
    let connections = grouped(need.connections);
    let _ = writeln!(out, "This host, {what} {connections} connections over {} {tables}:\n", need.tables);
    for finding in verdict.findings.iter().filter(|finding| finding.severity().is_some()) {
        out.push_str(&long(finding, colour));
        out.push('\n');
    }
    out.push_str(&short(verdict, colour));
    let count = |severity| verdict.of_severity(severity).count();
    let (fatal, warnings) = (count(Severity::Fatal), count(Severity::Warning));
    let say = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let warned = if warnings == 0 { String::new() } else { format!(", with {}", say(warnings, "warning")) };
    let last = if verdict.fit {
        colour.paint("1;32", "fit") + &format!(" for {connections} connections{warned}")
    } else {
        colour.paint("1;31", "not fit")
            + &format!(" for {connections} connections: {} to mend{warned}", say(fatal, "thing"))
    };
    let _ = writeln!(out, "{last}");
    out
}

/// One finding with its reason and its cure.
pub fn long(finding: &Finding, colour: Colour) -> String {
    let Outcome::Falls { severity, found, wanted, mend } = &finding.outcome else { return String::new() };
    let (name, code) = word(*severity);
    let mut out = colour.paint(code, &format!("{name:<INDENT$}")) + &colour.paint("1", finding.key) + "\n";
    let known = match finding.effect {
        Effect::Measured { what, on } => format!("{what} (measured by us: {on})"),
        Effect::Documented { what, link } => format!("{what} (documented: {link})"),
    };
    let rows =
        [("found", found.as_str()), ("wanted", wanted), ("why", finding.why), ("effect", &known), ("mend", mend)];
    for (head, text) in rows {
        let lines = if head == "mend" { vec![text.to_owned()] } else { wrap(text, WIDTH - INDENT - 8) };
        for (number, line) in lines.iter().enumerate() {
            let head = if number == 0 { head } else { "" };
            let line = if head == "mend" { colour.paint("1", line) } else { line.clone() };
            let _ = writeln!(out, "{:INDENT$}{head:<8}{line}", "");
        }
    }
    out
}

/// What fits, and what could not be read, a line each.
fn short(verdict: &Verdict, colour: Colour) -> String {
    let mut out = String::new();
    let width = verdict.findings.iter().map(|finding| finding.key.len()).max().unwrap_or(0);
    for finding in &verdict.findings {
        let (head, code, text) = match &finding.outcome {
            Outcome::Fits { found } => ("ok", "32", found.as_str()),
            Outcome::Unknown => ("unknown", "2", "could not be read"),
            Outcome::Falls { .. } | Outcome::NotHere => continue,
        };
        let _ = writeln!(out, "{}{:width$}  {text}", colour.paint(code, &format!("{head:<INDENT$}")), finding.key);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("one line at least");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
