//! Chats that get another partition: what waits on the shard goes there, in its order, with a credit of that one; what is queued
//! is owed by the one that it was sent to.

use fabric::core::ConnId;
use gateway::{Limits, ShardConfig};
use schema::envelope::{Body, Envelope, Settled};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, MessageId};
use schema::places::Places;

use super::harness::{Got, PARTITIONS, Rig, config, message_id, request};
use super::ways::{chat_of, lose, sends};

fn with_credits(credits_per_partition: u32) -> Rig {
    Rig::with(ShardConfig { credits_per_partition, ..config(Limits::default()) })
}

/// The chat is in that partition from now on.
fn put(rig: &mut Rig, version: u64, chat: ChatId, partition: u16) {
    let away = chat.slot().partition(PARTITIONS) != partition;
    rig.shard.set_places(Places::new(version, away.then_some((chat, partition)).into_iter().collect()));
}

fn serve(rig: &mut Rig) {
    rig.shard.serve_moved(rig.now, &mut rig.out);
}

/// What a send is answered.
fn answer(rig: &mut Rig, conn: ConnId, request: u64, id: &'static [u8], chat: ChatId, code: Option<ErrorCode>) {
    let client_msg_id = bytes::Bytes::from_static(id);
    let body = match code {
        None => Body::Sent { client_msg_id, chat, message: message_id(chat, 1), seq: 1, timestamp_ms: 1 },
        Some(code) => Body::Refused { client_msg_id, chat, code, retry_after_ms: 0 },
    };
    rig.answer(conn, request, body);
}

fn unanswered(rig: &Rig) -> [u32; 2] {
    [0, 1].map(|partition| rig.shard.unanswered(partition))
}

/// The sends that left and are back here.
fn given_back(rig: &mut Rig) -> Vec<Envelope> {
    rig.envelopes().into_iter().filter(|envelope| matches!(envelope.body, Body::Send { .. })).collect()
}

#[test]
fn what_waits_here_goes_there_with_a_credit_of_there_and_what_comes_later_follows() {
    let mut rig = with_credits(3);
    let (conn, chat) = (rig.synced(1, 1), chat_of(0, 1));
    rig.envelopes();
    rig.send(conn, b"1", chat);
    rig.send(conn, b"2", chat);
    let mut waits = given_back(&mut rig);
    assert_eq!(unanswered(&rig), [2, 0]);
    put(&mut rig, 1, chat, 1);
    for envelope in &mut waits {
        assert!(rig.shard.moved(envelope, chat));
        let header = &envelope.header;
        assert_eq!((header.slot.partition(PARTITIONS), header.request_id), (1, request(0, 1)));
        assert!(rig.shard.moved(envelope, chat), "it is there already");
    }
    assert_eq!(unanswered(&rig), [0, 2]);
    serve(&mut rig);
    rig.send(conn, b"3", chat);
    let third = given_back(&mut rig);
    assert_eq!(third[0].header.slot.partition(PARTITIONS), 1);
    assert_eq!((third[0].header.request_id, unanswered(&rig)), (request(0, 1), [0, 3]));
    answer(&mut rig, conn, request(0, 1), b"1", chat, None);
    assert_eq!(unanswered(&rig), [0, 2], "its credit returns to where it was taken");
    lose(&mut rig, 1);
    assert_eq!(rig.count("sent_back"), 1);
}

#[test]
fn a_session_whose_sends_all_went_along_ends_with_their_partition() {
    let mut rig = with_credits(3);
    let (conn, chat) = (rig.synced(1, 1), chat_of(0, 1));
    rig.envelopes();
    rig.send(conn, b"1", chat);
    let mut waits = given_back(&mut rig);
    put(&mut rig, 1, chat, 1);
    assert!(rig.shard.moved(&mut waits[0], chat));
    lose(&mut rig, 1);
    assert_eq!((rig.count("sent_back"), unanswered(&rig)), (1, [0, 0]));
}

