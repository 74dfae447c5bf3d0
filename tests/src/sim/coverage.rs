//! What a fixed run must have met: every kind of fault, every guard.

/// Counters that must not be 0 after CI's fixed run.
pub const REQUIRED: &[&str] = &[
    "fault_server_crash",
];
