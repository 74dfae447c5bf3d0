//! Keepers over a table that answers late, twice as late as it did what was asked, or not at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fabric::entropy::Entropy;
use fabric::sim::SeededEntropy;
use fabric::time::{Clock, Now};

use super::contract::writer;
use super::{
    Action, Epoch, Keeper, Keeping, LeaseConfig, LeaseTable, MemoryLeases, MoveError, PartitionRow, Step, TableView,
    Tenure, WriterId,
};

crate::lease_contract!(Arc::new(MemoryLeases::new(4)));

const PARTITIONS: u16 = 8;
const MS: u64 = 1_000_000;
const CONFIG: LeaseConfig = LeaseConfig { lease_ms: 3_000, renew_ms: 600, margin_ms: 500, poll_ms: 200 };

/// What a writer does next.
enum Next {
    /// Asks for the table.
    Read,
    /// Has the table.
    Look(TableView),
    /// Asks for the first of these; what it asked before has been answered.
    Act(Vec<Action>),
    /// Hears that what it asked was done, and goes on.
    Heard { action: Action, asked_ns: u64, rest: Vec<Action> },
}

/// One writer, frozen as often as not when something comes.
struct Life {
    keeper: Keeper,
    /// Its monotonic clock: how far it was when the world began, and what it gains on real time, per mille.
    clock: (u64, i64),
    next: (u64, Next),
    /// Partitions that drain, and when they have.
    draining: BTreeMap<u16, u64>,
    /// Partitions that are to be handed over, and to whom.
    giving: VecDeque<(PartitionRow, WriterId)>,
}

struct World {
    table: MemoryLeases,
    entropy: SeededEntropy,
    now_ns: u64,
    lives: Vec<Life>,
    /// Of whoever crashed: what is still on its way to the table, and when it gets there.
    late: Vec<(u64, WriterId, Action)>,
    /// Every partition and epoch that was ever gained.
    gained: BTreeSet<(u16, Epoch)>,
    started: u64,
    calm: bool,
}

impl Life {
    fn local_ns(&self, real_ns: u64) -> u64 {
        let (start, per_mille) = self.clock;
        start + (real_ns as i128 * (1_000 + i128::from(per_mille)) / 1_000) as u64
    }

    /// Something that it asked was done. What it has gained by that.
    fn heard(&mut self, action: Action, asked_ns: u64) -> Option<(u16, Epoch)> {
        match action {
            Action::Enter | Action::Renew { .. } => self.keeper.renewed(asked_ns),
            Action::Take(seen) => return Some(self.keeper.took(&seen)),
            Action::Remove(writer) => self.keeper.removed(&writer),
            Action::Bury { .. } | Action::Release(..) => {}
        }
        None
    }

    /// What has drained by now is not served any more.
    fn give_up(&mut self, now_ns: u64) {
        let done: Vec<u16> = self.draining.iter().filter(|(_, at)| **at <= now_ns).map(|(number, _)| *number).collect();
        for partition in done {
            self.draining.remove(&partition);
            let given_up = self.keeper.given_up(partition);
            if let Some((epoch, Some(to))) = given_up {
                let held = PartitionRow { partition, epoch, owner: Some(self.keeper.me().clone()) };
                self.giving.push_back((held, to));
            }
        }
    }
}

/// Does at the table what a writer asked; whether it was done.
fn apply(table: &MemoryLeases, me: &WriterId, action: &Action) -> bool {
    match action {
        Action::Enter => table.enter(me),
        Action::Renew { beat, leaving } => table.renew(me, *beat, *leaving),
        Action::Bury { writer, beat } => table.bury(writer, *beat),
        Action::Take(seen) => table.take(seen, me),
        Action::Release(partition, epoch) => table.release(*partition, *epoch, me),
        Action::Remove(writer) => table.remove(writer).map(|()| true),
    }
    .expect("memory answers")
}

impl World {
    fn new(seed: u64, writers: usize) -> Self {
        let mut world = Self {
            table: MemoryLeases::new(PARTITIONS),
            entropy: SeededEntropy::new(seed),
            now_ns: 0,
            lives: Vec::new(),
            late: Vec::new(),
            gained: BTreeSet::new(),
            started: 0,
            calm: false,
        };
        for _ in 0..writers {
            let life = world.life();
            world.lives.push(life);
        }
        world
    }

