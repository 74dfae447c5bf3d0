//! Sends that are kept for later, in memory: in which order they go, and who is told what becomes of them. Sans-IO.
//!
//! A lane holds what one user sent to one chat, in order; only the first of a lane is ever on its way. What must stay true: a
//! lane's sends leave one after the other, each settled before the next; over lanes the oldest goes first.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use fabric::hash::{Map, map};
use schema::envelope::{Address, Body, Envelope, Settled};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, UserId};
use smallvec::SmallVec;

/// Sends of a partition that may be on their way at once.
const ON_THEIR_WAY: usize = 64;
/// One that is not answered for so long goes again, ns.
const ANSWER_NS: u64 = 30_000_000_000;
/// After a refusal a partition waits, twice as long each time, ns: the first wait and the longest.
const BACKOFF_NS: (u64, u64) = (100_000_000, 5_000_000_000);

/// Whose sends to which chat.
pub(super) type LaneId = (UserId, ChatId);
/// Who asked, and what comes back with the answer.
pub(super) type Asker = (Address, u64);

/// Where a send is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Not durable yet.
    Writing,
    /// It waits for its turn.
    Waiting,
    /// An owner has it, until this time, ns.
    OnItsWay(u64),
    /// It is a dead letter, or about to be one.
    Dead,
}

/// One send.
pub(super) struct Kept {
    /// The partition that has its chat: it goes there.
    pub partition: u16,
    /// The partition that has it written: until it is durable, no other one may have anything written behind it.
    by: u16,
    pub lane: LaneId,
    pub client_msg_id: Bytes,
    pub send: Envelope,
    pub queued_ms: u64,
    /// The file it is in; 0 = none yet.
    pub file: u64,
    /// What it may take until it is durable, bytes.
    bytes: u64,
    /// Who waits to be told that it is queued.
    pub askers: SmallVec<[Asker; 1]>,
    /// Who is told what becomes of it: the last who were told that it is queued.
    pub told: Option<Asker>,
    stage: Stage,
}

/// One partition's.
#[derive(Default)]
struct Place {
    /// Lanes whose first send may go, by that send's number.
    ready: BTreeMap<u64, LaneId>,
    on_their_way: BTreeMap<u64, u64>,
    /// None goes before, ns.
    not_before_ns: u64,
    backoff_ns: u64,
}

/// What has become of a send, for whoever is to be told.
#[derive(Debug)]
pub struct Ended {
    /// Who: they were told that it is queued.
    pub asker: Option<(Address, u64)>,
    /// These too, who were not told that yet.
    pub untold: SmallVec<[(Address, u64); 1]>,
    /// As sent.
    pub client_msg_id: Bytes,
    /// Its chat.
    pub chat: ChatId,
    /// What.
    pub outcome: Result<Settled, ErrorCode>,
}

/// See the module.
pub(super) struct Lanes {
    kept: BTreeMap<u64, Kept>,
    lanes: Map<LaneId, VecDeque<u64>>,
    known: Map<(LaneId, Bytes), u64>,
    places: BTreeMap<u16, Place>,
    /// What sends may take that are not durable yet.
    writing_bytes: u64,
}

