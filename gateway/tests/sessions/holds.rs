//! The owners' node is started anew on purpose: what clients ask meanwhile is held, in order, and refused only when it takes too
//! long.

use fabric::core::Action;
use gateway::{Limits, Next, ShardConfig};
use schema::envelope::Body;
use schema::errors::ErrorCode;
use schema::ids::ChatId;

use super::harness::{Got, Rig, config};

const CHAT: ChatId = ChatId([1; 16]);

fn rig(hold_ms: u32) -> Rig {
    Rig::with(config(Limits { hold_ms, ..Limits::default() }))
}

/// The client_msg_ids of the sends that left.
fn sends(rig: &mut Rig) -> Vec<Vec<u8>> {
    let id = |body: &Body| match body {
        Body::Send { frame, .. } => Some(frame.root().body_as_send()?.client_msg_id()?.bytes().to_vec()),
        _ => None,
    };
    rig.envelopes().iter().filter_map(|envelope| id(&envelope.body)).collect()
}

fn release(rig: &mut Rig) {
    rig.shard.release(rig.now, &mut rig.out);
}

#[test]
fn what_comes_meanwhile_waits_unread_and_goes_on_in_order() {
    let mut rig = rig(8_000);
    let (busy, idle) = (rig.synced(1, 1), rig.synced(2, 1));
    rig.send(busy, b"m1", CHAT);
    assert_eq!(sends(&mut rig), [b"m1"]);
    rig.shard.hold(rig.now);
    assert!(rig.shard.is_holding() && rig.shard.waits_for_owners());
    rig.send(busy, b"m2", CHAT);
    rig.send(busy, b"m3", CHAT);
    assert!(sends(&mut rig).is_empty());
    rig.drain_actions();
    let paused: Vec<_> = rig.actions.iter().filter(|action| matches!(action, Action::Pause(_))).collect();
    assert!(matches!(paused[..], [Action::Pause(conn)] if *conn == busy), "{paused:?}");
    rig.sent(busy, b"m1", CHAT, 1);
    assert_eq!(rig.read(busy), [Got::Sent { id: b"m1".to_vec(), chat: CHAT, seq: 1 }], "answers still come");
    assert!(!rig.shard.waits_for_owners());
    let ping = rig.encoder.ping(7);
    rig.receive(idle, &ping);
    assert_eq!(rig.read(idle), [Got::Pong(7)], "who only says that it lives is answered");
    rig.wait_ms(7_900);
    // What a lost way does is not done to those who had nothing under way.
    rig.shard.owner_lost(rig.now, 0, &mut rig.out);
    rig.shard.owner_lost(rig.now, 1, &mut rig.out);
    assert_eq!((rig.read(busy), sends(&mut rig)), (vec![], vec![]));
    release(&mut rig);
    assert_eq!(sends(&mut rig), [b"m2", b"m3"]);
    assert!(!rig.shard.is_holding());
    assert_eq!((rig.count("holds"), rig.count("held"), rig.count("holds_overdue")), (1, 1, 0));
}

#[test]
fn who_waits_for_a_credit_waits_on_and_is_not_refused() {
    let limits = Limits { hold_ms: 8_000, ..Limits::default() };
    let mut rig = Rig::with(ShardConfig { credits_per_partition: 1, ..config(limits) });
    let (first, second) = (rig.synced(1, 1), rig.synced(2, 1));
    rig.send(first, b"m1", CHAT);
    rig.send(second, b"m2", CHAT);
    rig.shard.hold(rig.now);
    assert_eq!(sends(&mut rig), [b"m1"]);
    rig.sent(first, b"m1", CHAT, 1);
    rig.wait_ms(5_000);
    assert_eq!((rig.read(second), sends(&mut rig)), (vec![], vec![]));
    release(&mut rig);
    assert_eq!(sends(&mut rig), [b"m2"]);
}

#[test]
fn nobody_is_held_for_longer_than_allowed() {
    let mut rig = rig(3_000);
    let conn = rig.synced(1, 1);
    rig.shard.hold(rig.now);
    rig.send(conn, b"m1", CHAT);
    rig.wait_ms(2_999);
    assert!(sends(&mut rig).is_empty());
    assert!(rig.shard.next_deadline_ns().is_some_and(|at_ns| at_ns <= rig.now.mono_ns + 1_000_000));
    rig.wait_ms(1);
    assert_eq!(sends(&mut rig), [b"m1"], "whoever has the way refuses it");
    rig.refused(conn, b"m1", CHAT, ErrorCode::StorageUnavailable);
    assert_eq!(rig.read(conn), [Got::Error { code: ErrorCode::StorageUnavailable, id: b"m1".to_vec() }]);
    assert_eq!(rig.count("holds_overdue"), 1);
    let mut never = self::rig(0);
    never.shard.hold(never.now);
    assert!(!never.shard.is_holding());
}

#[test]
fn a_stop_does_not_wait_for_who_is_held() {
    let mut rig = rig(8_000);
    let conn = rig.synced(1, 1);
    rig.shard.hold(rig.now);
    rig.send(conn, b"m1", CHAT);
    rig.shard.stop(rig.now, Next::Here, &mut rig.out);
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::GoingAway)]);
}
