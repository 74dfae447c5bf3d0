//! Logs: to stderr, one line an event. Tiers rate-limit lines that a peer can cause.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::LevelFilter;

/// Starts logging at `level` and above (a name the configuration has checked). Once a process. Colours are for terminals only.
pub fn start(level: &str) {
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(colours);
    // A second call (tests in one process) keeps the first subscriber.
    let _ = logs.with_target(false).try_init();
}
