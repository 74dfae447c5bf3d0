//! Capacity: from unit costs and a description of the load to numbers of nodes, storage and money.
//!
//! The model is a file of formulas ([`model`]), evaluated on a [`sheet`] that keeps for every number where it comes from:
//! measured (by a run of this load generator), given (by the person who asks, or a document) or assumed. What must stay true:
//! what is printed is what was computed, an assumption is never shown as a measurement, and each tier is sized by its tightest
//! resource, which is named. [`check`] holds a prediction against a run; [`docs`] keeps the worked examples true.

pub mod check;
pub mod costs;
pub mod docs;
pub mod model;
pub mod plan;
pub mod sheet;
pub mod show;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A file cannot be read or written.
    #[error("{}: {what}", path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        what: String,
    },
    /// An input is impossible or unknown.
    #[error("{0}")]
    Input(String),
    /// The model does not compute.
    #[error("the capacity model: {0}")]
    Model(String),
}
