//! What was told queued is found again, in order, whatever happens to the disk; and it goes one after the other.

use std::collections::{BTreeMap, VecDeque};

use fabric::entropy::Entropy;
use fabric::sim::{SeededEntropy, SimDisk};
use schema::encode::{Encoder, SendFields, SendTarget};
use schema::envelope::{Body, Class, Header};
use schema::frame::VerifiedFrame;
use schema::ids::{DeviceId, MessageId};
use schema::wire::EntryKind;

use super::*;

const PARTITIONS: u16 = 2;
const SESSION: Address = Address { incarnation: 9, shard: 0, connection: 3, generation: 1 };
const ME: Address = Address { incarnation: 4, shard: 1, connection: 0, generation: 0 };

fn config() -> SpoolConfig {
    SpoolConfig { limit_bytes: 1 << 20, segment_bytes: 64 << 10 }
}

fn at(ms: u64) -> Now {
    Now { mono_ns: 1 + ms * 1_000_000, wall_ticks: 17_000_000_000_000_000 + ms * 10_000 }
}

fn user(id: u64) -> UserId {
    UserId::new(id).expect("not 0")
}

fn send(from: u64, to: u64, id: &str) -> Envelope {
    let frame = Encoder::new().send(&SendFields {
        client_msg_id: id.as_bytes(),
        target: SendTarget::User(user(to)),
        kind: EntryKind::message,
        content_type: 0,
        body: &[b'x'; 100],
        refers_to: None,
        after_seq: 0,
        retry: false,
    });
    let frame = VerifiedFrame::verify(frame).expect("valid");
    let chat = ChatId::direct(user(from), user(to));
    let body = Body::Send { frame, user: user(from), device: DeviceId(1), chat, to: UserId::new(to), retry: false };
    let mut envelope = Envelope::new(Class::Send, body).reply_to(SESSION);
    (envelope.header.slot, envelope.header.request_id) = (chat.slot(), 7);
    envelope
}

fn open(disk: &SimDisk, now: Now) -> Result<Spool, SpoolError> {
    Spool::open(disk.clone(), config(), PARTITIONS, now)
}

fn reserve(spool: &Spool, now: Now, envelope: &Envelope) -> Option<Reserved> {
    let partition = envelope.header.slot.partition(PARTITIONS);
    spool.reserve(now, partition, &Sending::of(envelope).expect("a send"))
}

fn keep(spool: &Spool, now: Now, envelope: &Envelope) -> u64 {
    let Some(Reserved::New(id)) = reserve(spool, now, envelope) else { panic!("it is new and there is room") };
    assert!(matches!(spool.write(&[id]), Written::Durable(_)));
    let (askers, _, chat) = spool.take_askers(id).expect("it is there");
    assert_eq!((&askers[..], chat.slot()), (&[(SESSION, 7)][..], envelope.header.slot));
    id
}

fn id_of(envelope: &Envelope) -> String {
    let Body::Send { frame, .. } = &envelope.body else { panic!("no send") };
    let id = frame.root().body_as_send().and_then(|send| send.client_msg_id()).expect("it has one");
    String::from_utf8(id.bytes().to_vec()).expect("text")
}

/// What may go now: numbers and client_msg_ids.
fn next(spool: &Spool, now: Now) -> Vec<(u64, String)> {
    let mut out = Vec::new();
    for partition in 0..PARTITIONS {
        while let Next::Send(send) = spool.next(now, partition, ME) {
            assert_eq!(send.header.reply.connection, CONNECTION);
            let Body::Send { retry, .. } = &send.body else { panic!("no send") };
            assert!(retry, "it may have gone before");
            out.push((send.header.request_id, id_of(&send)));
        }
    }
    out.sort_unstable();
    out
}

fn stored(seq: u64) -> Result<Settled, ErrorCode> {
    Ok(Settled { message: MessageId([1; 16]), seq, timestamp_ms: 5 })
}

