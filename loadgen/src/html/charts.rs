//! The charts of a report.

use super::chart::{Axis, Chart, Line};
use super::scale::{self, Scale};
use crate::report::{CurvePoint, Report, Sample};
use crate::words;

/// All that the report has something for.
pub fn all(report: &Report) -> Vec<Chart> {
    let sends = report.scenario.load.sends();
    let mut charts = Vec::new();
    if sends {
        charts.push(latency(report));
        let (points, count) = (&report.latency_curve, report.latency_us.count);
        charts.push(curve("curve", "Latency by percentile", "steady phase", points, count));
        charts.push(throughput(report));
    }
    charts.push(connections(report));
    charts.push(server_cpu(report));
    charts.push(generator_cpu(report));
    charts.push(memory(report));
    let (points, count) = (&report.connect_curve, report.connect_us.count);
    charts.push(curve("connect-curve", "Connect and authenticate, by percentile", "whole run", points, count));
    charts
}

/// A line of one figure of each sample.
fn line(report: &Report, name: &str, style: usize, of: impl Fn(&Sample) -> Option<f64>) -> Line {
    let points = report.series.iter().map(|sample| (sample.at_s, of(sample))).collect();
    Line { name: name.to_owned(), style, points }
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> + Clone {
    lines.iter().flat_map(|line| line.points.iter().filter_map(|point| point.1))
}

/// A chart over the run's time.
fn over_time(
    report: &Report,
    id: &'static str,
    title: &'static str,
    note: String,
    y: (&str, Scale, fn(f64) -> String),
    lines: Vec<Line>,
) -> Chart {
    let end = report.series.last().map_or(1.0, |sample| sample.at_s).max(1e-3);
    let (label, scale, says) = y;
    Chart {
        id,
        title,
        note,
        x: Axis {
            label: format!("time since the begin, {}", scale::clock_unit(end)),
            scale: Scale::Linear { low: 0.0, high: end },
            ticks: scale::time_ticks(end),
            says: scale::clock,
        },
        y: Axis { label: label.to_owned(), ticks: scale.ticks(), scale, says },
        lines,
        bands: report.phases.iter().map(|span| (span.from_s, span.to_s, span.phase.name())).collect(),
        limits: Vec::new(),
    }
}

/// A threshold of the scenario, as a line across.
fn limit(report: &Report, key: &str, name: &str) -> Option<(f64, String)> {
    report.thresholds.iter().find(|t| t.key == key).map(|t| (t.limit, format!("{name} threshold")))
}

fn latency(report: &Report) -> Chart {
    let us = |us: Option<u64>| us.map(|us| us as f64);
    let lines = vec![
        line(report, "max", 5, move |s| us(s.max_us)),
        line(report, "p99", 1, move |s| us(s.p99_us)),
        line(report, "p50", 0, move |s| us(s.p50_us)),
    ];
    let scale = Scale::log(values(&lines));
    let note = "intended send time to receiver, of each second".to_owned();
    let mut chart = over_time(report, "latency", "Latency over time", note, ("latency", scale, words::us), lines);
    chart.limits.extend(limit(report, "p99_us", "p99"));
    if let Scale::Log { low, high } = chart.y.scale {
        chart.limits.retain(|(value, _)| (low..=high).contains(value));
    }
    chart
}

fn curve(id: &'static str, title: &'static str, when: &str, points: &[CurvePoint], count: u64) -> Chart {
    let nines = (count.max(10) as f64).log10();
    let points: Vec<(f64, Option<f64>)> = points.iter().map(|p| (p.percentile, Some(p.us as f64))).collect();
    let lines = vec![Line { name: "longest".to_owned(), style: 0, points }];
    let (x, y) = (Scale::Nines { nines }, Scale::log(values(&lines)));
    Chart {
        id,
        title,
        note: format!("{when}, {} of them; it ends at the longest", words::count(count)),
        x: Axis { label: "percentile".to_owned(), ticks: x.ticks(), scale: x, says: scale::percentile },
        y: Axis { label: "latency".to_owned(), ticks: y.ticks(), scale: y, says: words::us },
        lines,
        bands: Vec::new(),
        limits: Vec::new(),
    }
}

fn throughput(report: &Report) -> Chart {
    let rate = |count: fn(&Sample) -> u64| move |s: &Sample| Some(s.per_second(count(s)));
    // The widest first, so that lines on the same place are all seen.
    let lines = vec![
        line(report, "sent", 2, rate(|s| s.sent)),
        line(report, "acked", 1, rate(|s| s.acked)),
        line(report, "delivered", 0, rate(|s| s.delivered)),
    ];
    let scale = Scale::from_zero(values(&lines));
    over_time(
        report,
        "throughput",
        "Throughput",
        "messages a second".to_owned(),
        ("messages/s", scale, words::short),
        lines,
    )
}

fn connections(report: &Report) -> Chart {
    let lines = vec![
        line(report, "connected", 0, |s| Some(s.connected as f64)),
        line(report, "connects", 1, |s| Some(s.per_second(s.connects))),
        line(report, "errors", 3, |s| Some(s.per_second(s.errors))),
    ];
    let scale = Scale::from_zero(values(&lines));
    let note = "authenticated at the end of each second; connects and errors in it".to_owned();
    over_time(
        report,
        "connections",
        "Connections and errors",
        note,
        ("connections, or a second", scale, words::short),
        lines,
    )
}

fn server_cpu(report: &Report) -> Chart {
    let cores = report.machine.cores as f64;
    let mut lines = vec![line(report, "server", 0, |s| s.server_cores)];
    lines.push(line(report, "host", 5, move |s| s.host_busy.map(|busy| busy * cores)));
    let scale = Scale::from_zero(values(&lines).chain([1.0]));
    let note = format!("the server's process, and all that was busy of this host's {cores} cores");
    over_time(report, "cpu", "CPU: server and host", note, ("cores", scale, words::short), lines)
}

fn generator_cpu(report: &Report) -> Chart {
    let workers = report.series.iter().map(|s| s.workers_busy.len()).max().unwrap_or(0);
    let percent = |share: f64| share * 100.0;
    let lines = if workers <= 4 {
        let one = |w: usize| {
            line(report, &format!("worker {w}"), w, move |s: &Sample| s.workers_busy.get(w).copied().map(percent))
        };
        (0..workers).map(one).collect()
    } else {
        let most = |s: &Sample| s.workers_busy.iter().copied().reduce(f64::max).map(percent);
        let mean = |s: &Sample| Some(percent(s.workers_busy.iter().sum::<f64>() / s.workers_busy.len().max(1) as f64));
        vec![line(report, "busiest", 1, most), line(report, "mean", 0, mean)]
    };
    let scale = Scale::from_zero(values(&lines).chain([100.0]));
    let note = format!("{workers} worker threads; near 100 % the load generator is the limit");
    over_time(report, "generator-cpu", "CPU: load generator", note, ("% of a core", scale, words::short), lines)
}

fn memory(report: &Report) -> Chart {
    let lines = vec![
        line(report, "server", 0, |s| s.server_rss_bytes.map(|bytes| bytes as f64)),
        line(report, "TCP", 1, |s| s.kernel_tcp_bytes.map(|bytes| bytes as f64)),
    ];
    // Round in binary units.
    let most = values(&lines).fold(0.0, f64::max);
    let unit = 1024f64.powf((most.max(1.0).ln() / 1024f64.ln()).floor());
    let scale = match Scale::from_zero([most / unit].into_iter()) {
        Scale::Linear { low, high } => Scale::Linear { low: low * unit, high: high * unit },
        other => other,
    };
    let note = "resident memory of the server's process; the kernel's TCP buffers on this host".to_owned();
    let mut chart = over_time(report, "memory", "Memory", note, ("bytes", scale, words::bytes), lines);
    if let Scale::Linear { high, .. } = scale {
        chart.y.ticks = Scale::Linear { low: 0.0, high: high / unit }.ticks().iter().map(|tick| tick * unit).collect();
    }
    chart
}
