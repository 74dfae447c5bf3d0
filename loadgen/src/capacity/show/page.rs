//! A plan as one page that needs nothing else, in the style of a report's.

use maud::{Markup, html};

use super::{constant, number, with_unit};
use crate::capacity::plan::{Plan, Tier};
use crate::capacity::sheet::{Kind, Quantity};
use crate::html::document;

/// The page.
pub fn page(plan: &Plan) -> String {
    let of = |name: &str| plan.sheet.value(name).unwrap_or(0.0);
    let body = html! {
        header {
            p.kind { "Shardwire capacity plan" }
            h1 { (number(of("nodes"))) " nodes" }
            p.lead {
                (number(of("users"))) " users, " (number(of("online"))) " connected, " (number(of("messages_per_day")))
                " messages a day, " (number(of("peak"))) " times that rate at the peak"
            }
        }
        main {
            (tiers(plan))
            section.card {
                h2 { "Storage, network" @if plan.priced { ", money" } }
                table { tbody {
                    @for name in ["scylla_tb", "media_tb", "client_out_gbps", "chat_egress_gb", "ping_egress_gb", "media_egress_gb", "cost", "cost_per_million_messages"] {
                        @if let Some(row) = plan.sheet.get(name) {
                            tr { th scope="row" { (row.says) } td.n { (with_unit(row.value, &row.unit)) } }
                        }
                    }
                } }
            }
            (worth(plan))
            @for (title, rows) in &plan.sections { (formulas(plan, title, rows)) }
            (origins(plan))
        }
        footer { p { "Made by loadgen " (env!("CARGO_PKG_VERSION")) ". Every number is computed from the formulas on this page." } }
    };
    document("Shardwire capacity plan", &body)
}

fn tiers(plan: &Plan) -> Markup {
    let others = |tier: &Tier| {
        let all = tier.bounds.iter().map(|(name, nodes)| format!("{name} {}", number(*nodes)));
        all.collect::<Vec<_>>().join(", ")
    };
    html! {
        section.card {
            h2 { "Tiers" }
            div.scroll { table {
                thead { tr { th scope="col" { "tier" } th.n scope="col" { "nodes" } th scope="col" { "tightest" } th scope="col" { "nodes each resource asks for" } } }
                tbody {
                    @for tier in &plan.tiers {
                        tr { th scope="row" { (tier.title) } td.n { (number(tier.nodes)) } td { (tier.tightest()) } td.why { (others(tier)) } }
                    }
                }
            } }
        }
    }
}

fn worth(plan: &Plan) -> Markup {
    html! {
        section.card {
            h2 { "Assumptions that matter most" }
            p.note { "Nodes of all tiers if the figure were a fifth less or a quarter more" }
            table {
                thead { tr { th scope="col" { "figure" } th.n scope="col" { "a fifth less" } th.n scope="col" { "a quarter more" } } }
                tbody { @for row in plan.sensitive.iter().take(8) {
                    tr { th scope="row" { (row.name) } td.n { (number(row.less)) } td.n { (number(row.more)) } }
                } }
            }
        }
    }
}

fn formulas(plan: &Plan, title: &str, rows: &[String]) -> Markup {
    let tier = plan.tiers.iter().find(|t| t.title == title);
    let bounds = tier.into_iter().flat_map(|t| {
        let bound = |(resource, _): &(String, f64)| format!("{}_nodes_by_{}", t.name, resource.replace(' ', "_"));
        t.bounds.iter().map(bound).chain([format!("{}_nodes", t.name)])
    });
    let names: Vec<String> = rows.iter().cloned().chain(bounds).collect();
    html! {
        section.card {
            h2 { (title) }
            div.scroll { table {
                thead { tr { th scope="col" { "what" } th.n scope="col" { "value" } th scope="col" { "formula" } } }
                tbody { @for name in &names { @if let Some(row) = plan.sheet.get(name) { (formula(plan, row)) } } }
            } }
        }
    }
}

fn formula(plan: &Plan, row: &Quantity) -> Markup {
    let numbers = |name: &str| plan.sheet.value(name).map_or_else(String::new, number);
    html! {
        tr {
            th scope="row" { (row.says) br; code { (row.name) } }
            td.n { (with_unit(row.value, &row.unit)) }
            td.why { @if let Some(formula) = &row.formula { (formula.say(&str::to_owned, &constant)) br; "= " (formula.say(&numbers, &constant)) } }
        }
    }
}

fn origins(plan: &Plan) -> Markup {
    html! {
        @for (kind, title) in [(Kind::Measured, "Measured"), (Kind::Given, "Given"), (Kind::Assumed, "Assumed: nobody measured these")] {
            section.card {
                h2 { (title) }
                div.scroll { table { tbody {
                    @for row in plan.sheet.rows().iter().filter(|q| q.kind == kind) {
                        tr { th scope="row" { (row.says) br; code { (row.name) } } td.n { (with_unit(row.value, &row.unit)) } td.why { (row.source) } }
                    }
                } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::costs::Costs;

    #[test]
    fn the_page_has_every_number_and_needs_nothing_else() {
        let given = [("users", 5e7), ("online", 1e7), ("messages_per_day", 2e9)].map(|(k, v)| (k.to_owned(), v)).into();
        let plan = crate::capacity::plan::plan(&Costs::load(None).unwrap(), &given).unwrap();
        let page = page(&plan);
        // Prices that nobody said are left out, and the sum stands in the title.
        let left_out = |name: &str| name.starts_with("cost_") || name == "nodes";
        for row in plan.sheet.rows() {
            assert!(page.contains(&row.name) || left_out(&row.name), "{}", row.name);
        }
        assert!(!page.contains("http") && !page.contains("<script") && !page.contains("NaN"));
    }
}