#[test]
fn who_asked_last_is_told_what_becomes_of_a_send_and_all_who_were_not_told_that_it_is_queued() {
    let (disk, now) = (SimDisk::new(1), at(0));
    let spool = open(&disk, now).expect("an empty folder");
    let of = |generation, id| {
        let mut envelope = send(1, 2, id);
        envelope.header.reply.generation = generation;
        envelope
    };
    let asker = |generation| (Address { generation, ..SESSION }, 7);
    let Some(Reserved::New(id)) = reserve(&spool, now, &of(1, "a1")) else { panic!("it is new") };
    assert!(matches!(reserve(&spool, now, &of(2, "a1")), Some(Reserved::Writing)));
    assert!(matches!(spool.write(&[id]), Written::Durable(_)));
    assert!(matches!(reserve(&spool, now, &of(3, "a1")), Some(Reserved::Kept)));
    let (askers, ..) = spool.take_askers(id).expect("it is there");
    assert_eq!(askers[..], [asker(1), asker(2)]);
    assert_eq!(next(&spool, now), [(id, "a1".to_owned())]);
    let ended = spool.answered(now, id, stored(1)).expect("it is settled");
    assert_eq!((ended.asker, &ended.untold[..]), (Some(asker(3)), &[][..]), "the last one");

    let Some(Reserved::New(id)) = reserve(&spool, now, &of(1, "a2")) else { panic!("it is new") };
    assert!(matches!(reserve(&spool, now, &of(2, "a2")), Some(Reserved::Writing)));
    assert!(matches!(spool.write(&[id]), Written::Durable(_)));
    assert_eq!(next(&spool, now), [(id, "a2".to_owned())]);
    let ended = spool.answered(now, id, stored(2)).expect("it is settled");
    assert_eq!(
        (ended.asker, &ended.untold[..]),
        (None, &[asker(1), asker(2)][..]),
        "nobody was told that it is queued"
    );
    assert!(spool.take_askers(id).is_none_or(|(askers, ..)| askers.is_empty()), "nor is anybody later");
}

#[test]
fn of_a_user_and_chat_one_goes_after_the_other_and_the_oldest_goes_first() {
    let (disk, now) = (SimDisk::new(1), at(0));
    let spool = open(&disk, now).expect("an empty folder");
    let ids: Vec<u64> = ["a1", "a2", "a3"].iter().map(|id| keep(&spool, now, &send(1, 2, id))).collect();
    let b = keep(&spool, now, &send(2, 1, "b1"));
    assert!(spool.has_lane(user(1), ChatId::direct(user(1), user(2))));
    assert_eq!(next(&spool, now), [(ids[0], "a1".to_owned()), (b, "b1".to_owned())]);
    assert_eq!(next(&spool, now), [], "both are on their way");
    assert!(spool.answered(now, ids[0], Err(ErrorCode::Overloaded)).is_none());
    assert_eq!(next(&spool, at(50)), [], "its partition waits a little");
    assert_eq!(next(&spool, at(150)), [(ids[0], "a1".to_owned())]);
    let ended = spool.answered(at(150), ids[0], stored(1)).expect("it is settled");
    assert_eq!((ended.asker, &ended.client_msg_id[..]), (Some((SESSION, 7)), &b"a1"[..]));
    assert!(spool.answered(at(150), ids[0], stored(1)).is_none(), "once");
    assert_eq!(next(&spool, at(150)), [(ids[1], "a2".to_owned())]);
    assert_eq!(next(&spool, at(40_000)), [(ids[1], "a2".to_owned()), (b, "b1".to_owned())], "nobody answered");
    (0..PARTITIONS).for_each(|partition| spool.lost(partition));
    assert_eq!(
        next(&spool, at(40_001)),
        [(ids[1], "a2".to_owned()), (b, "b1".to_owned())],
        "nobody is there to answer"
    );
    [ids[1], b].iter().for_each(|id| drop(spool.answered(now, *id, stored(1))));
    let last = next(&spool, at(40_000));
    assert_eq!(last, [(ids[2], "a3".to_owned())]);
    spool.answered(now, ids[2], stored(9));
    assert!(!spool.has_lane(user(1), ChatId::direct(user(1), user(2))) && spool.waiting() == 0);
}

