//! Hand-offs on the same shard as calls: what one part says to another is done at once while nothing waits in the hub's queue.
//!
//! What must stay true: a part that is at work is never called; what is for it waits in the hub until it is done. And nobody
//! overtakes: with anything in the queue, everything goes through the queue.

use fabric::tier::{Egress, Push, Send, Sent};
use fabric::time::Now;
use gateway::Shard as Gateway;
use router::{Group, Groups, MemoryDirectory, Router};
use schema::arena::Arena;
use schema::envelope::{Address, Body, Class, Envelope, Recipients, Target};
use schema::ids::{ChatId, Slot, UserId};
use smallvec::SmallVec;
use storage_writer::partition::Partition;

use super::core::is_spools;
use super::hub::Hub;

/// A shard's router.
pub type LocalRouter = Router<MemoryDirectory>;

/// The gateway's way out: owners and the router of this shard are called.
pub struct FromGateway<'a> {
    /// The turn's time.
    pub now: Now,
    /// This shard's, rising by number.
    pub partitions: &'a mut [Partition],
    /// This shard's.
    pub router: &'a mut LocalRouter,
    /// For everyone else, and for the gateway itself.
    pub hub: &'a mut Hub,
}

/// An owner's way out: the gateway and the router of this shard are called.
pub struct FromOwner<'a> {
    /// The turn's time.
    pub now: Now,
    /// This shard's.
    pub gateway: &'a mut Gateway,
    /// This shard's.
    pub router: &'a mut LocalRouter,
    /// For everyone else, and for owners.
    pub hub: &'a mut Hub,
}

/// The router's way out: the gateway of this shard is called.
pub struct FromRouter<'a> {
    /// The turn's time.
    pub now: Now,
    /// This shard's.
    pub gateway: &'a mut Gateway,
    /// For everyone else.
    pub hub: &'a mut Hub,
}

impl Egress for FromGateway<'_> {
    fn send(&mut self, send: &Send<'_>, arena: &mut Arena) {
        let place = self.hub.own_partition(send.slot, self.partitions);
        match place.filter(|_| self.hub.is_quiet()) {
            Some(place) => {
                self.hub.count_call();
                self.partitions[place].take_send(self.now, send, self.hub);
            }
            None => self.hub.send(send, arena),
        }
    }

    fn expect(&mut self, chat: ChatId, user: UserId, client_msg_id: &[u8]) {
        if let Some(place) = self.hub.own_partition(chat.slot(), self.partitions) {
            self.partitions[place].expect_send(chat, user, client_msg_id);
        }
    }

    fn to_owner(&mut self, slot: Slot, mut envelope: Envelope) {
        let place = self.hub.own_partition(slot, self.partitions);
        match place.filter(|_| self.hub.is_quiet()) {
            Some(place) => {
                envelope.header.slot = slot;
                self.hub.count_call();
                self.partitions[place].handle(self.now, envelope, self.hub);
            }
            None => self.hub.to_owner(slot, envelope),
        }
    }

    fn to_partition(&mut self, partition: u16, envelope: Envelope) {
        self.hub.to_partition(partition, envelope);
    }

    fn to_router(&mut self, user: UserId, envelope: Envelope) {
        if self.hub.is_quiet() && self.hub.has_router_of(user) {
            self.hub.count_call();
            self.router.handle(self.now, envelope, self.hub);
        } else {
            self.hub.to_router(user, envelope);
        }
    }

    fn to_gateway(&mut self, address: Address, envelope: Envelope) {
        self.hub.to_gateway(address, envelope);
    }

    fn to_router_at(&mut self, place: u16, envelope: Envelope) {
        self.hub.to_router_at(place, envelope);
    }

    fn to_all_routers(&mut self, user: UserId, envelope: Envelope) {
        self.hub.to_all_routers(user, envelope);
    }

    fn to_other_routers(&mut self, user: UserId, envelope: Envelope) {
        self.hub.to_other_routers(user, envelope);
    }

    fn to_all_gateways(&mut self, envelope: Envelope) {
        self.hub.to_all_gateways(envelope);
    }
}

