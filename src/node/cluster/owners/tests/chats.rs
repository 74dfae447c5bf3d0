//! A chat that goes to and fro between partitions that move too: nothing overtakes.

use super::*;

const CHAT: ChatId = ChatId([1; 16]);

#[derive(Clone, Copy, Debug)]
enum Do {
    Send,
    /// The holder of a partition takes, or gives back, the oldest that it has been sent.
    Take(u16),
    /// The chat is said to be in a partition.
    Place(u16),
    /// An older word of that comes late.
    Late,
    /// A partition is opened anew by the same holder.
    Reopen(u16),
    /// The words about holdings that are on their way are heard.
    Hear,
}

fn some() -> impl Strategy<Value = Vec<Do>> {
    let one = prop_oneof![
        6 => Just(Do::Send),
        5 => (0u16..4).prop_map(Do::Take),
        1 => (0u16..4).prop_map(Do::Place),
        1 => Just(Do::Late),
        1 => (0u16..4).prop_map(Do::Reopen),
        2 => Just(Do::Hear),
    ];
    prop::collection::vec(one, 0..300)
}

struct World {
    owners: OwnerMap,
    /// As the gateway knows it.
    known: Places,
    version: u64,
    ways: [VecDeque<Envelope>; 4],
    epochs: [u64; 4],
    words: Vec<Holding>,
    unanswered: [u32; 4],
    taken: Vec<u64>,
    moved: usize,
}

fn at(version: u64, partition: u16) -> Places {
    let home = CHAT.slot().partition(4);
    Places::new(version, if partition == home { Vec::new() } else { vec![(CHAT, partition)] })
}

impl World {
    fn route(&mut self, partition: u16, envelope: Envelope) {
        match self.owners.route(MS, partition, envelope, |_| true) {
            Routed::To(Holder::Peer(peer), envelope) => self.ways[usize::from(peer)].push_back(envelope),
            Routed::Waits => {}
            other => panic!("{other:?}"),
        }
    }

    fn work(&mut self) {
        loop {
            let unanswered = self.unanswered;
            match self.owners.step(MS, |partition| unanswered[usize::from(partition)], |_| true) {
                None => break,
                Some(Step::Release { partition, envelopes, .. }) => {
                    envelopes.into_iter().for_each(|envelope| self.route(partition, envelope));
                }
                Some(Step::Places(places, envelopes)) => {
                    let (from, to) = (self.known.partition(CHAT, 4), places.partition(CHAT, 4));
                    self.known = places;
                    self.moved += envelopes.len();
                    for envelope in envelopes {
                        self.unanswered[usize::from(from)] -= 1;
                        self.unanswered[usize::from(to)] += 1;
                        self.route(to, envelope);
                    }
                }
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    fn take(&mut self, partition: u16) {
        let at = usize::from(partition);
        let Some(envelope) = self.ways[at].pop_front() else { return };
        if envelope.header.slot_epoch == self.epochs[at] {
            self.taken.push(envelope.header.request_id);
            self.unanswered[at] -= 1;
            return;
        }
        match self.owners.returned(MS, partition, envelope) {
            Routed::Waits => {}
            other => panic!("{other:?}"),
        }
    }

    fn hear(&mut self) {
        for holding in std::mem::take(&mut self.words) {
            self.owners.heard(MS, Holder::Peer(holding.partition), holding);
        }
    }

    fn act(&mut self, step: Do, sent: &mut u64) {
        match step {
            Do::Send => {
                *sent += 1;
                let partition = self.known.partition(CHAT, 4);
                self.unanswered[usize::from(partition)] += 1;
                self.route(partition, send(*sent, OWN));
            }
            Do::Take(partition) => self.take(partition),
            Do::Place(partition) => {
                self.version += 1;
                self.owners.heard_places(MS, &at(self.version, partition));
            }
            Do::Late => self.owners.heard_places(MS, &at(self.version.saturating_sub(1), 3)),
            Do::Reopen(partition) => {
                let epoch = &mut self.epochs[usize::from(partition)];
                self.words.push(gone(partition, *epoch));
                *epoch += 1;
                self.words.push(held(partition, *epoch));
            }
            Do::Hear => self.hear(),
        }
        self.work();
    }
}

fn world() -> World {
    World {
        owners: owners(),
        known: Places::default(),
        version: 0,
        ways: Default::default(),
        epochs: [1; 4],
        words: (0..4).map(|partition| held(partition, 1)).collect(),
        unanswered: [0; 4],
        taken: Vec::new(),
        moved: 0,
    }
}

proptest! {
    #[test]
    fn nothing_overtakes_and_nothing_is_lost_or_doubled_while_a_chat_changes_its_partition(steps in some()) {
        let (mut world, mut sent) = (world(), 0);
        steps.into_iter().for_each(|step| world.act(step, &mut sent));
        for _ in 0..1_000 {
            world.hear();
            (0..4).for_each(|partition| world.take(partition));
            world.work();
        }
        prop_assert_eq!(&world.taken, &(1..=sent).collect::<Vec<_>>());
        prop_assert_eq!((world.owners.bytes, world.owners.count, world.unanswered), (0, 0, [0; 4]));
    }
}

#[test]
fn what_waits_for_a_chat_goes_along_and_the_rest_stays() {
    let (mut world, mut sent) = (world(), 0);
    let home = CHAT.slot().partition(4);
    let to = (home + 1) % 4;
    world.act(Do::Hear, &mut sent);
    world.act(Do::Send, &mut sent);
    world.act(Do::Place(to), &mut sent);
    world.act(Do::Send, &mut sent);
    let _ = world.owners.route(MS, home, question(), |_| true);
    assert!(world.ways[usize::from(to)].is_empty(), "the first has no answer yet");
    world.act(Do::Take(home), &mut sent);
    assert_eq!((world.moved, world.taken.as_slice()), (1, &[1][..]));
    assert_eq!(world.ways[usize::from(to)].len(), 1);
    assert_eq!(world.ways[usize::from(home)].len(), 1, "the question is about an account");
    world.act(Do::Place(home), &mut sent);
    world.act(Do::Send, &mut sent);
    world.act(Do::Take(to), &mut sent);
    assert_eq!(world.ways[usize::from(home)].len(), 2);
}