impl Lanes {
    pub(super) fn new(seed: u64) -> Self {
        Self { kept: BTreeMap::new(), lanes: map(seed), known: map(seed), places: BTreeMap::new(), writing_bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// What those may take that are not durable yet, bytes.
    pub(super) const fn writing_bytes(&self) -> u64 {
        self.writing_bytes
    }

    pub(super) fn get(&self, id: u64) -> Option<&Kept> {
        self.kept.get(&id)
    }

    /// A lane's sends, in order.
    #[cfg(test)]
    pub(super) fn of(&self, lane: LaneId) -> impl Iterator<Item = &Kept> {
        self.lanes.get(&lane).into_iter().flatten().filter_map(|id| self.kept.get(id))
    }

    /// Whether something of a lane is kept.
    pub(super) fn has_lane(&self, lane: LaneId) -> bool {
        self.lanes.contains_key(&lane)
    }

    /// The number of a send that is kept already.
    pub(super) fn find(&self, lane: LaneId, client_msg_id: &[u8]) -> Option<u64> {
        self.lanes.get(&lane)?;
        self.known.get(&(lane, Bytes::copy_from_slice(client_msg_id))).copied()
    }

    /// Another one asks about a send that is kept. Returns whether it is durable, and they may be told at once.
    pub(super) fn ask(&mut self, id: u64, asker: Asker) -> bool {
        let Some(kept) = self.kept.get_mut(&id) else { return false };
        if kept.stage == Stage::Writing {
            kept.askers.push(asker);
            return false;
        }
        kept.told = Some(asker);
        true
    }

    /// Whether the last of a lane is being written for another partition: if that fails, nobody there would know of what is
    /// behind it here.
    pub(super) fn is_written_elsewhere(&self, lane: LaneId, by: u16) -> bool {
        let last = self.lanes.get(&lane).and_then(VecDeque::back).and_then(|id| self.kept.get(id));
        last.is_some_and(|last| last.stage == Stage::Writing && last.by != by)
    }

    /// Puts a send behind those of its lane. `by`: who has it written; `file`: it was read from there, 0 = it is to be written,
    /// and may take so many bytes till then. `None`: it is there already, or no send.
    pub(super) fn insert(
        &mut self,
        id: u64,
        (partition, by, queued_ms): (u16, u16, u64),
        (file, bytes): (u64, u64),
        send: Envelope,
    ) -> Option<()> {
        let Body::Send { frame, user, chat, .. } = &send.body else { return None };
        let lane = (*user, *chat);
        let client_msg_id = Bytes::copy_from_slice(frame.root().body_as_send()?.client_msg_id()?.bytes());
        if self.known.contains_key(&(lane, client_msg_id.clone())) {
            return None;
        }
        let asker = (send.header.reply, send.header.request_id);
        let durable = file > 0;
        let stage = if durable { Stage::Waiting } else { Stage::Writing };
        // Sessions of a former start are gone.
        let askers = if durable { SmallVec::new() } else { SmallVec::from_elem(asker, 1) };
        self.known.insert((lane, client_msg_id.clone()), id);
        if !durable {
            self.writing_bytes += bytes;
        }
        let kept = Kept { partition, by, lane, client_msg_id, send, queued_ms, file, bytes, askers, told: None, stage };
        self.kept.insert(id, kept);
        self.lanes.entry(lane).or_default().push_back(id);
        self.offer(lane);
        Some(())
    }

    /// Chats have other partitions, as `of` says: what was on its way to one that has lost its chat goes again, where the
    /// chat is now; a late answer still counts.
    pub(super) fn set_places(&mut self, of: impl Fn(ChatId) -> u16) {
        let moved = self.kept.iter().filter(|(_, kept)| kept.partition != of(kept.lane.1));
        let moved: Vec<u64> = moved.map(|(id, _)| *id).collect();
        for id in &moved {
            self.back(*id);
            let Some(kept) = self.kept.get_mut(id) else { continue };
            if let Some(place) = self.places.get_mut(&kept.partition) {
                place.ready.remove(id);
            }
            kept.partition = of(kept.lane.1);
            let lane = kept.lane;
            self.offer(lane);
        }
    }

    /// A lane's first send may go, if it is durable and not on its way.
    fn offer(&mut self, lane: LaneId) {
        let Some(&first) = self.lanes.get(&lane).and_then(VecDeque::front) else { return };
        let Some(kept) = self.kept.get(&first).filter(|kept| kept.stage == Stage::Waiting) else { return };
        self.places.entry(kept.partition).or_default().ready.insert(first, lane);
    }

    /// A send is durable, in this file. Whether it was being written.
    pub(super) fn durable(&mut self, id: u64, file: u64) -> bool {
        let Some(kept) = self.kept.get_mut(&id).filter(|kept| kept.stage == Stage::Writing) else { return false };
        self.writing_bytes -= kept.bytes;
        (kept.file, kept.bytes, kept.stage) = (file, 0, Stage::Waiting);
        let lane = kept.lane;
        self.offer(lane);
        true
    }

    /// Who is to be told that a send is queued; each is told once.
    pub(super) fn take_askers(&mut self, id: u64) -> Option<(SmallVec<[Asker; 1]>, Bytes, ChatId)> {
        let kept = self.kept.get_mut(&id)?;
        let askers = std::mem::take(&mut kept.askers);
        // Whoever asked once it was durable was told at once, and came later than these.
        kept.told = kept.told.or(askers.last().copied());
        Some((askers, kept.client_msg_id.clone(), kept.lane.1))
    }

    /// The oldest send of a partition that may go now, with the time it was queued, ms since 1970.
    pub(super) fn next(&mut self, partition: u16, now_ns: u64) -> Option<(u64, u64, Envelope)> {
        let place = self.places.get_mut(&partition)?;
        let late: Vec<u64> =
            place.on_their_way.iter().filter(|(_, until)| **until <= now_ns).map(|(id, _)| *id).collect();
        for id in late {
            self.back(id);
        }
        let place = self.places.get_mut(&partition)?;
        if place.not_before_ns > now_ns || place.on_their_way.len() >= ON_THEIR_WAY {
            return None;
        }
        let (id, _) = place.ready.pop_first()?;
        let until_ns = now_ns + ANSWER_NS;
        place.on_their_way.insert(id, until_ns);
        let kept = self.kept.get_mut(&id)?;
        kept.stage = Stage::OnItsWay(until_ns);
        Some((id, kept.queued_ms, kept.send.clone()))
    }

    /// A send that was on its way waits again.
    fn back(&mut self, id: u64) -> Option<u16> {
        let kept = self.kept.get_mut(&id).filter(|kept| matches!(kept.stage, Stage::OnItsWay(_)))?;
        kept.stage = Stage::Waiting;
        let (lane, partition) = (kept.lane, kept.partition);
        self.places.entry(partition).or_default().on_their_way.remove(&id);
        self.offer(lane);
        Some(partition)
    }

    /// Whoever had what was on its way to a partition may be gone, or will not answer: it goes again.
    pub(super) fn lost(&mut self, partition: u16) {
        let on_their_way = self.places.get(&partition).map(|place| place.on_their_way.keys().copied().collect());
        let on_their_way: Vec<u64> = on_their_way.unwrap_or_default();
        for id in on_their_way {
            self.back(id);
        }
    }

    /// A send was not taken: it goes again, later.
    pub(super) fn postpone(&mut self, id: u64, now_ns: u64) {
        let Some(partition) = self.back(id) else { return };
        let place = self.places.entry(partition).or_default();
        place.backoff_ns = (place.backoff_ns * 2).clamp(BACKOFF_NS.0, BACKOFF_NS.1);
        place.not_before_ns = now_ns + place.backoff_ns;
    }

    /// A send is settled, or will be a dead letter: the next of its lane may go. `None`: it was before.
    pub(super) fn end(&mut self, id: u64, outcome: Result<Settled, ErrorCode>, dead: bool) -> Option<(Ended, u64)> {
        let kept = self.kept.get_mut(&id).filter(|kept| !matches!(kept.stage, Stage::Dead | Stage::Writing))?;
        kept.stage = Stage::Dead;
        let (lane, partition, file) = (kept.lane, kept.partition, kept.file);
        let (asker, untold) = (kept.told, std::mem::take(&mut kept.askers));
        let client_msg_id = kept.client_msg_id.clone();
        let place = self.places.entry(partition).or_default();
        place.on_their_way.remove(&id);
        place.ready.remove(&id);
        if outcome.is_ok() {
            (place.backoff_ns, place.not_before_ns) = (0, 0);
        }
        self.leave_lane(id, lane, &client_msg_id);
        if !dead {
            self.forget(id);
        }
        Some((Ended { asker, untold, client_msg_id, chat: lane.1, outcome }, file))
    }

    fn leave_lane(&mut self, id: u64, lane: LaneId, client_msg_id: &Bytes) {
        self.known.remove(&(lane, client_msg_id.clone()));
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.retain(|other| *other != id);
            if queue.is_empty() {
                self.lanes.remove(&lane);
            }
        }
        self.offer(lane);
    }

    /// Nothing of it is needed any more.
    pub(super) fn forget(&mut self, id: u64) {
        self.kept.remove(&id);
    }

    /// A send could not be made durable: it is as if it had never been. Returns who has to be told.
    pub(super) fn withdraw(&mut self, id: u64) -> Option<Kept> {
        self.kept.get(&id).filter(|kept| kept.stage == Stage::Writing)?;
        let kept = self.kept.remove(&id)?;
        self.writing_bytes -= kept.bytes;
        self.leave_lane(id, kept.lane, &kept.client_msg_id);
        Some(kept)
    }

    /// Whether a send is not durable yet: then it is taken from those who wait to be told that it is queued.
    pub(super) fn take_untold(&mut self, id: u64) -> Option<SmallVec<[Asker; 1]>> {
        let kept = self.kept.get_mut(&id)?;
        (kept.stage == Stage::Writing || !kept.askers.is_empty()).then(|| std::mem::take(&mut kept.askers))
    }

    /// Partitions with sends that wait or are on their way.
    pub(super) fn partitions(&self) -> impl Iterator<Item = u16> {
        let busy = self.places.iter().filter(|(_, place)| !place.ready.is_empty() || !place.on_their_way.is_empty());
        busy.map(|(partition, _)| *partition)
    }
}
