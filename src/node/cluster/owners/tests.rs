//! Words in any order, breaks and returns: nothing overtakes, nothing waits for ever.

use bytes::Bytes;
use proptest::prelude::*;
use schema::encode::{Encoder, SendFields, SendTarget};
use schema::envelope::{Address, Class};
use schema::frame::VerifiedFrame;
use schema::ids::{ChatId, DeviceId, UserId};
use schema::wire::EntryKind;

use super::*;

mod chats;

const OWN: Address = Address { incarnation: 7, shard: 2, connection: 1, generation: 1 };
const MS: u64 = 1_000_000;
const HOLD_MS: u32 = 8_000;

fn owners() -> OwnerMap {
    OwnerMap::new(4, OWN.incarnation, OWN.shard, HOLD_MS)
}

fn held(partition: u16, epoch: u64) -> Holding {
    Holding { partition, epoch, held: true }
}

fn gone(partition: u16, epoch: u64) -> Holding {
    Holding { partition, epoch, held: false }
}

/// A send of this shard's gateway, or another's.
fn send(number: u64, reply: Address) -> Envelope {
    let (chat, user) = (ChatId([1; 16]), UserId::new(1).unwrap());
    let id = number.to_be_bytes();
    let frame = Encoder::default().send(&SendFields {
        client_msg_id: &id,
        target: SendTarget::Chat(chat),
        kind: EntryKind::message,
        content_type: 0,
        body: b"x",
        refers_to: None,
        after_seq: 0,
        retry: false,
    });
    let frame = VerifiedFrame::verify(frame).unwrap();
    let body = Body::Send { frame, user, device: DeviceId(1), chat, to: None, retry: false };
    let mut envelope = Envelope::new(Class::Send, body).reply_to(reply);
    envelope.header.request_id = number;
    envelope
}

fn question() -> Envelope {
    let user = UserId::new(1).unwrap();
    let body = Body::AccountRequest { user, client_request: 0, chat: None };
    Envelope::new(Class::Sync, body).reply_to(OWN)
}

fn numbers(envelopes: &[Envelope]) -> Vec<u64> {
    envelopes.iter().map(|envelope| envelope.header.request_id).collect()
}

fn released(step: Option<Step>) -> Vec<u64> {
    match step {
        Some(Step::Release { envelopes, .. }) => numbers(&envelopes),
        other => panic!("{other:?}"),
    }
}

fn goes_to(routed: Routed) -> (Holder, u64) {
    match routed {
        Routed::To(holder, envelope) => (holder, envelope.header.slot_epoch),
        other => panic!("{other:?}"),
    }
}

/// A map in which a peer holds partition 0 under epoch 1.
fn held_by(peer: u16) -> OwnerMap {
    let mut owners = owners();
    owners.heard(0, Holder::Peer(peer), held(0, 1));
    assert!(released(owners.step(0, |_| 0, |_| true)).is_empty());
    assert!(owners.step(0, |_| 0, |_| true).is_none() && !owners.is_busy());
    owners
}

#[test]
fn what_nobody_holds_waits_and_goes_in_order_to_who_does() {
    let mut owners = owners();
    assert!(matches!(owners.route(0, 0, send(1, OWN), |_| true), Routed::Waits));
    assert!(matches!(owners.route(0, 0, question(), |_| true), Routed::Waits));
    assert!(matches!(owners.route(0, 0, send(2, OWN), |_| true), Routed::Waits));
    assert!(owners.step(MS, |_| 2, |_| true).is_none(), "nobody yet");
    assert!(owners.is_waited_at());
    owners.heard(MS, Holder::Peer(3), held(0, 5));
    assert_eq!(released(owners.step(MS, |_| 2, |_| true)), [1, 0, 2]);
    assert!(!owners.is_waited_at());
    assert_eq!(goes_to(owners.route(MS, 0, send(3, OWN), |_| true)), (Holder::Peer(3), 5));
    assert!(matches!(owners.route(MS, 1, send(4, OWN), |_| true), Routed::Waits), "another partition");
}

#[test]
fn what_waits_too_long_is_refused_and_nothing_waits_after_it() {
    let mut owners = owners();
    let _ = owners.route(MS, 0, send(1, OWN), |_| true);
    let due = owners.next_deadline_ns().unwrap();
    assert_eq!(due, MS + u64::from(HOLD_MS) * MS);
    assert!(owners.step(due - 1, |_| 1, |_| true).is_none());
    let Some(Step::Refuse(refused)) = owners.step(due, |_| 1, |_| true) else { panic!("refused") };
    assert_eq!(numbers(&refused), [1]);
    assert!(matches!(owners.route(due + 1, 0, send(2, OWN), |_| true), Routed::Refused(_)));
    owners.heard(due + 2, Holder::Here, held(0, 1));
    assert!(released(owners.step(due + 2, |_| 0, |_| true)).is_empty());
    assert_eq!(goes_to(owners.route(due + 2, 0, send(3, OWN), |_| true)), (Holder::Here, 1));
    assert!(owners.is_here(0));
}