#[test]
fn what_is_sent_again_is_kept_once_and_everybody_is_told_once() {
    let (disk, now) = (SimDisk::new(1), at(0));
    let spool = open(&disk, now).expect("an empty folder");
    let one = send(1, 2, "a1");
    let Some(Reserved::New(id)) = reserve(&spool, now, &one) else { panic!("there is room") };
    assert_eq!(reserve(&spool, now, &one), Some(Reserved::Writing));
    assert!(matches!(spool.write(&[id]), Written::Durable(_)));
    assert_eq!(spool.take_askers(id).map(|(askers, ..)| askers.len()), Some(2));
    let again = Envelope { header: Header { request_id: 8, ..one.header.clone() }, ..one };
    assert_eq!(reserve(&spool, now, &again), Some(Reserved::Kept));
    assert_eq!(spool.take_askers(id).map(|(askers, ..)| askers.len()), Some(0));
    assert_eq!(next(&spool, now).len(), 1);
    let ended = spool.answered(now, id, stored(1)).expect("settled");
    assert_eq!(ended.asker, Some((SESSION, 8)), "whoever asked last is told");
}

#[test]
fn a_block_that_becomes_durable_settles_what_was_queued_meanwhile() {
    let (disk, now) = (SimDisk::new(1), at(0));
    let spool = open(&disk, now).expect("an empty folder");
    let chat = ChatId::direct(user(1), user(2));
    let Some(Reserved::New(first)) = reserve(&spool, now, &send(1, 2, "a1")) else { panic!("there is room") };
    let settled = Settled { message: MessageId([1; 16]), seq: 1, timestamp_ms: 5 };
    let Found::Untold(askers) = spool.stored(user(1), chat, b"a1", settled) else { panic!("nobody was told") };
    assert_eq!(&askers[..], &[(SESSION, 7)]);
    assert!(matches!(spool.write(&[first]), Written::Durable(_)));
    assert_eq!(spool.take_askers(first).map(|(askers, ..)| askers.len()), Some(0), "they have their answer");
    spool.answered(now, next(&spool, now)[0].0, stored(1));
    keep(&spool, now, &send(1, 2, "a2"));
    assert!(matches!(spool.stored(user(1), chat, b"a2", settled), Found::Queued(Ended { asker: Some(_), .. })));
    assert!(matches!(spool.stored(user(1), chat, b"a2", settled), Found::Gone));
    assert_eq!(spool.waiting(), 0);
}

#[test]
fn a_full_spool_refuses_and_takes_again_once_some_of_it_is_stored() {
    let (disk, now) = (SimDisk::new(1), at(0));
    let spool = open(&disk, now).expect("an empty folder");
    let mut ids = VecDeque::new();
    while let Some(Reserved::New(id)) = reserve(&spool, now, &send(1, 2, &format!("a{}", ids.len()))) {
        assert!(matches!(spool.write(&[id]), Written::Durable(_)));
        ids.push_back(id);
        assert!(ids.len() < 1_000, "it has a bound");
    }
    assert!(ids.len() > 100, "{}", ids.len());
    let bytes = |disk: &SimDisk| disk.list().expect("list").iter().map(|f| disk.len(f).expect("len")).sum::<u64>();
    assert!(bytes(&disk) <= config().limit_bytes + config().segment_bytes);
    let full = ids.len();
    while let Some(id) = ids.pop_front() {
        assert_eq!(next(&spool, now), [(id, format!("a{}", full - ids.len() - 1))]);
        spool.answered(now, id, stored(1));
    }
    spool.tidy(now);
    assert!(bytes(&disk) <= 2 * config().segment_bytes, "files that nothing is needed of are removed");
    assert!(reserve(&spool, now, &send(1, 2, "more")).is_some());
}

#[test]
fn whatever_is_changed_in_what_was_durable_is_noticed() {
    let now = at(0);
    let make = || {
        let disk = SimDisk::new(1);
        let spool = open(&disk, now).expect("an empty folder");
        for n in 0..3 {
            keep(&spool, now, &send(1, 2, &format!("a{n}")));
        }
        disk
    };
    let file = "0000000001.spool";
    for byte in [0, 5, 9, 14, 20, 40, 60] {
        let disk = make();
        disk.flip_bit(file, 4_096 + byte, 3);
        let error = open(&disk, now).map(|_| ()).expect_err("the second of three batches is not what was written");
        assert!(error.to_string().contains(file) && error.to_string().contains("byte 4096"), "{error}");
    }
    // Of the last nobody can tell damage from a write that was cut off.
    let disk = make();
    disk.flip_bit(file, 2 * 4_096 + 40, 3);
    let spool = open(&disk, now).expect("a torn end is cut");
    assert_eq!((spool.waiting(), spool.metrics.torn.get()), (2, 1));
    keep(&spool, now, &send(1, 2, "a3"));
    assert_eq!(open(&disk, now).expect("and what follows is found").waiting(), 3);
}

