//! Sends while the store is away: told `queued`, and stored once and in order whatever comes first.

use std::sync::Arc;

use fabric::sim::SimDisk;
use schema::encode::{Encoder, SendFields, SendTarget};
use schema::envelope::{Address, Body, Settled};
use schema::frame::VerifiedFrame;
use schema::ids::{ChatId, DeviceId};
use schema::wire::EntryKind;

use super::world::{World, small, user};
use crate::owner::send_settled;
use crate::partition::{Outage, PartitionConfig};
use crate::spool::{self, Next, Spool, SpoolConfig};
use crate::store::AppendFault;
use crate::store::breaker::{Breaker, BreakerState};

const SESSION: Address = Address { incarnation: 1, shard: 0, connection: 1, generation: 1 };
const ME: Address = Address { incarnation: 2, shard: 0, connection: 0, generation: 0 };

/// A world with a spool on a disk of its own.
fn world(limit_bytes: u64) -> (World, Arc<Spool>, Arc<Breaker>) {
    let (world, spool, breaker, _) = world_on(limit_bytes);
    (world, spool, breaker)
}

fn world_on(limit_bytes: u64) -> (World, Arc<Spool>, Arc<Breaker>, SimDisk) {
    let disk = SimDisk::new(3);
    let breaker = Arc::new(Breaker::default());
    let bounds = SpoolConfig { limit_bytes, segment_bytes: 64 << 10 };
    let now = World::owned(1, 1, small()).now;
    let spool = Arc::new(Spool::open(disk.clone(), bounds, 1, now).expect("an empty folder"));
    let outage = Outage { breaker: breaker.clone(), spool: spool.clone() };
    (World::owned(1, 1, PartitionConfig { outage: Some(outage), ..small() }), spool, breaker, disk)
}

fn plain(client_msg_id: &[u8]) -> SendFields<'_> {
    SendFields {
        client_msg_id,
        target: SendTarget::User(user(2)),
        kind: EntryKind::message,
        content_type: 0,
        body: b"body",
        refers_to: None,
        after_seq: 0,
        retry: false,
    }
}

fn send(world: &mut World, id: &str) {
    world.send(SESSION, user(1), user(2), id, false);
}

/// Lets time pass; what is queued goes as soon as it may, and its answers go where they belong.
fn pass(world: &mut World, spool: &Spool) {
    for _ in 0..40 {
        world.settle();
        if !world.partitions[0].store_is_away(world.now) {
            while let Next::Send(send) = spool.next(world.now, 0, ME) {
                world.handle(0, *send);
            }
        }
        let (of_spool, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut world.out.gateway)
            .into_iter()
            .partition(|(address, _)| address.connection == spool::CONNECTION);
        world.out.gateway = rest;
        for (_, answer) in of_spool {
            let outcome = match answer.body {
                Body::Sent { message, seq, timestamp_ms, .. } => Ok(Settled { message, seq, timestamp_ms }),
                Body::Refused { code, .. } => Err(code),
                other => panic!("{other:?}"),
            };
            if let Some(ended) = spool.answered(world.now, answer.header.request_id, outcome) {
                send_settled(&mut world.out, ended);
            }
        }
    }
}

/// What sessions were told since the last call.
fn told(world: &mut World) -> Vec<String> {
    let text = |id: bytes::Bytes| String::from_utf8(id.to_vec()).expect("text");
    let told = world.out.gateway.drain(..).map(|(address, envelope)| {
        assert_eq!(address, SESSION);
        match envelope.body {
            Body::Queued { client_msg_id, .. } => format!("{} queued", text(client_msg_id)),
            Body::Settled { client_msg_id, outcome: Ok(Settled { seq, .. }), .. } => {
                format!("{} settled {seq}", text(client_msg_id))
            }
            Body::Sent { client_msg_id, seq, .. } => format!("{} sent {seq}", text(client_msg_id)),
            Body::Refused { client_msg_id, code, .. } => format!("{} {code}", text(client_msg_id)),
            other => panic!("{other:?}"),
        }
    });
    told.collect()
}

#[test]
fn what_was_ordered_and_what_comes_later_is_queued_and_stored_in_its_order() {
    for fault in [AppendFault::Refused, AppendFault::Unheard, AppendFault::Late] {
        let (mut world, spool, breaker) = world(1 << 20);
        send(&mut world, "zero");
        pass(&mut world, &spool);
        assert_eq!(told(&mut world), ["zero sent 1"]);
        world.store.set_append_fault(fault);
        send(&mut world, "one");
        send(&mut world, "two");
        for _ in 0..10 {
            world.settle();
        }
        assert_ne!(breaker.state(), BreakerState::Closed);
        assert_eq!(told(&mut world), ["one queued", "two queued"], "{fault:?}");
        send(&mut world, "three");
        send(&mut world, "one");
        send(&mut world, "three");
        world.settle();
        assert_eq!(told(&mut world), ["one queued", "three queued", "three queued"], "{fault:?}");
        assert!(
            world.out.router.iter().all(|(_, push)| !matches!(push.body, Body::Push { seq: 2.., .. })),
            "nor pushed"
        );
        world.store.set_append_fault(AppendFault::None);
        pass(&mut world, &spool);
        let told = told(&mut world);
        assert_eq!(told, ["one settled 2", "two settled 3", "three settled 4"], "{fault:?}");
        assert_eq!((spool.waiting(), breaker.state()), (0, BreakerState::Closed));
        send(&mut world, "four");
        pass(&mut world, &spool);
        assert_eq!(self::told(&mut world), ["four sent 5"], "as if nothing had been");
    }
}

