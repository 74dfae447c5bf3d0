//! The page's parts that say what happened: key figures, thresholds, audit, errors, behaviours, scenario, machine.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;

use crate::audit::Audit;
use crate::report::{Judged, Report};
use crate::scenario::Mode;
use crate::words;

/// What is not known.
pub const UNKNOWN: &str = "–";

/// A value that is longer may be broken over lines, bytes.
const SHORT: usize = 22;

/// A card with a heading.
pub fn card(title: &str, body: Markup) -> Markup {
    html! { section.card { h2 { (title) } (body) } }
}

/// A table of names and values.
pub fn pairs(rows: &[(String, String)]) -> Markup {
    html! {
        div.scroll { table.pairs { tbody {
            @for (name, value) in rows {
                tr { th scope="row" { (name) } td class=(if value.len() > SHORT { "n long" } else { "n" }) { (value) } }
            }
        } } }
    }
}

fn row(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// Key figures: name, value, what more there is to say.
pub fn tiles(report: &Report) -> Markup {
    let known = |value: Option<f64>, says: fn(f64) -> String| value.map_or_else(|| UNKNOWN.to_owned(), says);
    let (load, audit, latency) = (&report.scenario.load, &report.audit, &report.latency_us);
    let mut tiles: Vec<(&str, String, String)> = Vec::new();
    if load.sends() {
        let us = |us: u64| if latency.count > 0 { words::us(us as f64) } else { UNKNOWN.to_owned() };
        tiles.push(("latency p50", us(latency.p50), "intended send to receiver".to_owned()));
        tiles.push(("latency p99", us(latency.p99), format!("p99.9 {}, max {}", us(latency.p999), us(latency.max))));
        let rate = &report.throughput;
        tiles.push((
            "delivered a second",
            words::number(rate.delivered_per_second),
            format!("over {}", words::seconds(rate.steady_s)),
        ));
        let lost = audit.lost + audit.acked_but_missing.saturating_sub(audit.lost);
        tiles.push(("messages lost", words::count(lost), format!("of {} sent", words::count(audit.sent))));
    }
    let held = &report.connections;
    if load.mode != Mode::Connect {
        tiles.push(("connections held", words::count(held.held), format!("of {} wanted", words::count(held.wanted))));
    } else {
        let p99 = words::us(report.connect_us.p99 as f64);
        tiles.push((
            "connects a second",
            words::number(held.connects_per_second),
            format!("p99 {p99} with authentication"),
        ));
    }
    let server = &report.server;
    match load.mode {
        Mode::Open | Mode::Closed => tiles.push((
            "server CPU a million",
            known(server.cpu_s_per_million, |s| format!("{} s", words::number(s))),
            format!("{} cores, delivered messages", known(server.cores_used, words::number)),
        )),
        Mode::Idle | Mode::Connect => {
            tiles.push(("server CPU", known(server.cores_used, words::number), "cores, steady phase".to_owned()));
        }
    }
    let memory = &report.memory_per_connection;
    let kernel = known(memory.kernel.bytes, words::bytes);
    tiles.push((
        "memory a connection",
        known(memory.server_rss.bytes, words::bytes),
        format!("server; kernel {kernel}"),
    ));
    let busiest = report.generator.busy.iter().copied().reduce(f64::max);
    tiles.push((
        "busiest worker",
        known(busiest, words::percent),
        format!("host {}", known(report.machine.busy, words::percent)),
    ));
    html! {
        section aria-label="Key figures" { dl.tiles {
            @for (name, value, more) in &tiles { div.tile { dt { (name) } dd { strong { (value) } span { (more) } } } }
        } }
    }
}

/// A figure of a threshold, in its key's unit.
fn judged(key: &str, value: f64) -> String {
    match key {
        key if key.ends_with("_us") => words::us(value),
        key if key.contains("bytes") => words::bytes(value),
        key if key.ends_with("_s") => words::seconds(value),
        key if key.contains("cpu_s") => format!("{} s", words::number(value)),
        _ => words::number(value),
    }
}

/// The thresholds, each with how much of its limit is used.
pub fn thresholds(report: &Report) -> Markup {
    let used = |t: &Judged| t.measured.filter(|_| t.limit > 0.0).map(|m| (m / t.limit).clamp(0.0, 1.0));
    let body = html! {
        @if report.thresholds.is_empty() { p.empty { "The scenario has none: only the audit is judged." } }
        @else { div.scroll { table {
            thead { tr { th scope="col" { "threshold" } th.n scope="col" { "measured" } th.n scope="col" { "allowed" } th.spare scope="col" { "measured of allowed" } th scope="col" { "holds" } } }
            tbody { @for t in &report.thresholds {
                tr class=(if t.holds { "" } else { "missed" }) {
                    th scope="row" { code { (t.key) } }
                    td.n { (t.measured.map_or_else(|| "not measured".to_owned(), |m| judged(&t.key, m))) }
                    td.n { (if t.at_least { "≥ " } else { "≤ " }) (judged(&t.key, t.limit)) }
                    td.wide.spare { @if let Some(used) = used(t) {
                        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                            rect.track width="100" height="8" {}
                            rect class=(if t.holds { "fill" } else { "fill over" }) width=(format!("{:.1}", used * 100.0)) height="8" {}
                        }
                    } }
                    td { @if t.holds { span.yes { "✓ yes" } } @else { span.no { "✗ no" } } }
                }
            } }
        } } }
    };
    card("Thresholds", body)
}