#[test]
fn what_is_refused_for_good_is_a_dead_letter_and_may_go_again_or_be_dropped() {
    let (disk, now) = (SimDisk::new(1), at(0));
    let spool = open(&disk, now).expect("an empty folder");
    let ids: Vec<u64> = ["a1", "a2"].iter().map(|id| keep(&spool, now, &send(1, 2, id))).collect();
    assert_eq!(next(&spool, now).len(), 1);
    let ended = spool.answered(now, ids[0], Err(ErrorCode::NotAMember)).expect("its session is told");
    assert!(matches!(ended.outcome, Err(ErrorCode::NotAMember)));
    assert_eq!(next(&spool, now).len(), 1, "the next of its chat goes");
    spool.answered(now, ids[1], Err(ErrorCode::UnknownChat));
    spool.tidy(at(1));
    assert_eq!(spool.waiting(), 0);
    drop(spool);
    let (letters, broken) = letters::list(&disk).expect("list");
    let told: Vec<_> = letters.iter().map(|letter| (letter.id, letter.refused, id_of(&letter.send))).collect();
    let refused = |code, id: &str| (code, id.to_owned());
    let expected = [refused(Some(ErrorCode::NotAMember), "a1"), refused(Some(ErrorCode::UnknownChat), "a2")];
    assert_eq!(told.iter().map(|(_, code, id)| (*code, id.clone())).collect::<Vec<_>>(), expected);
    assert_eq!(broken, 0);
    assert!(letters::discard(&disk, ids[1]).expect("drop") && !letters::discard(&disk, ids[1]).expect("drop"));
    assert!(letters::replay(&disk, ids[0]).expect("replay") && !letters::replay(&disk, ids[0]).expect("replay"));
    let spool = open(&disk, at(2)).expect("opens");
    assert_eq!(next(&spool, at(2)).into_iter().map(|(_, id)| id).collect::<Vec<_>>(), ["a1"]);
    assert_eq!(letters::list(&disk).expect("list").0.len(), 0);
    assert!(disk.list().expect("list").iter().all(|file| file.ends_with(".spool")));
}

#[test]
fn one_that_may_be_too_old_for_its_answer_to_be_known_does_not_go() {
    let (disk, now) = (SimDisk::new(1), at(0));
    keep(&open(&disk, now).expect("an empty folder"), now, &send(1, 2, "a1"));
    let late = at(TOO_OLD_MS + 1);
    let spool = open(&disk, late).expect("opens");
    let partition = send(1, 2, "a1").header.slot.partition(PARTITIONS);
    assert!(matches!(spool.next(late, partition, ME), Next::Dead(_)));
    spool.tidy(late);
    let (letters, _) = letters::list(&disk).expect("list");
    assert!(matches!(&letters[..], [letter] if letter.refused.is_none()));
}

/// A table in which a chat of users 1 and 2 has this partition.
fn places(version: u64, partition: u16) -> Places {
    let chat = ChatId::direct(user(1), user(2));
    let away = chat.slot().partition(PARTITIONS) != partition;
    Places::new(version, away.then_some((chat, partition)).into_iter().collect())
}

/// What may go to a partition now; each names it.
fn next_of(spool: &Spool, now: Now, partition: u16) -> Vec<(u64, String)> {
    let mut out = Vec::new();
    while let Next::Send(send) = spool.next(now, partition, ME) {
        assert_eq!(send.header.slot.partition(PARTITIONS), partition, "whoever gets it has to know whose it is");
        out.push((send.header.request_id, id_of(&send)));
    }
    out
}

