//! Random lives: sends, resends, marks, failed writes, crashes, other numbers of partitions, against a model.

use std::collections::BTreeMap;

use fabric::sim::DiskFaults;
use schema::envelope::{Address, Body};
use schema::errors::{ErrorCode, Retry};
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::timeuuid::ordered_key;
use schema::wire::MarkStatus;

use super::world::{World, small, user};
use crate::store::AppendFault;

/// What one user does in one chat: an outbox in order, as the client library keeps it.
#[derive(Default)]
struct Outbox {
    made: u64,
    /// Not answered yet: id, and whether it is on its way.
    open: BTreeMap<u64, bool>,
    /// A refusal came: nothing more until all answers are there.
    held: bool,
    /// Seq of each acknowledged send.
    acked: BTreeMap<u64, u64>,
}

#[derive(Default)]
pub(super) struct Model {
    outboxes: BTreeMap<(UserId, UserId), Outbox>,
    /// Whatever anybody saw at a place must be there forever.
    seen: BTreeMap<(ChatId, u64), MessageId>,
    given: BTreeMap<(UserId, UserId, u64), (u64, MessageId)>,
    session: u32,
    /// Writes that came late.
    pub(super) landed: usize,
}

fn session(model: &Model, from: UserId) -> Address {
    Address { incarnation: 1, shard: 0, connection: from.get() as u32, generation: model.session }
}

impl Model {
    fn see(&mut self, chat: ChatId, seq: u64, message: MessageId) {
        let before = *self.seen.entry((chat, seq)).or_insert(message);
        assert_eq!(before, message, "{chat} {seq}: what was visible once must never change");
    }

    pub(super) fn look(&mut self, world: &mut World) {
        for (address, envelope) in core::mem::take(&mut world.out.gateway) {
            match envelope.body {
                Body::Sent { client_msg_id, chat, message, seq, .. } => {
                    self.see(chat, seq, message);
                    self.answered(address, &client_msg_id, Ok((seq, message)));
                }
                Body::Refused { client_msg_id, code, .. } if !client_msg_id.is_empty() => {
                    self.answered(address, &client_msg_id, Err(code));
                }
                Body::Page { chat, entries, .. } => {
                    for (seq, frame) in entries {
                        let frame = schema::frame::FrameRef::verify_from_server(&frame).expect("valid");
                        let root = frame.root();
                        let entry = root.body_as_entry().expect("an entry");
                        assert_eq!(entry.seq(), seq);
                        self.see(chat, seq, entry.message_id().expect("has an id").into());
                    }
                }
                _ => {}
            }
        }
        for (_, envelope) in core::mem::take(&mut world.out.router) {
            if let Body::Push { chat, seq, frame, .. } = envelope.body {
                let frame = schema::frame::FrameRef::verify_from_server(&frame).expect("valid");
                let root = frame.root();
                let entry = root.body_as_entry().expect("an entry");
                self.see(chat, seq, entry.message_id().expect("has an id").into());
            }
        }
    }

    fn answered(&mut self, address: Address, id: &[u8], answer: Result<(u64, MessageId), ErrorCode>) {
        let text = core::str::from_utf8(id).expect("ours");
        let mut parts = text.split('-').map(|part| part.parse::<u64>().expect("ours"));
        let (from, to, n) = (parts.next(), parts.next(), parts.next());
        let (from, to, n) = (user(from.expect("3")), user(to.expect("3")), n.expect("3"));
        if address.generation != self.session {
            return;
        }
        let outbox = self.outboxes.get_mut(&(from, to)).expect("sent");
        match answer {
            Ok(given) => {
                let before = *self.given.entry((from, to, n)).or_insert(given);
                assert_eq!(before, given, "{text}: a resend gets its old place back");
                outbox.open.remove(&n);
                outbox.acked.insert(n, given.0);
            }
            Err(code) => {
                assert_ne!(code.info().retry, Retry::Never, "{code}");
                outbox.held = true;
                if let Some(on_its_way) = outbox.open.get_mut(&n) {
                    *on_its_way = false;
                }
            }
        }
    }

    fn send(&mut self, world: &mut World, from: UserId, to: UserId) {
        let address = session(self, from);
        let outbox = self.outboxes.entry((from, to)).or_default();
        if outbox.held {
            if outbox.open.values().any(|&on_its_way| on_its_way) {
                return;
            }
            outbox.held = false;
            let again: Vec<u64> = outbox.open.keys().copied().collect();
            for n in &again {
                outbox.open.insert(*n, true);
            }
            for n in again {
                world.send(address, from, to, &format!("{from}-{to}-{n}"), true);
            }
        } else if outbox.open.len() < 12 {
            outbox.made += 1;
            let n = outbox.made;
            outbox.open.insert(n, true);
            world.send(address, from, to, &format!("{from}-{to}-{n}"), false);
        }
    }

    /// Every session begins anew: what was not answered is sent again.
    pub(super) fn reconnect(&mut self) {
        self.session += 1;
        for outbox in self.outboxes.values_mut() {
            outbox.held = true;
            outbox.open.values_mut().for_each(|on_its_way| *on_its_way = false);
        }
    }
}

