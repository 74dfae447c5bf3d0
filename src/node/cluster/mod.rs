//! A node among others: which of them holds whom, the links to them, and what becomes of what cannot get there.
//!
//! What must stay true: nobody waits for a link; what one does not take is answered where an answer is owed, and becomes a gap
//! where something live was lost.

mod away;
mod heard;
mod holders;
mod leave;
mod owners;
mod relist;
mod routers;
pub(super) mod undelivered;
mod view;

pub(super) use away::News;
pub use away::{Away, AwayConfig};
pub(super) use owners::Step;
pub use routers::Routers;
pub(super) use routers::Way;
pub use view::{ClusterView, NodeInfo, NodeLine};
