//! A plan: the model evaluated for one set of inputs and unit costs.

use std::collections::BTreeMap;

use super::Refused;
use super::costs::Costs;
use super::model::{Model, Row};
use super::sheet::{Kind, Quantity, Sheet};

/// A plan.
#[derive(Debug)]
pub struct Plan {
    /// Every number.
    pub sheet: Sheet,
    /// Names of the rows under each title, tiers' among them.
    pub sections: Vec<(String, Vec<String>)>,
    /// Each tier's size.
    pub tiers: Vec<Tier>,
    /// Names of the inputs that were asked for, in order.
    pub inputs: Vec<String>,
    /// What an assumption is worth: each assumed figure that changes the number of nodes.
    pub sensitive: Vec<Sensitive>,
    /// A price was given.
    pub priced: bool,
}

/// A tier's size.
#[derive(Clone, Debug)]
pub struct Tier {
    /// For people.
    pub title: String,
    /// Name of its rows' common part.
    pub name: String,
    /// Nodes.
    pub nodes: f64,
    /// Resource and the nodes it asks for, most first.
    pub bounds: Vec<(String, f64)>,
    /// The fewest nodes are more than any resource asks for.
    pub least: bool,
    /// Inputs that the tightest resource rests on.
    pub rests_on: Vec<String>,
}

impl Tier {
    /// The resource that decides.
    pub fn tightest(&self) -> &str {
        if self.least { "the fewest it is run with" } else { self.bounds.first().map_or("", |b| b.0.as_str()) }
    }
}

/// What the whole plan makes of one assumption.
#[derive(Clone, Debug)]
pub struct Sensitive {
    /// The figure.
    pub name: String,
    /// Nodes when it is a fifth less.
    pub less: f64,
    /// Nodes when it is a quarter more.
    pub more: f64,
}

/// Plans. `given` overrides inputs and unit costs by name.
///
/// # Errors
/// What is impossible, missing or unknown, by name.
pub fn plan(costs: &Costs, given: &BTreeMap<String, f64>) -> Result<Plan, Refused> {
    let model = Model::get()?;
    if let Some(unknown) =
        given.keys().find(|k| !costs.figure.contains_key(*k) && model.input.iter().all(|i| i.name != **k))
    {
        return Err(Refused::Input(format!("--set {unknown}: is neither an input nor a unit cost")));
    }
    let mut plan = evaluate(model, costs, given)?;
    plan.sensitive = sensitive(model, costs, given, &plan);
    Ok(plan)
}

fn evaluate(model: &Model, costs: &Costs, given: &BTreeMap<String, f64>) -> Result<Plan, Refused> {
    let mut sheet = Sheet::default();
    inputs(&mut sheet, model, given)?;
    figures(&mut sheet, costs, given)?;
    let priced = model.input.iter().any(|i| i.name.starts_with("cost_") && sheet.value(&i.name).unwrap_or(0.0) > 0.0);
    let mut plan = Plan {
        sheet,
        sections: Vec::new(),
        tiers: Vec::new(),
        inputs: model.input.iter().map(|i| i.name.clone()).collect(),
        sensitive: Vec::new(),
        priced,
    };
    let (first, others) = model.section.split_at(1.min(model.section.len()));
    for section in first {
        rows(&mut plan, &section.title, &section.rows)?;
    }
    for tier in &model.tier {
        rows(&mut plan, &tier.title, &tier.rows)?;
        let sized = size(&mut plan.sheet, tier)?;
        plan.tiers.push(sized);
    }
    let all: Vec<String> = model.tier.iter().map(|t| format!("{}_nodes", t.name)).collect();
    plan.sheet.formula("nodes", "", "nodes of all tiers", &all.join(" + ")).map_err(Refused::Model)?;
    for section in others.iter().filter(|s| priced || !s.priced) {
        rows(&mut plan, &section.title, &section.rows)?;
    }
    Ok(plan)
}

fn inputs(sheet: &mut Sheet, model: &Model, given: &BTreeMap<String, f64>) -> Result<(), Refused> {
    for input in &model.input {
        let said = given.get(&input.name).copied();
        // A price that nobody said is no assumption.
        let unsaid_price = said.is_none() && input.default == Some(0.0) && input.name.starts_with("cost_");
        let missing = || Refused::Input(format!("{} is missing: {}", input.option(), input.says));
        let value = said.or(input.default).ok_or_else(missing)?;
        input.check(value)?;
        let (kind, source) = match said {
            Some(_) => (Kind::Given, "command line"),
            None if unsaid_price => (Kind::Computed, "not said"),
            None => (Kind::Assumed, "default"),
        };
        add(sheet, &input.name, &input.unit, &input.says, kind, source.to_owned(), value)?;
    }
    let of = |name: &str| sheet.value(name).unwrap_or(0.0);
    let (users, online) = (of("users"), of("online"));
    if online > users {
        return Err(Refused::Input(format!(
            "--online {online} is more than --users {users}: more connections than people with an account"
        )));
    }
    Ok(())
}

