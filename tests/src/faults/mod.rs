//! Faults on a cluster, and on the engines below it, under load: each single one and pairs of them, one run of the load generator each, so that its audit says
//! what that fault cost. Probes between every pair of gateways say when everything goes through again.
//!
//! What must stay true: whatever a run shows is in the table, a run without an audit or a cluster that does not come back
//! counts as a failure, and nothing that was to be run is left out in silence.

mod fault;
mod load;
mod plan;
mod probe;
mod rest;
mod run;
mod table;
mod world;

pub use fault::{Ended, Fault, Others, singles};
pub use plan::{Extent, Plan};
pub use run::{FaultsError, Options, run};
