//! Sends spans of traced messages to a collector: OTLP over HTTP, in JSON
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>: `POST …/v1/traces`).
//!
//! On a thread of its own. What must stay true: one request at a time, bounded in time and size; what a collector does not take
//! is dropped and counted, and said once a second at most.

mod endpoint;
mod json;

use std::io;
use std::time::Duration;

use fabric::throttle::Throttle;
use fabric::time::{Clock as _, SystemClock};
use fabric::trace::Spans;
use ureq::Agent;

pub use endpoint::{Endpoint, NoEndpoint};
pub use json::Resource;

use crate::outbound::{NoRoots, agent};

/// How often spans are sent away.
const EVERY: Duration = Duration::from_secs(1);
/// Most spans of a request.
const BATCH: usize = 1_024;
/// A collector that is silent for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a collector did not take spans.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("{0}")]
    Http(#[from] ureq::Error),
    #[error("it answered {0}")]
    Status(u16),
}

/// Sends spans to one collector.
pub struct Exporter {
    endpoint: Endpoint,
    agent: Agent,
    resource: Resource,
    spans: Spans,
    said: Throttle,
}

impl Exporter {
    /// To `endpoint`, as the process that `resource` describes. Blocks: it reads whom this host trusts.
    ///
    /// # Errors
    /// An endpoint behind TLS, on a host that trusts nobody.
    pub fn new(endpoint: Endpoint, resource: Resource, spans: Spans) -> Result<Self, NoRoots> {
        let agent = agent(&endpoint.to_string(), PATIENCE)?;
        Ok(Self { endpoint, agent, resource, spans, said: Throttle::default() })
    }

    /// Sends what comes, on a thread of its own, until the process ends.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(self) -> io::Result<()> {
        let run = move || {
            loop {
                std::thread::sleep(EVERY);
                while self.send_some() == BATCH {}
            }
        };
        std::thread::Builder::new().name("traces".to_owned()).spawn(run).map(drop)
    }

    /// Sends what waits, at most a batch; how many there were.
    fn send_some(&self) -> usize {
        let spans = self.spans.take(BATCH);
        if spans.is_empty() {
            return 0;
        }
        if let Err(error) = self.send(&json::request(&self.resource, &spans)) {
            self.spans.lost(spans.len());
            if let Some(unsaid) = self.said.next(SystemClock.now()) {
                tracing::warn!(endpoint = %self.endpoint, dropped = spans.len(), unsaid, "spans are not taken: {error}");
            }
        }
        spans.len()
    }

    fn send(&self, body: &[u8]) -> Result<(), SendError> {
        let request = self.agent.post(self.endpoint.to_string()).header("Content-Type", "application/json");
        let status = request.send(body)?.status();
        if status.is_success() { Ok(()) } else { Err(SendError::Status(status.as_u16())) }
    }
}