/// Every message, and the first of those that were lost.
pub fn audit(report: &Report) -> Markup {
    let audit = &report.audit;
    let rows = [
        ("sent", audit.sent, false),
        ("acknowledged as durable", audit.acked, false),
        ("delivered to all receivers", audit.delivered, false),
        ("deliveries", audit.deliveries, false),
        ("refused for good", audit.refused, false),
        ("lost", audit.lost, true),
        ("acknowledged, never delivered", audit.acked_but_missing, true),
        ("never answered", audit.unanswered, true),
        ("doubled", audit.doubled, true),
        ("reordered", audit.reordered, true),
        ("acknowledged twice", audit.acked_twice, true),
        ("delivered to others", audit.misdelivered, true),
        ("chats whose ack and delivery differ", audit.mismatched, true),
        ("without a receipt", audit.receipts_missing, true),
        ("chats with a receipt for what was not delivered", audit.receipts_false, true),
        ("receipts not judged: the sender was away, or need not be told", audit.receipts_unjudged, false),
        ("of no message of this run", audit.foreign, false),
    ];
    let body = html! {
        p.note { "Every message is followed from its sender to its receiver; what is marked must be 0." }
        div.scroll { table.pairs { tbody {
            @for (name, count, must_be_zero) in rows {
                tr class=(if must_be_zero && count > 0 { "missed" } else { "" }) {
                    th scope="row" { (name) }
                    td.n { (words::count(count)) }
                    td.sign { @if must_be_zero { @if count == 0 { span.yes { "✓" } } @else { span.no { "✗" } } } }
                }
            }
        } } }
        (examples(audit))
    };
    card("Audit", body)
}

/// Some of what the audit found, for the search.
fn examples(audit: &Audit) -> Markup {
    html! {
        @if !audit.lost_examples.is_empty() {
            h3 { "Some of what was lost" }
            div.scroll { table {
                thead { tr { th.n scope="col" { "sender" } th.n scope="col" { "receiver" } th.n scope="col" { "number" } th scope="col" { "group, seq" } th scope="col" { "acknowledged" } } }
                tbody { @for lost in &audit.lost_examples {
                    tr { td.n { (lost.sender) } td.n { (lost.receiver) } td.n { (lost.number) } td { (lost.place()) } td { (if lost.acked { "yes" } else { "no" }) } }
                } }
            } }
        }
        @if !audit.reordered_examples.is_empty() {
            h3 { "Some of what was out of order" }
            div.scroll { table {
                thead { tr { th.n scope="col" { "sender" } th.n scope="col" { "seen by" } th.n scope="col" { "number" } th.n scope="col" { "seq" } th.n scope="col" { "behind seq" } th scope="col" { "group" } } }
                tbody { @for one in &audit.reordered_examples {
                    tr { td.n { (one.sender) } td.n { (one.seen_by) } td.n { (one.number) } td.n { (one.seq) } td.n { (one.behind_seq) } td { (one.group.as_deref().unwrap_or_default()) } }
                } }
            } }
        }
        @if !audit.receipt_examples.is_empty() {
            h3 { "Some of what senders in groups were not told" }
            div.scroll { table {
                thead { tr { th scope="col" { "group" } th.n scope="col" { "sender" } th.n scope="col" { "member" } th scope="col" { "mark" } th.n scope="col" { "seq" } th.n scope="col" { "told up to" } } }
                tbody { @for missing in &audit.receipt_examples {
                    tr { td { (missing.group) } td.n { (missing.sender) } td.n { (missing.member) } td { (if missing.read { "read" } else { "delivered" }) } td.n { (missing.seq) } td.n { (missing.told_seq) } }
                } }
            } }
        }
    }
}

/// Errors by name.
pub fn errors(report: &Report) -> Markup {
    let by_count = |errors: &BTreeMap<String, u64>| {
        let mut all: Vec<(&String, &u64)> = errors.iter().collect();
        all.sort_by(|a, b| b.1.cmp(a.1));
        all.into_iter().map(|(name, count)| (name.clone(), words::count(*count))).collect::<Vec<_>>()
    };
    let body = html! {
        @if report.errors.is_empty() { p.empty { "None." } } @else { (pairs(&by_count(&report.errors))) }
        @if !report.errors_tolerated.is_empty() {
            h3 { "Tolerated: a restart brings them" }
            (pairs(&by_count(&report.errors_tolerated)))
        }
    };
    card("Errors", body)
}

