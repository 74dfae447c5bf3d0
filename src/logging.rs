//! Logs: to stderr, one line an event. Tiers rate-limit lines that a peer can cause.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Changes what is logged from now on. Clones change the same.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<LevelFilter, tracing_subscriber::Registry>);

impl LogLevel {
    /// `level` and above (a name the configuration has checked). Any thread.
    pub fn set(&self, level: &str) {
        // Fails only when the subscriber is gone, and with it every log.
        let _ = self.0.reload(filter(level));
    }
}

fn filter(level: &str) -> LevelFilter {
    level.parse().unwrap_or(LevelFilter::INFO)
}

/// Starts logging at `level` and above. Once a process. Colours are for terminals only.
pub fn start(level: &str) -> LogLevel {
    let colours = std::io::stderr().is_terminal();
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    // A second call (tests in one process) keeps the first subscriber.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    LogLevel(handle)
}
