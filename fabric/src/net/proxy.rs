//! Who a client is when a load balancer stands before the server: the PROXY protocol (versions 1 and 2) and `X-Forwarded-For`,
//! without I/O.
//!
//! What must stay true: nothing that an address outside the configured networks says about a client is believed, a header is
//! bounded before it is complete, and whatever bytes come, the answer does not depend on where they were cut.

mod header;
#[cfg(test)]
mod tests;
mod trusted;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::throttle::Throttle;
use crate::time::Now;

pub use header::{HEADER_BYTES, Header, ProxyFault, Reading};
pub use trusted::{NotANetwork, Trusted};

/// Whether connections begin with a PROXY header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HeaderMode {
    /// Never: what looks like one is the client's own bytes.
    #[default]
    Off,
    /// From trusted addresses they may.
    Optional,
    /// They must, so nobody else connects.
    Required,
}

/// What all listeners of a process know of load balancers. Clones share it; any thread.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    trusted: Trusted,
    mode: HeaderMode,
    headers: Counter,
    refused: [Counter; ProxyFault::ALL.len()],
    said: Throttle,
}

impl Proxies {
    /// `trusted`: whose word counts. Without any, `mode` must be off, or nobody gets in.
    pub fn new(trusted: Trusted, mode: HeaderMode) -> Self {
        Self(Arc::new(Inner { trusted, mode, ..Inner::default() }))
    }

    /// Whose word counts.
    pub fn trusted(&self) -> &Trusted {
        &self.0.trusted
    }

    /// Whether what a new connection from `peer` says first is, or may be, a header.
    ///
    /// # Errors
    /// [`ProxyFault::Untrusted`]: it must begin with one, and from this address none would be believed.
    pub fn expects(&self, peer: IpAddr) -> Result<bool, ProxyFault> {
        match (self.0.mode, self.0.trusted.has(peer)) {
            (HeaderMode::Off, _) | (HeaderMode::Optional, false) => Ok(false),
            (HeaderMode::Required, false) => Err(ProxyFault::Untrusted),
            (HeaderMode::Optional | HeaderMode::Required, true) => Ok(true),
        }
    }

    /// Looks at the start of a connection that [`Self::expects`] one. `input`: everything that came so far.
    ///
    /// # Errors
    /// [`ProxyFault`]: the connection cannot go on; see [`Self::refuse`].
    pub fn read(&self, input: &[u8]) -> Result<Reading, ProxyFault> {
        let reading = header::read(input)?;
        match reading {
            Reading::None if self.0.mode == HeaderMode::Required => return Err(ProxyFault::Missing),
            Reading::Header(_) => {
                self.0.headers.inc();
            }
            Reading::None | Reading::Incomplete => {}
        }
        Ok(reading)
    }

    /// Counts a connection that is refused, and says so in the log, once a second for all.
    pub fn refuse(&self, now: Now, peer: SocketAddr, fault: ProxyFault) {
        self.0.refused[fault as usize].inc();
        if let Some(unsaid) = self.0.said.next(now) {
            tracing::warn!(%peer, unsaid, "a connection is closed: {fault}");
        }
    }

    /// How many were refused for this.
    pub fn refused(&self, fault: ProxyFault) -> u64 {
        self.0.refused[fault as usize].get()
    }

    /// Names what is counted in `registry`. Once a process.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Connections whose client's address a PROXY header gave";
        registry.register("proxy_headers", help, self.0.headers.clone());
        for fault in ProxyFault::ALL {
            let reason = ("reason".into(), fault.name().into());
            let registry = registry.sub_registry_with_label(reason);
            let help = "Connections closed for what their PROXY header was, or was not";
            registry.register("proxy_refused", help, self.0.refused[fault as usize].clone());
        }
    }
}