impl Egress for FromOwner<'_> {
    fn to_owner(&mut self, slot: Slot, envelope: Envelope) {
        self.hub.to_owner(slot, envelope);
    }

    fn to_partition(&mut self, partition: u16, envelope: Envelope) {
        self.hub.to_partition(partition, envelope);
    }

    fn to_router(&mut self, user: UserId, envelope: Envelope) {
        if self.hub.is_quiet() && self.hub.has_router_of(user) {
            self.hub.count_call();
            let mut way = FromRouter { now: self.now, gateway: self.gateway, hub: self.hub };
            self.router.handle(self.now, envelope, &mut way);
        } else {
            self.hub.to_router(user, envelope);
        }
    }

    fn same_router(&self, one: UserId, other: UserId) -> bool {
        self.hub.same_router(one, other)
    }

    fn sent(&mut self, sent: &Sent<'_>) {
        if self.hub.is_own_gateway(sent.reply) && self.hub.is_quiet() && !is_spools(sent.reply) {
            self.hub.count_call();
            self.gateway.sent_here(self.now, sent, self.hub);
        } else {
            self.hub.sent(sent);
        }
    }

    fn push(&mut self, push: &Push<'_>, recipients: Recipients) {
        let user = recipients.first().map(|recipient| recipient.user);
        let here = user.is_none_or(|user| self.hub.has_router_of(user)) && self.router.holds_all(&recipients);
        if !self.hub.is_quiet() || !here {
            return self.hub.push(push, recipients);
        }
        let trace = push.trace.copied().map(|mut trace| {
            trace.stages.routed = self.now.mono_ns;
            self.router.record(self.now, &trace);
            trace
        });
        let mut here: SmallVec<[Target; 4]> = SmallVec::new();
        // Made when needed: it is large.
        let mut elsewhere: Option<Groups<Target>> = None;
        self.router.recipients(&recipients, push.sender, |session, acked_seq| {
            let Address { connection, generation, .. } = session;
            let target = Target { connection, generation, acked_seq };
            if self.hub.is_own_gateway(session) {
                here.push(target);
            } else {
                elsewhere.get_or_insert_default().add(session, target);
            }
        });
        let mut deliveries = u64::from(!here.is_empty());
        for Group { shard, targets } in elsewhere.into_iter().flat_map(Groups::into_iter) {
            deliveries += 1;
            let body = Body::Deliver { chat: push.chat, seq: push.seq, frame: push.frame.clone(), targets };
            let mut envelope = Envelope::new(Class::Live, body).reply_to(push.sender);
            envelope.header.trace = trace.map(Box::new);
            self.hub.to_gateway(shard, envelope);
        }
        self.router.count_push(deliveries);
        if !here.is_empty() {
            self.hub.count_call();
            let push = Push { trace: trace.as_ref(), ..*push };
            self.gateway.deliver(self.now, &push, &here, self.hub);
        }
    }

    fn to_gateway(&mut self, address: Address, envelope: Envelope) {
        FromRouter { now: self.now, gateway: self.gateway, hub: self.hub }.to_gateway(address, envelope);
    }

    fn to_router_at(&mut self, place: u16, envelope: Envelope) {
        self.hub.to_router_at(place, envelope);
    }

    fn to_all_routers(&mut self, user: UserId, envelope: Envelope) {
        self.hub.to_all_routers(user, envelope);
    }

    fn to_other_routers(&mut self, user: UserId, envelope: Envelope) {
        self.hub.to_other_routers(user, envelope);
    }

    fn to_all_gateways(&mut self, envelope: Envelope) {
        self.hub.to_all_gateways(envelope);
    }
}

impl Egress for FromRouter<'_> {
    fn to_owner(&mut self, slot: Slot, envelope: Envelope) {
        self.hub.to_owner(slot, envelope);
    }

    fn to_partition(&mut self, partition: u16, envelope: Envelope) {
        self.hub.to_partition(partition, envelope);
    }

    fn to_router(&mut self, user: UserId, envelope: Envelope) {
        self.hub.to_router(user, envelope);
    }

    fn to_gateway(&mut self, address: Address, envelope: Envelope) {
        if self.hub.is_own_gateway(address) && self.hub.is_quiet() && !is_spools(address) {
            self.hub.count_call();
            self.gateway.handle(self.now, envelope, self.hub);
        } else {
            self.hub.to_gateway(address, envelope);
        }
    }

    fn to_router_at(&mut self, place: u16, envelope: Envelope) {
        self.hub.to_router_at(place, envelope);
    }

    fn to_all_routers(&mut self, user: UserId, envelope: Envelope) {
        self.hub.to_all_routers(user, envelope);
    }

    fn to_other_routers(&mut self, user: UserId, envelope: Envelope) {
        self.hub.to_other_routers(user, envelope);
    }

    fn to_all_gateways(&mut self, envelope: Envelope) {
        self.hub.to_all_gateways(envelope);
    }
}