#[test]
fn what_is_queued_goes_to_the_partition_that_has_its_chat_by_then_in_its_order() {
    let (disk, now) = (SimDisk::new(1), at(0));
    let spool = open(&disk, now).expect("an empty folder");
    let home = ChatId::direct(user(1), user(2)).slot().partition(PARTITIONS);
    let other = 1 - home;
    let ids: Vec<u64> = ["a1", "a2", "a3"].iter().map(|id| keep(&spool, now, &send(1, 2, id))).collect();
    let b = keep(&spool, now, &send(2, 1, "b1"));
    let (a1, b1) = ((ids[0], "a1".to_owned()), (b, "b1".to_owned()));
    assert_eq!(next_of(&spool, now, home), [a1.clone(), b1.clone()]);
    // It leaves while these are on their way.
    spool.set_places(&places(3, other));
    spool.set_places(&places(2, home));
    assert_eq!(next_of(&spool, now, home), [], "an old table says nothing");
    assert_eq!(next_of(&spool, now, other), [a1.clone(), b1.clone()]);
    assert_eq!(spool.partitions(), [other]);
    // One that has not heard of it refuses a stranger; it does not go back there.
    assert!(spool.answered(now, a1.0, Err(ErrorCode::StorageUnavailable)).is_none());
    assert_eq!(next_of(&spool, at(1_000), home), []);
    assert_eq!(next_of(&spool, at(1_000), other), [a1]);
    // The former one had stored the other all the same.
    assert!(spool.answered(at(1_000), b1.0, stored(1)).is_some());
    assert!(spool.answered(at(1_000), ids[0], stored(2)).is_some());
    assert_eq!(next_of(&spool, at(1_000), other), [(ids[1], "a2".to_owned())]);
    // The writer starts again. Until it has read the table it asks at home, and that one does not have the chat.
    let spool = open(&disk, at(1_001)).expect("opens");
    let again = next_of(&spool, at(1_001), home);
    let (first, rest) = again.split_first().expect("something is left");
    assert!(first.1.starts_with("a1") && rest.iter().all(|(_, id)| id == "b1"), "{again:?}");
    again.iter().for_each(|(id, _)| drop(spool.answered(at(1_001), *id, Err(ErrorCode::StorageUnavailable))));
    spool.set_places(&places(3, other));
    for (n, id) in ["a1", "a2", "a3"].iter().enumerate() {
        let now = at(2_000 + n as u64);
        assert_eq!(next_of(&spool, now, home), []);
        let found = next_of(&spool, now, other);
        let (number, _) = found.iter().find(|(_, found)| found == id).expect("it is next");
        assert!(found.iter().all(|(_, found)| found == id || found == "b1"), "{found:?}");
        spool.answered(now, *number, stored(3));
    }
    // Home again, and there to stay.
    keep(&spool, at(3_000), &send(1, 2, "a4"));
    spool.set_places(&places(4, home));
    assert_eq!(next_of(&spool, at(3_000), home).last().map(|(_, id)| id.as_str()), Some("a4"));
    assert_eq!(next_of(&spool, at(3_000), other), []);
}

#[test]
fn nothing_is_written_for_a_partition_behind_what_is_being_written_for_another() {
    let (disk, now) = (SimDisk::new(1), at(0));
    let spool = open(&disk, now).expect("an empty folder");
    let (one, two, others) = (send(1, 2, "a1"), send(1, 2, "a2"), send(2, 1, "b1"));
    let home = one.header.slot.partition(PARTITIONS);
    let by = |partition, envelope| spool.reserve(now, partition, &Sending::of(envelope).expect("a send"));
    let Some(Reserved::New(first)) = by(home, &one) else { panic!("there is room") };
    spool.set_places(&places(1, 1 - home));
    assert_eq!(by(1 - home, &two), None, "if the first is not written, nobody there knows");
    assert_eq!(by(1 - home, &one), None, "nobody there would tell");
    assert!(matches!(by(1 - home, &others), Some(Reserved::New(_))), "another's goes its own way");
    assert!(matches!(spool.write(&[first]), Written::Durable(_)));
    assert_eq!(by(1 - home, &one), Some(Reserved::Kept));
    assert!(matches!(by(1 - home, &two), Some(Reserved::New(_))));
}