fn figures(sheet: &mut Sheet, costs: &Costs, given: &BTreeMap<String, f64>) -> Result<(), Refused> {
    for (name, figure) in &costs.figure {
        let (kind, source, value) = match given.get(name) {
            Some(value) if value.is_finite() && *value >= 0.0 => (Kind::Given, "command line".to_owned(), *value),
            Some(value) => return Err(Refused::Input(format!("--set {name}={value}: expected 0 or more"))),
            None => (figure.kind, costs.source(figure), figure.value),
        };
        add(sheet, name, &figure.unit, &figure.says, kind, source, value)?;
    }
    Ok(())
}

fn add(
    sheet: &mut Sheet,
    name: &str,
    unit: &str,
    says: &str,
    kind: Kind,
    source: String,
    value: f64,
) -> Result<(), Refused> {
    let quantity = Quantity {
        name: name.to_owned(),
        unit: unit.to_owned(),
        says: says.to_owned(),
        kind,
        source,
        value,
        formula: None,
    };
    sheet.input(quantity).map_err(Refused::Model)
}

fn rows(plan: &mut Plan, title: &str, rows: &[Row]) -> Result<(), Refused> {
    for row in rows {
        plan.sheet.formula(&row.name, &row.unit, &row.says, &row.formula).map_err(Refused::Model)?;
    }
    plan.sections.push((title.to_owned(), rows.iter().map(|r| r.name.clone()).collect()));
    Ok(())
}

/// As many nodes as the tightest resource asks for, and no fewer than the tier is run with.
fn size(sheet: &mut Sheet, tier: &super::model::Tier) -> Result<Tier, Refused> {
    let mut bounds = Vec::new();
    for (resource, formula) in &tier.bounds {
        let row = format!("{}_nodes_by_{}", tier.name, resource.replace(' ', "_"));
        let value =
            sheet.formula(&row, "nodes", &format!("asked for by {resource}"), formula).map_err(Refused::Model)?;
        bounds.push((resource.clone(), value));
    }
    bounds.sort_by(|a, b| b.1.total_cmp(&a.1));
    let all: Vec<String> =
        tier.bounds.keys().map(|r| format!("{}_nodes_by_{}", tier.name, r.replace(' ', "_"))).collect();
    let row = format!("{}_nodes", tier.name);
    let formula = format!("max({}, ceil(max({})))", tier.least, all.join(", "));
    let nodes = sheet.formula(&row, "nodes", "the tightest of them", &formula).map_err(Refused::Model)?;
    let tightest =
        bounds.first().map(|b| format!("{}_nodes_by_{}", tier.name, b.0.replace(' ', "_"))).unwrap_or_default();
    Ok(Tier {
        title: tier.title.clone(),
        name: tier.name.clone(),
        nodes,
        least: bounds.first().is_none_or(|b| b.1.ceil() < nodes),
        bounds,
        rests_on: sheet.rests_on(&tightest).into_iter().map(str::to_owned).collect(),
    })
}

const LESS: f64 = 0.8;
const MORE: f64 = 1.25;

/// Every assumed figure, a fifth less and a quarter more; those that change the number of nodes by a node or more, the dearest first.
fn sensitive(model: &Model, costs: &Costs, given: &BTreeMap<String, f64>, plan: &Plan) -> Vec<Sensitive> {
    let nodes = plan.sheet.value("nodes").unwrap_or(0.0);
    let with = |name: &str, factor: f64| {
        let mut other = given.clone();
        other.insert(name.to_owned(), plan.sheet.value(name)? * factor);
        evaluate(model, costs, &other).ok()?.sheet.value("nodes")
    };
    let assumed = plan.sheet.rows().iter().filter(|q| q.kind == Kind::Assumed);
    let mut found: Vec<Sensitive> = assumed
        .filter_map(|q| {
            Some(Sensitive { name: q.name.clone(), less: with(&q.name, LESS)?, more: with(&q.name, MORE)? })
        })
        .filter(|s| s.less != nodes || s.more != nodes)
        .collect();
    let span = |s: &Sensitive| (s.less - nodes).abs().max((s.more - nodes).abs());
    found.sort_by(|a, b| span(b).total_cmp(&span(a)).then_with(|| a.name.cmp(&b.name)));
    found
}

#[cfg(test)]
mod tests;
