//! The page: whole, safe against what is in it, and honest about what is missing.

use serde_json::Value;

use super::*;
use crate::report::series::Phase;
use crate::report::tests::{CLOSED, OPEN, report};
use crate::report::{Amount, Behaviour, GroupFigures, GroupKind, Percentiles, PhaseSpan, Sample};

fn full() -> Report {
    let mut report = report(OPEN, "p50_us = 500\np99_us = 300\nerrors = 0");
    report.series = (1..=30)
        .map(|at| Sample {
            at_s: f64::from(at),
            span_s: 1.0,
            phase: Phase::Steady,
            connected: 10,
            sent: 100,
            acked: 100,
            delivered: 99,
            p50_us: Some(300),
            p99_us: Some(900),
            max_us: Some(2_000),
            server_cores: Some(0.4),
            server_rss_bytes: Some(50 << 20),
            workers_busy: vec![0.2, 0.3],
            host_busy: Some(0.5),
            kernel_tcp_bytes: Some(1 << 20),
            ..Sample::default()
        })
        .collect();
    report.phases = vec![PhaseSpan { phase: Phase::Steady, from_s: 0.0, to_s: 30.0 }];
    report.judge();
    report
}

#[test]
fn the_page_needs_nothing_from_outside_and_no_script() {
    let page = page(&full());
    for outside in ["http://", "https://", "<script", "<link", "@import", "url(", "src="] {
        assert!(!page.contains(outside), "{outside}");
    }
    for id in ["latency", "curve", "throughput", "connections", "cpu", "generator-cpu", "memory", "connect-curve"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id} is not drawn");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
}

#[test]
fn the_verdict_its_reason_and_missed_thresholds_are_said_in_words() {
    let page = page(&full());
    assert!(page.contains("Threshold missed") && page.contains("p99_us is 400, threshold 300"), "{page}");
    assert!(page.contains("class=\"missed\"") && page.contains("✗ no"));
    assert!(page.contains("≤ 500 µs") && page.contains("p99 threshold"));
}

#[test]
fn what_the_scenario_or_the_server_says_is_only_text() {
    let mut report = full();
    let attack = "<img src=x onerror=alert(1)>\"'&";
    report.name = attack.to_owned();
    report.reason = attack.to_owned();
    report.scenario.description = attack.to_owned();
    report.errors.insert(attack.to_owned(), 1);
    report.server.ready = attack.to_owned();
    report.server.cpu_s_by_thread.insert(attack.to_owned(), 1.0);
    let figures = [(attack.to_owned(), attack.into())].into();
    report.behaviours.push(Behaviour { name: attack.to_owned(), said: attack.to_owned(), figures });
    let page = page(&report);
    assert!(!page.contains("<img"), "markup from outside is in the page");
    assert!(page.matches("&lt;img").count() >= 9);
}

#[test]
fn figures_of_behaviours_have_the_unit_that_their_name_says() {
    let mut report = full();
    let figures =
        [("back_p99_us", 2_500.into()), ("recovery_s", 75.0.into()), ("users", 1_000.into()), ("away", Value::Null)];
    let figures = figures.map(|(name, value)| (name.to_owned(), value)).into();
    report.behaviours.push(Behaviour { name: "storm".to_owned(), said: "all back".to_owned(), figures });
    let page = page(&report);
    for row in [("back p99", "2.5 ms"), ("recovery", "1 min 15 s"), ("users", "1,000")] {
        let cells = format!("<th scope=\"row\">{}</th><td class=\"n\">{}</td>", row.0, row.1);
        assert!(page.contains(&cells), "{cells}");
    }
    assert!(!page.contains(">away<"), "what is absent is left out");
}

#[test]
fn groups_are_shown_by_size_and_only_where_there_are_some() {
    let mut report = full();
    assert!(!page(&report).contains("last member"));
    let us = Percentiles { count: 40, p50: 900, p99: 2_500, ..Percentiles::default() };
    let kind = GroupKind { members: 500, groups: 3, last_us: us, ..GroupKind::default() };
    report.groups = Some(GroupFigures { cpu_us_per_delivery: Some(3.5), kinds: vec![kind], ..GroupFigures::default() });
    let page = page(&report);
    for said in ["3 × 500", "last member", "2.5 ms", "3.5 µs of the server's CPU a delivery"] {
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains("are not known"), "all were followed");
}

#[test]
fn what_is_unknown_is_said_with_its_reason() {
    let mut report = report(CLOSED, "");
    report.stages_unknown = Some("the server's /metrics has no such histogram".to_owned());
    report.memory_per_connection.tls = Amount::from(Err("no connection uses TLS".to_owned()));
    report.judge();
    let page = page(&report);
    for said in
        ["Unknown: the server's /metrics has no such histogram.", "no connection uses TLS", "Nothing was measured."]
    {
        assert!(page.contains(said), "{said}");
    }
}