#[test]
fn the_next_holder_gets_nothing_until_the_former_owes_nothing() {
    let mut owners = held_by(3);
    for number in 1..=3 {
        let _ = goes_to(owners.route(MS, 0, send(number, OWN), |_| true));
    }
    owners.heard(MS, Holder::Peer(4), held(0, 2));
    assert!(matches!(owners.route(MS, 0, send(4, OWN), |_| true), Routed::Waits));
    // One is answered, two come back.
    let mut back = send(2, OWN);
    back.header.slot_epoch = 1;
    let _ = owners.returned(MS, 0, back);
    assert!(owners.step(MS, |_| 3, |_| true).is_none(), "the third is on its way");
    let _ = owners.returned(MS, 0, send(3, OWN));
    assert_eq!(released(owners.step(MS, |_| 3, |_| true)), [2, 3, 4]);
    assert_eq!(goes_to(owners.route(MS, 0, send(5, OWN), |_| true)), (Holder::Peer(4), 2));
}

#[test]
fn a_former_holder_that_answers_nothing_is_lost_in_a_while() {
    let mut owners = held_by(3);
    let _ = goes_to(owners.route(MS, 0, send(1, OWN), |_| true));
    owners.heard(MS, Holder::Peer(4), held(0, 2));
    let _ = owners.route(MS, 0, send(2, OWN), |_| true);
    let _ = owners.route(MS, 0, question(), |_| true);
    let due = owners.next_deadline_ns().unwrap();
    assert_eq!(due, MS + SETTLE_NS);
    assert!(owners.needs(3) && owners.step(due - 1, |_| 2, |_| true).is_none());
    assert!(matches!(owners.step(due, |_| 2, |_| true), Some(Step::Lost(0))));
    owners.lost(0);
    let Some(Step::Release { envelopes, healed: true, .. }) = owners.step(due, |_| 0, |_| true) else {
        panic!("the next holder has it")
    };
    assert_eq!(numbers(&envelopes), [0], "the session's sends ended with it");
    assert!(!owners.needs(3) && owners.needs(4));
}

#[test]
fn a_send_that_comes_back_waits_for_a_later_epoch() {
    let mut owners = held_by(3);
    let Routed::To(_, back) = owners.route(MS, 0, send(1, OWN), |_| true) else { panic!("a holder") };
    let _ = owners.returned(MS, 0, back);
    assert_eq!(owners.of_peer(3), [0], "it may owe something");
    owners.heard(MS, Holder::Peer(3), held(0, 1));
    assert!(owners.step(MS, |_| 1, |_| true).is_none(), "that word is older");
    assert!(owners.of_peer(3).is_empty() && !owners.needs(3), "with it nothing is lost any more");
    owners.heard(MS, Holder::Peer(3), held(0, 3));
    assert_eq!(released(owners.step(MS, |_| 1, |_| true)), [1]);
}

#[test]
fn a_holder_that_cannot_be_reached_keeps_its_partitions() {
    let mut owners = held_by(3);
    assert_eq!(owners.of_peer(3), [0]);
    assert!(matches!(owners.route(MS, 0, send(1, OWN), |_| false), Routed::Waits));
    assert!(owners.step(MS, |_| 1, |_| false).is_none());
    assert_eq!(released(owners.step(MS, |_| 1, |_| true)), [1]);
}

#[test]
fn what_was_given_up_does_not_come_back() {
    let mut owners = owners();
    owners.heard(0, Holder::Peer(3), gone(0, 4));
    owners.heard(0, Holder::Peer(3), held(0, 4));
    owners.heard(0, Holder::Peer(5), held(0, 3));
    assert!(owners.step(0, |_| 0, |_| true).is_none());
    assert!(matches!(owners.route(0, 0, send(1, OWN), |_| true), Routed::Waits));
    owners.heard(0, Holder::Peer(5), held(0, 6));
    owners.heard(0, Holder::Peer(3), held(0, 5));
    assert_eq!(released(owners.step(0, |_| 1, |_| true)), [1]);
    assert_eq!(goes_to(owners.route(0, 0, send(2, OWN), |_| true)), (Holder::Peer(5), 6));
}

