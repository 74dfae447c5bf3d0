//! The report's figures, from what workers bring home and the controller saw.

use super::Goal;
use super::watch::{Mark, Watched};
use crate::audit::Audit;
use crate::behave;
use crate::behave::happened::{Happened, ServerReturn};
use crate::measure::{Errors, Latencies};
use crate::observe::host::Machine;
use crate::observe::stages::Stages;
use crate::plan::Plan;
use crate::remote::RemoteHost;
use crate::report::{
    Amount, Behaviour, Clients, Connections, CurvePoint, Generator, GroupFigures, MemoryPerConnection, Percentiles,
    Report, Throughput,
};
use crate::scenario::{Mode, Scenario};
use crate::server::Server;
use crate::spread;
use crate::worker::Outcome;

/// Errors of a connect that this host makes, whatever the server does: no address, port, descriptor or memory left.
const OWN_ERRORS: [&str; 4] = [
    "connect: address in use",
    "connect: address not available",
    "connect: out of memory",
    "connect: uncategorized error",
];

/// A report without the server's part and without a verdict.
pub fn report(
    scenario: Scenario,
    plan: &Plan,
    watched: &Watched,
    restarts: &[(usize, ServerReturn)],
    outcomes: Vec<Outcome>,
) -> Report {
    let (mut errors, mut tolerated) = (Errors::default(), Errors::default());
    let (mut away, mut meanwhile) = (Latencies::default(), Latencies::default());
    let (mut latencies, mut lag, mut connects) = (Latencies::default(), Latencies::default(), Latencies::default());
    let (mut reading, mut clients) = (Latencies::default(), Clients::default());
    let mut dropped = 0;
    for outcome in &outcomes {
        errors.merge(&outcome.errors);
        tolerated.merge(&outcome.tolerated);
        away.add(&outcome.latencies_away);
        meanwhile.add(&outcome.latencies_meanwhile);
        latencies.add(&outcome.latencies);
        lag.add(&outcome.lag);
        reading.add(&outcome.reading);
        connects.add(&outcome.connects);
        add_clients(&mut clients, outcome);
        dropped += outcome.drops;
    }
    let curve = |of: &Latencies| of.curve().into_iter().map(|(percentile, us)| CurvePoint { percentile, us }).collect();
    let mut report = Report::of(scenario);
    report.interrupted = watched.interrupted;
    report.not_connected = watched.not_connected;
    report.not_joined = watched.not_joined;
    let (audit, of_groups) = audit(plan, &outcomes);
    report.audit = audit;
    report.latency_us = Percentiles::from(&latencies);
    report.latency_away_us = Percentiles::from(&away);
    report.latency_meanwhile_us = Percentiles::from(&meanwhile);
    report.latency_curve = curve(&latencies);
    report.connect_us = Percentiles::from(&connects);
    report.connect_curve = curve(&connects);
    report.connections = connections(plan, watched, connects.count(), dropped);
    report.throughput = throughput(watched);
    report.groups = groups(plan, &outcomes, report.throughput.steady_s, of_groups);
    report.phases.clone_from(&watched.phases);
    report.series.clone_from(&watched.series);
    report.generator = generator(plan, watched, (&lag, &reading), &errors);
    report.machine = machine(watched);
    report.errors = errors.by_name().clone();
    report.errors_tolerated = tolerated.by_name().clone();
    report.behaviours = behaviours(plan, restarts, &outcomes);
    report.clients = clients;
    (report.stages, report.stages_unknown) = match stages(watched, &latencies) {
        Ok(stages) => (Some(stages), None),
        Err(why) => (None, Some(why)),
    };
    report
}

/// Fills in the remote workers' part.
pub fn remote(report: &mut Report, plan: &Plan, local: u16, hosts: Vec<RemoteHost>) {
    report.generator.clock_error_us = clock_error_us(plan, local, &hosts);
    report.generator.remote = hosts;
}

