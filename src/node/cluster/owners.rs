//! Which writer holds which partition, as one shard knows it, and what waits while nobody does.
//!
//! Writers say what they hold, and each holding has an epoch: the higher one wins, and one that was given up does not come
//! back, in whatever order the words arrive. What must stay true: of one session, what was sent later overtakes nothing. So a
//! partition that has another holder gets nothing there until its former one has answered or given back everything that this
//! shard's gateway sent it; and what was given back goes first. What waits is bounded in time and in bytes.

use std::collections::VecDeque;

use fabric::link::weight;
use schema::envelope::{Body, Envelope, Holding};
use schema::places::Places;

mod chats;
#[cfg(test)]
mod tests;

/// What may wait for holders, bytes.
const WAITING_BYTES: usize = 64 << 20;
/// Envelopes that may.
const WAITING_MAX: usize = 131_072;
/// A holder that has given a partition up gives back, or has answered, what it was sent within so long, ns: else it is lost.
const SETTLE_NS: u64 = 3_000_000_000;

/// Who holds a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// This node.
    Here,
    /// The peer of this number.
    Peer(u16),
}

/// What becomes of an envelope.
#[derive(Debug)]
pub enum Routed {
    /// It goes there.
    To(Holder, Envelope),
    /// It waits here.
    Waits,
    /// There is no room, or it was waited for long enough.
    Refused(Box<Envelope>),
}

/// What is to be done for a partition.
#[derive(Debug)]
pub enum Step {
    /// What was sent to its former holder is lost: the gateway has to know, then [`OwnerMap::lost`].
    Lost(u16),
    /// These go out, in this order, before anything else. `healed`: something live may have been missed meanwhile.
    Release {
        /// The partition.
        partition: u16,
        /// What waited.
        envelopes: Vec<Envelope>,
        /// Its holder before was another one, or was lost.
        healed: bool,
    },
    /// These are refused: nobody holds the partition for too long.
    Refuse(Vec<Envelope>),
    /// Chats have other partitions from now on. These waited for the ones that they leave, and go on to the others, in this
    /// order, before anything else.
    Places(Places, Vec<Envelope>),
}

/// One partition.
#[derive(Debug, Default)]
struct Place {
    /// Of `epoch`, also after it has given that up.
    holder: Option<Holder>,
    epoch: u64,
    /// Epochs up to this one were given up.
    closed: u64,
    /// Who holds it as soon as the former holder owes nothing.
    next: Option<(Holder, u64)>,
    /// Sends of this shard's gateway that the former holder has given back; they go before `waiting`.
    returned: VecDeque<Envelope>,
    waiting: VecDeque<Envelope>,
    /// Sends of this shard's gateway among both.
    own: u32,
    /// What waits is refused then, ns; 0 = nothing waits, or has since it was held last.
    hold_until_ns: u64,
    /// What the former holder owes is lost then, ns; 0 = it owes nothing.
    settle_by_ns: u64,
    /// A holder was lost, or has changed.
    lost: bool,
    /// A chat is to leave it as soon as its holder owes nothing.
    left: bool,
}

impl Place {
    fn is_open(&self) -> bool {
        self.holder.is_some()
            && self.closed < self.epoch
            && self.next.is_none()
            && !self.left
            && self.waiting.is_empty()
            && self.returned.is_empty()
    }

    fn is_busy(&self) -> bool {
        self.next.is_some()
            || self.left
            || self.settle_by_ns > 0
            || !self.waiting.is_empty()
            || !self.returned.is_empty()
    }

    /// A peer holds it, or owes something that it was sent while it did.
    fn needs(&self, peer: u16) -> bool {
        self.holder == Some(Holder::Peer(peer)) && (self.closed < self.epoch || self.settle_by_ns > 0)
    }

    fn take_all(&mut self) -> Vec<Envelope> {
        self.own = 0;
        self.returned.drain(..).chain(self.waiting.drain(..)).collect()
    }
}

/// This shard's gateway, as in the addresses of its sessions.
#[derive(Debug)]
struct Gateway {
    incarnation: u64,
    shard: u16,
}

impl Gateway {
    /// Whether it is its send.
    fn sent(&self, envelope: &Envelope) -> bool {
        let reply = envelope.header.reply;
        matches!(envelope.body, Body::Send { .. }) && (reply.incarnation, reply.shard) == (self.incarnation, self.shard)
    }
}

/// What a shard knows of all partitions. Belongs to its thread.
#[derive(Debug)]
pub struct OwnerMap {
    places: Vec<Place>,
    /// Whose sends must keep their order.
    gateway: Gateway,
    /// What waits does so for this long, ns.
    hold_ns: u64,
    bytes: usize,
    count: usize,
    /// Some place may be busy.
    busy: bool,
    /// Which partition has which chat, as the gateway knows.
    chats: Places,
    /// And as it is to know, once nobody owes anything for the chats that have another one.
    next_chats: Option<Places>,
}