fn page(world: &mut World, chat: ChatId, user: UserId, (after_seq, before_seq): (u64, u64), limit: u32) {
    let newest = before_seq % 2 == 1;
    let body = Body::PageRequest {
        blind: false,
        ticks: false,
        chat,
        user,
        after_seq,
        before_seq,
        newest,
        limit_entries: limit,
        limit_bytes: 4_000,
    };
    world.chat(chat, Address { incarnation: 9, ..Address::default() }, body);
}

/// Writes to disks, or to the store where partitions are owned, fail for a moment, or come late.
fn break_something(world: &mut World, model: &mut Model) {
    if world.tenures.is_none() {
        let one_in = [0, 0, 2, 9][world.random(4) as usize];
        return world.disk.set_faults(DiskFaults { fail_one_in: one_in, ..DiskFaults::default() });
    }
    let kinds = [AppendFault::None, AppendFault::Refused, AppendFault::Unheard, AppendFault::Late];
    let fault = [0, 0, 1, 2, 3, 3][world.random(6) as usize];
    world.store.set_append_fault(kinds[fault]);
    model.landed += world.store.land();
}

/// The next owners read ahead; these go on for a while.
fn read_ahead(world: &mut World, model: &mut Model) {
    world.read_ahead();
    for _ in 0..world.random(12) {
        let (from, to, jobs) = (user(1 + world.random(4)), user(1 + world.random(4)), world.random(4));
        model.send(world, from, to);
        world.turn();
        world.run_jobs(jobs as usize);
    }
    model.look(world);
}

pub(super) fn step(world: &mut World, model: &mut Model) {
    let from = user(1 + world.random(4));
    let to = user(1 + world.random(4));
    let chat = ChatId::direct(from, to);
    match world.random(100) {
        0..45 => model.send(world, from, to),
        45..60 => {
            world.advance(1);
            world.complete();
        }
        60..72 => {
            let some = 1 + world.random(3) as usize;
            world.run_jobs(some);
        }
        72..78 => {
            let (seq, status) = (1 + world.random(40), MarkStatus(world.random(2) as u8));
            let message = (world.random(2) == 0).then(|| model.seen.get(&(chat, seq)).copied()).flatten();
            let seq = if message.is_some() { 0 } else { seq };
            let device = DeviceId(world.random(2) as u32);
            let body = Body::Mark { secret: false, chat, user: from, device, seq, message, status };
            world.chat(chat, Address::NOBODY, body);
        }
        78..86 => {
            let (after, limit) = (world.random(30), 1 + world.random(20) as u32);
            let before = if world.random(2) == 0 { 0 } else { world.random(40) };
            page(world, chat, from, (after, before), limit);
        }
        86..90 => {
            let account = ChatId::account(from);
            let body = Body::SyncRequest { since_ms: 0, user: from, device: DeviceId(1), before: None };
            world.chat(account, Address { incarnation: 9, ..Address::default() }, body);
        }
        90 => model.reconnect(),
        91..96 => {
            let ms = 1 + world.random(300);
            world.advance(ms);
            world.turn();
        }
        96..98 => break_something(world, model),
        98 => {
            let full = world.random(3) == 0;
            world.store.set_full(full);
        }
        _ if world.random(3) == 0 => {
            world.disk.set_faults(DiskFaults::default());
            let partitions = match world.tenures {
                None => [1, 2, 5][world.random(3) as usize],
                Some(_) => world.config.partitions,
            };
            if world.random(2) == 0 {
                read_ahead(world, model);
            }
            world.crash(partitions);
            model.reconnect();
        }
        _ => world.turn(),
    }
    model.look(world);
}

/// Everything sent is there, once, in order.
pub(super) fn audit(world: &mut World, model: &mut Model) {
    world.disk.set_faults(DiskFaults::default());
    world.store.set_append_fault(AppendFault::None);
    world.store.set_full(false);
    model.reconnect();
    for _ in 0..40 {
        world.settle();
        world.advance(1_100);
        model.look(world);
        let pairs: Vec<_> = model.outboxes.iter().filter(|(_, o)| !o.open.is_empty()).map(|(&pair, _)| pair).collect();
        for (from, to) in pairs {
            model.send(world, from, to);
            if model.outboxes[&(from, to)].made > 100_000 {
                break;
            }
        }
    }
    for ((from, to), outbox) in &mut model.outboxes {
        outbox.open.retain(|_, on_its_way| !*on_its_way);
        let seqs: Vec<u64> = outbox.acked.values().copied().collect();
        assert!(seqs.is_sorted_by(|a, b| a < b), "{from} to {to}: a session's order is kept: {seqs:?}");
    }
    let mut chats: BTreeMap<ChatId, (UserId, u64)> = BTreeMap::new();
    for (&(from, to, _), &(seq, _)) in &model.given {
        let head = &mut chats.entry(ChatId::direct(from, to)).or_insert((from, 0)).1;
        *head = (*head).max(seq);
    }
    for (chat, (member, acked)) in chats {
        let mut after = 0;
        let mut keys = Vec::new();
        loop {
            page(world, chat, member, (after, 0), 7);
            world.settle();
            let (covers, head_seq, entries) = world
                .out
                .gateway
                .iter()
                .find_map(|(_, envelope)| match &envelope.body {
                    Body::Page { ticks: _, chat: of, covers_first, covers_last, head_seq, entries } if *of == chat => {
                        Some(((*covers_first, *covers_last), *head_seq, entries.clone()))
                    }
                    _ => None,
                })
                .expect("answered");
            model.look(world);
            assert_eq!(covers.0, after + 1);
            assert!(head_seq >= acked, "{chat}: {acked} was acknowledged, head is {head_seq}");
            let seqs: Vec<u64> = entries.iter().map(|e| e.0).collect();
            assert_eq!(seqs, (after + 1..=covers.1).collect::<Vec<_>>(), "{chat}: no holes");
            after = covers.1;
            keys.extend(seqs.iter().map(|&seq| ordered_key(model.seen[&(chat, seq)])));
            if after >= head_seq {
                break;
            }
        }
        assert!(keys.is_sorted_by(|a, b| a < b), "{chat}: ids rise with seq");
    }
    for ((from, to, n), (seq, message)) in &model.given {
        assert_eq!(model.seen[&(ChatId::direct(*from, *to), *seq)], *message, "{from}-{to}-{n}");
    }
}

