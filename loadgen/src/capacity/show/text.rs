//! A plan as text: the tiers first, then every formula with its numbers, then what everything rests on.

use std::fmt::Write as _;

use super::{constant, number, with_unit};
use crate::capacity::plan::Plan;
use crate::capacity::sheet::{Kind, Quantity};

/// Lines are no longer than this where they can be broken.
const WIDTH: usize = 118;
/// Assumptions that are shown for what they are worth.
const SENSITIVE: usize = 8;

/// The plan.
pub fn text(plan: &Plan) -> String {
    let mut text = String::new();
    tiers(&mut text, plan);
    for (title, rows) in &plan.sections {
        let _ = writeln!(text, "\n{title}");
        for name in rows {
            formula(&mut text, plan, name);
        }
        if let Some(tier) = plan.tiers.iter().find(|t| t.title == *title) {
            for (resource, _) in &tier.bounds {
                formula(&mut text, plan, &format!("{}_nodes_by_{}", tier.name, resource.replace(' ', "_")));
            }
            formula(&mut text, plan, &format!("{}_nodes", tier.name));
        }
    }
    origins(&mut text, plan);
    worth(&mut text, plan);
    text.truncate(text.trim_end().len());
    text
}

fn tiers(text: &mut String, plan: &Plan) {
    let _ = writeln!(text, "{:<18} {:>10}  {:<28} other resources would ask for", "tier", "nodes", "tightest");
    for tier in &plan.tiers {
        let others: Vec<String> = tier
            .bounds
            .iter()
            .skip(usize::from(!tier.least))
            .map(|(name, nodes)| format!("{name} {}", number(*nodes)))
            .collect();
        let line =
            format!("{:<18} {:>10}  {:<28} {}", tier.title, number(tier.nodes), tier.tightest(), others.join(", "));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let of = |name: &str| plan.sheet.value(name).unwrap_or(0.0);
    let _ = writeln!(text, "{:<18} {:>10}\n", "all", number(of("nodes")));
    for tier in plan.tiers.iter().filter(|t| !t.least) {
        let of_kind = |kind: Kind| {
            let names = tier.rests_on.iter().filter(|n| plan.sheet.get(n).is_some_and(|q| q.kind == kind));
            names.map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        let kinds = [Kind::Measured, Kind::Given, Kind::Assumed].map(|kind| (kind.name(), of_kind(kind)));
        let said: Vec<String> =
            kinds.into_iter().filter(|k| !k.1.is_empty()).map(|(kind, names)| format!("{kind} {names}")).collect();
        hanging(text, &format!("{} ({}) rest on: {}", tier.title, tier.tightest(), said.join("; ")));
    }
    let _ = writeln!(
        text,
        "\nstorage {} for messages (all copies, full retention), {} for media; {} a month to the internet",
        with_unit(of("scylla_tb"), "TB"),
        with_unit(of("media_tb"), "TB"),
        with_unit(of("chat_egress_gb") + of("ping_egress_gb") + of("media_egress_gb"), "GB")
    );
    if plan.priced {
        let _ = writeln!(
            text,
            "money {} a month, {} for a million messages",
            number(of("cost")),
            number(of("cost_per_million_messages"))
        );
    }
}

/// Name and value, the formula, the formula with its numbers.
fn formula(text: &mut String, plan: &Plan, name: &str) {
    let Some(quantity) = plan.sheet.get(name) else { return };
    let Some(formula) = &quantity.formula else { return };
    let symbols = formula.say(&str::to_owned, &constant);
    let numbers = formula.say(&|n| plan.sheet.value(n).map_or_else(String::new, number), &constant);
    let _ = writeln!(text, "  {} = {}: {}", quantity.name, with_unit(quantity.value, &quantity.unit), quantity.says);
    wrapped(text, &format!("= {symbols}"));
    if numbers != symbols {
        wrapped(text, &format!("= {numbers}"));
    }
}

fn wrapped(text: &mut String, line: &str) {
    let mut length = WIDTH;
    for (place, word) in line.split(' ').enumerate() {
        if place == 0 {
            let _ = write!(text, "      {word}");
            length = 6 + word.chars().count();
        } else if length + 1 + word.chars().count() > WIDTH {
            let _ = write!(text, "\n        {word}");
            length = 8 + word.chars().count();
        } else {
            let _ = write!(text, " {word}");
            length += 1 + word.chars().count();
        }
    }
    text.push('\n');
}

fn origins(text: &mut String, plan: &Plan) {
    for (kind, title) in [
        (Kind::Measured, "Measured"),
        (Kind::Given, "Given"),
        (Kind::Assumed, "Assumed: nobody measured these; say better ones with their option, or --set NAME=VALUE"),
    ] {
        let _ = writeln!(text, "\n{title}");
        for quantity in plan.sheet.rows().iter().filter(|q| q.kind == kind) {
            origin(text, quantity);
        }
    }
}

fn origin(text: &mut String, quantity: &Quantity) {
    let Quantity { name, unit, says, source, value, .. } = quantity;
    let source =
        if ["command line", "default"].contains(&source.as_str()) { String::new() } else { format!(" [{source}]") };
    let line = format!("{name} = {}: {says}{source}", with_unit(*value, unit));
    text.push_str("  ");
    hanging(text, &line);
}

/// A line that goes on with an indent.
fn hanging(text: &mut String, line: &str) {
    let mut length = 2;
    for (place, word) in line.split(' ').enumerate() {
        if place > 0 && length + 1 + word.chars().count() > WIDTH {
            text.push_str("\n      ");
            length = 6;
        } else if place > 0 {
            text.push(' ');
            length += 1;
        }
        text.push_str(word);
        length += word.chars().count();
    }
    text.push('\n');
}

fn worth(text: &mut String, plan: &Plan) {
    let nodes = plan.sheet.value("nodes").unwrap_or(0.0);
    let _ =
        writeln!(text, "\nAssumptions that matter most: nodes of all tiers ({} now) if the figure is", number(nodes));
    let _ = writeln!(text, "  {:<26} {:>14} {:>14}", "", "a fifth less", "a quarter more");
    for row in plan.sensitive.iter().take(SENSITIVE) {
        let _ = writeln!(text, "  {:<26} {:>14} {:>14}", row.name, number(row.less), number(row.more));
    }
}
