//! Amendments in one owner's hands: who may, what readers see of it, and that a blanked body is nowhere any more.

use bytes::Bytes;
use fabric::sim::DiskFaults;
use schema::encode::{Encoder, Extras, SendFields, SendTarget};
use schema::envelope::{Address, Body};
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{ChatId, MessageId, UserId};
use schema::wire::{EntryKind, Role};

use super::world::{World, small, user};
use crate::partition::PartitionConfig;
use crate::store::{HistoryRange, Store};

const ASKER: Address = Address { incarnation: 9, shard: 0, connection: 99, generation: 1 };

/// An entry as a reader is given it.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Seen {
    seq: u64,
    kind: EntryKind,
    body: String,
    edited_seq: u64,
    deleted: bool,
}

fn seen(seq: u64, kind: EntryKind, body: &str) -> Seen {
    Seen { seq, kind, body: body.to_owned(), edited_seq: 0, deleted: false }
}

fn edited(seq: u64, body: &str, edited_seq: u64) -> Seen {
    Seen { edited_seq, ..seen(seq, EntryKind::message, body) }
}

fn gone(seq: u64, kind: EntryKind) -> Seen {
    Seen { deleted: true, ..seen(seq, kind, "") }
}

struct Talk {
    world: World,
    chat: ChatId,
    sends: u32,
    ids: Vec<MessageId>,
}

impl Talk {
    fn new(config: PartitionConfig) -> Self {
        let chat = ChatId::direct(user(1), user(2));
        Self { world: World::new(11, 2, config), chat, sends: 0, ids: Vec::new() }
    }

    /// Sends and waits for the answer: the seq, or why not.
    fn say(&mut self, by: u64, kind: EntryKind, of: u64, body: &str, extras: &Extras<'_>) -> Result<u64, ErrorCode> {
        self.sends += 1;
        let id = format!("s{}", self.sends);
        self.say_as(&id, by, kind, of, body, extras)
    }

    fn say_as(
        &mut self,
        id: &str,
        by: u64,
        kind: EntryKind,
        of: u64,
        body: &str,
        extras: &Extras<'_>,
    ) -> Result<u64, ErrorCode> {
        let refers_to = (of > 0).then(|| self.ids[of as usize - 1]);
        self.world.out.gateway.clear();
        if kind == EntryKind::message && self.ids.is_empty() {
            self.world.send_text(user(by), user(3 - by), id, body);
        } else {
            let fields = SendFields {
                client_msg_id: id.as_bytes(),
                target: SendTarget::Chat(self.chat),
                kind,
                content_type: 0,
                body: body.as_bytes(),
                refers_to,
                after_seq: 0,
                retry: true,
            };
            let send = |encoder: &mut Encoder| encoder.send_with(&fields, Some(fields.target), extras);
            self.world.say_in(user(by), self.chat, send);
        }
        self.world.settle();
        let answers = self.world.out.gateway.drain(..).map(|(_, envelope)| envelope.body);
        let answer = answers.into_iter().find_map(|body| match body {
            Body::Sent { seq, message, .. } => Some(Ok((seq, message))),
            Body::Refused { code, .. } => Some(Err(code)),
            _ => None,
        });
        let (seq, message) = answer.expect("answered")?;
        if self.ids.len() < seq as usize {
            self.ids.push(message);
        }
        assert_eq!(self.ids[seq as usize - 1], message, "an answer is given again as it was");
        Ok(seq)
    }

    fn write(&mut self, by: u64, body: &str) -> u64 {
        self.say(by, EntryKind::message, 0, body, &Extras::default()).expect("taken")
    }

    fn edit(&mut self, by: u64, of: u64, body: &str) -> Result<u64, ErrorCode> {
        self.say(by, EntryKind::edited, of, body, &Extras::default())
    }

    fn delete(&mut self, by: u64, of: u64) -> Result<u64, ErrorCode> {
        self.say(by, EntryKind::deleted, of, "", &Extras::default())
    }