fn live(seed: u64, steps: usize) -> World {
    let mut world = World::new(seed, [1, 2, 5][(seed % 3) as usize], small());
    let mut model = Model::default();
    for _ in 0..steps {
        step(&mut world, &mut model);
    }
    audit(&mut world, &mut model);
    let partitions = [5, 1, 2][(seed % 3) as usize];
    world.crash(partitions);
    model.reconnect();
    audit(&mut world, &mut model);
    world
}

/// As [`live`], with owners that follow one another over a store that refuses, answers wrongly or writes late.
fn live_owned(seed: u64, steps: usize) -> (World, Model) {
    let mut world = World::owned(seed, [1, 3][(seed % 2) as usize], small());
    let mut model = Model::default();
    for _ in 0..steps {
        step(&mut world, &mut model);
    }
    audit(&mut world, &mut model);
    model.landed += world.store.land();
    let partitions = world.config.partitions;
    world.crash(partitions);
    model.reconnect();
    audit(&mut world, &mut model);
    (world, model)
}

#[test]
fn nothing_is_lost_doubled_reordered_or_taken_back_where_owners_follow_one_another() {
    let mut fired = BTreeMap::new();
    for seed in 100..124 {
        let (world, model) = live_owned(seed, 1_500);
        let m = &world.metrics;
        for (name, count) in [
            ("acks", m.acks.get()),
            ("overlay hits", m.dedupe_overlay_hits.get()),
            ("memory hits", m.dedupe_memory_hits.get()),
            ("store hits", m.dedupe_store_hits.get()),
            ("queued", m.queued.get()),
            ("receipts", m.receipts.get()),
            ("store pages", m.pages_store.get()),
            ("flushes", m.flushes.get()),
            ("failed blocks", m.write_failures.get()),
            ("failed flushes", m.flush_failures.get()),
            ("owners after the first", world.tenures.map_or(0, |tenures| tenures.len() as u64 - 3)),
            ("late writes", model.landed as u64),
            ("read ahead", m.read_ahead.get()),
        ] {
            *fired.entry(name).or_insert(0) += count;
        }
    }
    let silent: Vec<_> = fired.iter().filter(|&(_, &count)| count == 0).collect();
    assert!(silent.is_empty(), "each guard fires: {fired:?}");
}

#[test]
fn nothing_is_lost_doubled_reordered_or_taken_back() {
    let mut fired = BTreeMap::new();
    for seed in 0..24 {
        let world = live(seed, 1_500);
        let m = &world.metrics;
        for (name, counter) in [
            ("acks", &m.acks),
            ("overlay hits", &m.dedupe_overlay_hits),
            ("memory hits", &m.dedupe_memory_hits),
            ("store hits", &m.dedupe_store_hits),
            ("parked", &m.parked),
            ("queued", &m.queued),
            ("poisonings", &m.poisonings),
            ("takeovers", &m.takeovers),
            ("clamped", &m.marks_clamped),
            ("stale", &m.marks_stale),
            ("looked up", &m.marks_looked_up),
            ("receipts", &m.receipts),
            ("own", &m.own_absorbed),
            ("nudges", &m.nudges),
            ("sync pages", &m.sync_pages),
            ("memory pages", &m.pages_memory),
            ("store pages", &m.pages_store),
            ("hot tails", &m.hot_tail_hits),
            ("flushes", &m.flushes),
            ("failed flushes", &m.flush_failures),
        ] {
            *fired.entry(name).or_insert(0) += counter.get();
        }
        for code in [ErrorCode::AfterRefused, ErrorCode::StorageUnavailable, ErrorCode::Overloaded] {
            *fired.entry(code.info().name).or_insert(0) += m.refused_count(code);
        }
    }
    let silent: Vec<_> = fired.iter().filter(|&(_, &count)| count == 0).collect();
    assert!(silent.is_empty(), "each guard fires: {fired:?}");
}
