//! Ways to owners and routers of other processes that break and come back.
//!
//! What was on its way is lost in silence; whoever keeps the ways tells the shard, and the shard does what makes it good:
//! clients come back and send again, listings and pages are asked for again, sessions register again. What must stay true:
//! a credit of before never comes back, and a session lists what it missed only after its registration stands.

mod hold;
mod owners;
mod places;
mod routers;

pub(crate) use places::{owes_of_now, partition_of_request, send_request};
pub(crate) use routers::Rejoins;
