//! What crosses tiers.

pub mod faults;
pub mod moves;
pub mod process;
pub mod sim;
