//! The verdict's order, the exit codes, and the fields that others read.

use std::fs;

use super::outputs::{JSON, Outputs};
use super::*;
use crate::audit::{GotSide, SentSide};
use crate::measure::Latencies;
use ::schema::ids::MessageId;

const MESSAGE: MessageId = MessageId([7; 16]);

/// A clean report of a run that could have any verdict.
pub(crate) fn report(mode: &str, thresholds: &str) -> Report {
    let text = format!("[load]\nusers = 10\n{mode}\nsteady_s = 1.0\n[thresholds]\n{thresholds}\n");
    let mut audit = Audit::default();
    let (mut sent, mut got) = (SentSide::default(), GotSide::default());
    sent.send();
    sent.ack(0, 1, MESSAGE);
    got.deliver(0, 1, MESSAGE);
    audit.add(1, 2, &sent, Some(&got));
    let mut latencies = Latencies::default();
    latencies.record_ns(400_000);
    let mut report = Report::of(Scenario::parse(&text).unwrap());
    report.name = "test".to_owned();
    report.audit = audit;
    report.latency_us = Percentiles::from(&latencies);
    report.connections = Connections { wanted: 10, held: 10, ..Connections::default() };
    report.server.cpu_s_per_million = Some(5.0);
    report.machine.cores = 2;
    report
}

pub(crate) const OPEN: &str = "mode = \"open\"\nrate = 10.0";
pub(crate) const CLOSED: &str = "mode = \"closed\"\nin_flight = 1";

fn lose_one(report: &mut Report) {
    let mut sent = SentSide::default();
    sent.send();
    sent.ack(0, 1, MESSAGE);
    report.audit.add(3, 4, &sent, None);
}

fn lag(report: &mut Report, ms: u64) {
    report.generator.pacing_lag_us.p99 = ms * 1_000;
}

fn judged(mut report: Report) -> Report {
    report.judge();
    assert_eq!(report.exit_code, report.verdict.exit_code());
    report
}

#[test]
fn exit_codes_are_the_documented_ones() {
    let verdicts = [Verdict::Pass, Verdict::Threshold, Verdict::Audit, Verdict::Saturated, Verdict::Interrupted];
    assert_eq!(verdicts.map(Verdict::exit_code), [0, 3, 4, 5, 130]);
    let names = verdicts.map(|verdict| serde_json::to_value(verdict).unwrap());
    assert_eq!(names, ["pass", "threshold", "audit", "saturated", "interrupted"]);
}

#[test]
fn what_holds_passes_and_what_does_not_is_named_with_both_numbers() {
    let passed = judged(report(OPEN, "p50_us = 500\ndelivered = 1\ncpu_s_per_million = 5.0\nerrors = 0"));
    assert_eq!((passed.verdict, passed.thresholds.len()), (Verdict::Pass, 4));
    for (threshold, said) in [
        ("p50_us = 300", "p50_us is 400, threshold 300"),
        ("delivered = 2", "delivered is 1, threshold 2"),
        ("connections_held = 11", "connections_held is 10, threshold 11"),
        ("cpu_s_per_million = 4.0", "cpu_s_per_million is 5, threshold 4"),
        ("rss_bytes_per_connection = 1.0", "rss_bytes_per_connection was not measured, threshold 1"),
    ] {
        let failed = judged(report(OPEN, threshold));
        assert_eq!((failed.verdict, failed.reason.as_str()), (Verdict::Threshold, said));
    }
    let mut errors = report(OPEN, "errors = 0");
    errors.errors.insert("disconnected: lost".to_owned(), 2);
    assert_eq!(judged(errors).reason, "errors is 2, threshold 0");
}

#[test]
fn the_audit_goes_before_everything_else() {
    let mut all_at_once = report(OPEN, "p50_us = 300\nerrors = 0");
    lose_one(&mut all_at_once);
    lag(&mut all_at_once, 1_000);
    all_at_once.interrupted = true;
    all_at_once.not_connected = Some(3);
    all_at_once.errors.insert("x".to_owned(), 1);
    let mut without_loss = Report { audit: report(OPEN, "").audit, ..all_at_once.clone() };
    assert_eq!(judged(all_at_once).verdict, Verdict::Audit);
    // Then what the person did, then what never began, then the load generator, then the thresholds.
    assert_eq!(judged(without_loss.clone()).verdict, Verdict::Interrupted);
    without_loss.interrupted = false;
    let never_began = judged(without_loss.clone());
    assert_eq!(never_began.verdict, Verdict::Threshold);
    assert!(never_began.reason.contains("3 of 10 users were not authenticated"), "{}", never_began.reason);
    without_loss.not_connected = None;
    without_loss.errors.clear();
    assert_eq!(judged(without_loss.clone()).verdict, Verdict::Saturated);
    lag(&mut without_loss, 0);
    assert_eq!(judged(without_loss).verdict, Verdict::Threshold);
}