#[test]
fn what_an_owner_queued_goes_through_the_next_one_once() {
    for fault in [AppendFault::Refused, AppendFault::Unheard, AppendFault::Late] {
        let (mut world, spool, _) = world(1 << 20);
        world.store.set_append_fault(fault);
        send(&mut world, "one");
        for _ in 0..10 {
            world.settle();
        }
        send(&mut world, "two");
        world.settle();
        assert_eq!(told(&mut world), ["one queued", "two queued"]);
        // The session comes back and sends again what is not sent, to another owner, before the spool does.
        world.store.set_append_fault(AppendFault::None);
        world.advance(2_000);
        world.open(1).expect("another owner");
        world.jobs.clear();
        pass(&mut world, &spool);
        assert_eq!(told(&mut world), ["one settled 1", "two settled 2"], "{fault:?}");
        world.send(SESSION, user(1), user(2), "two", true);
        world.settle();
        assert_eq!(told(&mut world), ["two sent 2"]);
        let chat = ChatId::direct(user(1), user(2));
        assert!(!spool.has_lane(user(1), chat));
        send(&mut world, "three");
        world.settle();
        assert_eq!(told(&mut world), ["three sent 3"], "nothing else was stored");
    }
}

#[test]
fn when_the_store_is_back_what_comes_goes_behind_what_is_queued() {
    let (mut world, spool, breaker) = world(1 << 20);
    world.store.set_append_fault(AppendFault::Refused);
    send(&mut world, "one");
    for _ in 0..10 {
        world.settle();
    }
    send(&mut world, "two");
    world.settle();
    world.store.set_append_fault(AppendFault::None);
    for _ in 0..20 {
        world.settle();
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(told(&mut world), ["one queued", "two queued", "one settled 1"], "nobody has sent the second yet");
    send(&mut world, "three");
    world.send(Address { connection: 5, ..SESSION }, user(3), user(4), "other", false);
    world.settle();
    let told_now: Vec<String> = {
        let (mine, other): (Vec<_>, Vec<_>) = world.out.gateway.drain(..).partition(|(address, _)| *address == SESSION);
        world.out.gateway = mine;
        assert!(matches!(&other[..], [(_, answer)] if matches!(answer.body, Body::Sent { .. })), "others do not wait");
        told(&mut world)
    };
    assert_eq!(told_now, ["three queued"]);
    pass(&mut world, &spool);
    assert_eq!(told(&mut world), ["two settled 2", "three settled 3"]);
}

#[test]
fn what_belongs_to_a_chat_that_is_itself_queued_goes_behind_what_makes_it() {
    let (mut world, spool, _) = world(1 << 20);
    world.store.set_append_fault(AppendFault::Refused);
    world.send(Address { connection: 5, ..SESSION }, user(3), user(4), "other", false);
    for _ in 0..10 {
        world.settle();
    }
    world.out.gateway.clear();
    let chat = ChatId::direct(user(1), user(2));
    let by_chat = |world: &mut World, id: &str| {
        let fields = SendFields { target: SendTarget::Chat(chat), ..plain(id.as_bytes()) };
        let frame = VerifiedFrame::verify(Encoder::new().send(&fields)).expect("valid");
        let body = Body::Send { frame, user: user(1), device: DeviceId(1), chat, to: None, retry: false };
        world.chat(chat, SESSION, body);
    };
    by_chat(&mut world, "too early");
    assert_eq!(told(&mut world), ["too early unknown_chat"]);
    send(&mut world, "one");
    by_chat(&mut world, "two");
    world.settle();
    assert_eq!(told(&mut world), ["one queued", "two queued"]);
    world.store.set_append_fault(AppendFault::None);
    world.advance(2_000);
    for _ in 0..5 {
        pass(&mut world, &spool);
    }
    world.out.gateway.retain(|(address, _)| *address == SESSION);
    assert_eq!(told(&mut world), ["one settled 1", "two settled 2"]);
}

#[test]
fn a_spool_that_cannot_be_written_promises_nothing_and_what_is_in_blocks_waits_for_them() {
    let (mut world, spool, _, disk) = world_on(1 << 20);
    disk.lose_power_after(0);
    world.store.set_append_fault(AppendFault::Refused);
    send(&mut world, "one");
    send(&mut world, "two");
    for _ in 0..10 {
        world.settle();
    }
    send(&mut world, "three");
    send(&mut world, "four");
    world.settle();
    let refused = ["three storage_unavailable", "four after_refused"];
    assert_eq!((told(&mut world), spool.waiting()), (refused.map(str::to_owned).to_vec(), 0));
    world.store.set_append_fault(AppendFault::None);
    for _ in 0..20 {
        world.settle();
    }
    assert_eq!(told(&mut world), ["one sent 1", "two sent 2"], "once each");
    send(&mut world, "three");
    world.settle();
    assert_eq!(told(&mut world), ["three sent 3"]);
}

#[test]
fn a_full_spool_refuses_at_once_and_what_follows_too() {
    let (mut world, spool, _) = world(24 << 10);
    world.store.set_append_fault(AppendFault::Refused);
    send(&mut world, "first");
    for _ in 0..10 {
        world.settle();
    }
    (0..10).for_each(|n| send(&mut world, &format!("m{n}")));
    world.settle();
    let told = told(&mut world);
    let queued = told.iter().filter(|told| told.ends_with("queued")).count();
    assert!(queued > 0 && queued < 11, "{told:?}");
    let refused = told.iter().position(|told| told.ends_with("storage_unavailable")).expect("one is refused");
    assert!(
        told[refused + 1..].iter().all(|told| told.ends_with("after_refused") || told.ends_with("queued")),
        "{told:?}"
    );
    assert_eq!(spool.waiting(), queued);
}
