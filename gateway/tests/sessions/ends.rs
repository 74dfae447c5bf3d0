//! Ends that are the server's doing: it stops, a token ends, a device is revoked; and settings that change meanwhile.

use std::sync::Arc;

use fabric::core::{Action, ConnId, Protocol};
use gateway::{Change, Limits, Next, Settings};
use schema::encode::SendTarget;
use schema::envelope::Body;
use schema::errors::ErrorCode;
use schema::frame::{FrameRef, frame_len};
use schema::ids::{ChatId, DeviceId};

use super::harness::{Got, Rig, config, user};

const CHAT: ChatId = ChatId([1; 16]);
/// The rig's clock starts at this second.
const NOW_S: u64 = 1_700_000_000;

fn closes(rig: &mut Rig, conn: ConnId) -> bool {
    rig.drain_actions();
    rig.actions.iter().any(|action| matches!(action, Action::Close(other) if *other == conn))
}

/// What the last frame of a native connection, a Goodbye, asks for: code, close code, wait in ms.
fn goodbye(rig: &mut Rig, conn: ConnId) -> (ErrorCode, u16, u32) {
    let bytes = rig.read_bytes(conn, usize::MAX);
    let mut rest = &bytes[..];
    loop {
        let (frame, after) = rest.split_at(frame_len(rest, 1 << 20).unwrap().expect("a whole frame"));
        if after.is_empty() {
            let frame = FrameRef::verify_from_server(frame).unwrap();
            let goodbye = frame.root().body_as_goodbye().expect("a goodbye comes last");
            let code = ErrorCode::from_code(goodbye.code()).unwrap();
            return (code, goodbye.close_code(), goodbye.retry_after_ms());
        }
        rest = after;
    }
}

fn stop(rig: &mut Rig) {
    rig.shard.stop(rig.now, Next::Here, &mut rig.out);
}

#[test]
fn a_stopping_shard_tells_everybody_when_to_come_back_and_spreads_them() {
    let mut rig = Rig::with(config(Limits { drain_spread_ms: 4_000, ..Limits::default() }));
    let conns: Vec<ConnId> = (1..=200).map(|id| rig.synced(id, 1)).collect();
    let silent = rig.accept(Protocol::Native);
    stop(&mut rig);
    let mut quarters = [0; 4];
    for &conn in conns.iter().chain([&silent]) {
        let (code, close, wait_ms) = goodbye(&mut rig, conn);
        assert_eq!((code, close), (ErrorCode::GoingAway, 1001));
        assert!((1_000..=5_000).contains(&wait_ms), "{wait_ms}");
        quarters[(wait_ms as usize - 1_000).min(3_999) / 1_000] += 1;
        assert!(closes(&mut rig, conn));
    }
    assert!(quarters.iter().all(|&clients| clients > 20), "{quarters:?}");
    assert_eq!(rig.count("sent_away"), 201);
    let peer = "127.0.0.1:5".parse().unwrap();
    assert_eq!(rig.shard.accepted(rig.now, Protocol::Native, peer), None, "nobody new");
    assert!(!rig.shard.stopped());
    for conn in conns.into_iter().chain([silent]) {
        rig.shard.closed(rig.now, conn, &mut rig.out);
    }
    assert!(rig.shard.stopped());
}

#[test]
fn without_a_spread_all_come_back_after_the_same_wait() {
    let mut rig = Rig::with(config(Limits { drain_spread_ms: 0, ..Limits::default() }));
    let conns: Vec<ConnId> = (1..=5).map(|id| rig.synced(id, 1)).collect();
    stop(&mut rig);
    assert!(conns.into_iter().all(|conn| goodbye(&mut rig, conn).2 == 1_000));
}

/// Stops a rig with these limits and 200 sessions, looks every 10 ms for so long, and returns when each was told to go, ms.
fn turns(limits: Limits, for_ms: u64) -> Vec<u64> {
    let mut rig = Rig::with(config(limits));
    let mut conns: Vec<ConnId> = (1..=200).map(|id| rig.synced(id, 1)).collect();
    rig.shard.stop(rig.now, Next::Elsewhere, &mut rig.out);
    let mut told = Vec::new();
    for step in 0..for_ms / 10 {
        conns.retain(|&conn| {
            let gone = closes(&mut rig, conn);
            if gone {
                let (code, _, wait_ms) = goodbye(&mut rig, conn);
                assert_eq!((code, wait_ms), (ErrorCode::GoingAway, 100), "others serve at once");
                told.push(step * 10);
            }
            !gone
        });
        rig.wait_ms(10);
    }
    assert!(conns.is_empty(), "{} have not been told within {for_ms} ms", conns.len());
    told
}

#[test]
fn where_others_serve_sessions_go_one_by_one_over_the_spread() {
    let told = turns(Limits { drain_spread_ms: 2_000, ..Limits::default() }, 2_020);
    let mut quarters = [0; 4];
    told.iter().for_each(|&at_ms| quarters[(at_ms as usize / 500).min(3)] += 1);
    assert!(quarters.iter().all(|&sessions| sessions > 20), "{quarters:?}");
}

