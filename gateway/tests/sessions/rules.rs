//! Hello, limits, bad frames, timers, ends.

use fabric::core::{Action, ConnId, Protocol};
use gateway::Limits;
use schema::envelope::{Body, Envelope};
use schema::errors::ErrorCode;
use schema::ids::ChatId;
use schema::wire::MarkStatus;

use super::harness::{Got, Rig, address, config, target};

const CHAT: ChatId = ChatId([1; 16]);

fn closes(rig: &mut Rig, conn: ConnId) -> bool {
    rig.drain_actions();
    rig.actions.iter().any(|action| matches!(action, Action::Close(other) if *other == conn))
}

#[test]
fn a_session_registers_before_it_syncs_and_is_told_when_it_has_all() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 2);
    let ping = rig.encoder.ping(42);
    rig.receive(conn, &ping);
    assert_eq!(rig.read(conn), [Got::Pong(42)]);
    rig.shard.closed(rig.now, conn, &mut rig.out);
    let envelopes = rig.envelopes();
    assert!(matches!(envelopes[..], [Envelope { body: Body::Unregister { .. }, .. }]), "{envelopes:?}");
}

#[test]
fn a_bad_token_an_expired_one_and_none_are_told_apart() {
    for (token, code) in
        [(&b"nonsense"[..], ErrorCode::BadToken), (b"0:1", ErrorCode::BadToken), (b"expired", ErrorCode::TokenExpired)]
    {
        let mut rig = Rig::new();
        let conn = rig.accept(Protocol::Native);
        let hello = rig.encoder.hello(token, b"", 0);
        rig.receive(conn, &hello);
        assert_eq!(rig.read(conn), [Got::Goodbye(code)]);
        assert!(closes(&mut rig, conn));
        assert!(rig.envelopes().is_empty());
        assert_eq!(rig.count("auth_failures"), 1);
    }
    let mut rig = Rig::new();
    let conn = rig.accept(Protocol::Native);
    rig.send(conn, b"x", CHAT);
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::Unauthenticated)]);
    assert!(closes(&mut rig, conn));
    assert_eq!(rig.count("unauthenticated"), 1);
}

#[test]
fn what_comes_before_the_router_and_the_owner_answer_waits_and_keeps_its_order() {
    let mut rig = Rig::new();
    let conn = rig.accept(Protocol::Native);
    let mut bytes = rig.encoder.hello(b"1:2", b"", 0).to_vec();
    bytes.extend_from_slice(&rig.encoder.ping(5));
    rig.receive(conn, &bytes);
    rig.drain_actions();
    assert!(rig.actions.iter().any(|action| matches!(action, Action::Pause(_))));
    let request = rig.register(conn);
    let ping = rig.encoder.ping(6);
    rig.receive(conn, &ping);
    assert_eq!(rig.read(conn), []);
    assert!(!rig.actions.iter().any(|action| matches!(action, Action::Resume(_))));
    rig.answer(conn, request, Body::SyncPage { account: Default::default(), chats: Vec::new(), next: None });
    assert_eq!(rig.read(conn), [Got::Welcome, Got::Pong(5), Got::Pong(6), Got::Synced]);
    assert!(rig.actions.iter().any(|action| matches!(action, Action::Resume(_))));
}

#[test]
fn bad_frames_end_their_session_and_no_other() {
    let oversized = (70_000u32).to_le_bytes();
    let malformed = [20u8, 0, 0, 0, 1, 2, 3, 4, b'S', b'W', b'C', b'1', 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
    let foreign = [12u8, 0, 0, 0, 8, 0, 0, 0, b'X', b'X', b'X', b'X', 0, 0, 0, 0];
    let tiny = [1u8, 0, 0, 0, 0];
    for (bytes, code, counter) in [
        (&oversized[..], ErrorCode::FrameTooLarge, "oversized_frames"),
        (&malformed, ErrorCode::MalformedFrame, "malformed_frames"),
        (&foreign, ErrorCode::MalformedFrame, "malformed_frames"),
        (&tiny, ErrorCode::MalformedFrame, "malformed_frames"),
    ] {
        let mut rig = Rig::new();
        let (other, conn) = (rig.synced(1, 1), rig.synced(2, 1));
        rig.receive(conn, bytes);
        assert_eq!(rig.read(conn), [Got::Goodbye(code)]);
        assert!(closes(&mut rig, conn) && !closes(&mut rig, other));
        assert_eq!(rig.count(counter), 1);
        let ping = rig.encoder.ping(1);
        rig.receive(conn, &ping);
        rig.receive(other, &ping);
        assert_eq!(rig.read(conn), [], "a closing connection is not listened to");
        assert_eq!(rig.read(other), [Got::Pong(1)]);
    }
}

#[test]
fn frames_cut_anywhere_are_put_together() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    let mut bytes = Vec::new();
    for nonce in 0..20 {
        bytes.extend_from_slice(&rig.encoder.ping(nonce));
    }
    for chunk in bytes.chunks(7) {
        rig.receive(conn, chunk);
    }
    let pongs: Vec<_> = (0..20).map(Got::Pong).collect();
    assert_eq!(rig.read(conn), pongs);
}