impl OwnerMap {
    /// Nobody holds any of `partitions`. `incarnation` and `shard`: of the gateway whose sends must keep their order; `hold_ms`:
    /// how long envelopes wait for a holder.
    pub fn new(partitions: u16, incarnation: u64, shard: u16, hold_ms: u32) -> Self {
        let places = (0..partitions).map(|_| Place::default()).collect();
        let hold_ns = u64::from(hold_ms) * 1_000_000;
        Self {
            places,
            gateway: Gateway { incarnation, shard },
            hold_ns,
            bytes: 0,
            count: 0,
            busy: false,
            chats: Places::default(),
            next_chats: None,
        }
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u16 {
        self.places.len() as u16
    }

    /// Whether this node holds a partition and nothing waits for it.
    pub fn is_here(&self, partition: u16) -> bool {
        let place = &self.places[usize::from(partition)];
        place.holder == Some(Holder::Here) && place.is_open()
    }

    /// Where an envelope for a partition goes. `stands`: whether a peer can be reached.
    pub fn route(
        &mut self,
        now_ns: u64,
        partition: u16,
        mut envelope: Envelope,
        stands: impl Fn(u16) -> bool,
    ) -> Routed {
        let place = &mut self.places[usize::from(partition)];
        match place.holder.filter(|_| place.is_open()) {
            Some(holder) if holder.stands(&stands) => {
                place.hold_until_ns = 0;
                envelope.header.slot_epoch = place.epoch;
                Routed::To(holder, envelope)
            }
            _ => self.wait(now_ns, partition, envelope, false),
        }
    }

    fn wait(&mut self, now_ns: u64, partition: u16, envelope: Envelope, returned: bool) -> Routed {
        let own = self.gateway.sent(&envelope);
        let place = &mut self.places[usize::from(partition)];
        if place.hold_until_ns == 0 {
            place.hold_until_ns = now_ns + self.hold_ns;
        }
        let bytes = weight(&envelope);
        let is_full = self.count >= WAITING_MAX || self.bytes + bytes > WAITING_BYTES;
        if place.hold_until_ns <= now_ns || is_full {
            return Routed::Refused(Box::new(envelope));
        }
        self.busy = true;
        self.bytes += bytes;
        self.count += 1;
        place.own += u32::from(own);
        if returned {
            place.returned.push_back(envelope);
        } else {
            place.waiting.push_back(envelope);
        }
        Routed::Waits
    }

    /// An envelope came back, or came to this node as the holder of its partition, which it is not (any more). One of this
    /// shard's gateway goes before what was sent later.
    pub fn returned(&mut self, now_ns: u64, partition: u16, envelope: Envelope) -> Routed {
        let place = &mut self.places[usize::from(partition)];
        if place.holder.is_some() && envelope.header.slot_epoch == place.epoch && place.closed < place.epoch {
            place.closed = place.epoch;
            place.settle_by_ns = now_ns + SETTLE_NS;
        }
        let own = self.gateway.sent(&envelope);
        self.wait(now_ns, partition, envelope, own)
    }

    /// A node says how it stands with a partition.
    pub fn heard(&mut self, now_ns: u64, from: Holder, holding: Holding) {
        let Holding { partition, epoch, held } = holding;
        let Some(place) = self.places.get_mut(usize::from(partition)) else { return };
        if epoch <= place.closed || epoch < place.epoch {
            return;
        }
        let owes = place.holder.is_some();
        if held {
            if epoch > place.epoch && place.next.is_none_or(|(_, next)| next < epoch) {
                place.next = Some((from, epoch));
            }
        } else {
            place.closed = epoch;
            place.next.take_if(|(_, next)| *next <= epoch);
        }
        if owes && place.settle_by_ns == 0 && (place.next.is_some() || place.closed >= place.epoch) {
            place.settle_by_ns = now_ns + SETTLE_NS;
        }
        self.busy |= place.is_busy();
    }

    /// Who holds a partition and can be reached, with the epoch, if what goes there now overtakes nothing of this shard's that is on
    /// its way back.
    pub fn holder(&self, partition: u16, stands: impl Fn(u16) -> bool) -> Option<(Holder, u64)> {
        let place = self.places.get(usize::from(partition))?;
        let holds = place.closed < place.epoch && place.next.is_none();
        place.holder.filter(|holder| holds && holder.stands(&stands)).map(|holder| (holder, place.epoch))
    }

    /// The partitions that a peer holds, or has not answered everything of. What waits for one that it has given up waits for
    /// another.
    pub fn of_peer(&self, peer: u16) -> Vec<u16> {
        let of = (0u16..).zip(&self.places).filter(|(_, place)| place.needs(peer));
        of.map(|(partition, _)| partition).collect()
    }

    /// Whether something here still needs a peer as a holder.
    pub fn needs(&self, peer: u16) -> bool {
        self.places.iter().any(|place| place.needs(peer))
    }

    /// What was on its way to a partition's holder, or back, is lost, and the gateway's sends with it, also those that wait
    /// here: their sessions end.
    pub fn lost(&mut self, partition: u16) {
        let place = &mut self.places[usize::from(partition)];
        (place.settle_by_ns, place.own, place.lost) = (0, 0, true);
        for queue in [&mut place.returned, &mut place.waiting] {
            queue.retain(|envelope| {
                let goes = self.gateway.sent(envelope);
                if goes {
                    self.bytes -= weight(envelope);
                    self.count -= 1;
                }
                !goes
            });
        }
    }

    /// A peer is another node from now on: what it held is nobody's.
    pub fn forget(&mut self, peer: u16) {
        for place in &mut self.places {
            place.holder.take_if(|holder| *holder == Holder::Peer(peer));
            place.next.take_if(|(holder, _)| *holder == Holder::Peer(peer));
        }
    }

    /// Whether something waits here for a holder.
    pub fn is_waited_at(&self) -> bool {
        self.count > 0
    }

    /// Whether [`Self::step`] may have something to do.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Until when what waits for a partition does so, ns; 0 = nothing does.
    pub fn held_until_ns(&self, partition: u16) -> u64 {
        self.places[usize::from(partition)].hold_until_ns
    }

    /// The next thing to do; `None` when there is nothing at the moment. `unanswered`: sends of this shard's gateway that have
    /// no answer, those that wait here among them; `stands`: whether a peer can be reached.
    pub fn step(&mut self, now_ns: u64, unanswered: impl Fn(u16) -> u32, stands: impl Fn(u16) -> bool) -> Option<Step> {
        if !self.busy {
            return None;
        }
        if let Some(step) = self.step_of_chats(&unanswered) {
            return Some(step);
        }
        for partition in 0..self.partitions() {
            if let Some(step) = self.step_of(now_ns, partition, &unanswered, &stands) {
                return Some(step);
            }
        }
        self.busy = self.places.iter().any(Place::is_busy);
        None
    }

    fn step_of(
        &mut self,
        now_ns: u64,
        partition: u16,
        unanswered: impl Fn(u16) -> u32,
        stands: impl Fn(u16) -> bool,
    ) -> Option<Step> {
        let place = &mut self.places[usize::from(partition)];
        if !place.is_busy() {
            return None;
        }
        if place.next.is_some() || place.left || place.settle_by_ns > 0 {
            if unanswered(partition) > place.own {
                return (place.settle_by_ns <= now_ns).then_some(Step::Lost(partition));
            }
            place.settle_by_ns = 0;
            if let Some((holder, epoch)) = place.next.take() {
                // Whoever held it before took its nudges along.
                place.lost |= place.holder.is_some();
                (place.holder, place.epoch) = (Some(holder), epoch);
            }
        }
        let can_go =
            !place.left && place.closed < place.epoch && place.holder.is_some_and(|holder| holder.stands(&stands));
        let is_late = place.hold_until_ns > 0 && place.hold_until_ns <= now_ns;
        let waits = !place.waiting.is_empty() || !place.returned.is_empty();
        if !(can_go || is_late && waits) {
            return None;
        }
        let (mut envelopes, epoch) = (place.take_all(), place.epoch);
        self.count -= envelopes.len();
        self.bytes -= envelopes.iter().map(weight).sum::<usize>();
        if !can_go {
            return Some(Step::Refuse(envelopes));
        }
        place.hold_until_ns = 0;
        envelopes.iter_mut().for_each(|envelope| envelope.header.slot_epoch = epoch);
        let healed = std::mem::take(&mut place.lost);
        Some(Step::Release { partition, envelopes, healed })
    }

    /// When [`Self::step`] has something to do even if nothing comes, ns.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let of = |place: &Place| {
            let waits = !place.waiting.is_empty() || !place.returned.is_empty();
            let hold = (waits && place.hold_until_ns > 0).then_some(place.hold_until_ns);
            [hold, (place.settle_by_ns > 0).then_some(place.settle_by_ns)].into_iter().flatten().min()
        };
        self.busy.then(|| self.places.iter().filter_map(of).min()).flatten()
    }
}

impl Holder {
    fn stands(self, stands: impl Fn(u16) -> bool) -> bool {
        match self {
            Self::Here => true,
            Self::Peer(peer) => stands(peer),
        }
    }
}
