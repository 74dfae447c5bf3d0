//! A comparison for people: a table, and the verdict as the last line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Comparison, Finding, Row};

/// The table and the verdict.
pub fn text(comparison: &Comparison) -> String {
    let mut text = format!(
        "{} runs against {}, {} % tolerance, {} % chance of a false alarm over all figures\n\n",
        comparison.runs[0],
        comparison.runs[1],
        tidy(comparison.tolerance * 100.0),
        tidy(comparison.alpha * 100.0)
    );
    let head = ["figure", "A", "B", "B / A", "95 % interval", "p", "p, Holm", "p, dealt", "finding"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(comparison.rows.iter().map(cells));
    let widths: Vec<usize> =
        (0..head.len()).map(|i| lines.iter().map(|l| l[i].chars().count()).max().unwrap_or(0)).collect();
    for line in &lines {
        for (place, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            let last = place + 1 == line.len();
            let cell = if place == 0 || last {
                format!("{cell}{}", if last { "" } else { &pad })
            } else {
                format!("{pad}{cell}")
            };
            let _ = write!(text, "{}{cell}", if place == 0 { "" } else { "  " });
        }
        text.push('\n');
    }
    let mut notes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in &comparison.rows {
        if let Some(note) = &row.note {
            notes.entry(note).or_default().push(row.metric);
        }
    }
    for (note, metrics) in notes {
        let _ = writeln!(text, "no verdict on {}: {note}", metrics.join(", "));
    }
    let _ = write!(text, "{} ({}): {}", name(comparison.verdict), comparison.exit_code, comparison.reason);
    text
}

fn cells(row: &Row) -> [String; 9] {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    [
        row.metric.to_owned(),
        format!("{} {}", tidy(row.a), row.unit).trim_end().to_owned(),
        format!("{} {}", tidy(row.b), row.unit).trim_end().to_owned(),
        or_dash(row.ratio.map(|r| format!("{r:.3}"))),
        or_dash(row.interval.map(|i| format!("{:.3} to {:.3}", i.low, i.high))),
        or_dash(row.p.map(chance)),
        or_dash(row.p_corrected.map(chance)),
        or_dash(row.p_permutation.map(chance)),
        name(row.finding).to_owned(),
    ]
}

const fn name(finding: Finding) -> &'static str {
    match finding {
        Finding::Regression => "regression",
        Finding::Improvement => "better",
        Finding::Same => "same",
        Finding::Unclear => "not shown",
        Finding::NoVerdict => "no verdict",
    }
}

fn chance(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

/// Four significant digits, no trailing zeros.
fn tidy(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
