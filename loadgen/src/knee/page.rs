//! A knee as one page that needs nothing else, in the style of a report's.

use maud::{Markup, html};

use super::show::small;
use super::{Asked, Bound, Judged, Knee, Step, usl};
use crate::html::chart::{Axis, Chart, Line};
use crate::html::document;
use crate::html::scale::Scale;
use crate::stats::bootstrap::Interval;
use crate::words;

/// Points of a drawn law.
const CURVE: usize = 120;

/// The page's file.
pub const FILE: &str = "knee.html";

/// The page.
pub fn page(knee: &Knee) -> String {
    let (class, sign, title) = match knee.found.bound {
        Bound::Server | Bound::NotReached => ("good", "✓", "Knee found"),
        Bound::BelowAll | Bound::Audit => ("bad", "✗", "No knee"),
        Bound::Generator | Bound::Interrupted => ("unsure", "?", "No verdict"),
    };
    let body = html! {
        header {
            p.kind { "Shardwire knee" }
            h1 { (knee.name) }
            p.meta {
                "p99 at most " (words::us(knee.limits.budget_p99_us as f64)) " · "
                (words::timestamp(knee.started_ms).replace('T', " ").replace('Z', " UTC"))
            }
            div class=(format!("verdict {class}")) role="status" {
                span.sign aria-hidden="true" { (sign) }
                div { strong { (title) } span.code { "exit code " (knee.exit_code) } p { (knee.reason) } }
            }
        }
        main {
            section aria-label="Charts" {
                div.charts { @for chart in charts(knee) { (chart.markup()) } }
            }
            @if let Some(fit) = &knee.scaling { (law(fit)) }
            (steps("Open steps, in the order they were tried", &knee.found.steps))
            @if !knee.closed.is_empty() { (steps("Closed steps", &knee.closed)) }
        }
        footer { p { "Drawn by loadgen " (env!("CARGO_PKG_VERSION")) " from knee.json. Every step's own report is in its folder." } }
    };
    document(&format!("{} – knee", knee.name), &body)
}

fn charts(knee: &Knee) -> Vec<Chart> {
    let mut charts = vec![latency(knee)];
    charts.extend(knee.scaling.as_ref().map(scaling));
    charts
}

/// Latency of every open step over its rate; a rate that was tried twice has its better try.
fn latency(knee: &Knee) -> Chart {
    let mut steps: Vec<(f64, &Step)> = knee.found.steps.iter().filter_map(|s| Some((rate(s)?, s))).collect();
    steps.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.figures.p99_us.total_cmp(&b.1.figures.p99_us)));
    steps.dedup_by(|a, b| a.0 == b.0);
    let line = |name: &str, style: usize, of: fn(&Step) -> f64| Line {
        name: name.to_owned(),
        style,
        points: steps.iter().map(|(rate, step)| (*rate, Some(of(step)).filter(|v| *v > 0.0))).collect(),
    };
    let lines = vec![line("p99", 1, |s| s.figures.p99_us), line("p50", 0, |s| s.figures.p50_us)];
    let values = steps.iter().flat_map(|(_, s)| [s.figures.p50_us, s.figures.p99_us]);
    let y = Scale::log(values.chain([knee.limits.budget_p99_us as f64]));
    let x = axis(steps.iter().map(|s| s.0));
    Chart {
        id: "latency",
        title: "Latency over rate",
        note: "intended send time to receiver, of each open step".to_owned(),
        x: Axis { label: "messages a second asked for".to_owned(), ticks: x.ticks(), scale: x, says: words::number },
        y: Axis { label: "latency".to_owned(), ticks: y.ticks(), scale: y, says: words::us },
        lines,
        bands: Vec::new(),
        limits: vec![(knee.limits.budget_p99_us as f64, "p99 budget".to_owned())],
    }
}

fn rate(step: &Step) -> Option<f64> {
    match step.asked {
        Asked::Rate(rate) => Some(rate),
        Asked::Concurrency(_) => None,
    }
}

