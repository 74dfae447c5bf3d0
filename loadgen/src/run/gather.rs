//! The report's figures, from what workers bring home and the controller saw.

use super::Target;
use super::watch::{Mark, Watched};
use crate::audit::Audit;
use crate::measure::{Errors, Latencies};
use crate::plan::Plan;
use crate::report::{Clients, Connections, Generator, Percentiles, Report, SCHEMA, ServerReport, Throughput, Verdict};
use crate::scenario::{Mode, Scenario};
use crate::worker::Outcome;

/// A report without the server's part and without a verdict.
pub fn report(scenario: Scenario, plan: &Plan, watched: &Watched, outcomes: Vec<Outcome>) -> Report {
    let mut errors = Errors::default();
    let (mut latencies, mut lag, mut connects) = (Latencies::default(), Latencies::default(), Latencies::default());
    let mut clients = Clients::default();
    let mut dropped = 0;
    for outcome in &outcomes {
        errors.merge(&outcome.errors);
        latencies.add(&outcome.latencies);
        lag.add(&outcome.lag);
        connects.add(&outcome.connects);
        add_clients(&mut clients, outcome);
        dropped += outcome.drops;
    }
    let throughput = throughput(watched);
    let connects_per_second = between(watched)
        .map_or(0.0, |(start, end, seconds)| (end.sums.connects - start.sums.connects) as f64 / seconds);
    Report {
        schema: SCHEMA,
        verdict: Verdict::Pass,
        reason: String::new(),
        exit_code: 0,
        name: scenario.name.clone(),
        started_ms: 0,
        took_s: 0.0,
        interrupted: watched.interrupted,
        not_connected: watched.not_connected,
        audit: audit(plan, &outcomes),
        latency_us: Percentiles::from(&latencies),
        connect_us: Percentiles::from(&connects),
        connections: Connections {
            wanted: u64::from(plan.load.users),
            held: watched.held.unwrap_or(0),
            connects: connects.count(),
            connects_per_second,
            dropped,
        },
        throughput,
        server: ServerReport::default(),
        generator: Generator {
            workers: plan.workers,
            busy: share(watched, |mark| &mark.workers_cpu_ns),
            waiting: share(watched, |mark| &mark.workers_waited_ns),
            pacing_lag_us: Percentiles::from(&lag),
            saturated: false,
        },
        errors: errors.by_name().clone(),
        clients,
        thresholds: Vec::new(),
        limits: None,
        scenario,
    }
}

/// Begin, end and length (s) of the steady phase, when it had both.
fn between(watched: &Watched) -> Option<(&Mark, &Mark, f64)> {
    let (start, end) = (watched.steady_start.as_ref()?, watched.steady_end.as_ref()?);
    let seconds = end.at_ns.saturating_sub(start.at_ns) as f64 / 1e9;
    (seconds > 0.0).then_some((start, end, seconds))
}

fn throughput(watched: &Watched) -> Throughput {
    let Some((start, end, seconds)) = between(watched) else { return Throughput::default() };
    let delivered = end.sums.delivered - start.sums.delivered;
    Throughput {
        steady_s: seconds,
        delivered,
        sent_per_second: (end.sums.sent - start.sums.sent) as f64 / seconds,
        delivered_per_second: delivered as f64 / seconds,
    }
}

/// Of the steady phase, the part that each worker spent so.
fn share(watched: &Watched, ns: fn(&Mark) -> &Vec<u64>) -> Vec<f64> {
    let Some((start, end, seconds)) = between(watched) else { return Vec::new() };
    let pairs = ns(end).iter().zip(ns(start));
    pairs.map(|(end, start)| end.saturating_sub(*start) as f64 / 1e9 / seconds).collect()
}

/// Joins the two sides of every stream.
fn audit(plan: &Plan, outcomes: &[Outcome]) -> Audit {
    let mut audit = Audit::default();
    let peers = plan.load.peers;
    for outcome in outcomes {
        audit.foreign += outcome.foreign;
        for (stream, sent) in (outcome.first_stream..).zip(&outcome.sent) {
            let (sender, peer) = (stream / peers, stream % peers);
            let receiver = plan.pairing.receiver(sender, peer);
            let got = outcomes.iter().find_map(|o| o.got.get(&stream));
            let id = |place: u32| plan.load.first_user + u64::from(place);
            audit.add(id(sender), id(receiver), sent, got);
        }
    }
    audit
}

fn add_clients(clients: &mut Clients, outcome: &Outcome) {
    let c = &outcome.counters;
    for (sum, value) in [
        (&mut clients.frames_in, c.frames_in),
        (&mut clients.entries, c.entries),
        (&mut clients.duplicates, c.duplicates),
        (&mut clients.held, c.held),
        (&mut clients.held_dropped, c.held_dropped),
        (&mut clients.gap_fills, c.gap_fills),
        (&mut clients.sends_written, c.sends_written),
        (&mut clients.resends_written, c.resends_written),
        (&mut clients.marks_written, c.marks_written),
        (&mut clients.pings, c.pings),
        (&mut clients.connects, c.connects),
        (&mut clients.disconnects, c.disconnects),
    ] {
        *sum += value;
    }
}

/// Fills in the server's part.
pub fn server(report: &mut Report, target: &Target, watched: &Watched, ended: Option<String>) {
    let server = &mut report.server;
    server.ready = target.server.as_ref().map(|s| s.ready.line.clone()).unwrap_or_default();
    server.pid = target.pid;
    server.ended = ended;
    server.rss_at_ready_bytes = target.at_ready.as_ref().map(|look| look.rss_bytes);
    let at = |mark: &Option<Mark>| mark.as_ref().and_then(|m| m.server.clone());
    let (start, end) = (at(&watched.steady_start), at(&watched.steady_end));
    server.rss_at_steady_bytes = start.as_ref().map(|look| look.rss_bytes);
    server.rss_at_end_bytes = end.as_ref().map(|look| look.rss_bytes);
    let held = report.connections.held;
    if let (Some(ready), Some(steady)) = (server.rss_at_ready_bytes, server.rss_at_steady_bytes)
        && held > 0
    {
        server.rss_bytes_per_connection = Some((steady as f64 - ready as f64) / held as f64);
    }
    let (Some(start), Some(end), Some((first, last, seconds))) = (start, end, between(watched)) else { return };
    let used = end.since(&start);
    server.cpu_s = Some(used.cpu_s);
    server.cores_used = Some(used.cpu_s / seconds);
    let delivered = report.throughput.delivered;
    if delivered > 0 {
        let millions = delivered as f64 / 1e6;
        server.cpu_s_per_million = Some(used.cpu_s / millions);
        server.cpu_s_per_million_without_apply = Some(used.without_apply_s() / millions);
    }
    let connects = last.sums.connects - first.sums.connects;
    if report.scenario.load.mode == Mode::Connect && connects > 0 {
        server.cpu_s_per_thousand_connects = Some(used.cpu_s * 1e3 / connects as f64);
    }
    server.cpu_s_by_thread = used.cpu_s_by_thread;
}
