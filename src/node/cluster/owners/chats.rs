//! Chats that get another partition, as one shard follows them.
//!
//! What must stay true: a chat changes its partition here only when the one that it leaves owes this shard's gateway nothing
//! but what waits here; until then what is new for that partition waits too, for it may be the chat's.

use std::collections::VecDeque;

use fabric::link::weight;
use schema::envelope::{Body, Envelope};
use schema::ids::ChatId;
use schema::places::Places;

use super::{OwnerMap, SETTLE_NS, Step};

/// The chat that an envelope is about, if it is about one that may be elsewhere.
const fn chat_of(envelope: &Envelope) -> Option<ChatId> {
    match &envelope.body {
        Body::Send { chat, .. }
        | Body::ForgetRefusals { chat }
        | Body::Mark { chat, .. }
        | Body::PageRequest { chat, .. }
        | Body::ChatRequest { chat, .. }
        | Body::StatusRequest { chat, .. } => Some(*chat),
        _ => None,
    }
}

impl OwnerMap {
    /// A writer says which chats are not at home. Words of an older table than the newest that was heard mean nothing.
    pub fn heard_places(&mut self, now_ns: u64, places: &Places) {
        let newest = self.next_chats.as_ref().unwrap_or(&self.chats);
        if places.version <= newest.version {
            return;
        }
        let partitions = self.partitions();
        for (_, from, _) in self.chats.moves(places, partitions) {
            let place = &mut self.places[usize::from(from)];
            place.left = true;
            if place.settle_by_ns == 0 {
                place.settle_by_ns = now_ns + SETTLE_NS;
            }
        }
        self.next_chats = Some(places.clone());
        self.busy = true;
    }

    /// Changes the chats' partitions, if those that any is to leave owe nothing.
    pub(super) fn step_of_chats(&mut self, unanswered: impl Fn(u16) -> u32) -> Option<Step> {
        let next = self.next_chats.as_ref()?;
        let owes = |(partition, place): (u16, &super::Place)| place.left && unanswered(partition) > place.own;
        if (0u16..).zip(&self.places).any(owes) {
            return None;
        }
        let partitions = self.places.len() as u16;
        let moves: Vec<(ChatId, u16, u16)> = self.chats.moves(next, partitions).collect();
        let mut taken = Vec::new();
        for (partition, place) in (0u16..).zip(&mut self.places).filter(|(_, place)| place.left) {
            // What another gateway has sent has its credit there, and is refused there.
            let goes = |envelope: &Envelope| {
                let chat = chat_of(envelope);
                let is_moved = moves.iter().any(|(moved, from, _)| Some(*moved) == chat && *from == partition);
                let is_send = matches!(envelope.body, Body::Send { .. });
                is_moved && (!is_send || self.gateway.sent(envelope))
            };
            for queue in [&mut place.returned, &mut place.waiting] {
                let (went, stay): (VecDeque<Envelope>, VecDeque<Envelope>) =
                    std::mem::take(queue).into_iter().partition(goes);
                *queue = stay;
                place.own -= went.iter().filter(|envelope| self.gateway.sent(envelope)).count() as u32;
                taken.extend(went);
            }
            // It owes nothing at this moment.
            (place.left, place.settle_by_ns) = (false, 0);
        }
        for envelope in &taken {
            self.bytes -= weight(envelope);
            self.count -= 1;
        }
        let places = self.next_chats.take()?;
        self.chats = places.clone();
        Some(Step::Places(places, taken))
    }
}
