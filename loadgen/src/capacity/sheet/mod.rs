//! A sheet: named quantities, each an input with its origin or a formula over those above it.

pub mod formula;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use formula::Formula;

/// Where a quantity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Read from a run of the load generator.
    Measured,
    /// Said by the person who asks, or by a document.
    Given,
    /// Believed.
    Assumed,
    /// Computed from others.
    Computed,
}

impl Kind {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Given => "given",
            Self::Assumed => "assumed",
            Self::Computed => "computed",
        }
    }
}

/// A quantity.
#[derive(Clone, Debug)]
pub struct Quantity {
    /// Its name in formulas.
    pub name: String,
    /// Its unit, for people.
    pub unit: String,
    /// What it is.
    pub says: String,
    /// Where it comes from.
    pub kind: Kind,
    /// Who says so; empty when computed.
    pub source: String,
    /// Its value.
    pub value: f64,
    /// How it is computed.
    pub formula: Option<Formula>,
}

/// Quantities in order.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    rows: Vec<Quantity>,
    places: BTreeMap<String, usize>,
}

impl Sheet {
    /// Adds an input.
    ///
    /// # Errors
    /// The name is taken.
    pub fn input(&mut self, quantity: Quantity) -> Result<(), String> {
        if self.places.contains_key(&quantity.name) {
            return Err(format!("`{}` is there twice", quantity.name));
        }
        self.places.insert(quantity.name.clone(), self.rows.len());
        self.rows.push(quantity);
        Ok(())
    }

    /// Adds a formula over what is there already; its value.
    ///
    /// # Errors
    /// The formula cannot be read, names what is not there, or has no finite value.
    pub fn formula(&mut self, name: &str, unit: &str, says: &str, text: &str) -> Result<f64, String> {
        let formula = Formula::read(text).map_err(|wrong| format!("{name} = {text}: {wrong}"))?;
        let mut names = Vec::new();
        formula.names(&mut names);
        if let Some(unknown) = names.iter().find(|n| !self.places.contains_key(**n)) {
            return Err(format!("{name} = {text}: `{unknown}` is neither an input, nor a unit cost, nor a row above"));
        }
        let value = formula.value(&|n| self.value(n));
        if !value.is_finite() {
            return Err(format!("{name} = {text} has no finite value"));
        }
        let quantity = Quantity {
            name: name.to_owned(),
            unit: unit.to_owned(),
            says: says.to_owned(),
            kind: Kind::Computed,
            source: String::new(),
            value,
            formula: Some(formula),
        };
        self.input(quantity)?;
        Ok(value)
    }

    /// A quantity.
    pub fn get(&self, name: &str) -> Option<&Quantity> {
        self.places.get(name).map(|place| &self.rows[*place])
    }

    /// A quantity's value.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.get(name).map(|q| q.value)
    }

    /// All, in order.
    pub fn rows(&self) -> &[Quantity] {
        &self.rows
    }

    /// The inputs that a quantity rests on, at whatever remove.
    pub fn rests_on(&self, name: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut left = vec![name];
        while let Some(quantity) = left.pop().and_then(|name| self.get(name)) {
            match &quantity.formula {
                Some(formula) => formula.names(&mut left),
                None => {
                    found.insert(quantity.name.as_str());
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, value: f64, kind: Kind) -> Quantity {
        let text = String::new;
        Quantity { name: name.to_owned(), unit: text(), says: text(), kind, source: text(), value, formula: None }
    }

    #[test]
    fn formulas_see_what_is_above_them() {
        let mut sheet = Sheet::default();
        sheet.input(input("a", 3.0, Kind::Given)).unwrap();
        sheet.input(input("b", 4.0, Kind::Assumed)).unwrap();
        assert_eq!(sheet.formula("c", "", "", "a * b"), Ok(12.0));
        assert_eq!(sheet.formula("d", "", "", "c + a"), Ok(15.0));
        assert_eq!(sheet.rests_on("d"), BTreeSet::from(["a", "b"]));
        assert!(sheet.formula("e", "", "", "f + 1").unwrap_err().contains("`f` is neither"));
        assert!(sheet.formula("e", "", "", "a / (b - 4)").unwrap_err().contains("no finite value"));
        assert!(sheet.formula("c", "", "", "a").unwrap_err().contains("`c` is there twice"));
    }
}
