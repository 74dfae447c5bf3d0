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

/// The keys a table may have, from what the refusal of another one names.
fn keys(text: &str) -> Vec<String> {
    let message = refusal(text);
    let (_, expected) = message.split_once("expected ").unwrap_or_else(|| panic!("{message}"));
    let quoted: Vec<String> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!quoted.is_empty(), "{message}");
    quoted
}

#[test]
fn every_key_is_in_the_readme() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let unknown = "nosuchkey = 1";
    let mut tables = vec![
        ("the file".to_owned(), keys(&format!("{unknown}\n{OPEN}"))),
        ("load".to_owned(), keys(&format!("{OPEN}{unknown}\n"))),
    ];
    for table in ["server", "server.limits", "server.storage", "thresholds"] {
        tables.push((table.to_owned(), keys(&format!("{OPEN}[{table}]\n{unknown}\n"))));
    }
    tables.push(("steps".to_owned(), keys(&format!("{OPEN}[[load.steps]]\n{unknown}\n"))));
    for kind in crate::behave::kinds() {
        assert!(readme.contains(&format!("| `{kind}` |")), "the kind {kind}");
        tables.push((kind.to_owned(), keys(&format!("{OPEN}[[behaviour]]\nkind = \"{kind}\"\n{unknown}\n"))));
    }
    for (key, kinds) in [
        ("size", ["fixed", "list", "lognormal"].as_slice()),
        ("think", &["fixed", "uniform", "exponential", "lognormal"]),
    ] {
        for kind in kinds {
            let table = format!("load.{key} ({kind})");
            tables.push((table, keys(&format!("{OPEN}[load.{key}]\nkind = \"{kind}\"\n{unknown}\n"))));
        }
    }
    for (table, keys) in tables {
        for key in keys {
            let named = [format!("`{key}`"), format!("`{table}.{key}`"), format!("`{key} = […]`")];
            assert!(named.iter().any(|name| readme.contains(name)), "{table}: {key} is not in scenarios/README.md");
        }
    }
}

#[test]
fn sizes_pauses_and_steps_that_cannot_be_are_refused() {
    let closed = OPEN.replace("mode = \"open\"\nrate = 100.0", "mode = \"closed\"\nin_flight = 1");
    for (base, key, expected) in [
        (OPEN, "size = { kind = \"fixed\", bytes = 15 }", "load.size.bytes = 15: expected 16"),
        (OPEN, "size = { kind = \"gauss\" }", "unknown variant `gauss`"),
        (OPEN, "size = { kind = \"list\", bytes = [16, 32], weights = [1.0] }", "load.size.weights has 1 entries"),
        (OPEN, "size = { kind = \"list\", bytes = [16], weights = [0.0] }", "load.size.weights are all 0"),
        (
            OPEN,
            "size = { kind = \"lognormal\", median = 100, p99 = 50, max = 200 }",
            "load.size.p99 = 50: expected 100 to 200",
        ),
        (
            OPEN,
            "size_bytes = 64\nsize = { kind = \"fixed\", bytes = 128 }",
            "load.size_bytes and load.size say the same",
        ),
        (OPEN, "think = { kind = \"fixed\", ms = 1.0 }", "load.think is for load.mode = \"closed\" only"),
        (&closed, "think = { kind = \"fixed\", ms = 0.0 }", "load.think.ms = 0: expected 0.001"),
        (&closed, "think = { kind = \"uniform\", low_ms = 5.0, high_ms = 4.0 }", "load.think.high_ms = 4: expected 5"),
        (&closed, "steps = [{ rate = 1.0, for_s = 1.0 }]", "load.steps is for load.mode = \"open\" only"),
        (OPEN, "steps = [{ rate = 1.0, for_s = 1.0 }]", "load.rate and load.steps exclude each other"),
        (OPEN, "mark_interval_ms = 60000", "load.mark_interval_ms = 60000 holds marks back for longer"),
    ] {
        let message = refusal(&format!("{base}{key}\n"));
        assert!(message.contains(expected), "{message} should contain {expected}");
    }
    let steps = "[load]\nusers = 10\nmode = \"open\"\n";
    for (step, expected) in [
        ("{ rate = 0.0, for_s = 1.0 }", "load.steps[0].rate = 0: expected 0.001"),
        ("{ rate = 1.0, for_s = 1.0, ramp_s = 1.0 }", "load.steps[0].ramp_s: load.ramp_s leads to the first step"),
        ("{ rate = 1.0, for_s = 1.0 }, { rate = 1.0, for_s = 0.0 }", "load.steps[1].for_s = 0: expected 0.1"),
    ] {
        let message = refusal(&format!("{steps}steps = [{step}]\n"));
        assert!(message.contains(expected), "{message} should contain {expected}");
    }
    let message = refusal(&format!("{steps}steady_s = 9.0\nsteps = [{{ rate = 1.0, for_s = 1.0 }}]\n"));
    assert!(message.contains("the steps of load.steps are 1 s together"), "{message}");
    assert!(refusal(steps).contains("load.steady_s is missing"));
    let message = refusal(&format!("{OPEN}[thresholds]\nrecovery_s = 1.0\n"));
    assert!(message.contains("there is no [[behaviour]]"), "{message}");
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

#[test]
fn the_scenarios_that_ship_are_scenarios_and_in_the_readme() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let scenario = Scenario::load(&path).unwrap_or_else(|e| panic!("{e}"));
            assert!(
                readme.contains(&format!("`{}`", scenario.name)),
                "{} is not in scenarios/README.md",
                scenario.name
            );
            assert!(!scenario.description.is_empty(), "{}", scenario.name);
            seen += 1;
        }
    }
    assert!(seen >= 19, "only {seen} scenarios");
}
