//! The kept unit costs against the history they name, and their rewriting.

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_kept_figures_are_those_of_the_entry_they_name() {
    let costs = Costs::load(None).unwrap();
    let entry = Entry::read(&root().join(&costs.history.file)).unwrap();
    assert_eq!(costs.history, entry.history(&root()), "loadgen capacity --update-costs {}", costs.history.file);
    let mut measured = 0;
    for (name, figure) in costs.figure.iter().filter(|(_, f)| f.kind == Kind::Measured) {
        assert_eq!(figure.value, entry.value(figure).unwrap(), "{name}: loadgen capacity --update-costs");
        measured += 1;
    }
    assert!(measured >= 5);
}

#[test]
fn rewriting_changes_the_measured_figures_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let costs = folder.path().join("unit-costs.toml");
    fs::write(&costs, KEPT).unwrap();
    let kept = Costs::load(None).unwrap();
    let newest = root().join(&kept.history.file);
    let text = fs::read_to_string(&newest).unwrap();
    let mut json: Value = serde_json::from_str(&text).unwrap();
    json["shapes"]["idle"]["server"]["bytes_per_connection"]["median"] = 1_234.0.into();
    json["date"] = "2031-02-03".into();
    let entry = folder.path().join("2031-02-03-later.json");
    fs::write(&entry, json.to_string()).unwrap();
    fs::write(folder.path().join("2001-01-01-first.json"), text).unwrap();
    let changed = update(&costs, &Entry::read(folder.path()).unwrap()).unwrap();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(changed[0].starts_with("connection_bytes: ") && changed[0].ends_with("1234 B"), "{changed:?}");
    let after = fs::read_to_string(&costs).unwrap();
    assert!(after.starts_with(KEPT.lines().next().unwrap()), "comments stay");
    let read = Costs::load(Some(&costs)).unwrap();
    assert_eq!((read.figure["connection_bytes"].value, read.history.date.as_str()), (1_234.0, "2031-02-03"));
    assert_eq!(read.figure["message_cpu_us"].value, kept.figure["message_cpu_us"].value);
}

#[test]
fn an_entry_that_lacks_a_figure_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let costs = folder.path().join("unit-costs.toml");
    fs::write(&costs, KEPT).unwrap();
    let entry = folder.path().join("e.json");
    fs::write(&entry, r#"{"shapes": {}, "date": "2031-02-03"}"#).unwrap();
    let refusal = update(&costs, &Entry::read(&entry).unwrap()).unwrap_err().to_string();
    assert!(refusal.contains("has no number at shapes."), "{refusal}");
    assert_eq!(fs::read_to_string(&costs).unwrap(), KEPT);
}

#[test]
fn a_figure_without_origin_or_sense_is_named() {
    let head =
        "[history]\nfile = \"\"\ndate = \"\"\ncommit = \"\"\nmachine = \"\"\n[figure.x]\nunit = \"\"\nsays = \"\"\n";
    let read = |rest: &str| Costs::read(&format!("{head}{rest}"), Path::new("f.toml")).unwrap_err().to_string();
    for (rest, word) in [
        ("value = 1.0\nkind = \"assumed\"", "figure.x: a assumed figure needs `source`"),
        ("value = 1.0\nkind = \"measured\"", "figure.x: a measured figure needs `from`"),
        ("value = -1.0\nkind = \"given\"\nsource = \"s\"", "figure.x.value = -1"),
        ("value = nan\nkind = \"given\"\nsource = \"s\"", "figure.x.value = NaN"),
        ("value = 1.0\nkind = \"guessed\"", "guessed"),
    ] {
        let refusal = read(rest);
        assert!(refusal.contains(word), "{refusal}");
    }
}

#[test]
fn a_report_replaces_what_it_measured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    let report = |text: &str| {
        fs::write(&path, text).unwrap();
        Recorded::read(&path).unwrap()
    };
    let mut costs = Costs::load(None).unwrap();
    let kept = costs.figure["connection_bytes"].value;
    let text = r#"{"schema": 1, "verdict": "pass", "scenario": {"load": {"mode": "open"}}, "connections": {"held": 10},
        "server": {"cpu_s_per_million_without_apply": 33.0, "cores_used": 1.0, "rss_bytes_per_connection": 99999.0}}"#;
    costs.take_report(&report(text)).unwrap();
    assert_eq!(costs.figure["message_cpu_us"].value, 33.0);
    assert!(costs.source(&costs.figure["message_cpu_us"]).contains("r.json"));
    assert_eq!(costs.figure["connection_bytes"].value, kept, "ten connections say nothing of one");
    let idle = text.replace("open", "idle").replace("10}", "2000}").replace("33.0", "null");
    costs.take_report(&report(&idle)).unwrap();
    assert_eq!((costs.figure["idle_cpu_us"].value, costs.figure["connection_bytes"].value), (500.0, 99_999.0));
    let refusal = costs.take_report(&report(r#"{"schema": 1, "verdict": "pass", "scenario": {}}"#)).unwrap_err();
    assert!(refusal.to_string().contains("says no unit cost"), "{refusal}");
}
