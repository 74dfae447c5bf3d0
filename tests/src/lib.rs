//! What crosses tiers.