#[test]
fn no_more_sessions_than_the_rate_go_in_a_second() {
    let told = turns(Limits { drain_spread_ms: 0, drain_per_second: 50, ..Limits::default() }, 4_020);
    let mut seconds = [0; 4];
    told.iter().for_each(|&at_ms| seconds[(at_ms as usize / 1_000).min(3)] += 1);
    assert!(seconds.iter().all(|&sessions| (25..80).contains(&sessions)), "{seconds:?}");
}

#[test]
fn a_session_is_served_until_its_turn_to_go_and_connections_that_are_none_go_at_once() {
    let mut rig = Rig::with(config(Limits { drain_spread_ms: 60_000, ..Limits::default() }));
    let (stays, silent) = (rig.synced(1, 1), rig.accept(Protocol::Native));
    rig.shard.stop(rig.now, Next::Elsewhere, &mut rig.out);
    assert!(closes(&mut rig, silent) && !closes(&mut rig, stays));
    rig.send(stays, b"m1", CHAT);
    assert!(matches!(rig.envelopes()[..], [schema::envelope::Envelope { body: Body::Send { .. }, .. }]));
    rig.sent(stays, b"m1", CHAT, 1);
    assert_eq!(rig.read(stays), [Got::Sent { id: b"m1".to_vec(), chat: CHAT, seq: 1 }]);
    rig.send(stays, b"m2", CHAT);
    let due_ns = rig.shard.next_deadline_ns().expect("its turn");
    assert!(due_ns < rig.now.mono_ns + 60_000_000_000);
    rig.wait_ms(60_000);
    assert!(!closes(&mut rig, stays), "it waits for its answer");
    rig.sent(stays, b"m2", CHAT, 2);
    rig.wait_ms(1);
    assert!(closes(&mut rig, stays));
    assert_eq!((rig.count("drain_waits"), rig.count("drained_unanswered")), (1, 0));
}

#[test]
fn sends_under_way_are_answered_before_their_session_is_told_to_go() {
    let mut rig = Rig::new();
    let (busy, idle) = (rig.synced(1, 1), rig.synced(2, 1));
    rig.send(busy, b"m1", CHAT);
    rig.send(busy, b"m2", CHAT);
    rig.envelopes();
    stop(&mut rig);
    assert!(closes(&mut rig, idle) && !closes(&mut rig, busy));
    assert!(
        rig.actions.iter().any(|action| matches!(action, Action::Pause(conn) if *conn == busy)),
        "it is read no further"
    );
    rig.send(busy, b"m3", CHAT);
    assert!(
        rig.envelopes().iter().all(|envelope| !matches!(envelope.body, Body::Send { .. })),
        "its client sends it again"
    );
    rig.sent(busy, b"m1", CHAT, 1);
    rig.wait_ms(100);
    assert!(!closes(&mut rig, busy));
    rig.refused(busy, b"m2", CHAT, ErrorCode::StorageUnavailable);
    rig.wait_ms(1);
    assert_eq!(
        rig.read(busy),
        [
            Got::Sent { id: b"m1".to_vec(), chat: CHAT, seq: 1 },
            Got::Error { code: ErrorCode::StorageUnavailable, id: b"m2".to_vec() },
            Got::Goodbye(ErrorCode::GoingAway)
        ]
    );
    assert!(closes(&mut rig, busy));
    assert_eq!((rig.count("drain_waits"), rig.count("drained_unanswered")), (1, 0));
}

#[test]
fn an_owner_that_does_not_answer_holds_up_a_stop_for_two_seconds_and_no_longer() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    rig.send(conn, b"m1", CHAT);
    stop(&mut rig);
    rig.wait_ms(1_999);
    assert!(!closes(&mut rig, conn));
    let due_ns = rig.shard.next_deadline_ns().expect("it is waited for");
    assert_eq!(due_ns, rig.now.mono_ns + 1_000_000);
    rig.wait_ms(1);
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::GoingAway)]);
    assert_eq!(rig.count("drained_unanswered"), 1);
    rig.sent(conn, b"m1", CHAT, 1);
    assert_eq!(rig.count("stale_addresses"), 1);
    assert_eq!(rig.read(conn), [], "too late: the client asks again");
}

#[test]
fn a_connection_that_is_still_http_is_told_in_http() {
    let mut rig = Rig::new();
    let (asked, silent) = (rig.accept(Protocol::WebSocket), rig.accept(Protocol::WebSocket));
    rig.receive(asked, b"GET /ws HTTP/1.1\r\nHost: loc");
    stop(&mut rig);
    for conn in [asked, silent] {
        let answer = String::from_utf8(rig.read_bytes(conn, usize::MAX)).expect("text");
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        assert!(answer.contains("\r\nRetry-After: ") && answer.contains("\"code\":\"going_away\""), "{answer}");
        assert!(closes(&mut rig, conn));
    }
    let mut rig = Rig::new();
    let late = rig.accept(Protocol::WebSocket);
    rig.wait_ms(10_100);
    let answer = String::from_utf8(rig.read_bytes(late, usize::MAX)).expect("text");
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("auth_timeout"), "{answer}");
}

