//! A plan as JSON: every number with its formula and origin.

use serde_json::{Value, json};

use super::{constant, number};
use crate::capacity::plan::Plan;

/// Grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// The plan.
pub fn json(plan: &Plan) -> Value {
    let quantities: Vec<Value> = plan
        .sheet
        .rows()
        .iter()
        .map(|q| {
            let formula = q.formula.as_ref();
            json!({
                "name": q.name,
                "value": q.value,
                "unit": q.unit,
                "says": q.says,
                "kind": q.kind,
                "source": q.source,
                "formula": formula.map(|f| f.say(&str::to_owned, &constant)),
                "substituted": formula.map(|f| f.say(&|n| plan.sheet.value(n).map_or_else(String::new, number), &constant)),
            })
        })
        .collect();
    let tiers: Vec<Value> = plan
        .tiers
        .iter()
        .map(|t| {
            let bounds: Vec<Value> = t.bounds.iter().map(|(r, n)| json!({"resource": r, "nodes": n})).collect();
            json!({"name": t.name, "title": t.title, "nodes": t.nodes, "tightest": t.tightest(), "bounds": bounds, "rests_on": t.rests_on})
        })
        .collect();
    let worth: Vec<Value> = plan
        .sensitive
        .iter()
        .map(|s| json!({"name": s.name, "nodes_a_fifth_less": s.less, "nodes_a_quarter_more": s.more}))
        .collect();
    json!({"schema": SCHEMA, "nodes": plan.sheet.value("nodes"), "tiers": tiers, "quantities": quantities, "assumptions": worth})
}
