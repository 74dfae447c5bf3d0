//! What HTTP's desk counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What a desk counts. Clones share their numbers.
#[derive(Clone, Debug, Default)]
pub struct DeskMetrics {
    /// Sends passed to owners.
    pub sends: Counter,
    /// Pages asked for.
    pub pages: Counter,
    /// Questions about chats and messages.
    pub asks: Counter,
    /// Marks passed to owners.
    pub marks: Counter,
    /// Requests refused by owners.
    pub refused_by_owner: Counter,
    /// Requests refused because their device was revoked, or because the account's owner did not say.
    pub refused_by_account: Counter,
    /// Requests refused because as many are in flight as may be.
    pub refused_full: Counter,
    /// Sends refused because a partition had no credit.
    pub refused_no_credit: Counter,
    /// Sends refused because the user's rate was exceeded.
    pub refused_rate: Counter,
    /// Requests given up at their deadline.
    pub expired: Counter,
    /// Requests refused because the way to their owner was lost.
    pub lost: Counter,
    /// Answers to requests that were given up.
    pub late: Counter,
    /// Envelopes that no desk gets, or of another incarnation.
    pub foreign: Counter,
    /// Times that requests had to wait for the owners' node: it, or this process, was started anew.
    pub holds: Counter,
    /// Requests that waited for it.
    pub held: Counter,
    /// Times that it did not come back in time.
    pub holds_overdue: Counter,
    /// Requests in flight now.
    pub in_flight: Gauge,
}

impl DeskMetrics {
    /// Adds them to `registry` as `http_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("http");
        let mut counter = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        counter("sends", "Sends passed to owners", &self.sends);
        counter("pages", "Pages asked for", &self.pages);
        counter("asks", "Questions about chats and messages", &self.asks);
        counter("marks", "Marks passed to owners", &self.marks);
        counter("refused_by_owner", "Requests refused by owners", &self.refused_by_owner);
        let help = "Requests refused because their device was revoked or their account did not answer";
        counter("refused_by_account", help, &self.refused_by_account);
        counter("refused_full", "Requests refused because too many are in flight", &self.refused_full);
        counter("refused_no_credit", "Sends refused because a partition had no credit", &self.refused_no_credit);
        counter("refused_rate", "Sends refused because the user's rate was exceeded", &self.refused_rate);
        counter("expired", "Requests given up at their deadline", &self.expired);
        counter("lost", "Requests refused because the way to their owner was lost", &self.lost);
        counter("late", "Answers to requests that were given up", &self.late);
        counter("foreign", "Envelopes that were not for HTTP", &self.foreign);
        counter("holds", "Restarts of the owners' node, or of this one, for which requests waited", &self.holds);
        counter("held", "Requests that waited for a restart of the owners' node", &self.held);
        counter("holds_overdue", "Restarts of the owners' node that took too long", &self.holds_overdue);
        registry.register("in_flight", "Requests in flight", self.in_flight.clone());
    }
}
