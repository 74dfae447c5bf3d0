//! The budgets that the history has a figure for.

/// One budget.
pub struct Budget {
    /// What it is about.
    pub title: &'static str,
    /// Of what it is so many.
    pub unit: &'static str,
    /// Where an entry has the figure.
    pub path: &'static str,
    /// It should be at most this.
    pub most: f64,
}

/// In the order in which they are drawn.
pub const BUDGETS: &[Budget] = &[
    Budget {
        title: "CPU a message, 16 in flight, without apply",
        unit: "× the limit",
        path: "/shapes/closed/cpu_ratio_without_apply",
        most: 3.0,
    },
    Budget {
        title: "CPU a message, 16 in flight, all threads",
        unit: "× the limit",
        path: "/shapes/closed/cpu_ratio",
        most: 8.0,
    },
    Budget {
        title: "CPU a message, one in flight, without apply",
        unit: "× the limit",
        path: "/shapes/one-in-flight/cpu_ratio_without_apply",
        most: 1.6,
    },
    Budget {
        title: "CPU a message, one in flight, all threads",
        unit: "× the limit",
        path: "/shapes/one-in-flight/cpu_ratio",
        most: 2.0,
    },
    Budget {
        title: "The engine's apply",
        unit: "µs a message",
        path: "/shapes/closed/server/apply_us_per_message",
        most: 1.5,
    },
    Budget {
        title: "Memory of an idle connection",
        unit: "bytes",
        path: "/shapes/idle/server/bytes_per_connection",
        most: 1_024.0,
    },
    Budget {
        title: "Send to receipt at 5,000 messages a second, p50",
        unit: "µs",
        path: "/shapes/open/server/latency_p50_us",
        most: 500.0,
    },
    Budget {
        title: "Send to receipt at 5,000 messages a second, p99",
        unit: "µs",
        path: "/shapes/open/server/latency_p99_us",
        most: 5_000.0,
    },
    Budget {
        title: "Connect and authenticate (15,000 a second a core)",
        unit: "CPU s a thousand",
        path: "/shapes/connects/server/cpu_s_per_thousand_connects",
        most: 1_000.0 / 15_000.0,
    },
    Budget {
        title: "CPU a delivery in a group of 500, all threads",
        unit: "× the limit",
        path: "/shapes/group-500/cpu_ratio",
        most: 2.0,
    },
    Budget {
        title: "Group of 500: until the sender's ack, p99",
        unit: "µs",
        path: "/shapes/group-500/server/group_ack_p99_us",
        most: 5_000.0,
    },
    Budget {
        title: "Group of 500: until the last member has it, p99",
        unit: "µs",
        path: "/shapes/group-500/server/group_last_p99_us",
        most: 10_000.0,
    },
];