/// How well latencies between users of different hosts are known: by the clocks' errors of the two worst known, when
/// anybody writes from one host to another.
fn clock_error_us(plan: &Plan, local: u16, hosts: &[RemoteHost]) -> u64 {
    // First user of each host and its clock's error; this process comes first.
    let mut starts = vec![(0, 0)];
    let mut next = if local > 0 { plan.users_of(local - 1).end } else { 0 };
    for host in hosts {
        starts.push((next, host.clock.error_ns));
        next += host.users;
    }
    let host_of = |place: u32| starts.partition_point(|(first, _)| *first <= place) - 1;
    let senders = if plan.load.sends() { plan.load.users } else { 0 };
    let streams = (0..senders).flat_map(|user| (0..plan.load.peers).map(move |peer| (user, peer)));
    let between = streams.map(|(user, peer)| (host_of(user), host_of(plan.pairing.receiver(user, peer))));
    let errors = between.filter(|(from, to)| from != to).map(|(from, to)| starts[from].1 + starts[to].1);
    errors.max().unwrap_or(0).div_ceil(1_000)
}

fn connections(plan: &Plan, watched: &Watched, connects: u64, dropped: u64) -> Connections {
    let rate = |(start, end, seconds): (&Mark, &Mark, f64)| (end.sums.connects - start.sums.connects) as f64 / seconds;
    Connections {
        wanted: u64::from(plan.load.users),
        held: watched.held.unwrap_or(0),
        connects,
        connects_per_second: between(watched).map_or(0.0, rate),
        dropped,
    }
}

fn generator(plan: &Plan, watched: &Watched, (lag, reading): (&Latencies, &Latencies), errors: &Errors) -> Generator {
    let cores = |(start, end, seconds): (&Mark, &Mark, f64)| Some((end.own_cpu_s? - start.own_cpu_s?) / seconds);
    let own = |(name, count): (&String, &u64)| OWN_ERRORS.contains(&name.as_str()).then_some(*count);
    Generator {
        workers: plan.workers,
        busy: share(watched, |mark| &mark.workers_cpu_ns),
        waiting: share(watched, |mark| &mark.workers_waited_ns),
        cores_used: between(watched).and_then(cores),
        pacing_lag_us: Percentiles::from(lag),
        reading_lag_us: Percentiles::from(reading),
        socket_errors: errors.by_name().iter().filter_map(own).sum(),
        saturated: false,
        remote: Vec::new(),
        clock_error_us: 0,
    }
}

fn machine(watched: &Watched) -> Machine {
    let mut machine = Machine::this();
    let used = between(watched).and_then(|(start, end, _)| end.host?.since(start.host?));
    (machine.busy, machine.stolen) = (used.map(|u| u.0), used.map(|u| u.1));
    machine
}

/// The server's stages in the steady phase, or why they are unknown.
fn stages(watched: &Watched, latencies: &Latencies) -> Result<Stages, String> {
    match &watched.stages {
        Some(Ok((begin, end))) => end.since(begin, (latencies.count() > 0).then(|| latencies.mean_us())),
        Some(Err(why)) => Err(why.clone()),
        None if watched.steady_end.is_none() => Err("there was no steady phase".to_owned()),
        None => Err("where the server tells its metrics is not known (a target: --target-http)".to_owned()),
    }
}

/// What came of each behaviour, over all workers.
fn behaviours(plan: &Plan, restarts: &[(usize, ServerReturn)], outcomes: &[Outcome]) -> Vec<Behaviour> {
    let each = |(index, (kind, behaviour)): (usize, (&str, &dyn behave::Behaviour))| {
        let mut happened = Happened::default();
        outcomes.iter().for_each(|outcome| happened.add(&outcome.happened[index]));
        let server = restarts.iter().find(|(at, _)| *at == index).map(|(_, server)| server);
        happened.report(kind, &behaviour.describe(), server)
    };
    plan.behaviours.iter().enumerate().map(each).collect()
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
        in_flight_mean: (watched.in_flight.1 > 0).then(|| watched.in_flight.0 as f64 / watched.in_flight.1 as f64),
    }
}

/// Of the steady phase, the part that each worker spent so.
fn share(watched: &Watched, ns: fn(&Mark) -> &Vec<u64>) -> Vec<f64> {
    let Some((start, end, seconds)) = between(watched) else { return Vec::new() };
    let pairs = ns(end).iter().zip(ns(start));
    pairs.map(|(end, start)| end.saturating_sub(*start) as f64 / 1e9 / seconds).collect()
}