    fn random(&mut self, bound: u64) -> u64 {
        self.entropy.next_u64() % bound
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        !self.calm && self.random(1_000) < per_mille
    }

    fn life(&mut self) -> Life {
        self.started += 1;
        let clock = (self.random(1_000_000) * MS, self.random(21) as i64 - 10);
        let at = self.now_ns + self.random(3_000) * MS;
        let keeper = Keeper::new(writer(self.started), CONFIG);
        Life { keeper, clock, next: (at, Next::Read), draining: BTreeMap::new(), giving: VecDeque::new() }
    }

    /// How long something takes: mostly short, sometimes longer than a lease, as when its writer is frozen.
    fn delay(&mut self) -> u64 {
        let ms = if self.chance(15) { self.random(12_000) } else { 1 + self.random(40) };
        ms * MS
    }

    fn note(&mut self, gained: impl IntoIterator<Item = (u16, Epoch)>) {
        for gained in gained {
            assert!(self.gained.insert(gained), "partition {} was gained twice under epoch {}", gained.0, gained.1);
        }
    }

    /// The next thing that happens anywhere.
    fn go_on(&mut self) {
        let first = (0..self.lives.len()).min_by_key(|&at| self.lives[at].next.0).expect("somebody lives");
        if let Some(at) = self.late.iter().position(|late| late.0 <= self.lives[first].next.0) {
            let (at_ns, me, action) = self.late.swap_remove(at);
            self.now_ns = self.now_ns.max(at_ns);
            apply(&self.table, &me, &action);
        } else {
            self.now_ns = self.lives[first].next.0;
            if self.chance(3) {
                self.crash(first);
            } else {
                self.live(first);
            }
        }
        self.check();
    }

    fn crash(&mut self, at: usize) {
        let new = self.life();
        let old = std::mem::replace(&mut self.lives[at], new);
        if let Next::Act(mut actions) = old.next.1
            && !actions.is_empty()
        {
            let at_ns = self.now_ns + self.delay();
            self.late.push((at_ns, old.keeper.me().clone(), actions.remove(0)));
        }
    }

    fn live(&mut self, at: usize) {
        let (later, answer) = (self.now_ns + self.delay(), self.now_ns + self.delay());
        let (lost, late) = (self.chance(20), self.chance(500));
        let now_ns = self.now_ns;
        let life = &mut self.lives[at];
        let local_ns = life.local_ns(now_ns);
        life.give_up(now_ns);
        match std::mem::replace(&mut life.next.1, Next::Read) {
            // What has a successor is handed over before anything else is asked.
            Next::Read if !life.giving.is_empty() => {
                let (held, to) = life.giving.pop_front().expect("not empty");
                let give = Action::Take(held);
                if !lost {
                    apply(&self.table, &to, &give);
                } else if late {
                    self.late.push((later, to, give));
                }
                life.next = (answer, Next::Read);
            }
            Next::Read if lost => {
                life.keeper.table_away();
                life.next = (later, Next::Read);
            }
            Next::Read => life.next = (answer, Next::Look(self.table.read().expect("memory answers"))),
            Next::Look(view) => {
                let Step { actions, gained, drain, lost } = life.keeper.step(local_ns, &view);
                for partition in lost {
                    life.draining.remove(&partition);
                }
                life.draining.extend(drain.into_iter().map(|leaving| (leaving.partition, later)));
                life.next = (later, Next::Act(actions));
                self.note(gained);
            }
            Next::Act(mut actions) if !actions.is_empty() => {
                let action = actions.remove(0);
                let me = life.keeper.me().clone();
                // It reaches the table at this moment, or, unknown to who asked, later or never. It was asked for before.
                let asked_ns = local_ns;
                if lost {
                    if late {
                        self.late.push((later, me, action));
                    }
                    life.next = (answer, Next::Act(actions));
                } else if apply(&self.table, &me, &action) && !late {
                    life.next = (answer, Next::Heard { action, asked_ns, rest: actions });
                } else {
                    life.next = (answer, Next::Act(actions));
                }
            }
            Next::Act(_) => life.next = (now_ns + CONFIG.poll_ms * MS, Next::Read),
            Next::Heard { action, asked_ns, rest } => {
                let gained = life.heard(action, asked_ns);
                life.next = (later, Next::Act(rest));
                self.note(gained);
            }
        }
    }

