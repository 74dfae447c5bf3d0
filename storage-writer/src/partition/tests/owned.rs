//! A partition that commits in the store: what is answered when, and what ends it.

use schema::envelope::{Address, Body};
use schema::ids::{ChatId, DeviceId};
use schema::wire::MarkStatus;

use super::world::{World, small, user};
use crate::store::{AppendFault, SharedStore as _};

const SESSION: Address = Address { incarnation: 1, shard: 0, connection: 1, generation: 1 };

/// Seqs of the sends that were acknowledged since the last call.
fn acked(world: &mut World) -> Vec<u64> {
    let told = world.out.gateway.drain(..).map(|(_, envelope)| envelope.body);
    told.filter_map(|body| if let Body::Sent { seq, .. } = body { Some(seq) } else { None }).collect()
}

fn send(world: &mut World, id: &str) {
    world.send(SESSION, user(1), user(2), id, false);
}

fn blocks(world: &World) -> usize {
    world.store.blocks_above(0, 0).expect("read").len()
}

#[test]
fn nothing_is_answered_before_it_is_known_to_be_there_and_then_once() {
    for fault in [AppendFault::Refused, AppendFault::Unheard, AppendFault::Late] {
        let mut world = World::owned(1, 1, small());
        world.store.set_append_fault(fault);
        send(&mut world, "one");
        world.settle();
        send(&mut world, "two");
        world.settle();
        assert_eq!(acked(&mut world), [], "{fault:?}");
        assert!(world.out.router.is_empty(), "nor pushed");
        assert!(world.metrics.write_failures.get() > 1, "it is tried again");
        world.store.set_append_fault(AppendFault::None);
        (0..6).for_each(|_| world.settle());
        assert_eq!(acked(&mut world), [1, 2], "{fault:?}");
        assert_eq!(world.metrics.blocks.get(), 2);
    }
}

#[test]
fn whoever_is_not_the_owner_any_more_answers_nothing_and_refuses() {
    let mut world = World::owned(1, 1, small());
    send(&mut world, "one");
    world.turn();
    // Its block is in the hands of a job.
    world.tenures.as_ref().expect("owned")[0].end();
    world.settle();
    assert_eq!((acked(&mut world), blocks(&world)), (vec![], 0));
    assert!(world.partitions[0].is_lost());
    world.send(SESSION, user(3), user(4), "two", false);
    world.settle();
    let told: Vec<Body> = world.out.gateway.drain(..).map(|(_, envelope)| envelope.body).collect();
    assert!(matches!(told[..], [Body::Refused { .. }]), "{told:?}");
    assert_eq!(blocks(&world), 0);
}

#[test]
fn a_partition_that_stops_finishes_all_that_is_in_it_and_that_still_comes() {
    let mut world = World::owned(1, 1, small());
    // More than a block takes.
    (0..20).for_each(|n| send(&mut world, &format!("send {n}")));
    world.partitions[0].stop(world.now);
    assert!(!world.partitions[0].stopped());
    send(&mut world, "the last");
    let (chat, device) = (ChatId::direct(user(1), user(2)), DeviceId(7));
    let mark = |seq| Body::Mark {
        secret: false,
        chat,
        user: user(2),
        device,
        seq,
        message: None,
        status: MarkStatus::delivered,
    };
    // What expires, and the first block.
    world.turn();
    world.run_jobs(2);
    world.chat(chat, Address::NOBODY, mark(1));
    world.settle();
    assert_eq!(acked(&mut world), (1..=21).collect::<Vec<u64>>());
    assert!(world.partitions[0].stopped() && world.metrics.blocks.get() > 1);
    world.crash(1);
    let index = world.partitions[0].memory.chats.find(chat).expect("known");
    let member = world.partitions[0].memory.chats.get(index).members.iter().find(|m| m.user == user(2));
    assert_eq!(member.map(|member| member.delivered), Some(1), "the mark is in a block");
}

#[test]
fn what_was_left_is_not_counted_here_any_more() {
    let mut world = World::owned(1, 1, small());
    send(&mut world, "one");
    world.settle();
    let gauges = |world: &World| {
        let of = &world.metrics;
        [of.memory_bytes.get() > 0, of.chats.get() > 0, of.poisoned.get() > 0]
    };
    assert_eq!(gauges(&world), [true, true, false]);
    world.tenures.as_ref().expect("owned")[0].end();
    world.turn();
    assert_eq!(gauges(&world), [true; 3], "it refuses until it is dropped");
    world.partitions.remove(0).leave();
    assert_eq!(gauges(&world), [false; 3]);
}

#[test]
fn marks_alone_share_a_block() {
    let mut world = World::owned(1, 1, small());
    for n in 0..9 {
        send(&mut world, &format!("send {n}"));
    }
    world.settle();
    let (chat, before) = (ChatId::direct(user(1), user(2)), blocks(&world));
    let mark = |world: &mut World, seq| {
        let (device, status) = (DeviceId(7), MarkStatus::read);
        let body = Body::Mark { secret: false, chat, user: user(2), device, seq, message: None, status };
        world.chat(chat, Address::NOBODY, body);
        world.turn();
        world.run_jobs(10);
    };
    (1..=3).for_each(|seq| mark(&mut world, seq));
    let first = blocks(&world) - before;
    for seq in 4..=9 {
        mark(&mut world, seq);
    }
    assert_eq!(blocks(&world) - before, first, "they wait");
    let due = world.partitions[0].next_deadline_ns().expect("they are due");
    assert!(due <= world.now.mono_ns + 20_000_000, "soon");
    world.advance(20);
    world.turn();
    world.run_jobs(10);
    assert_eq!(blocks(&world) - before, first + 1);
    assert!(first <= 1, "none had to wait for the first");
}