#[test]
fn a_session_ends_when_its_token_does() {
    let mut rig = Rig::new();
    let ends = rig.synced_with(&format!("1:1:{}", NOW_S + 90));
    let stays = rig.synced_with("2:1");
    let far = rig.synced_with(&format!("3:1:{}", u64::from(u32::MAX) + 9));
    for _ in 0..8 {
        rig.wait_ms(11_000);
        let ping = rig.encoder.ping(1);
        for conn in [ends, stays, far] {
            rig.receive(conn, &ping);
            assert_eq!(rig.read(conn).last(), Some(&Got::Pong(1)));
        }
    }
    rig.wait_ms(1_900);
    assert!(!closes(&mut rig, ends));
    rig.wait_ms(200);
    assert_eq!(goodbye(&mut rig, ends), (ErrorCode::TokenExpired, 4401, 0));
    assert!(closes(&mut rig, ends) && !closes(&mut rig, stays) && !closes(&mut rig, far));
    assert_eq!(rig.count("sessions_expired"), 1);
}

#[test]
fn a_token_that_ends_while_the_router_is_asked_ends_its_session_at_once() {
    let mut rig = Rig::new();
    let conn = rig.accept(Protocol::Native);
    let hello = rig.encoder.hello(format!("1:1:{}", NOW_S + 1).as_bytes(), b"test", 0);
    rig.receive(conn, &hello);
    rig.wait_ms(2_000);
    rig.register(conn);
    rig.wait_ms(100);
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::TokenExpired)]);
}

#[test]
fn a_revoked_device_is_closed_at_once_and_its_users_others_are_not() {
    let mut rig = Rig::new();
    let [first, second, other] = [(7, 1), (7, 2), (8, 1)].map(|(user, device)| rig.synced(user, device));
    let registering = rig.accept(Protocol::Native);
    let hello = rig.encoder.hello(b"7:3", b"test", 0);
    rig.receive(registering, &hello);
    rig.shard.change(rig.now, &Change::Revoked { user: user(7), device: Some(DeviceId(2)) }, &mut rig.out);
    assert_eq!(goodbye(&mut rig, second), (ErrorCode::TokenRevoked, 4401, 0));
    assert!(closes(&mut rig, second) && !closes(&mut rig, first));
    rig.shard.change(rig.now, &Change::Revoked { user: user(7), device: None }, &mut rig.out);
    for conn in [first, registering] {
        assert_eq!(goodbye(&mut rig, conn).0, ErrorCode::TokenRevoked);
        assert!(closes(&mut rig, conn));
    }
    assert!(!closes(&mut rig, other));
    assert_eq!(rig.count("sessions_revoked"), 3);
}

#[test]
fn settings_count_from_the_next_connection_on() {
    let mut rig = Rig::new();
    rig.shard.listening(&["127.0.0.1:7401".parse().unwrap()]);
    let upgrade = |rig: &mut Rig| {
        let conn = rig.accept(Protocol::WebSocket);
        rig.receive(
            conn,
            b"GET /ws HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        String::from_utf8(rig.read_bytes(conn, usize::MAX)).expect("text")
    };
    assert!(upgrade(&mut rig).starts_with("HTTP/1.1 403 "));
    let settings = Settings {
        allowed_hosts: vec!["chat.example".to_owned()],
        sends_per_second_per_user: 3,
        burst_per_user: 4,
        drain_spread_ms: 0,
    };
    rig.shard.change(rig.now, &Change::Settings(Arc::new(settings)), &mut rig.out);
    assert!(upgrade(&mut rig).starts_with("HTTP/1.1 101 "));
    let conn = rig.accept(Protocol::Native);
    let hello = rig.encoder.hello(b"1:1", b"test", 0);
    rig.receive(conn, &hello);
    let request = rig.register(conn);
    rig.answer(conn, request, Body::SyncPage { account: Default::default(), chats: Vec::new(), next: None });
    let bytes = rig.read_bytes(conn, usize::MAX);
    let first = frame_len(&bytes, 1 << 20).unwrap().expect("a whole frame");
    let frame = FrameRef::verify_from_server(&bytes[..first]).unwrap();
    let welcome = frame.root().body_as_welcome().expect("a welcome");
    assert_eq!((welcome.sends_per_second(), welcome.burst()), (3, 4));
    let frame = rig.send_frame(b"m", SendTarget::User(user(2)), false);
    rig.receive(conn, &frame);
    stop(&mut rig);
    rig.wait_ms(2_000);
    assert_eq!(goodbye(&mut rig, conn).2, 1_000, "no spread any more");
}
