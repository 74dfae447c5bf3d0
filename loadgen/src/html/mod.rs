//! A report as one page that needs nothing else: no script, no link, readable offline, on paper, on a phone and in the
//! dark. Everything is drawn here, as text, tables and SVG; whatever comes from outside is escaped.

pub(crate) mod chart;
mod charts;
mod groups;
mod inside;
pub(crate) mod scale;
mod sections;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::{Report, Verdict, describe};
use crate::words;

/// The page's style.
pub(crate) const STYLE: &str = include_str!("style.css");

/// A page of this style around a body.
pub fn document(title: &str, body: &Markup) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    document.into_string()
}

/// The page.
pub fn page(report: &Report) -> String {
    let title = format!("{} – {}", report.name, verdict(report.verdict).1);
    let body = html! {
        (header(report))
        main {
            (sections::tiles(report))
            (sections::thresholds(report))
            section aria-label="Charts" {
                div.charts { @for chart in charts::all(report) { (chart.markup()) } }
            }
            div.cards {
                @if report.scenario.load.sends() { (inside::stages(report)) }
                (inside::memory(report))
                (groups::groups(report))
                @if report.scenario.load.sends() { (sections::audit(report)) }
                (sections::errors(report)) (sections::behaviours(report))
                (inside::threads(report)) (inside::generator(report))
                (sections::machine(report)) (sections::scenario(report))
            }
        }
        footer {
            p { "Drawn by loadgen " (env!("CARGO_PKG_VERSION")) " from report.json, schema " (report.schema) ". Latency counts from the time a message was to be sent, so a late sender does not hide a slow server." }
        }
    };
    document(&title, &body)
}

/// A verdict's class, words and sign: the sign tells it without colour.
const fn verdict(verdict: Verdict) -> (&'static str, &'static str, &'static str) {
    match verdict {
        Verdict::Pass => ("good", "Passed", "✓"),
        Verdict::Threshold => ("bad", "Threshold missed", "✗"),
        Verdict::Audit => ("bad", "Audit failed", "✗"),
        Verdict::Saturated => ("unsure", "No verdict", "?"),
        Verdict::Interrupted => ("unsure", "Interrupted", "■"),
    }
}

fn header(report: &Report) -> Markup {
    let (class, words, sign) = verdict(report.verdict);
    html! {
        header {
            p.kind { "Shardwire load report" }
            h1 { (report.name) }
            @if !report.scenario.description.is_empty() { p.lead { (report.scenario.description) } }
            p.meta {
                (describe(&report.scenario.load)) " · " (words::timestamp(report.started_ms).replace('T', " ").replace('Z', " UTC"))
                " · took " (words::seconds(report.took_s))
            }
            div class=(format!("verdict {class}")) role="status" {
                span.sign aria-hidden="true" { (sign) }
                div {
                    strong { (words) }
                    span.code { "exit code " (report.exit_code) }
                    p { (report.reason) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
