//! What crosses tiers.

pub mod process;
