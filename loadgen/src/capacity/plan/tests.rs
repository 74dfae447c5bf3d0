//! Plans: the model holds together, tiers are sized by their tightest resource, nonsense is refused by name.

use super::*;

fn given(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
    let mut given: BTreeMap<String, f64> = [("users", 2e9), ("online", 5e8), ("messages_per_day", 1e11), ("peak", 5.0)]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
    given.extend(pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)));
    given
}

fn planned(pairs: &[(&str, f64)]) -> Plan {
    plan(&Costs::load(None).unwrap(), &given(pairs)).unwrap()
}

fn refused(pairs: &[(&str, f64)]) -> String {
    plan(&Costs::load(None).unwrap(), &given(pairs)).unwrap_err().to_string()
}

#[test]
fn known_numbers_of_a_known_load() {
    let plan = planned(&[("group_share", 0.0), ("receipts_per_delivery", 0.0), ("media_share", 0.0)]);
    let of = |name: &str| plan.sheet.value(name).unwrap();
    assert_eq!(of("messages"), 1e11 / 86_400.0);
    assert_eq!(of("peak_deliveries"), 5e11 / 86_400.0);
    assert_eq!(of("recipients"), 1.0);
    assert_eq!(of("messages_kept"), 1e11 * 365.25 * 5.0);
    // 110 B of row and 250 B of body, three copies, a quarter for compaction.
    let messages = 1e11 * 365.25 * 5.0 * 360.0 / 1e12;
    assert!((of("message_tb") - messages).abs() < 1e-6 * messages);
    assert!(of("scylla_tb") > messages * 3.0 * 1.25);
}

#[test]
fn a_tier_has_the_nodes_its_tightest_resource_asks_for() {
    for pairs in [&[][..], &[("node_gib", 4.0)], &[("node_connections", 10_000.0)], &[("node_gbps", 0.1)]] {
        let plan = planned(pairs);
        for tier in &plan.tiers {
            assert!(tier.bounds.windows(2).all(|w| w[0].1 >= w[1].1));
            assert!(tier.nodes >= tier.bounds[0].1, "{}", tier.title);
            assert!(
                tier.least || tier.nodes - tier.bounds[0].1 < 1.0,
                "{}: {} {:?}",
                tier.title,
                tier.nodes,
                tier.bounds
            );
        }
    }
    let tightest = |pairs: &[(&str, f64)]| planned(pairs).tiers[0].tightest().to_owned();
    assert_eq!(tightest(&[("node_connections", 10_000.0)]), "connections");
    assert_eq!(tightest(&[("node_gib", 0.5)]), "memory");
    assert_eq!(tightest(&[("node_gbps", 0.01)]), "network");
    let small =
        plan(&Costs::load(None).unwrap(), &given(&[("users", 10.0), ("online", 10.0), ("messages_per_day", 10.0)]))
            .unwrap();
    assert_eq!(small.tiers.iter().map(|t| t.nodes).collect::<Vec<_>>(), [2.0, 2.0, 2.0, 3.0, 3.0]);
    assert!(small.tiers.iter().all(|t| t.tightest() == "the fewest it is run with"));
}

#[test]
fn more_of_anything_never_needs_fewer_nodes() {
    let nodes = |pairs: &[(&str, f64)]| planned(pairs).sheet.value("nodes").unwrap();
    let usual = nodes(&[]);
    for (name, more) in [
        ("messages_per_day", 2e11),
        ("online", 1e9),
        ("peak", 10.0),
        ("group_share", 0.6),
        ("group_size", 50.0),
        ("headroom", 0.7),
        ("replication", 5.0),
        ("retention_years", 10.0),
        ("body_bytes", 1_000.0),
        ("message_cpu_us", 100.0),
    ] {
        assert!(nodes(&[(name, more)]) > usual, "{name}");
    }
    assert!(nodes(&[("node_cores", 128.0), ("node_tb", 60.0), ("node_gib", 1_024.0)]) < usual);
}

#[test]
fn impossible_and_unknown_inputs_are_named() {
    for (pairs, word) in [
        (&[("online", 3e9)][..], "--online 3000000000 is more than --users 2000000000"),
        (&[("peak", 0.5)], "--peak 0.5: expected 1 to 1000"),
        (&[("messages_per_day", f64::NAN)], "--messages-per-day NaN"),
        (&[("users", 0.0)], "--users 0: expected 1 or more"),
        (&[("online", f64::INFINITY)], "--online inf"),
        (&[("headroom", 1.0)], "--headroom 1"),
        (&[("group_share", 1.5)], "--group-share 1.5"),
        (&[("moons", 1.0)], "--set moons: is neither"),
        (&[("message_cpu_us", -1.0)], "--set message_cpu_us=-1"),
    ] {
        let refusal = refused(pairs);
        assert!(refusal.contains(word), "{refusal}");
    }
    let missing = plan(&Costs::load(None).unwrap(), &BTreeMap::new()).unwrap_err().to_string();
    assert!(missing.contains("--users is missing: people with an account"), "{missing}");
}

#[test]
fn every_unit_cost_but_the_one_for_comparison_is_used() {
    let plan = planned(&[("cost_node_month", 1.0)]);
    let mut used = std::collections::BTreeSet::new();
    for row in plan.sheet.rows().iter().filter(|r| r.formula.is_some()) {
        used.extend(plan.sheet.rests_on(&row.name));
    }
    let idle: Vec<&str> = plan
        .sheet
        .rows()
        .iter()
        .filter(|r| r.formula.is_none() && !used.contains(r.name.as_str()))
        .map(|r| r.name.as_str())
        .collect();
    assert_eq!(idle, ["batched_cpu_us"]);
}

#[test]
fn origins_are_kept_apart() {
    let plan = planned(&[("connection_bytes", 1_000.0)]);
    let kind = |name: &str| plan.sheet.get(name).unwrap().kind;
    assert_eq!(
        (kind("users"), kind("body_bytes"), kind("connection_bytes")),
        (Kind::Given, Kind::Assumed, Kind::Given)
    );
    assert_eq!(
        (kind("message_cpu_us"), kind("driver_cpu_us"), kind("nodes")),
        (Kind::Measured, Kind::Assumed, Kind::Computed)
    );
    assert!(plan.sheet.get("message_cpu_us").unwrap().source.contains("benches/history/"));
    let writers = &plan.tiers[2];
    assert_eq!((writers.tightest(), writers.rests_on.contains(&"message_cpu_us".to_owned())), ("cpu", true));
}

#[test]
fn what_an_assumption_is_worth_is_found_by_changing_it() {
    let plan = planned(&[]);
    let nodes = plan.sheet.value("nodes").unwrap();
    assert!(plan.sensitive.iter().all(|s| plan.sheet.get(&s.name).unwrap().kind == Kind::Assumed));
    let row = plan.sensitive.iter().find(|s| s.name == "row_bytes").unwrap();
    assert!(row.less < nodes && row.more > nodes, "{row:?}");
    let span = |s: &Sensitive| (s.less - nodes).abs().max((s.more - nodes).abs());
    assert!(plan.sensitive.windows(2).all(|w| span(&w[0]) >= span(&w[1])));
}

#[test]
fn money_is_shown_only_for_a_price() {
    assert!(planned(&[]).sheet.value("cost").is_none());
    let plan = planned(&[("cost_node_month", 100.0)]);
    assert_eq!(plan.sheet.value("cost"), plan.sheet.value("nodes").map(|n| n * 100.0));
}