    /// At no moment do two believe that they hold the same.
    fn check(&self) {
        let mut holders: BTreeMap<u16, &WriterId> = BTreeMap::new();
        for life in &self.lives {
            if life.local_ns(self.now_ns) >= life.keeper.until_ns() {
                continue;
            }
            for (partition, epoch) in life.keeper.held() {
                let other = holders.insert(partition, life.keeper.me());
                let me = life.keeper.me();
                assert!(other.is_none(), "partition {partition} is held by {other:?} and, in epoch {epoch}, by {me:?}");
            }
        }
    }

    fn held(&self) -> Vec<usize> {
        self.lives.iter().map(|life| life.keeper.held().count()).collect()
    }

    fn run_for(&mut self, ms: u64) {
        let end = self.now_ns + ms * MS;
        while self.now_ns < end {
            self.go_on();
        }
    }
}

#[test]
fn whatever_is_late_lost_or_frozen_no_partition_has_two_holders_and_in_the_end_all_have_one() {
    for seed in 0..150 {
        let mut world = World::new(seed, 3);
        world.run_for(120_000);
        world.calm = true;
        world.run_for(60_000);
        let held = world.held();
        assert_eq!(held.iter().sum::<usize>(), usize::from(PARTITIONS), "seed {seed}: {held:?}");
        assert!(held.iter().max() <= held.iter().min().map(|least| least + 1).as_ref(), "seed {seed}: {held:?}");
    }
}

#[test]
fn a_writer_that_stops_leaves_everything_to_the_others_without_waiting_for_its_lease() {
    let mut world = World::new(7, 3);
    world.calm = true;
    world.run_for(20_000);
    world.lives[0].keeper.stop();
    let before_it_runs_out_ns = world.now_ns + CONFIG.lease_ms * MS;
    while !world.lives[0].keeper.is_gone() || world.held() != [0, 4, 4] {
        world.go_on();
        assert!(world.now_ns < before_it_runs_out_ns, "{:?}", world.held());
    }
    let view = world.table.read().expect("memory answers");
    assert_eq!(view.writers.len(), 2);
}

#[test]
fn a_table_that_was_away_leads_to_no_burials() {
    let mut world = World::new(11, 2);
    world.calm = true;
    world.run_for(20_000);
    let gained = world.gained.len();
    // For longer than any lease nobody reaches it.
    for life in &mut world.lives {
        life.keeper.table_away();
        life.next = (life.next.0 + 30_000 * MS, Next::Read);
    }
    world.run_for(60_000);
    assert_eq!(world.gained.len(), gained, "everybody goes on with what they had");
    assert_eq!(world.held(), [4, 4]);
}

/// A clock that is set by hand, ms.
#[derive(Default)]
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now(&self) -> Now {
        Now { mono_ns: self.0.load(Ordering::Relaxed) * MS + 1, wall_ticks: 0 }
    }
}

/// A writer, and what it serves.
struct Serving {
    keeping: Keeping,
    tenures: BTreeMap<u16, Arc<Tenure>>,
}

impl Serving {
    fn new(table: &Arc<MemoryLeases>, number: u64, clock: &Arc<HandClock>) -> Self {
        Self { keeping: Keeping::new(table.clone(), writer(number), CONFIG, clock.clone()), tenures: BTreeMap::new() }
    }

    fn round(&mut self) {
        let changes = self.keeping.round();
        for partition in changes.lost {
            assert!(self.tenures.remove(&partition).is_some_and(|tenure| tenure.is_over()));
        }
        self.tenures.extend(changes.gained.into_iter().map(|tenure| (tenure.partition(), tenure)));
        for partition in changes.drain.into_iter().map(|leaving| leaving.partition) {
            let tenure = self.tenures.remove(&partition).expect("served");
            assert!(tenure.is_held(), "it may finish what it has");
            self.keeping.given_up(partition);
            assert!(tenure.is_over());
        }
    }

    fn held(&self) -> usize {
        self.tenures.values().filter(|tenure| tenure.is_held()).count()
    }
}