#[test]
fn a_letter_that_goes_again_goes_where_its_chat_is() {
    let (disk, now) = (SimDisk::new(1), at(0));
    let spool = open(&disk, now).expect("an empty folder");
    let id = keep(&spool, now, &send(1, 2, "a1"));
    let home = send(1, 2, "a1").header.slot.partition(PARTITIONS);
    assert_eq!(next_of(&spool, now, home).len(), 1);
    spool.answered(now, id, Err(ErrorCode::NotAMember));
    spool.tidy(at(1));
    spool.set_places(&places(1, 1 - home));
    assert!(letters::replay(&disk, id).expect("replay"));
    spool.tidy(at(2));
    assert_eq!(next_of(&spool, at(2), home), []);
    assert_eq!(next_of(&spool, at(2), 1 - home).len(), 1);
}

/// What a life has promised: by lane, what is queued and not known to be settled, in order.
#[derive(Default)]
struct Promises {
    kept: BTreeMap<(u64, u64), VecDeque<String>>,
}

impl Promises {
    /// All of it is there, in order; what nobody was told of may stand before, between and behind.
    fn check(&self, spool: &Spool) {
        let state = lock(&spool.state);
        for (&(from, to), kept) in &self.kept {
            let lane = (user(from), ChatId::direct(user(from), user(to)));
            let found: Vec<String> = state.lanes.of(lane).map(|kept| id_of(&kept.send)).collect();
            let promised: Vec<String> = found.iter().filter(|id| kept.contains(id)).cloned().collect();
            assert_eq!(promised, Vec::from(kept.clone()), "of {from} to {to}: {found:?}");
        }
    }
}

/// A random life on a disk that loses power at any call.
fn live(seed: u64) {
    let (disk, mut entropy) = (SimDisk::new(seed), SeededEntropy::new(seed));
    let (mut promises, mut ms, mut number) = (Promises::default(), 0, 0);
    let mut spool = open(&disk, at(0)).expect("an empty folder");
    let mut writing: Vec<(u64, u64, u64, String)> = Vec::new();
    for step in 0..300 {
        ms += entropy.next_u64() % 300;
        let now = at(ms);
        match entropy.next_u64() % 12 {
            0..5 => {
                let (from, to) = (1 + entropy.next_u64() % 3, 4 + entropy.next_u64() % 2);
                number += 1;
                let id = format!("m{number}");
                if let Some(Reserved::New(at)) = reserve(&spool, now, &send(from, to, &id)) {
                    writing.push((at, from, to, id));
                }
            }
            5..8 => {
                let ids: Vec<u64> = writing.iter().map(|(id, ..)| *id).collect();
                let all = std::mem::take(&mut writing);
                if matches!(spool.write(&ids), Written::Durable(_)) {
                    for (id, from, to, text) in all {
                        assert!(spool.take_askers(id).is_some_and(|(askers, ..)| askers.len() == 1), "seed {seed}");
                        promises.kept.entry((from, to)).or_default().push_back(text);
                    }
                }
            }
            8..10 => {
                for (id, text) in next(&spool, now) {
                    let lane = promises.kept.values_mut().find(|lane| lane.contains(&text));
                    if let Some(lane) = &lane {
                        assert_eq!(lane.front(), Some(&text), "seed {seed}, step {step}: it overtook another");
                    }
                    if entropy.next_u64().is_multiple_of(3) {
                        spool.answered(now, id, Err(ErrorCode::Overloaded));
                    } else if spool.answered(now, id, stored(1)).is_some()
                        && let Some(lane) = lane
                    {
                        lane.pop_front();
                    }
                }
            }
            10 => spool.tidy(now),
            _ => {
                disk.lose_power_after(entropy.next_u64() % 4);
                let ids: Vec<u64> = writing.drain(..).map(|(id, ..)| id).collect();
                let _ = spool.write(&ids);
                spool.tidy(now);
                disk.crash();
                spool = open(&disk, now).unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
            }
        }
        promises.check(&spool);
    }
}

#[test]
fn whatever_the_disk_does_what_was_told_queued_is_there_in_order() {
    (0..150).for_each(live);
}