#[test]
fn a_saturated_generator_excuses_speed_and_nothing_else() {
    let mut slow = report(CLOSED, "p50_us = 300");
    slow.generator.busy = vec![0.2, 0.97];
    assert_eq!(judged(slow).verdict, Verdict::Saturated);
    let mut errors = report(CLOSED, "p50_us = 300\nerrors = 0");
    errors.generator.busy = vec![0.97];
    errors.errors.insert("x".to_owned(), 1);
    assert_eq!(judged(errors).verdict, Verdict::Threshold);
    // Half of a latency that is too long is what the generator itself took to read what was there.
    for (own, verdict) in [(250, Verdict::Saturated), (150, Verdict::Threshold)] {
        let mut burst = report(OPEN, "p50_us = 300");
        burst.generator.reading_lag_us.p50 = own;
        assert_eq!(judged(burst).verdict, verdict);
    }
    // A closed load as fast as the generator can is a pass when all holds; a late open load is another load.
    let mut closed = report(CLOSED, "p50_us = 500");
    closed.generator.busy = vec![0.97];
    assert_eq!(judged(closed).verdict, Verdict::Pass);
    let mut late = report(OPEN, "");
    lag(&mut late, 150);
    assert_eq!(judged(late.clone()).verdict, Verdict::Saturated);
    late.scenario.thresholds.pacing_lag_ms = Some(200.0);
    assert_eq!(judged(late).verdict, Verdict::Pass);
}

#[test]
fn groups_and_those_who_stay_are_judged_by_what_was_measured_of_them() {
    let groups = |thresholds: &str| {
        let mut judged_by = report(OPEN, "");
        let text = format!(
            "[load]\nusers = 10\n{OPEN}\nsteady_s = 1.0\ngroups = [{{ members = 5 }}]\n[thresholds]\n{thresholds}\n\
             [[behaviour]]\nkind = \"churn\"\ndrops_per_second = 1.0\n"
        );
        judged_by.scenario = Scenario::parse(&text).unwrap();
        let last_us = Percentiles { count: 9, p99: 12_000, ..Percentiles::default() };
        judged_by.groups = Some(GroupFigures { last_us, ..GroupFigures::default() });
        judged_by.latency_meanwhile_us = last_us;
        judged_by
    };
    for (threshold, said) in [
        ("group_last_p99_us = 10000", "group_last_p99_us is 12000, threshold 10000"),
        ("meanwhile_p99_us = 10000", "meanwhile_p99_us is 12000, threshold 10000"),
        ("group_ack_p99_us = 5000", "group_ack_p99_us was not measured, threshold 5000"),
    ] {
        let failed = judged(groups(threshold));
        assert_eq!((failed.verdict, failed.reason.as_str()), (Verdict::Threshold, said));
    }
    assert_eq!(judged(groups("group_last_p99_us = 12000")).verdict, Verdict::Pass);
    let mut unmade = groups("");
    unmade.not_joined = Some(3);
    assert!(judged(unmade).reason.contains("3 memberships of groups had not begun"));
}

#[test]
fn a_load_of_connects_at_the_generators_limit_says_so() {
    let connects = |thresholds: &str| {
        let mut connects = report("mode = \"connect\"", thresholds);
        connects.connections.connects_per_second = 5_000.0;
        (connects.generator.busy, connects.generator.waiting) = (vec![0.6], vec![0.37]);
        judged(connects)
    };
    for (thresholds, verdict) in [
        ("", Verdict::Saturated),
        ("connects_per_second = 6000.0", Verdict::Saturated),
        ("connects_per_second = 4000.0", Verdict::Pass),
    ] {
        let judged = connects(thresholds);
        assert_eq!(judged.verdict, verdict, "{thresholds}");
        assert_eq!(judged.reason.contains("not what the server can take"), verdict == Verdict::Saturated);
    }
}

