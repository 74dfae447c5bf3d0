//! What crosses tiers.

pub mod process;
pub mod sim;
