//! What a router partition counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of one router partition; clones share them.
#[derive(Clone, Debug, Default)]
pub struct RouterMetrics {
    /// Sessions in the directory; all routers of a process share directory and gauge.
    pub sessions: Gauge,
    /// Registrations that were new or took another's place.
    pub registrations: Counter,
    /// Sessions told that a newer one of their device took over.
    pub superseded: Counter,
    /// Pushes that came from owners.
    pub pushes: Counter,
    /// Envelopes sent on to gateway shards.
    pub deliveries: Counter,
    /// Recipients without a session: their sync brings it later.
    pub offline: Counter,
    /// Gaps passed on.
    pub gaps: Counter,
    /// Pushes, receipts and gaps passed on to another router, because it may hold sessions of these users.
    pub passed_on: Counter,
    /// What another router passed on to this one.
    pub taken_over: Counter,
    /// Gateways whose registrations were forgotten, because they are gone.
    pub gateways_lost: Counter,
    /// Envelopes of a kind no router takes; a fault of the sender.
    pub misrouted: Counter,
}

impl RouterMetrics {
    /// All zero. `sessions`: the directory's gauge, which its owner registers.
    pub fn new(sessions: Gauge) -> Self {
        Self { sessions, ..Self::default() }
    }

    /// Adds the counters to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("router_registrations", "Sessions registered", &self.registrations);
        counter("router_superseded", "Sessions overtaken by a newer one of their device", &self.superseded);
        counter("router_pushes", "Pushes taken from owners", &self.pushes);
        counter("router_deliveries", "Envelopes sent to gateway shards", &self.deliveries);
        counter("router_offline_recipients", "Recipients of a push without a session", &self.offline);
        counter("router_gaps", "Gaps passed on to gateway shards", &self.gaps);
        counter("router_passed_on", "Pushes, receipts and gaps passed on to another router", &self.passed_on);
        counter("router_taken_over", "Pushes, receipts and gaps that another router passed on", &self.taken_over);
        counter("router_gateways_lost", "Gateways whose registrations were forgotten", &self.gateways_lost);
        counter("router_misrouted", "Envelopes no router takes", &self.misrouted);
    }
}
