//! Every setting of the files kept beside this crate is a rule with the same value, and the other way round.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use tuning::rule::{KeptFile, Severity};
use tuning::{host::Host, need::Need, rules, verdict::Verdict};

/// Keys of the unit and the slice that are about limits; the others are how it is started and what share it gets.
const LIMITING: [&str; 3] = ["Limit", "Tasks", "Memory"];

fn text(name: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn settings(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '[']))
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    settings(text).filter_map(pair).collect()
}

fn of_the_rules(file: KeptFile) -> BTreeMap<String, String> {
    let kept = rules::all().flat_map(|rule| rule.kept).filter(|kept| kept.file == file);
    kept.map(|kept| (kept.name.to_owned(), kept.value.to_owned())).collect()
}

#[test]
fn kernel_settings() {
    assert_eq!(pairs(&text("90-shardwire.conf")), of_the_rules(KeptFile::Sysctl));
    for rule in rules::all() {
        for kept in rule.kept.iter().filter(|kept| kept.file == KeptFile::Sysctl) {
            assert_eq!(kept.name, rule.key, "a setting's rule has its name");
        }
    }
}

#[test]
fn limits_of_logins() {
    let limit = |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let kept: BTreeMap<_, _> = settings(&text("90-shardwire-limits.conf")).filter_map(limit).collect();
    assert_eq!(kept, of_the_rules(KeptFile::Limits));
}

#[test]
fn limits_of_the_unit_and_the_slice() {
    let mut unit = pairs(&text("shardwire.service"));
    assert_eq!(unit["Slice"], "shardwire.slice");
    unit.retain(|name, _| LIMITING.iter().any(|prefix| name.starts_with(prefix)));
    assert_eq!(unit, of_the_rules(KeptFile::Service));
    let mut slice = pairs(&text("shardwire.slice"));
    assert!(slice.contains_key("CPUWeight"));
    slice.retain(|name, _| LIMITING.iter().any(|prefix| name.starts_with(prefix)));
    assert_eq!(slice, of_the_rules(KeptFile::Slice));
}

#[test]
fn limits_of_the_roles_units() {
    let mut common = pairs(&text("../deploy/systemd/shardwire-.service.d/10-common.conf"));
    assert_eq!(common["Slice"], "shardwire.slice");
    common.retain(|name, _| ["Limit", "Tasks"].iter().any(|prefix| name.starts_with(prefix)));
    assert_eq!(common, of_the_rules(KeptFile::Service));
    for role in ["gateway", "router", "storage-writer"] {
        let unit = pairs(&text(&format!("../deploy/systemd/shardwire-{role}@.service")));
        let start = &unit["ExecStart"];
        assert!(start.contains(&format!(" --role {role} ")), "{start}");
        assert!(start.contains(" --data /var/lib/shardwire/%i"), "{start}");
        assert!(common.keys().all(|name| !unit.contains_key(name)), "{role}: only {common:?} limits it");
    }
}

#[test]
fn a_host_with_the_kept_settings_finds_nothing_wrong_with_them() {
    let sysctl = of_the_rules(KeptFile::Sysctl);
    let host = Host { sysctl: sysctl.clone(), cores: 8, ..Host::default() };
    for need in [Need::server(1_000_000, 8, 8), Need::generator(1_000_000, 8, 50)] {
        let verdict = Verdict::of(&host, &need);
        let fallen: Vec<_> =
            verdict.findings.iter().filter(|f| sysctl.contains_key(f.key) && f.severity().is_some()).collect();
        assert!(fallen.is_empty(), "{fallen:?}");
    }
}

#[test]
fn the_readme_names_every_rule_and_every_file() {
    let readme = text("README.md");
    for rule in rules::all() {
        assert!(readme.contains(&format!("`{}`", rule.key)), "{} is not in README.md", rule.key);
    }
    for file in ["90-shardwire.conf", "90-shardwire-limits.conf", "shardwire.service", "shardwire.slice"] {
        assert!(readme.contains(&format!("({file})")), "{file} is not in README.md");
    }
}

#[test]
fn keys_are_unique_and_the_unit_fits_below_the_kernel_s_most() {
    let keys: BTreeSet<_> = rules::all().map(|rule| rule.key).collect();
    assert_eq!(keys.len(), rules::all().count());
    let most: u64 = of_the_rules(KeptFile::Sysctl)["fs.nr_open"].parse().unwrap();
    for file in [KeptFile::Service, KeptFile::Limits] {
        for (name, value) in of_the_rules(file).iter().filter(|(name, _)| name.to_lowercase().contains("nofile")) {
            assert!(value.parse::<u64>().unwrap() <= most, "{name}");
        }
    }
    assert!(Severity::Fatal < Severity::Warning, "fatal findings are shown first");
}
