//! The published schema is the one of the types, says what every key is, and finds what is wrong.

mod published;

use loadgen::report::{Report, Sample, schema};
use loadgen::scenario::Scenario;
use published::{PUBLISHED, faults};
use serde_json::{Value, json};

fn report() -> Report {
    let text = "[load]\nusers = 10\nmode = \"open\"\nrate = 10.0\nsteady_s = 1.0\n[thresholds]\np50_us = 500\n";
    let mut report = Report::of(Scenario::parse(text).unwrap());
    report.series.push(Sample::default());
    report.judge();
    report
}

#[test]
fn the_published_file_is_up_to_date() {
    assert!(
        PUBLISHED == schema::text(),
        "loadgen/report.schema.json is old: cargo run -p shardwire-loadgen -- schema > loadgen/report.schema.json"
    );
}

#[test]
fn a_report_of_nothing_fits_and_faults_are_named() {
    let mut json = serde_json::to_value(report()).unwrap();
    assert_eq!(faults(&json), Vec::<String>::new());
    json["audit"]["sent"] = "many".into();
    json["verdict"] = "perhaps".into();
    json["series"] = json!([{ "at_s": 1.0 }]);
    json["surprise"] = 1.into();
    json["scenario"]["load"]["speed"] = 1.into();
    json.as_object_mut().unwrap().remove("reason");
    let found = faults(&json).join("\n");
    for fault in [
        "/audit/sent",
        "/verdict",
        "/series/0/connected is missing",
        "/surprise is not described",
        "/reason is missing",
    ] {
        assert!(found.contains(fault), "{fault} in {found}");
    }
}

#[test]
fn every_key_says_what_it_is() {
    fn bare(schema: &Value, at: &str, found: &mut Vec<String>) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            if property.get("description").is_none() && property.get("$ref").is_none() {
                found.push(format!("{at}/{key}"));
            }
        }
    }
    let schema: Value = serde_json::from_str(PUBLISHED).unwrap();
    let mut found = Vec::new();
    bare(&schema, "", &mut found);
    for (name, part) in schema["$defs"].as_object().unwrap() {
        // The client's counters have its names and are described there.
        if name != "Clients" {
            bare(part, name, &mut found);
        }
    }
    assert_eq!(found, Vec::<String>::new());
}