    fn page(&mut self, of: u64) -> Vec<Seen> {
        self.world.out.gateway.clear();
        let chat = self.chat;
        let (limit_entries, limit_bytes) = (1_000, 1 << 20);
        let (after_seq, before_seq, newest, ticks, blind) = (0, 0, false, false, false);
        let user = user(of);
        let body =
            Body::PageRequest { chat, user, after_seq, before_seq, newest, limit_entries, limit_bytes, ticks, blind };
        self.world.chat(chat, ASKER, body);
        self.world.settle();
        match self.world.out.gateway.drain(..).map(|(_, envelope)| envelope.body).next_back() {
            Some(Body::Page { entries, covers_last, head_seq, .. }) => {
                assert_eq!(covers_last, head_seq);
                entries.iter().map(|(seq, frame)| shown(*seq, frame)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// What was in memory goes to the store, and memory forgets it.
    fn flush(&mut self) {
        for _ in 0..8 {
            self.world.advance(2_000);
            self.world.settle();
        }
    }

    fn crash(&mut self, partitions: u16) {
        self.world.crash(partitions);
        self.world.settle();
    }

    /// Whether a body is anywhere in the store.
    fn is_stored(&self, body: &str) -> bool {
        let range =
            HistoryRange { after_seq: 0, up_to_seq: u64::MAX, limit_entries: usize::MAX, limit_bytes: usize::MAX };
        let stored = self.world.store.history(self.chat, range).expect("reads");
        stored.iter().any(|entry| entry.frame.windows(body.len()).any(|part| part == body.as_bytes()))
    }
}

fn shown(seq: u64, frame: &Bytes) -> Seen {
    let frame = FrameRef::verify(frame).expect("a frame");
    let entry = frame.root().body_as_entry().expect("an entry");
    assert_eq!(entry.seq(), seq);
    Seen {
        seq,
        kind: entry.kind(),
        body: String::from_utf8_lossy(entry.body().map_or(&[], |body| body.bytes())).into_owned(),
        edited_seq: entry.edited_seq(),
        deleted: entry.deleted_ms() > 0,
    }
}

#[test]
fn a_page_shows_messages_as_they_are_now_before_and_after_flushes_and_crashes() {
    let mut talk = Talk::new(small());
    assert_eq!(talk.write(1, "first words"), 1);
    assert_eq!(talk.write(2, "an answer"), 2);
    assert_eq!(talk.edit(1, 1, "better words"), Ok(3));
    assert_eq!(talk.edit(1, 1, "best words"), Ok(4));
    assert_eq!(talk.delete(2, 2), Ok(5));
    assert_eq!(talk.say(2, EntryKind::reacted, 1, "+1", &Extras::default()), Ok(6));
    let now = vec![
        edited(1, "best words", 4),
        gone(2, EntryKind::message),
        gone(3, EntryKind::edited),
        seen(4, EntryKind::edited, "best words"),
        seen(5, EntryKind::deleted, ""),
        seen(6, EntryKind::reacted, "+1"),
    ];
    for round in 0..5 {
        assert_eq!(talk.page(2), now, "round {round}");
        match round {
            0 => talk.crash(3),
            1 => talk.flush(),
            2 => talk.crash(1),
            _ => talk.crash(2),
        }
    }
    // Of what only the store has.
    assert_eq!(talk.edit(1, 1, "last words"), Ok(7));
    assert_eq!(talk.delete(1, 1), Ok(8));
    assert_eq!(talk.edit(1, 1, "too many words"), Err(ErrorCode::MessageDeleted));
    let now = |seen: Vec<Seen>| (seen[0].clone(), seen[3].clone(), seen[6].clone());
    let expected = (gone(1, EntryKind::message), gone(4, EntryKind::edited), gone(7, EntryKind::edited));
    for round in 0..3 {
        assert_eq!(now(talk.page(1)), expected, "round {round}");
        if round == 0 { talk.crash(2) } else { talk.flush() }
    }
    for body in ["first words", "better words", "best words", "last words", "an answer"] {
        assert!(!talk.is_stored(body), "{body}");
    }
    assert!(talk.is_stored("+1"));
}

#[test]
fn only_those_who_may_amend_only_what_can_be_and_only_in_time() {
    let mut talk = Talk::new(PartitionConfig { edit_window_s: 60, delete_window_s: 120, ..small() });
    talk.write(1, "mine");
    assert_eq!(talk.edit(2, 1, "yours"), Err(ErrorCode::NotTheSender));
    assert_eq!(talk.delete(2, 1), Err(ErrorCode::NotTheSender));
    assert_eq!(talk.say(1, EntryKind::reacted, 1, "+", &Extras::default()), Ok(2));
    assert_eq!(talk.edit(1, 2, "a reaction"), Err(ErrorCode::UnknownMessage));
    talk.ids.push(MessageId([1; 16]));
    assert_eq!(talk.edit(1, 3, "nothing"), Err(ErrorCode::UnknownMessage));
    talk.ids.pop();
    talk.flush();
    talk.ids.push(MessageId([1; 16]));
    assert_eq!(talk.edit(1, 3, "nothing in the store either"), Err(ErrorCode::UnknownMessage));
    talk.ids.pop();
    talk.world.advance(60_000);
    assert_eq!(talk.edit(1, 1, "late"), Err(ErrorCode::TooLate));
    assert_eq!(talk.say(2, EntryKind::reacted, 1, "-", &Extras::default()), Ok(3), "for ever");
    talk.world.advance(60_000);
    assert_eq!(talk.delete(1, 1), Err(ErrorCode::TooLate));
    let stranger = Extras { users: &[user(9)], ..Extras::default() };
    assert_eq!(talk.say(1, EntryKind::message, 0, "@9", &stranger), Err(ErrorCode::UnknownMember));
    let peer = Extras { users: &[user(2)], ..Extras::default() };
    assert_eq!(talk.say(1, EntryKind::message, 0, "@2", &peer), Ok(4));
}

#[test]
fn an_amendment_on_its_way_counts_for_what_follows_and_a_failed_write_forgets_it() {
    let mut talk = Talk::new(small());
    talk.write(1, "words");
    let (chat, original) = (talk.chat, talk.ids[0]);
    let amend = |world: &mut World, id: &str, kind: EntryKind, body: &str| {
        let fields = SendFields {
            client_msg_id: id.as_bytes(),
            target: SendTarget::Chat(chat),
            kind,
            content_type: 0,
            body: body.as_bytes(),
            refers_to: Some(original),
            after_seq: 0,
            retry: false,
        };
        world.say_in(user(1), chat, |encoder| encoder.send_with(&fields, Some(fields.target), &Extras::default()));
    };
    let well = talk.world.disk.faults();
    talk.world.disk.set_faults(DiskFaults { fail_one_in: 1, ..well });
    talk.world.out.gateway.clear();
    amend(&mut talk.world, "d", EntryKind::deleted, "");
    amend(&mut talk.world, "e", EntryKind::edited, "more");
    talk.world.settle();
    let refused: Vec<ErrorCode> =
        talk.world.out.gateway.drain(..).filter_map(|(_, envelope)| refusal(&envelope.body)).collect();
    assert_eq!(refused, [ErrorCode::MessageDeleted, ErrorCode::StorageUnavailable]);
    talk.world.disk.set_faults(well);
    talk.world.advance(3_000);
    talk.world.settle();
    assert_eq!(talk.page(1), [seen(1, EntryKind::message, "words")], "it was never deleted");
    // Three edits in one block: each names the one before.
    for id in ["d", "e1", "e2", "e3"] {
        amend(&mut talk.world, id, EntryKind::edited, id);
    }
    talk.world.settle();
    let now = [
        edited(1, "e3", 5),
        gone(2, EntryKind::edited),
        gone(3, EntryKind::edited),
        gone(4, EntryKind::edited),
        seen(5, EntryKind::edited, "e3"),
    ];
    assert_eq!(talk.page(2), now);
    talk.flush();
    assert_eq!(talk.page(2), now);
}

fn refusal(body: &Body) -> Option<ErrorCode> {
    if let Body::Refused { code, .. } = body { Some(*code) } else { None }
}

#[test]
fn messages_disappear_after_the_time_that_was_set_when_they_were_ordered() {
    let mut talk = Talk::new(small());
    let timer = |ttl_s| Extras { ttl_s, ..Extras::default() };
    talk.write(1, "stays");
    assert_eq!(talk.say(2, EntryKind::timer, 0, "", &timer(60)), Ok(2));
    assert_eq!(talk.say(1, EntryKind::timer, 0, "", &timer(60)), Err(ErrorCode::NoChange));
    talk.write(1, "goes");
    talk.crash(3);
    talk.write(2, "goes too");
    talk.world.advance(30_000);
    assert_eq!(talk.edit(2, 4, "with its edit"), Ok(5));
    assert_eq!(talk.page(1).len(), 5);
    assert_eq!(talk.say(1, EntryKind::timer, 0, "", &timer(0)), Ok(6));
    talk.write(1, "stays too");
    talk.world.advance(31_000);
    talk.world.settle();
    let left = |talk: &mut Talk| talk.page(2).into_iter().map(|entry| entry.seq).collect::<Vec<_>>();
    assert_eq!(left(&mut talk), [1, 2, 6, 7], "covered without an entry");
    assert_eq!(talk.edit(1, 3, "again"), Err(ErrorCode::UnknownMessage));
    talk.flush();
    talk.crash(2);
    assert_eq!(left(&mut talk), [1, 2, 6, 7]);
    assert_eq!(talk.say(1, EntryKind::timer, 0, "", &timer(0)), Err(ErrorCode::NoChange), "the state is kept");
}

#[test]
fn an_admin_deletes_what_others_wrote_and_nobody_edits_it() {
    let mut talk = Talk::new(small());
    talk.chat = ChatId::group(user(1), b"make");
    let members: Vec<UserId> = vec![user(2), user(3)];
    let made = {
        let users = Extras { users: &members, role: Role::member, ..Extras::default() };
        talk.ids.push(MessageId([0; 16])); // so that nothing goes to a user
        let fields = SendFields {
            client_msg_id: b"make",
            target: SendTarget::Chat(talk.chat),
            kind: EntryKind::created,
            content_type: 0,
            body: b"Hiking",
            refers_to: None,
            after_seq: 0,
            retry: false,
        };
        talk.world.say_in(user(1), talk.chat, |encoder| encoder.send_with(&fields, None, &users));
        talk.world.settle();
        talk.world.out.gateway.drain(..).find_map(|(_, envelope)| match envelope.body {
            Body::Sent { seq, .. } => Some(seq),
            _ => None,
        })
    };
    assert_eq!(made, Some(1));
    assert_eq!(talk.write(2, "theirs"), 2);
    assert_eq!(talk.delete(3, 2), Err(ErrorCode::NotTheSender));
    assert_eq!(talk.edit(1, 2, "mine now"), Err(ErrorCode::NotTheSender));
    assert_eq!(
        talk.say(2, EntryKind::timer, 0, "", &Extras { ttl_s: 60, ..Extras::default() }),
        Err(ErrorCode::NotAnAdmin)
    );
    talk.world.advance(200_000_000);
    assert_eq!(talk.delete(2, 2), Err(ErrorCode::TooLate));
    assert_eq!(talk.delete(1, 2), Ok(3));
    assert_eq!(talk.page(3)[1], gone(2, EntryKind::message));
}

#[test]
fn the_same_amendment_gets_the_same_answer() {
    let mut talk = Talk::new(small());
    talk.write(1, "words");
    let none = Extras::default();
    for round in 0..4 {
        assert_eq!(talk.say_as("edit", 1, EntryKind::edited, 1, "better", &none), Ok(2), "round {round}");
        if round > 0 {
            assert_eq!(talk.say_as("delete", 1, EntryKind::deleted, 1, "", &none), Ok(3), "round {round}");
        }
        if round == 1 { talk.flush() } else { talk.crash(2) }
    }
    assert_eq!(talk.page(2).len(), 3);
}
