//! The page's parts that say where time, memory and CPU went.

use maud::{Markup, html};

use super::sections::{UNKNOWN, card, pairs};
use crate::report::{Amount, Percentiles, Report};
use crate::words;

/// Parts of a whole: name, size, style.
type Parts = Vec<(String, f64, usize)>;

/// One bar, its parts side by side, told apart by colour and by the gap between them; the table below names them.
fn stacked(parts: &Parts, title: &str) -> Markup {
    let whole: f64 = parts.iter().map(|part| part.1.max(0.0)).sum();
    let mut from = 0.0;
    let placed: Vec<(f64, f64, usize)> = parts
        .iter()
        .filter(|part| part.1 > 0.0 && whole > 0.0)
        .map(|part| {
            let width = part.1 / whole * 100.0;
            from += width;
            (from - width, width, part.2)
        })
        .collect();
    html! {
        svg.stack viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label=(title) {
            @for (x, width, style) in placed {
                rect class=(format!("f{style}")) x=(format!("{x:.2}")) y="0" width=(format!("{:.2}", (width - 0.3).max(0.15))) height="10" {}
            }
        }
    }
}

fn swatch(style: usize) -> Markup {
    html! { svg.swatch viewBox="0 0 10 10" aria-hidden="true" { rect class=(format!("f{style}")) width="10" height="10" {} } }
}

/// How long messages stayed in each stage.
pub fn stages(report: &Report) -> Markup {
    let Some(stages) = &report.stages else {
        let why = report.stages_unknown.as_deref().unwrap_or("they were not asked for");
        return card("Where a message's time goes", html! { p.empty { "Unknown: " (why) "." } });
    };
    let mut parts: Parts =
        stages.stages.iter().enumerate().map(|(n, s)| (s.stage.replace('_', " "), s.mean_us, n % 5)).collect();
    if let Some(outside) = stages.outside_mean_us {
        parts.push(("outside the server".to_owned(), outside, 5));
    }
    let body = html! {
        p.note { "Means of sampled messages in the steady phase. Outside the server: client to gateway socket, and socket to receiver, with the load generator's own share." }
        (stacked(&parts, "mean time by stage"))
        div.scroll { table {
            thead { tr { th scope="col" { "stage" } th.n scope="col" { "mean" } th.n scope="col" { "p50" } th.n scope="col" { "p99" } th.n scope="col" { "sampled" } } }
            tbody {
                @for (n, stage) in stages.stages.iter().enumerate() { tr {
                    th scope="row" { (swatch(n % 5)) (stage.stage.replace('_', " ")) }
                    td.n { (words::us(stage.mean_us)) } td.n { (words::us(stage.p50_us)) } td.n { (words::us(stage.p99_us)) }
                    td.n { (words::count(stage.count)) }
                } }
                tr.sum { th scope="row" { "inside the server" } td.n { (words::us(stages.inside_mean_us)) } td {} td {} td {} }
                @if let Some(outside) = stages.outside_mean_us {
                    tr { th scope="row" { (swatch(5)) "outside the server" } td.n { (words::us(outside)) } td {} td {} td {} }
                    @let lag = &report.generator.pacing_lag_us;
                    @if lag.count > 0 {
                        tr.part { th scope="row" { "of that, sent later than intended" } td.n { (words::us(lag.mean)) } td.n { (words::us(lag.p50 as f64)) } td.n { (words::us(lag.p99 as f64)) } td.n { (words::count(lag.count)) } }
                    }
                    @let read = &report.generator.reading_lag_us;
                    @if read.count > 0 {
                        tr.part { th scope="row" { "of that, read later than it was there" } td.n { (words::us(read.mean)) } td.n { (words::us(read.p50 as f64)) } td.n { (words::us(read.p99 as f64)) } td.n { (words::count(read.count)) } }
                    }
                    tr.sum { th scope="row" { "as the clients measured" } td.n { (words::us(outside + stages.inside_mean_us)) } td {} td {} td.n { (words::count(report.latency_us.count)) } }
                }
            }
        } }
    };
    card("Where a message's time goes", body)
}

/// Places in the table of [`memory`].
const PRIVATE: usize = 1;
const KERNEL: usize = 2;

