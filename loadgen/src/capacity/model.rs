//! The model's file: inputs, sections of formulas, tiers with what bounds them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use super::Refused;

/// The model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// What is asked for.
    pub input: Vec<Input>,
    /// Formulas that belong to no tier: the first before the tiers, the others after.
    pub section: Vec<Section>,
    /// What nodes are bought for.
    pub tier: Vec<Tier>,
}

/// Something asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its name in formulas; as an option with hyphens.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Without it the input must be given.
    pub default: Option<f64>,
    /// The least it may be.
    pub low: f64,
    /// The most, if anything.
    pub high: Option<f64>,
    /// What it is.
    pub says: String,
    /// As an option, without its hyphens.
    #[serde(skip)]
    pub long: String,
}

/// Formulas under a title.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// The title.
    pub title: String,
    /// Shown only when a price was given.
    #[serde(default)]
    pub priced: bool,
    /// The formulas.
    pub rows: Vec<Row>,
}

/// A formula.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Over inputs, unit costs and rows above.
    pub formula: String,
    /// What it is.
    pub says: String,
}

/// A tier.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Its name in formulas: `<name>_nodes` is what it comes to.
    pub name: String,
    /// For people.
    pub title: String,
    /// Formula of the fewest nodes it is run with.
    pub least: String,
    /// What it needs.
    pub rows: Vec<Row>,
    /// Resource → formula of the nodes that it asks for.
    pub bounds: BTreeMap<String, String>,
}

const TEXT: &str = include_str!("model.toml");

impl Model {
    /// The model of this version.
    ///
    /// # Errors
    /// It cannot be read; a test reads it.
    pub fn get() -> Result<&'static Self, Refused> {
        static MODEL: OnceLock<Result<Model, String>> = OnceLock::new();
        let read = || {
            let mut model: Self = toml::from_str(TEXT).map_err(|error| error.to_string())?;
            for input in &mut model.input {
                input.long = input.name.replace('_', "-");
            }
            Ok(model)
        };
        MODEL.get_or_init(read).as_ref().map_err(|what| Refused::Model(what.clone()))
    }
}

impl Input {
    /// Refuses an impossible value by name.
    ///
    /// # Errors
    /// Name, value, what is allowed.
    pub fn check(&self, value: f64) -> Result<(), Refused> {
        if value.is_finite() && value >= self.low && self.high.is_none_or(|high| value <= high) {
            return Ok(());
        }
        let high = self.high.map_or_else(|| "or more".to_owned(), |high| format!("to {high}"));
        Err(Refused::Input(format!("{} {value}: expected {} {high}: {}", self.option(), self.low, self.says)))
    }

    /// As an option of the command line.
    pub fn option(&self) -> String {
        format!("--{}", self.long)
    }
}
