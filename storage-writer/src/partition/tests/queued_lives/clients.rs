//! The clients of those lives: what they say and hear.

use schema::envelope::{Address, Body, Envelope, Settled};
use schema::errors::Retry;
use schema::ids::ChatId;

use super::super::world::user;
use super::{LANES, Lives, State};
use crate::owner::send_settled;
use crate::spool::{self, Ended};
use crate::store::SharedStore as _;

fn number(id: &[u8]) -> u32 {
    std::str::from_utf8(id).ok().and_then(|id| id.rsplit('-').next()?.parse().ok()).expect("a number")
}

impl Lives {
    pub(super) fn session(&self, from: u64) -> Address {
        let generation = self.generations.get(&from).copied().unwrap_or_default();
        Address { incarnation: 1, shard: 0, connection: from as u32, generation }
    }

    pub(super) fn say(&mut self, lane: usize, at: usize, retry: bool) {
        let (from, to) = LANES[lane];
        let (session, (id, state)) = (self.session(from), &mut self.lanes[lane].outbox[at]);
        *state = State::InFlight;
        let id = id.clone();
        self.world.send(session, user(from), user(to), &id, retry);
        self.hear();
    }

    pub(super) fn say_new(&mut self, lane: usize) {
        let one = &mut self.lanes[lane];
        if one.outbox.len() > 12 || one.outbox.iter().any(|(_, state)| *state == State::Refused) {
            return;
        }
        one.outbox.push((format!("{lane}-{}", one.sent), State::InFlight));
        one.sent += 1;
        let at = one.outbox.len() - 1;
        self.say(lane, at, false);
    }

    /// Everything without a final answer is sent once more, in order.
    pub(super) fn say_again(&mut self, lane: usize) {
        let ids: Vec<String> = self.lanes[lane].outbox.iter().map(|(id, _)| id.clone()).collect();
        self.lanes[lane].outbox.iter_mut().for_each(|(_, state)| *state = State::InFlight);
        for id in ids {
            // Answers may come in between.
            if let Some(at) = self.lanes[lane].outbox.iter().position(|(one, _)| *one == id) {
                self.say(lane, at, true);
            }
        }
    }

    /// A user's session ends; the next one sends what has no final answer.
    pub(super) fn come_back(&mut self, from: u64) {
        *self.generations.entry(from).or_default() += 1;
        let lanes = (0..LANES.len()).filter(|lane| LANES[*lane].0 == from);
        lanes.collect::<Vec<_>>().into_iter().for_each(|lane| self.say_again(lane));
    }

    /// Answers go where they belong.
    pub(super) fn hear(&mut self) {
        while !self.world.out.gateway.is_empty() {
            for (address, envelope) in std::mem::take(&mut self.world.out.gateway) {
                if address.connection == spool::CONNECTION {
                    self.spool_hears(address, &envelope);
                } else if let Some(lane) = self.lane_of(address, &envelope) {
                    self.client_hears(lane, envelope.body);
                }
            }
        }
    }

    fn spool_hears(&mut self, address: Address, answer: &Envelope) {
        let outcome = match answer.body {
            Body::Sent { message, seq, timestamp_ms, .. } => Ok(Settled { message, seq, timestamp_ms }),
            Body::Refused { code, .. } => Err(code),
            _ => return,
        };
        // What an earlier start had asked is nobody's.
        let Some(writer) = self.writers.iter().find(|writer| writer.incarnation == address.incarnation) else { return };
        if let Body::Refused { chat, .. } = answer.body {
            let pins = self.world.store.pins(true).expect("read");
            self.counts.strangers += u64::from(pins.rows.iter().any(|row| row.chat == chat));
        }
        if let Some(ended) = writer.spool.answered(self.world.now, answer.header.request_id, outcome) {
            self.settled(ended);
        }
    }

    fn settled(&mut self, ended: Ended) {
        send_settled(&mut self.world.out, ended);
    }

    /// Whose answer it is, if their session still is.
    fn lane_of(&self, address: Address, envelope: &Envelope) -> Option<usize> {
        let chat = match &envelope.body {
            Body::Sent { chat, .. }
            | Body::Queued { chat, .. }
            | Body::Settled { chat, .. }
            | Body::Refused { chat, .. } => *chat,
            _ => return None,
        };
        let of =
            |&(from, to): &(u64, u64)| chat == ChatId::direct(user(from), user(to)) && address == self.session(from);
        LANES.iter().position(of)
    }

    fn client_hears(&mut self, lane: usize, answer: Body) {
        let seed = self.seed;
        let (id, state) = match answer {
            Body::Sent { client_msg_id, seq, .. } => (client_msg_id, Ok(seq)),
            Body::Settled { client_msg_id, outcome: Ok(Settled { seq, .. }), .. } => (client_msg_id, Ok(seq)),
            Body::Queued { client_msg_id, .. } => (client_msg_id, Err(State::Spooled)),
            Body::Refused { client_msg_id, code, .. } => {
                assert_ne!(code.info().retry, Retry::Never, "seed {seed}: {code}");
                (client_msg_id, Err(State::Refused))
            }
            other => panic!("seed {seed}: {other:?}"),
        };
        let lane = &mut self.lanes[lane];
        let place = lane.outbox.iter().position(|(one, _)| one.as_bytes() == &id[..]);
        match (place, state) {
            (Some(place), Ok(seq)) => {
                lane.outbox.remove(place);
                lane.seqs.insert(number(&id), seq);
            }
            (Some(place), Err(state)) => lane.outbox[place].1 = state,
            (None, Ok(seq)) => assert_eq!(lane.seqs.get(&number(&id)), Some(&seq), "seed {seed}: it has one place"),
            (None, Err(_)) => {}
        }
    }
}