/// Joins the two sides of every stream, and all of every group. Also what of the receipts that are missing and not judged
/// is of groups.
fn audit(plan: &Plan, outcomes: &[Outcome]) -> (Audit, (u64, u64)) {
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
        audit.misdelivered += outcome.misdelivered;
    }
    let in_pairs = (audit.receipts_missing, audit.receipts_unjudged);
    for (at, group) in plan.groups.iter() {
        let side = |member| Some((member, outcomes.iter().find_map(|o| o.members.get(&(at, group.place(member))))?));
        let sides: Vec<_> = (0..group.members).filter_map(side).collect();
        audit.add_group(&plan.groups, group, &sides);
    }
    let of_groups = (audit.receipts_missing - in_pairs.0, audit.receipts_unjudged - in_pairs.1);
    (audit, of_groups)
}

/// How messages spread in groups.
fn groups(plan: &Plan, outcomes: &[Outcome], steady_s: f64, receipts: (u64, u64)) -> Option<GroupFigures> {
    if plan.groups.is_empty() {
        return None;
    }
    let spreads: Vec<_> = outcomes.iter().map(|outcome| &outcome.spread).collect();
    let (kinds, not_followed) = spread::join(&plan.groups, &spreads);
    let sides = || outcomes.iter().flat_map(|outcome| outcome.members.values());
    let told = sides().map(|side| side.receipts).sum();
    let mut figures = GroupFigures::new(&plan.load, &kinds, (not_followed, told), steady_s);
    (figures.receipts_missing, figures.receipts_unjudged) = receipts;
    let mut reading = Latencies::default();
    outcomes.iter().for_each(|outcome| reading.add(&outcome.reading_acks));
    figures.ack_reading_lag_us = Percentiles::from(&reading);
    Some(figures)
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
pub fn server(report: &mut Report, goal: &Goal, watched: &Watched, ended: Option<String>) {
    report.memory_per_connection = memory(goal, watched, report.connections.held);
    let server = &mut report.server;
    server.ready = goal.server.as_ref().map(|s| s.ready.line.clone()).unwrap_or_default();
    server.pid = goal.server.as_ref().map(Server::pid).or_else(|| goal.pids.first().copied());
    server.ended = ended;
    server.rss_at_ready_bytes = goal.at_ready.as_ref().map(|look| look.rss_bytes);
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
    if start.pid != end.pid {
        return; // another process: it was restarted
    }
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
    if let Some(groups) = &mut report.groups {
        groups.cpu_us_per_delivery = report.server.cpu_s_per_million;
    }
}

/// What a connection costs in memory.
fn memory(goal: &Goal, watched: &Watched, held: u64) -> MemoryPerConnection {
    let Some(steady) = &watched.steady_start else {
        let none = || Amount::from(Err("there was no steady phase".to_owned()));
        let (server_rss, server_private, kernel, tls) = (none(), none(), none(), none());
        return MemoryPerConnection { server_rss, server_private, kernel, tls, ..MemoryPerConnection::default() };
    };
    let looks = || -> Result<_, String> {
        let unknown = "the server's process is not known or cannot be looked at (a target: --target-pid)";
        let (ready, steady) = (goal.at_ready.as_ref(), steady.server.as_ref());
        if held == 0 {
            return Err("no connection was held".to_owned());
        }
        Ok((ready.ok_or(unknown)?, steady.ok_or(unknown)?))
    };
    let a_connection = |now: u64, then: u64| (now as f64 - then as f64) / held as f64;
    let private = || -> Result<f64, String> {
        let (ready, steady) = looks()?;
        let both = steady.anonymous_bytes.zip(ready.anonymous_bytes);
        let (now, then) = both.ok_or("/proc/PID/smaps_rollup of the server cannot be read")?;
        Ok(a_connection(now, then))
    };
    let kernel = match (&steady.kernel, &goal.kernel_at_ready) {
        (Some(now), Some(then)) => now.per_socket(then),
        _ => Err("/proc/net/sockstat cannot be read".to_owned()),
    };
    let mut kernel_parts = kernel.as_ref().map(|cost| cost.objects.clone()).unwrap_or_default();
    if let Ok(cost) = &kernel {
        kernel_parts.insert("buffers".to_owned(), cost.buffers);
    }
    MemoryPerConnection {
        server_rss: looks().map(|(ready, steady)| a_connection(steady.rss_bytes, ready.rss_bytes)).into(),
        server_private: private().into(),
        kernel: kernel.map(|cost| cost.total()).into(),
        kernel_parts,
        tls: Err("no connection of this run uses TLS".to_owned()).into(),
    }
}