#[test]
fn a_run_that_did_nothing_is_no_pass() {
    let mut silent = report(CLOSED, "");
    silent.audit = Audit::default();
    assert_eq!(judged(silent).reason, "no message was delivered");
    let mut connects = report("mode = \"connect\"", "");
    assert_eq!(judged(connects.clone()).verdict, Verdict::Threshold);
    connects.connections.connects_per_second = 1.0;
    assert_eq!(judged(connects).verdict, Verdict::Pass);
    assert_eq!(judged(report("mode = \"idle\"", "")).verdict, Verdict::Pass);
}

#[test]
fn the_file_has_every_field_that_others_read() {
    let out = tempfile::tempdir().unwrap();
    let outputs = Outputs { folder: out.path().to_owned(), ..Outputs::default() };
    outputs.prepare().unwrap();
    outputs.write(&judged(report(OPEN, "p50_us = 500"))).unwrap();
    let text = fs::read_to_string(out.path().join(JSON)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for pointer in [
        "/schema",
        "/verdict",
        "/reason",
        "/exit_code",
        "/audit/sent",
        "/audit/acked",
        "/audit/delivered",
        "/audit/lost",
        "/audit/doubled",
        "/audit/reordered",
        "/audit/acked_but_missing",
        "/latency_us/p50",
        "/latency_us/p99",
        "/latency_us/p999",
        "/latency_us/max",
        "/connections/held",
        "/server/cpu_s_per_million",
        "/server/rss_bytes_per_connection",
        "/thresholds/0/holds",
    ] {
        assert!(json.pointer(pointer).is_some(), "{pointer} is missing from {text}");
    }
    assert_eq!(json["verdict"], "pass");
    assert_eq!(json["audit"]["delivered"], 1);
    let left: Vec<_> = fs::read_dir(out.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "nothing but the report and its page is left");
    let again: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), json, "a report can be read back");
}

#[test]
fn a_place_that_cannot_hold_a_file_is_refused_by_its_option() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("file");
    fs::write(&file, "x").unwrap();
    let outputs = |folder: &std::path::Path, junit: Option<&std::path::Path>| Outputs {
        folder: folder.to_owned(),
        junit: junit.map(std::path::Path::to_owned),
        prometheus: None,
    };
    let refusal = |outputs: Outputs| outputs.prepare().unwrap_err().to_string();
    let text = refusal(outputs(&file.join("below"), None));
    assert!(text.starts_with("--out: ") && text.contains("file/below"), "{text}");
    let text = refusal(outputs(out.path(), Some(&file.join("junit.xml"))));
    assert!(text.starts_with("--junit: ") && text.contains("junit.xml"), "{text}");
    assert!(refusal(outputs(out.path(), Some(out.path()))).contains("folder"));
    // What could be written is, although another could not.
    let half = outputs(out.path(), Some(&file.join("junit.xml")));
    assert!(half.write(&judged(report(OPEN, ""))).unwrap_err().to_string().starts_with("--junit: "));
    assert!(out.path().join(JSON).is_file());
}

#[test]
fn a_full_host_excuses_the_server_only_when_others_filled_it() {
    let full = |server: f64, own: f64| {
        let mut report = report(CLOSED, "p50_us = 300");
        report.machine.busy = Some(0.99);
        (report.server.cores_used, report.generator.cores_used) = (Some(server), Some(own));
        judged(report)
    };
    let others = full(0.5, 0.5);
    assert_eq!(others.verdict, Verdict::Saturated);
    assert!(
        others.reason.contains("99 % of its 2 cores busy") && others.reason.contains("others 0.98"),
        "{}",
        others.reason
    );
    assert_eq!(full(1.8, 0.1).verdict, Verdict::Threshold);
    let mut holds = report(CLOSED, "p50_us = 500");
    holds.machine.busy = Some(1.0);
    assert_eq!(judged(holds).verdict, Verdict::Pass);
}

#[test]
fn sockets_that_the_host_refused_are_not_the_servers_errors() {
    let mut short = report(CLOSED, "errors = 0\nconnections_held = 11");
    short.errors.insert("connect: address not available".to_owned(), 3);
    short.generator.socket_errors = 3;
    assert_eq!(judged(short.clone()).verdict, Verdict::Saturated);
    short.scenario.thresholds.cpu_s_per_million = Some(4.0);
    assert_eq!(judged(short).verdict, Verdict::Threshold);
}
