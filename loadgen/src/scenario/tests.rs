//! Scenario files, right and wrong: every mistake is named.

use super::*;

const OPEN: &str = "[load]\nusers = 10\nmode = \"open\"\nrate = 100.0\nsteady_s = 1.0\n";

fn refusal(text: &str) -> String {
    Scenario::parse(text).expect_err("must be refused")
}

#[test]
fn the_least_scenario_gets_defaults() {
    let scenario = Scenario::parse(OPEN).unwrap();
    assert_eq!((scenario.load.size_bytes, scenario.load.peers, scenario.load.acks), (128, 1, true));
    assert_eq!(scenario.load.protocol, Protocol::Native);
}

#[test]
fn an_unknown_key_is_named_with_those_allowed() {
    let message = refusal(&format!("{OPEN}sped = 3\n"));
    assert!(message.contains("`sped`") && message.contains("`steady_s`") && message.contains("line 6"), "{message}");
    let message = refusal(&format!("{OPEN}[thresholds]\np98_us = 3\n"));
    assert!(message.contains("`p98_us`") && message.contains("`p99_us`"), "{message}");
    let message = refusal(&format!("{OPEN}[server.limits]\nburst = 3\n"));
    assert!(message.contains("`burst`") && message.contains("`burst_per_user`"), "{message}");
}

#[test]
fn a_value_of_the_wrong_kind_names_what_is_allowed() {
    let message = refusal(&OPEN.replace("open", "opened"));
    assert!(message.contains("`opened`") && message.contains("`closed`"), "{message}");
}

#[test]
fn impossible_values_name_key_value_and_range() {
    for (from, to, expected) in [
        ("rate = 100.0", "rate = -1.0", "load.rate = -1: expected 0.001 to 10000000"),
        ("rate = 100.0", "rate = nan", "load.rate = NaN"),
        ("rate = 100.0", "", "load.rate is missing"),
        ("users = 10", "users = 1", "load.users = 1: expected 2"),
        ("users = 10", "users = 11", "needs an even load.users"),
        ("users = 10", "users = 10\nsize_bytes = 15", "load.size_bytes = 15: expected 16"),
        ("users = 10", "users = 10\nin_flight = 3", "load.in_flight is for load.mode = \"closed\" only"),
        ("steady_s = 1.0", "steady_s = 0.0", "load.steady_s = 0: expected 0.1"),
        ("mode = \"open\"\nrate = 100.0", "mode = \"closed\"", "load.in_flight is missing"),
        ("mode = \"open\"\nrate = 100.0", "mode = \"idle\"\nmessages = 5", "load.messages is for"),
        ("users = 10", "users = 10\nencoding = \"json\"", "load.encoding is for load.protocol = \"websocket\" only"),
    ] {
        let message = refusal(&OPEN.replace(from, to));
        assert!(message.contains(expected), "{message} should contain {expected}");
    }
    let idle = "[load]\nusers = 1\nmode = \"idle\"\nsteady_s = 1.0\n[thresholds]\np99_us = 1\n";
    assert!(refusal(idle).contains("sends none"));
}

#[test]
fn the_scenarios_that_ship_are_scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        Scenario::load(&path).unwrap_or_else(|e| panic!("{e}"));
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} scenarios");
}
