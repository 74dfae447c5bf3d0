//! The page of the kept entries, and of entries there are not.

use super::*;

fn folder(entries: &[(&str, &str)], table: &str) -> std::path::PathBuf {
    let name = format!("shardwire-bench-page-{}-{}", std::process::id(), entries.len());
    let folder = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("README.md"), table).unwrap();
    for (name, text) in entries {
        std::fs::write(folder.join(name), text).unwrap();
    }
    folder
}

fn entry(label: &str, ratio: f64) -> String {
    let spread = format!(r#"{{"median":{ratio},"min":{ratio},"max":{}}}"#, ratio + 1.0);
    format!(
        r#"{{"label":"{label}","date":"2026-01-02","machine":{{"cores":2}},"instructions":{{"frame::verify":1234}},
            "shapes":{{"closed":{{"cpu_ratio_without_apply":{spread}}}}}}}"#
    )
}

/// Every tag that was opened is closed again, in order.
fn assert_well_formed(page: &str) {
    let mut open = Vec::new();
    for part in page.split('<').skip(1) {
        let tag = part.split('>').next().unwrap();
        let name: String = tag.trim_start_matches('/').chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        if tag.starts_with('!') || tag.ends_with('/') || name == "meta" {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed in order");
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_kept_entries_are_drawn_whole() {
    let folder = shell::root().join("benches/history");
    let entries = entries::read(&folder).unwrap();
    assert!(!entries.is_empty());
    let page = draw(&folder).unwrap();
    assert_well_formed(&page);
    for entry in &entries {
        assert!(page.contains(&entry.name()), "{}", entry.name());
    }
    let recorded = std::fs::read_to_string(shell::root().join("benches/src/bin/bench_record/shapes.rs")).unwrap();
    for budget in BUDGETS {
        // What was never recorded yet must at least be something that is.
        let known = |word: &&str| recorded.contains(word.trim_end_matches("_without_apply"));
        let in_an_entry = entries.iter().any(|entry| entry.spread(budget.path).is_some());
        assert!(in_an_entry || budget.path.split('/').skip(2).all(|word| known(&word)), "{}", budget.path);
        assert!(page.contains(&format!("budget {}", chart::number(budget.most))), "{}", budget.title);
    }
    assert!(!page.contains("http") && !page.contains("<script"), "it needs nothing from elsewhere");
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn the_page_beside_the_entries_is_current() {
    run(&Args { check: true }).unwrap();
}

#[test]
fn entries_keep_the_order_in_which_they_were_made() {
    let (later, earlier) = (entry("a-later", 2.0), entry("b-earlier", 4.0));
    let folder = folder(
        &[("x-a-later.json", &later), ("x-b-earlier.json", &earlier), ("runtimes-x.json", "{}")],
        "| [b](x-b-earlier.json) |\n| [a](x-a-later.json) |\n",
    );
    let page = draw(&folder).unwrap();
    assert_well_formed(&page);
    let rows = &page[page.find("<tbody>").unwrap()..];
    assert!(rows.find("b-earlier").unwrap() < rows.find("a-later").unwrap());
    assert!(page.contains("Entries: 2") && page.contains("1,234"), "{page}");
    assert!(rows.contains("<td class=\"over\">4 ▲</td>") && rows.contains("<td>2</td>"), "{rows}");
    assert!(page.contains("2 in 2026-01-02 a-later, within 3"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_broken_entry_is_named_and_names_are_escaped() {
    let broken = folder(&[("x.json", "{")], "");
    assert!(draw(&broken).unwrap_err().to_string().contains("x.json"));
    std::fs::remove_dir_all(broken).unwrap();
    assert_eq!(chart::escape("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    for (value, text) in [(0.0, "0"), (0.0667, "0.0667"), (1.6, "1.6"), (3378.0, "3,378"), (16_510.4, "16,510")] {
        assert_eq!(chart::number(value), text);
    }
}