/// What the scenario's behaviours did, whatever they are: a behaviour's report is read as JSON has it.
pub fn behaviours(report: &Report) -> Markup {
    let Ok(Value::Array(all)) = serde_json::to_value(&report.behaviours) else { return html! {} };
    if all.is_empty() {
        return html! {};
    }
    let away = &report.latency_away_us;
    let body = html! {
        @if away.count > 0 {
            p.note {
                "Messages from or to users who were away on purpose are not in the latency: p50 " (words::us(away.p50 as f64))
                ", p99 " (words::us(away.p99 as f64)) ", max " (words::us(away.max as f64)) " (" (words::count(away.count)) ")."
            }
        }
        @for behaviour in &all { (behaviour_of(behaviour)) }
    };
    card("Behaviours", body)
}

fn behaviour_of(behaviour: &Value) -> Markup {
    let text = |keys: [&str; 2]| keys.iter().find_map(|key| behaviour.get(key)?.as_str()).unwrap_or_default();
    let mut rows = Vec::new();
    figures("", behaviour, &mut rows);
    html! {
        h3 { (text(["name", "kind"]).replace('_', " ")) }
        p.note { (text(["said", "description"])) }
        (pairs(&rows))
    }
}

/// The figures of an object by name, those of objects within it too; what is absent is left out.
fn figures(within: &str, object: &Value, rows: &mut Vec<(String, String)>) {
    for (key, value) in object.as_object().into_iter().flatten() {
        let words = key.replace('_', " ");
        let name = if within.is_empty() || key == "figures" { words } else { format!("{within}: {words}") };
        let of = |key: &str| value.get(key).and_then(Value::as_f64).map(words::us);
        match value {
            Value::Null => {}
            Value::String(_) if ["name", "kind", "said", "description"].contains(&key.as_str()) => {}
            // A distribution.
            Value::Object(_) if value.get("p99").is_some() => {
                if let (Some(p50), Some(p99), Some(max)) = (of("p50"), of("p99"), of("max"))
                    && value["count"] != 0
                {
                    rows.push((name.trim_end_matches(" us").to_owned(), format!("p50 {p50}, p99 {p99}, max {max}")));
                }
            }
            Value::Object(_) => figures(if key == "figures" { within } else { &name }, value, rows),
            other => rows.push(with_unit(name, other)),
        }
    }
}

/// A figure whose name ends with its unit, in the unit that suits it.
fn with_unit(name: String, value: &Value) -> (String, String) {
    let in_unit =
        |unit: &str, says: &dyn Fn(f64) -> String| Some((name.strip_suffix(unit)?.to_owned(), says(value.as_f64()?)));
    in_unit(" us", &words::us)
        .or_else(|| in_unit(" ms", &|ms| words::us(ms * 1e3)))
        .or_else(|| in_unit(" s", &words::seconds))
        .or_else(|| in_unit(" bytes", &words::bytes))
        .unwrap_or_else(|| (name.clone(), said(value)))
}

/// A figure of any kind.
fn said(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(yes) => (if *yes { "yes" } else { "no" }).to_owned(),
        Value::Number(number) => match number.as_u64() {
            Some(whole) => words::count(whole),
            None => number.as_f64().map_or_else(|| number.to_string(), words::number),
        },
        other => other.to_string(),
    }
}

/// The scenario with all defaults, as a scenario's file would say it.
pub fn scenario(report: &Report) -> Markup {
    let text = toml::to_string(&report.scenario).unwrap_or_else(|error| format!("cannot be shown: {error}"));
    let body = html! {
        p.note { "As it was run, defaults filled in." }
        pre tabindex="0" { code { (text) } }
    };
    card("Scenario", body)
}

/// Where it ran.
pub fn machine(report: &Report) -> Markup {
    let machine = &report.machine;
    let share = |share: Option<f64>| share.map_or_else(|| UNKNOWN.to_owned(), words::percent);
    let mut rows = vec![
        row("cores", machine.cores.to_string()),
        row("processor", machine.model.clone()),
        row("kernel", machine.kernel.clone()),
        row("memory", machine.memory_bytes.map_or_else(|| UNKNOWN.to_owned(), |b| words::bytes(b as f64))),
        row("busy in the steady phase", share(machine.busy)),
        row("of that, taken by the hypervisor", share(machine.stolen)),
    ];
    let server = &report.server;
    if !server.ready.is_empty() {
        rows.push(row("server", server.ready.clone()));
    }
    if let Some(ended) = &server.ended {
        rows.push(row("server ended with", ended.clone()));
    }
    if let Some(limits) = &report.limits {
        rows.push(row("server's frame limit", words::bytes(f64::from(limits.frame_bytes))));
        rows.push(row("server's ping interval", words::seconds(f64::from(limits.ping_interval_ms) / 1e3)));
    }
    card("Machine", pairs(&rows))
}
