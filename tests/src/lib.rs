//! What crosses tiers.

pub mod sim;