/// Logarithmic over exactly the values.
fn axis(values: impl Iterator<Item = f64>) -> Scale {
    let (low, high) = values.fold((f64::MAX, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
    if high > low {
        Scale::Log { low, high }
    } else {
        Scale::Log { low: high.max(1.0) / 2.0, high: high.max(1.0) * 2.0 }
    }
}

/// What was measured, and the law through it.
fn scaling(fit: &usl::Fit) -> Chart {
    let x = axis(fit.points.iter().map(|p| p.0));
    let (low, high) = match x {
        Scale::Log { low, high } => (low, high),
        _ => (1.0, 2.0),
    };
    let at = |place: usize| low * (high / low).powf(place as f64 / CURVE as f64);
    let law = (0..=CURVE).map(|place| (at(place), Some(fit.law.throughput(at(place))))).collect();
    let measured = fit.points.iter().map(|(n, x)| (*n, Some(*x))).collect();
    let y = Scale::from_zero(fit.points.iter().map(|p| p.1.max(fit.law.throughput(p.0))));
    Chart {
        id: "scaling",
        title: "Throughput over concurrency",
        note: format!("closed steps, and the universal scalability law through them (R² {:.3})", fit.r_squared),
        x: Axis { label: "messages in flight".to_owned(), ticks: x.ticks(), scale: x, says: words::number },
        y: Axis { label: "delivered/s".to_owned(), ticks: y.ticks(), scale: y, says: words::number },
        lines: vec![
            Line { name: "law".to_owned(), style: 1, points: law },
            Line { name: "measured".to_owned(), style: 0, points: measured },
        ],
        bands: Vec::new(),
        limits: Vec::new(),
    }
}

fn law(fit: &usl::Fit) -> Markup {
    let interval =
        |of: Option<Interval>| of.map_or_else(|| "–".to_owned(), |i| format!("{} to {}", small(i.low), small(i.high)));
    let rows = [
        ("λ, throughput of one in flight, /s", small(fit.law.lambda), interval(fit.lambda)),
        ("σ, contention", small(fit.law.sigma), interval(fit.sigma)),
        ("κ, coherency", small(fit.law.kappa), interval(fit.kappa)),
        ("highest throughput, /s", fit.peak_throughput.map_or_else(|| "–".to_owned(), small), interval(fit.peak)),
        ("at so many in flight", fit.peak_concurrency.map_or_else(|| "beyond any".to_owned(), small), String::new()),
        ("largest error of a point", format!("{:.0} %", fit.worst_error * 100.0), String::new()),
    ];
    html! {
        section.card {
            h2 { "Universal scalability law" }
            p.note { "X(N) = λN / (1 + σ(N − 1) + κN(N − 1)), N. J. Gunther, arXiv:0808.1431; intervals by bootstrap of the residuals" }
            table {
                thead { tr { th scope="col" { "" } th.n scope="col" { "fitted" } th.n scope="col" { "95 % interval" } } }
                tbody { @for (name, value, interval) in &rows { tr { th scope="row" { (name) } td.n { (value) } td.n { (interval) } } } }
            }
        }
    }
}

fn steps(title: &str, steps: &[Step]) -> Markup {
    let head = [
        "delivered/s",
        "p50",
        "p99",
        "p99.9",
        "server cores",
        "generator busy",
        "in flight",
        "by Little’s law",
        "off by",
    ];
    html! {
        section.card {
            h2 { (title) }
            div.scroll { table {
                thead { tr { th scope="col" { "asked" } @for name in head { th.n scope="col" { (name) } } th scope="col" { "verdict" } } }
                tbody { @for one in steps { (step(one)) } }
            } }
        }
    }
}

fn step(step: &Step) -> Markup {
    let figures = &step.figures;
    let or_dash = |value: Option<f64>, digits: usize| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.digits$}"));
    let asked = match step.asked {
        Asked::Rate(rate) => format!("{rate:.0}/s"),
        Asked::Concurrency(n) => format!("{n} in flight"),
    };
    let off = figures.little_deviation().map_or_else(|| "–".to_owned(), |d| format!("{:+.0} %", d * 100.0));
    html! {
        tr {
            th scope="row" { (asked) }
            td.n { (words::number(figures.delivered_per_second)) }
            td.n { (words::us(figures.p50_us)) }
            td.n { (words::us(figures.p99_us)) }
            td.n { (words::us(figures.p999_us)) }
            td.n { (or_dash(figures.server_cores, 2)) }
            td.n { (format!("{:.0} %", figures.generator_busy * 100.0)) }
            td.n { (or_dash(figures.in_flight, 1)) }
            td.n { (format!("{:.1}", figures.in_flight_by_little())) }
            td.n { (off) }
            td {
                @match &step.judged {
                    Judged::Holds if rate(step).is_none() => {}
                    Judged::Holds => { span.yes { "holds" } },
                    Judged::Broken(why) => { span.no { "too high" } span.why { " " (why) } },
                    Judged::Generator(why) => { span.no { "generator" } span.why { " " (why) } },
                    Judged::Audit(why) => { span.no { "audit" } span.why { " " (why) } },
                    Judged::Interrupted => { "interrupted" },
                }
            }
        }
    }
}