#[test]
fn who_is_named_has_a_partition_at_once_and_keeps_it() {
    let (table, clock) = (Arc::new(MemoryLeases::new(PARTITIONS)), Arc::new(HandClock::default()));
    let (mut one, mut two) = (Serving::new(&table, 1, &clock), Serving::new(&table, 2, &clock));
    let rounds = |one: &mut Serving, two: &mut Serving| {
        for _ in 0..20 {
            one.round();
            two.round();
            clock.0.fetch_add(CONFIG.poll_ms, Ordering::Relaxed);
        }
    };
    rounds(&mut one, &mut two);
    assert_eq!((one.held(), two.held()), (4, 4));
    let partition = *two.tenures.last_key_value().expect("four").0;
    for (wrong, to) in [(MoveError::NoTaker("writer-3".to_owned()), 3), (MoveError::Here("writer-2".to_owned()), 2)] {
        assert_eq!(two.keeping.move_to(partition, &writer(to).name).err(), Some(wrong));
    }
    assert_eq!(one.keeping.move_to(partition, "writer-2").err(), Some(MoveError::NotHeld(partition)));

    let leaving = two.keeping.move_to(partition, "writer-1").expect("it may go");
    assert_eq!(leaving.to, Some(writer(1)));
    assert_eq!(two.keeping.move_to(partition, "writer-1").err(), Some(MoveError::Leaving(partition)));
    assert!(two.tenures[&partition].is_held(), "until it has been given up");
    two.tenures.remove(&partition);
    assert_eq!(two.keeping.given_up(partition), Some(writer(1)));
    one.round();
    assert!(one.tenures[&partition].is_held() && one.tenures[&partition].epoch() == Epoch(leaving.epoch.0 + 1));
    // It has five now, and the other three: it gives another one for it.
    rounds(&mut one, &mut two);
    assert_eq!((one.held(), two.held()), (4, 4));
    assert!(one.tenures.contains_key(&partition), "what was moved stays");
}

#[test]
fn nothing_is_handed_to_whoever_has_gone_meanwhile() {
    let (table, clock) = (Arc::new(MemoryLeases::new(PARTITIONS)), Arc::new(HandClock::default()));
    let (mut one, mut two) = (Serving::new(&table, 1, &clock), Serving::new(&table, 2, &clock));
    for _ in 0..20 {
        one.round();
        two.round();
        clock.0.fetch_add(CONFIG.poll_ms, Ordering::Relaxed);
    }
    let partition = *two.tenures.first_key_value().expect("four").0;
    two.keeping.move_to(partition, "writer-1").expect("it may go");
    one.keeping.stop();
    one.round();
    let mut changes = two.keeping.round();
    assert_eq!(changes.drain.len(), 0);
    two.tenures.remove(&partition);
    assert_eq!(two.keeping.given_up(partition), None, "it is leaving");
    changes = two.keeping.round();
    let gained: Vec<u16> = changes.gained.iter().map(|tenure| tenure.partition()).collect();
    assert!(gained.contains(&partition), "it is free, and taken again: {gained:?}");
}

#[test]
fn tenures_follow_the_table() {
    let (table, clock) = (Arc::new(MemoryLeases::new(PARTITIONS)), Arc::new(HandClock::default()));
    let mut one = Serving::new(&table, 1, &clock);
    let mut two = Serving::new(&table, 2, &clock);
    let pass = |ms: u64| clock.0.fetch_add(ms, Ordering::Relaxed);
    for _ in 0..3 {
        one.round();
        pass(CONFIG.poll_ms);
    }
    assert_eq!(one.held(), 8);
    for _ in 0..20 {
        one.round();
        two.round();
        pass(CONFIG.poll_ms);
    }
    assert_eq!((one.held(), two.held()), (4, 4));
    // One is frozen: it holds nothing from the moment its lease has run out, long before the other has it.
    let mut waited_ms = 0;
    while two.held() < 8 {
        two.round();
        assert!(one.held() == 0 || two.held() == 4, "after {waited_ms} ms");
        pass(CONFIG.poll_ms);
        waited_ms += CONFIG.poll_ms;
    }
    assert!(waited_ms > CONFIG.lease_ms, "{waited_ms} ms");
    one.round();
    assert!(one.tenures.is_empty(), "it was told");
    for _ in 0..20 {
        one.round();
        two.round();
        pass(CONFIG.poll_ms);
    }
    assert_eq!((one.held(), two.held()), (4, 4), "and begins again");
    two.keeping.stop();
    while !two.keeping.is_gone() {
        two.round();
        one.round();
        pass(CONFIG.poll_ms);
    }
    assert_eq!((one.held(), two.held()), (8, 0));
}