#[test]
fn unknown_and_misplaced_frames_are_answered_and_the_session_goes_on() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    let unsupported = || Got::Error { code: ErrorCode::Unsupported, id: Vec::new() };
    for frame in [rig.encoder.synced(1), rig.encoder.hello(b"1:1", b"", 0)] {
        rig.receive(conn, &frame);
        assert_eq!(rig.read(conn), [unsupported()]);
    }
    let mark = rig.encoder.mark(CHAT, 1, None, MarkStatus(7));
    rig.receive(conn, &mark);
    assert_eq!(rig.read(conn), [Got::Error { code: ErrorCode::InvalidField, id: Vec::new() }]);
    assert!(!closes(&mut rig, conn));
}

#[test]
fn silence_ends_a_session_and_any_frame_is_life() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    for _ in 0..10 {
        rig.wait_ms(70_000);
        let pong = rig.encoder.pong(0);
        rig.receive(conn, &pong);
        // Half a frame is not life.
        rig.receive(conn, &pong[..4]);
        rig.receive(conn, &pong[4..]);
    }
    assert!(!closes(&mut rig, conn));
    rig.wait_ms(74_000);
    let pong = rig.encoder.pong(0);
    rig.receive(conn, &pong[..4]);
    rig.wait_ms(1_300);
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::IdleTimeout)]);
    assert!(closes(&mut rig, conn));
    assert_eq!(rig.count("idle_timeouts"), 1);
}

#[test]
fn a_storm_of_logins_is_worked_off_some_a_turn_in_the_order_they_came() {
    let mut rig = Rig::new();
    let conns: Vec<ConnId> = (0..100).map(|_| rig.accept(Protocol::Native)).collect();
    rig.wait_ms(1_000);
    for (id, &conn) in (1..).zip(&conns) {
        let hello = rig.encoder.hello(format!("{id}:1").as_bytes(), b"", 0);
        rig.receive(conn, &hello);
        rig.receive(conn, &hello[..7]); // and more behind it, which waits too
    }
    rig.shard.closed(rig.now, conns[50], &mut rig.out);
    let mut registered = Vec::new();
    for turns in 1..=4 {
        registered.extend(rig.envelopes().iter().filter_map(|envelope| match envelope.body {
            Body::Register { user, .. } => Some(user.get()),
            _ => None,
        }));
        assert_eq!(registered.len(), (32 * turns).min(99), "the one that has gone takes nobody's place");
        assert!(turns == 4 || rig.shard.next_deadline_ns() == Some(1), "the next turn is at once");
        rig.shard.tick(rig.now, &mut rig.out);
    }
    assert_eq!(registered, (1..=100).filter(|&id| id != 51).collect::<Vec<_>>());
    assert_eq!(rig.count("logins_queued"), 68);
}

#[test]
fn authentication_and_registration_have_their_time() {
    let mut rig = Rig::new();
    let conn = rig.accept(Protocol::Native);
    let upgrade = rig.accept(Protocol::WebSocket);
    let registering = rig.accept(Protocol::Native);
    let hello = rig.encoder.hello(b"1:1", b"", 0);
    rig.wait_ms(5_000);
    rig.receive(registering, &hello);
    rig.wait_ms(5_200);
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::AuthTimeout)]);
    assert!(closes(&mut rig, conn) && closes(&mut rig, upgrade) && !closes(&mut rig, registering));
    assert_eq!(rig.count("auth_timeouts"), 2);
    rig.wait_ms(5_000);
    assert_eq!(rig.read(registering), [Got::Goodbye(ErrorCode::Overloaded)]);
    assert_eq!(rig.count("register_timeouts"), 1);
}

#[test]
fn the_newer_session_of_a_device_ends_the_older() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    rig.answer(conn, 0, Body::Superseded { epoch: 1 });
    assert!(!closes(&mut rig, conn), "an older one cannot");
    rig.answer(conn, 0, Body::Superseded { epoch: u64::MAX });
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::SessionReplaced)]);
    assert!(closes(&mut rig, conn));
    rig.shard.closed(rig.now, conn, &mut rig.out);
    assert!(rig.envelopes().is_empty(), "the directory has its successor: nothing is unregistered");
}

#[test]
fn mail_for_a_connection_that_is_gone_reaches_nobody_else() {
    let mut rig = Rig::new();
    let old = rig.synced(1, 1);
    rig.shard.closed(rig.now, old, &mut rig.out);
    rig.envelopes();
    let new = rig.synced(2, 1);
    assert_eq!(new.index, old.index);
    rig.deliver(CHAT, 1, &[target(old, 0)]);
    rig.answer(old, 0, Body::Superseded { epoch: u64::MAX });
    assert_eq!(rig.read(new), []);
    assert_eq!(rig.count("stale_addresses"), 2);
    let mut foreign = Envelope::new(schema::envelope::Class::Ack, Body::Superseded { epoch: u64::MAX });
    foreign.header.reply = schema::envelope::Address { incarnation: 76, ..address(new) };
    rig.handle(foreign);
    assert_eq!(rig.count("foreign_addresses"), 1);
    assert!(!closes(&mut rig, new));
}

#[test]
fn connections_are_counted_and_bounded() {
    let mut rig = Rig::with(config(Limits { max_connections: 2, ..Limits::default() }));
    let (a, _) = (rig.synced(1, 1), rig.accept(Protocol::Native));
    let peer = "127.0.0.1:5".parse().unwrap();
    assert_eq!(rig.shard.accepted(rig.now, Protocol::Native, peer), None);
    assert_eq!(rig.count("connections_refused"), 1);
    rig.shard.closed(rig.now, a, &mut rig.out);
    assert!(rig.shard.accepted(rig.now, Protocol::Native, peer).is_some());
}
