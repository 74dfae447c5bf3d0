//! HTTP as a gateway shard without sockets: requests become envelopes, answers find their request again.
//!
//! [`Desk`] is sans-IO and knows nothing of HTTP's text; whoever serves it brings requests and carries answers away. What
//! must stay true: requests in flight are bounded, each is answered or given up at its deadline, a send takes a credit of
//! its owner's partition as any session's does, no request goes on before its user's account has answered, and no owner's
//! memory is touched from here.

mod account;
mod desk;
mod metrics;
mod parts;
#[cfg(test)]
mod tests;
mod traceparent;

pub use desk::{Desk, DeskConfig};
pub use metrics::DeskMetrics;
pub use parts::{Answer, PageAsk, Post, Refusal};
pub use traceparent::TraceParent;