/// What a connection costs.
pub fn memory(report: &Report) -> Markup {
    let memory = &report.memory_per_connection;
    let rows: [(&str, &Amount); 4] = [
        ("server process, resident", &memory.server_rss),
        ("of that, private", &memory.server_private),
        ("kernel, this end", &memory.kernel),
        ("TLS", &memory.tls),
    ];
    let parts: Parts = [(0, &memory.server_rss), (1, &memory.kernel), (2, &memory.tls)]
        .iter()
        .filter_map(|(style, amount)| Some((String::new(), amount.bytes?, *style)))
        .collect();
    let body = html! {
        p.note { "From the server's ready to the begin of the steady phase, by " (words::count(report.connections.held)) " connections held." }
        @if parts.len() > 1 { (stacked(&parts, "memory of a connection by where it is")) }
        div.scroll { table.pairs { tbody {
            @for (place, (name, amount)) in rows.iter().enumerate() {
                tr class=(if place == PRIVATE { "part" } else { "" }) {
                    th scope="row" { @if place != PRIVATE { (swatch(place.saturating_sub(usize::from(place > PRIVATE)))) } (name) }
                    td.n { (amount.bytes.map_or_else(|| UNKNOWN.to_owned(), words::bytes)) }
                    td.why { @if let Some(why) = &amount.unknown { (why) } }
                }
                @if place == KERNEL { @for (name, bytes) in &memory.kernel_parts {
                    tr.part { th scope="row" { code { (name) } } td.n { (words::bytes(*bytes)) } td {} }
                } }
            }
        } } }
    };
    card("Memory of a connection", body)
}

/// The server's CPU by thread.
pub fn threads(report: &Report) -> Markup {
    let server = &report.server;
    let mut threads: Vec<(&String, f64)> = server.cpu_s_by_thread.iter().map(|(name, cpu)| (name, *cpu)).collect();
    threads.retain(|thread| thread.1 >= 0.001);
    threads.sort_by(|a, b| b.1.total_cmp(&a.1));
    let most = threads.first().map_or(1.0, |thread| thread.1);
    let body = html! {
        @if threads.is_empty() { p.empty { "Unknown: the server's process is not known or cannot be looked at." } } @else {
            p.note {
                "CPU of the steady phase, " (server.cpu_s.map_or_else(|| UNKNOWN.to_owned(), words::number)) " s in all"
                @if let Some(cost) = server.cpu_s_per_million_without_apply { "; a million delivered messages without the engine's apply: " (words::number(cost)) " s" }
                "."
            }
            div.scroll { table {
                thead { tr { th scope="col" { "thread" } th.n scope="col" { "CPU, s" } th.wide scope="col" { span.hidden { "share" } } } }
                tbody { @for (name, cpu) in threads { tr {
                    th scope="row" { code { (name) } }
                    td.n { (words::number(cpu)) }
                    td.wide { svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                        rect.fill width=(format!("{:.1}", cpu / most * 100.0)) height="8" {}
                    } }
                } } }
            } }
        }
    };
    card("Server CPU by thread", body)
}

/// Whether the load generator was fit to judge.
pub fn generator(report: &Report) -> Markup {
    let own = &report.generator;
    let busy: Vec<String> = own.busy.iter().take(16).map(|busy| words::percent(*busy)).collect();
    let more = if own.busy.len() > 16 { " …" } else { "" };
    let waiting = own.waiting.iter().copied().reduce(f64::max);
    let known = |value: Option<f64>, says: fn(f64) -> String| value.map_or_else(|| UNKNOWN.to_owned(), says);
    let late = |lag: &Percentiles, none: &str| match lag.count {
        0 => none.to_owned(),
        _ => {
            let [p50, p99, max] = [lag.p50, lag.p99, lag.max].map(|us| words::us(us as f64));
            format!("p50 {p50}, p99 {p99}, max {max}")
        }
    };
    let rows = [
        ("worker threads", own.workers.to_string()),
        ("busy, of a core each", busy.join(", ") + more),
        ("waiting for a core, at most", known(waiting, words::percent)),
        ("CPU of its process, cores", known(own.cores_used, words::number)),
        ("host busy", known(report.machine.busy, words::percent)),
        ("sent later than intended", late(&own.pacing_lag_us, "not paced")),
        ("read later than it was there, at least", late(&own.reading_lag_us, UNKNOWN)),
        ("sockets its host refused", words::count(own.socket_errors)),
        ("it or its host was at its limit", (if own.saturated { "yes" } else { "no" }).to_owned()),
        (
            "connects",
            format!("p50 {}, p99 {}", words::us(report.connect_us.p50 as f64), words::us(report.connect_us.p99 as f64)),
        ),
        ("pings", words::count(report.clients.pings)),
        ("sends repeated", words::count(report.clients.resends_written)),
        ("gaps filled", words::count(report.clients.gap_fills)),
    ];
    card("Load generator", pairs(&rows.map(|(name, value)| (name.to_owned(), value))))
}
