//! The page's part about groups.

use maud::{Markup, html};

use super::sections::{UNKNOWN, card};
use crate::report::{Percentiles, Report};
use crate::words;

/// How messages spread in groups; nothing without groups.
pub fn groups(report: &Report) -> Markup {
    let Some(groups) = &report.groups else { return html! {} };
    let us = |of: &Percentiles, value: u64| if of.count > 0 { words::us(value as f64) } else { UNKNOWN.to_owned() };
    let cpu = groups.cpu_us_per_delivery.map_or_else(|| UNKNOWN.to_owned(), words::us);
    let receipts = report.scenario.load.audits_receipts();
    let rows = |name: String, of: [(&'static str, Percentiles); 3]| {
        html! { @for (at, (what, us_of)) in of.iter().enumerate() { tr {
            @if at == 0 { th scope="rowgroup" rowspan="3" { (name) } }
            th scope="row" { (what) }
            td.n { (us(us_of, us_of.p50)) } td.n { (us(us_of, us_of.p99)) } td.n { (us(us_of, us_of.p999)) } td.n { (us(us_of, us_of.max)) }
            td.n { (words::count(us_of.count)) }
        } } }
    };
    let three = |ack, first, last| [("sender's ack", ack), ("first member", first), ("last member", last)];
    let body = html! {
        p.note {
            (words::count(groups.groups)) " groups with " (words::count(groups.memberships)) " memberships; "
            (words::number(groups.deliveries_per_second)) " deliveries to members a second, "
            (cpu) " of the server's CPU a delivery (direct ones included), " (words::count(groups.receipts)) " receipts. "
            @if receipts {
                "Senders who were not told what a member had marked: " (words::count(groups.receipts_missing)) "; not judged: "
                (words::count(groups.receipts_unjudged)) ". "
            }
            "Times count from when a message was to be sent, to members who were online."
        }
        div.scroll { table {
            thead { tr { th scope="col" { "members" } th scope="col" { "until" } th.n scope="col" { "p50" } th.n scope="col" { "p99" } th.n scope="col" { "p99.9" } th.n scope="col" { "max" } th.n scope="col" { "messages" } } }
            tbody {
                @if groups.kinds.len() > 1 { (rows("all".to_owned(), three(groups.ack_us, groups.first_us, groups.last_us))) }
                @for kind in &groups.kinds {
                    (rows(format!("{} × {}", words::count(kind.groups.into()), words::count(kind.members.into())), three(kind.ack_us, kind.first_us, kind.last_us)))
                }
            }
        } }
        @if groups.not_followed > 0 {
            p.note { "Of " (words::count(groups.not_followed)) " messages first and last delivery are not known: they did not reach every member, or there were too many." }
        }
    };
    card("Groups", body)
}
