//! The search, on simulated systems: no server, no clock.

use super::*;

/// A server whose p99 rises like a queue's, with a generator that has a limit of its own.
struct Simulated {
    capacity: f64,
    generator: f64,
    /// Steps (from 0) that stall whatever the rate.
    stalls: Vec<usize>,
    audit_fails_above: f64,
    tried: Vec<f64>,
}

impl Simulated {
    fn new(capacity: f64) -> Self {
        Self { capacity, generator: 1e12, stalls: Vec::new(), audit_fails_above: 1e12, tried: Vec::new() }
    }

    /// p99 of a queue with a mean service of 1/capacity: 1 ms at rest.
    fn p99_us(&self, rate: f64) -> f64 {
        if rate >= self.capacity { 1e9 } else { 1_000.0 / (1.0 - rate / self.capacity) }
    }
}

const BUDGET: u64 = 10_000;

impl Rig for Simulated {
    type Error = std::convert::Infallible;

    fn open(&mut self, rate: f64) -> Result<Step, Self::Error> {
        let stalled = self.stalls.contains(&self.tried.len());
        self.tried.push(rate);
        let p99_us = if stalled { 1e6 } else { self.p99_us(rate) };
        let judged = if rate > self.audit_fails_above {
            Judged::Audit("1 lost".to_owned())
        } else if rate > self.generator {
            Judged::Generator("busy".to_owned())
        } else if p99_us > BUDGET as f64 {
            Judged::Broken("late".to_owned())
        } else {
            Judged::Holds
        };
        let figures = Figures { delivered_per_second: rate.min(self.capacity), p99_us, ..Figures::default() };
        Ok(Step { asked: Asked::Rate(rate), judged, figures, folder: String::new() })
    }

    fn closed(&mut self, concurrency: u64) -> Result<Step, Self::Error> {
        Ok(Step {
            asked: Asked::Concurrency(concurrency),
            judged: Judged::Holds,
            figures: Figures::default(),
            folder: String::new(),
        })
    }
}

fn limits() -> Limits {
    Limits { from: 1_000.0, to: 1e6, budget_p99_us: BUDGET, factor: 2.0, resolution: 0.05, tries: 2 }
}

fn found(system: &mut Simulated, limits: Limits) -> Found {
    let Ok(found) = search(system, limits);
    found
}

#[test]
fn it_finds_the_knee_from_below_within_the_resolution() {
    for capacity in [3_000.0, 17_777.0, 400_000.0] {
        let truth = capacity * 0.9; // 1 ms / (1 − 0.9) = 10 ms
        let found = found(&mut Simulated::new(capacity), limits());
        let (rate, too_high) = (found.rate.unwrap(), found.too_high.unwrap());
        assert!(rate <= truth && truth < too_high && too_high / rate <= 1.05, "{rate} {truth} {too_high}");
        assert_eq!((found.bound, found.bound.exit_code()), (Bound::Server, 0));
    }
}

#[test]
fn it_goes_down_when_the_first_rate_is_too_high() {
    let found = found(&mut Simulated::new(300.0), limits());
    let rate = found.rate.unwrap();
    assert!((256.0..=270.0).contains(&rate), "{rate}");
}

#[test]
fn a_budget_that_nothing_holds_is_said() {
    let found = found(&mut Simulated::new(5.0), limits());
    assert_eq!((found.rate, found.bound, found.bound.exit_code()), (None, Bound::BelowAll, 3));
    assert!(found.steps.len() < 20);
}

#[test]
fn the_highest_rate_asked_for_may_hold() {
    let mut system = Simulated::new(1e9);
    let found = found(&mut system, Limits { to: 5_000.0, ..limits() });
    assert_eq!((found.rate, found.too_high, found.bound), (Some(5_000.0), None, Bound::NotReached));
    assert_eq!(system.tried, [1_000.0, 2_000.0, 4_000.0, 5_000.0]);
}

#[test]
fn the_generators_limit_is_not_called_the_servers() {
    let found = found(&mut Simulated { generator: 50_000.0, ..Simulated::new(1e9) }, limits());
    assert_eq!((found.bound, found.bound.exit_code()), (Bound::Generator, 5));
    let rate = found.rate.unwrap();
    assert!((47_500.0..=50_000.0).contains(&rate), "{rate}");
}

#[test]
fn one_stall_is_not_a_limit() {
    let mut stalling = Simulated { stalls: vec![0, 3], ..Simulated::new(100_000.0) };
    let with = found(&mut stalling, limits());
    let without = found(&mut Simulated::new(100_000.0), limits());
    assert_eq!(with.rate, without.rate);
    let once = found(&mut Simulated { stalls: vec![3], ..Simulated::new(100_000.0) }, Limits { tries: 1, ..limits() });
    assert!(once.rate < without.rate, "with one try it is");
}

#[test]
fn an_unclean_audit_ends_the_search() {
    let found = found(&mut Simulated { audit_fails_above: 3_000.0, ..Simulated::new(1e9) }, limits());
    assert_eq!((found.bound, found.bound.exit_code(), found.rate), (Bound::Audit, 4, Some(2_000.0)));
    assert!(matches!(found.steps.last().unwrap().judged, Judged::Audit(_)));
}

#[test]
fn impossible_limits_are_named() {
    for (limits, word) in [
        (Limits { from: 0.0, ..limits() }, "--from 0"),
        (Limits { from: f64::NAN, ..limits() }, "--from NaN"),
        (Limits { to: 10.0, ..limits() }, "--to 10 is below --from 1000"),
        (Limits { budget_p99_us: 0, ..limits() }, "--budget-p99-us 0"),
        (Limits { factor: 1.0, ..limits() }, "--factor 1"),
        (Limits { resolution: 0.0, ..limits() }, "--resolution 0"),
        (Limits { tries: 0, ..limits() }, "--tries 0"),
    ] {
        let refusal = limits.check().unwrap_err();
        assert!(refusal.contains(word), "{refusal}");
    }
    assert_eq!(limits().check(), Ok(()));
}

