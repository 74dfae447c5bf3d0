//! How a tier part speaks to the others: it hands an envelope to an [`Egress`] and never waits.
//!
//! The code above an egress cannot know whether the other side is a call on the same core, a lane to another core or a
//! link to another process.

use schema::envelope::{Address, Envelope};
use schema::ids::{Slot, UserId};

/// What a tier part sends with. Never blocks; the envelope's class says what happens when there is no room.
pub trait Egress {
    /// To the owner partition that holds `slot`.
    fn to_owner(&mut self, slot: Slot, envelope: Envelope);

    /// To an owner partition by its number (owners among themselves, in one process).
    fn to_partition(&mut self, partition: u16, envelope: Envelope);

    /// To the router partition that holds `user`.
    fn to_router(&mut self, user: UserId, envelope: Envelope);

    /// Whether one envelope can reach both users' router, so that a push for both is sent once.
    fn same_router(&self, one: UserId, other: UserId) -> bool {
        one == other
    }

    /// To a gateway shard: the one of `address` (its connection is in the envelope).
    fn to_gateway(&mut self, address: Address, envelope: Envelope);

    /// To every gateway shard of the process (gaps without a narrower scope).
    fn to_all_gateways(&mut self, envelope: Envelope);
}