#[test]
fn who_waits_for_a_credit_waits_for_one_of_the_partition_that_has_the_chat_now() {
    let mut rig = with_credits(1);
    let (a, b, c) = (rig.synced(1, 1), rig.synced(2, 1), rig.synced(3, 1));
    let (chat, stays) = (chat_of(0, 1), chat_of(0, 2));
    rig.envelopes();
    rig.send(a, b"a", chat);
    rig.send(b, b"b", chat);
    rig.send(c, b"c", stays);
    let mut waits = given_back(&mut rig);
    assert_eq!(waits.len(), 1, "there is one credit");
    put(&mut rig, 1, chat, 1);
    assert!(rig.shard.moved(&mut waits[0], chat));
    assert_eq!(sends(&mut rig), [], "not before what waited here has gone out");
    serve(&mut rig);
    assert_eq!(
        sends(&mut rig),
        [(b"c".to_vec(), request(0, 0))],
        "the credit that is free is of the other's partition"
    );
    answer(&mut rig, a, request(0, 1), b"a", chat, None);
    assert_eq!(sends(&mut rig), [(b"b".to_vec(), request(0, 1))]);
    // Home again while nobody owes anything.
    answer(&mut rig, b, request(0, 1), b"b", chat, None);
    put(&mut rig, 2, chat, 0);
    answer(&mut rig, c, request(0, 0), b"c", stays, None);
    rig.send(b, b"d", chat);
    assert_eq!(sends(&mut rig), [(b"d".to_vec(), request(0, 0))]);
}

#[test]
fn where_there_is_no_credit_what_is_behind_is_refused_too() {
    let mut rig = with_credits(1);
    let (a, other) = (rig.synced(1, 1), rig.synced(2, 1));
    let (chat, there) = (chat_of(0, 1), chat_of(1, 1));
    rig.envelopes();
    rig.send(other, b"x", there);
    rig.envelopes();
    rig.send(a, b"1", chat);
    let mut waits = given_back(&mut rig);
    rig.send(a, b"2", chat);
    put(&mut rig, 1, chat, 1);
    assert!(!rig.shard.moved(&mut waits[0], chat));
    assert_eq!(unanswered(&rig), [1, 1], "nothing was taken");
    answer(&mut rig, a, waits[0].header.request_id, b"1", chat, Some(ErrorCode::StorageUnavailable));
    assert_eq!(unanswered(&rig), [0, 1]);
    serve(&mut rig);
    answer(&mut rig, other, request(0, 1), b"x", there, None);
    assert_eq!(sends(&mut rig), [], "the second must not go before the first");
    let refused = |code, id: &[u8]| Got::Error { code, id: id.to_vec() };
    let told = [refused(ErrorCode::StorageUnavailable, b"1"), refused(ErrorCode::AfterRefused, b"2")];
    assert_eq!(rig.read(a), told);
    rig.send(a, b"1", chat);
    assert_eq!(sends(&mut rig), [(b"1".to_vec(), request(0, 1))]);
}

fn queued(rig: &mut Rig, conn: ConnId, partition: u16, id: &'static [u8], chat: ChatId) {
    let client_msg_id = bytes::Bytes::from_static(id);
    rig.answer(conn, request(0, partition), Body::Queued { client_msg_id, chat });
}

fn settled(rig: &mut Rig, conn: ConnId, partition: u16, id: &'static [u8], chat: ChatId) {
    let client_msg_id = bytes::Bytes::from_static(id);
    let outcome = Ok(Settled { message: MessageId([1; 16]), seq: 1, timestamp_ms: 1 });
    rig.answer(conn, request(0, partition), Body::Settled { client_msg_id, chat, outcome });
}

#[test]
fn what_is_queued_is_owed_by_the_partition_that_it_was_sent_to() {
    let mut rig = with_credits(3);
    let (a, b, chat) = (rig.synced(1, 1), rig.synced(2, 1), chat_of(0, 1));
    put(&mut rig, 1, chat, 1);
    for (conn, id) in [(a, b"1"), (a, b"2"), (b, b"3")] {
        rig.send(conn, id, chat);
        queued(&mut rig, conn, 1, id, chat);
    }
    assert_eq!(unanswered(&rig), [0, 3], "the chat does not leave before they are settled");
    settled(&mut rig, a, 1, b"1", chat);
    assert_eq!(unanswered(&rig), [0, 2]);
    lose(&mut rig, 0);
    assert_eq!(rig.count("sent_back"), 0, "its home owes nothing");
    rig.shard.closed(rig.now, b, &mut rig.out);
    assert_eq!(unanswered(&rig), [0, 1], "nothing is owed to a session that is over");
    // They do not settle in time: the partition is lost for those who wait.
    lose(&mut rig, 1);
    assert_eq!((rig.count("sent_back"), unanswered(&rig)), (1, [0, 0]));
    put(&mut rig, 2, chat, 0);
    settled(&mut rig, a, 1, b"2", chat);
    assert_eq!(unanswered(&rig), [0, 0], "what is settled now is of before");
}
