//! What crosses tiers.

pub mod faults;
pub mod process;
pub mod sim;