#[test]
fn another_node_with_a_number_holds_nothing_of_its_predecessors() {
    let mut owners = held_by(3);
    owners.forget(3);
    assert!(owners.of_peer(3).is_empty() && !owners.needs(3));
    assert!(matches!(owners.route(MS, 0, send(1, OWN), |_| true), Routed::Waits));
}

#[test]
fn what_waits_is_bounded() {
    let mut owners = owners();
    let mut large = send(1, Address { shard: 9, ..OWN });
    if let Body::Send { .. } = &large.body {
        large.body = Body::Answer { frame: Bytes::from(vec![0; 1 << 20]) };
    }
    let mut taken = 0;
    while let Routed::Waits = owners.route(MS, 0, large.clone(), |_| true) {
        taken += 1;
    }
    assert_eq!(taken, (WAITING_BYTES / weight(&large)) as u32);
    owners.heard(MS, Holder::Here, held(0, 1));
    assert!(matches!(owners.step(MS, |_| 0, |_| true), Some(Step::Release { .. })));
    assert_eq!((owners.bytes, owners.count), (0, 0));
}

/// What a word, a message or a break does to one partition whose holders each keep the order of what they get.
#[derive(Clone, Copy, Debug)]
enum Do {
    Send,
    /// The holder takes the oldest it has.
    Take,
    /// The holder of now gives it up; another has it, with a higher epoch.
    Move,
    /// The words that are on their way are heard, the newest first or the oldest.
    Hear(bool),
}

fn some() -> impl Strategy<Value = Vec<Do>> {
    let one = prop_oneof![
        4 => Just(Do::Send),
        4 => Just(Do::Take),
        1 => Just(Do::Move),
        2 => any::<bool>().prop_map(Do::Hear),
    ];
    prop::collection::vec(one, 0..200)
}

/// One gateway's map and the holders that its sends reach.
struct World {
    owners: OwnerMap,
    /// Sends on their way to each of three holders.
    ways: [VecDeque<Envelope>; 3],
    holder: usize,
    epoch: u64,
    words: Vec<(usize, Holding)>,
    taken: Vec<u64>,
    unanswered: u32,
}

impl World {
    fn go(&mut self, routed: Routed) {
        match routed {
            Routed::To(Holder::Peer(peer), envelope) => self.ways[usize::from(peer)].push_back(envelope),
            Routed::Waits => {}
            other => panic!("{other:?}"),
        }
    }

    fn work(&mut self) {
        loop {
            let unanswered = self.unanswered;
            match self.owners.step(MS, |_| unanswered, |_| true) {
                None => break,
                Some(Step::Release { envelopes, .. }) => {
                    for envelope in envelopes {
                        let routed = self.owners.route(MS, 0, envelope, |_| true);
                        self.go(routed);
                    }
                }
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    /// Every holder takes, or gives back, the oldest of what it has been sent.
    fn take(&mut self) {
        for peer in 0..3 {
            let Some(envelope) = self.ways[peer].pop_front() else { continue };
            if peer == self.holder && envelope.header.slot_epoch == self.epoch {
                self.taken.push(envelope.header.request_id);
                self.unanswered -= 1;
            } else {
                let routed = self.owners.returned(MS, 0, envelope);
                self.go(routed);
            }
        }
    }

    fn hear(&mut self, newest: bool) {
        if newest {
            self.words.reverse();
        }
        for (peer, holding) in std::mem::take(&mut self.words) {
            self.owners.heard(MS, Holder::Peer(peer as u16), holding);
        }
    }
}

proptest! {
    #[test]
    fn nothing_overtakes_and_nothing_is_lost_or_doubled_while_a_partition_moves(steps in some()) {
        let mut world = World {
            owners: owners(),
            ways: Default::default(),
            holder: 0,
            epoch: 1,
            words: vec![(0, held(0, 1))],
            taken: Vec::new(),
            unanswered: 0,
        };
        let mut sent = 0;
        for step in steps {
            match step {
                Do::Send => {
                    sent += 1;
                    world.unanswered += 1;
                    let routed = world.owners.route(MS, 0, send(sent, OWN), |_| true);
                    world.go(routed);
                }
                Do::Take => world.take(),
                Do::Move => {
                    world.words.push((world.holder, gone(0, world.epoch)));
                    world.holder = (world.holder + 1) % 3;
                    world.epoch += 1;
                    world.words.push((world.holder, held(0, world.epoch)));
                }
                Do::Hear(newest) => world.hear(newest),
            }
            world.work();
        }
        for _ in 0..1_000 {
            world.hear(false);
            world.take();
            world.work();
        }
        prop_assert_eq!(world.taken, (1..=sent).collect::<Vec<_>>());
    }
}