#[test]
fn littles_law_leaves_out_what_the_generator_did_not_send_yet() {
    let figures = Figures {
        delivered_per_second: 5_000.0,
        mean_us: 600.0,
        lag_mean_us: 100.0,
        in_flight: Some(3.0),
        ..Figures::default()
    };
    assert!((figures.in_flight_by_little() - 2.5).abs() < 1e-12);
    assert!((figures.little_deviation().unwrap() - 0.2).abs() < 1e-12);
    assert_eq!(Figures { in_flight: None, ..figures }.little_deviation(), None);
}

fn report(text: &str) -> crate::recorded::Recorded {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    crate::recorded::Recorded::read(file.path()).unwrap()
}

#[test]
fn a_steps_report_is_judged_by_delivery_budget_and_generator() {
    let text = |delivered: u32, p99: u32, lag: u32, errors: &str| {
        format!(
            r#"{{"schema": 1, "verdict": "pass", "scenario": {{}}, "errors": {errors}, "not_connected": null,
                "throughput": {{"delivered_per_second": {delivered}}}, "latency_us": {{"p99": {p99}}},
                "generator": {{"busy": [0.2, 0.5], "saturated": false, "pacing_lag_us": {{"p99": {lag}}}}}}}"#
        )
    };
    let judged = |delivered, p99, lag, errors| judge_open(&report(&text(delivered, p99, lag, errors)), 1_000.0, 5_000);
    assert_eq!(judged(1_000, 5_000, 10, "{}"), Judged::Holds);
    assert_eq!(judged(1_000, 5_001, 10, "{}"), Judged::Broken("p99 5001 µs, budget 5000 µs".to_owned()));
    assert_eq!(judged(900, 10, 1, "{}"), Judged::Broken("900 of 1000 messages a second delivered".to_owned()));
    assert_eq!(judged(1_000, 10, 1, "{\"overloaded\": 2}"), Judged::Broken("2 errors".to_owned()));
    assert!(matches!(judged(1_000, 9_000, 5_000, "{}"), Judged::Generator(why) if why.contains("busiest worker 50 %")));
    let audit = text(1_000, 10, 1, "{}").replace("\"pass\"", "\"audit\", \"reason\": \"1 lost\"");
    assert_eq!(judge_open(&report(&audit), 1_000.0, 5_000), Judged::Audit("1 lost".to_owned()));
}

#[test]
fn a_steps_scenario_keeps_all_but_its_load() {
    let text = "[load]\nusers = 100\nmode = \"open\"\nrate = 5.0\nsteady_s = 60.0\nsize_bytes = 300\nmessages = 7\n[thresholds]\np99_us = 1\n";
    let base = crate::scenario::Scenario::parse(text).unwrap();
    let step = rig::scenario_of(&base, Asked::Rate(123.5), 4.0).unwrap();
    assert_eq!((step.load.rate, step.load.steady_s, step.load.messages), (Some(123.5), 4.0, None));
    assert_eq!((step.load.size_bytes, step.load.users, step.thresholds.p99_us), (300, 100, None));
    assert_eq!(step.server.limits.sends_per_second_per_user, Some(0));
    for (asked, users, in_flight) in [(1, 2, 1), (2, 2, 1), (64, 64, 1), (800, 100, 8)] {
        let step = rig::scenario_of(&base, Asked::Concurrency(asked), 4.0).unwrap();
        assert_eq!((step.load.users, step.load.in_flight, step.load.rate), (users, Some(in_flight), None));
    }
    let behaving = crate::scenario::Scenario { behaviours: vec![toml::Table::new()], ..base.clone() };
    assert!(rig::scenario_of(&behaving, Asked::Rate(1.0), 4.0).unwrap_err().contains("[[behaviour]]"));
    let idle = crate::scenario::Scenario::parse("[load]\nusers = 1\nmode = \"idle\"\nsteady_s = 1.0\n").unwrap();
    assert!(rig::scenario_of(&idle, Asked::Rate(1.0), 4.0).unwrap_err().contains("load.mode"));
    assert!(rig::scenario_of(&base, Asked::Rate(1.0), 0.0).unwrap_err().contains("load.steady_s"));
}

#[test]
fn the_page_has_every_step_and_needs_nothing_else() {
    let found = found(&mut Simulated::new(20_000.0), limits());
    let law = usl::Law { lambda: 2_000.0, sigma: 0.05, kappa: 1e-6 };
    let points: Vec<usl::Point> = [2.0, 8.0, 32.0, 128.0].map(|n| (n, law.throughput(n))).into();
    let knee = Knee {
        schema: 1,
        name: "a <name>".to_owned(),
        started_ms: 0,
        reason: show::reason(&found, &limits()),
        exit_code: 0,
        limits: limits(),
        closed: Vec::new(),
        scaling: usl::fit(&points),
        found,
    };
    let page = page::page(&knee);
    for step in &knee.found.steps {
        let Asked::Rate(rate) = step.asked else { continue };
        assert!(page.contains(&format!("{rate:.0}/s")), "{rate}");
    }
    assert!(page.contains("a &lt;name&gt;") && page.contains(&knee.reason) && page.contains("arXiv:0808.1431"));
    assert!(!page.contains("http") && !page.contains("<script") && !page.contains("NaN"));
    let text = show::text(&knee);
    assert!(text.ends_with(&format!("knee (0): {}", knee.reason)) && text.contains("95 % intervals: λ 2000"), "{text}");
}
