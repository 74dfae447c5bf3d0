//! Logs: to stderr, one line an event. Tiers rate-limit lines that a peer can cause.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Changes what is logged from now on. Clones change the same.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<Targets, tracing_subscriber::Registry>);

impl LogLevel {
    /// `level` and above (a name the configuration has checked). Any thread.
    pub fn set(&self, level: &str) {
        // Fails only when the subscriber is gone, and with it every log.
        let _ = self.0.reload(filter(level));
    }
}

/// What the driver of Scylla and Cassandra tells of every connection is for whoever looks for a fault in it.
fn filter(level: &str) -> Targets {
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let driver = if level > LevelFilter::INFO { level } else { level.min(LevelFilter::WARN) };
    Targets::new().with_default(level).with_target("scylla", driver).with_target("scylla_store", level)
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

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn the_driver_is_heard_when_it_warns_or_when_everything_is() {
        let heard = |level: &str, target: &str, of: tracing::Level| filter(level).would_enable(target, &of);
        let driver = "scylla::cluster::worker";
        assert!(!heard("info", driver, tracing::Level::INFO) && heard("info", driver, tracing::Level::WARN));
        assert!(!heard("error", driver, tracing::Level::WARN) && heard("debug", driver, tracing::Level::DEBUG));
        assert!(heard("info", "scylla_store::cluster", tracing::Level::INFO));
        assert!(heard("info", "shardwire::node", tracing::Level::INFO));
    }
}
