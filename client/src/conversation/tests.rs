//! Whoever has the same entries has the same messages, in whichever order and form they came.

use proptest::prelude::*;
use schema::encode::{Amended, Encoder, EntryFields, Extras};
use schema::frame::FrameRef;
use schema::ids::ChatId;

use super::*;

const CHAT: ChatId = ChatId([3; 16]);

fn user(n: u64) -> UserId {
    UserId::new(n).unwrap()
}

fn id(seq: u64) -> MessageId {
    schema::timeuuid::from_parts(17_672_256_000_000_000 + seq, [1; 8])
}

fn entry(frame: &[u8]) -> Entry {
    Entry::new(FrameRef::verify(frame).unwrap()).unwrap()
}

/// One step of a log: by whom, what, about which of the messages before, and a number for whatever it needs.
type Step = (u64, u8, usize, u8);

/// A log as it was pushed, and each entry as pages showed it later.
struct Log {
    encoder: Encoder,
    pushed: Vec<Bytes>,
    /// By seq - 1: every form that the entry ever had.
    forms: Vec<Vec<Bytes>>,
    messages: Vec<usize>,
    last_edit: BTreeMap<usize, usize>,
    deleted: Vec<usize>,
}

impl Log {
    fn of(steps: &[Step]) -> Self {
        let mut log = Self {
            encoder: Encoder::new(),
            pushed: Vec::new(),
            forms: Vec::new(),
            messages: Vec::new(),
            last_edit: BTreeMap::new(),
            deleted: Vec::new(),
        };
        steps.iter().for_each(|&step| log.step(step));
        log
    }

    fn push(&mut self, sender: u64, kind: EntryKind, body: &[u8], about: Option<usize>, ttl_s: u32) -> usize {
        let seq = self.pushed.len() as u64 + 1;
        let fields = EntryFields {
            chat: CHAT,
            message: id(seq),
            seq,
            sender: user(sender),
            device: DeviceId(1),
            kind,
            content_type: seq as u8,
            body,
            client_msg_id: b"c",
            refers_to: about.map(|at| id(at as u64 + 1)),
            after_seq: seq - 1,
            timestamp_ms: 1_000 * seq,
        };
        let users = [user(seq)];
        let users = if matches!(kind, EntryKind::message | EntryKind::edited) { &users[..] } else { &[] };
        let frame = self.encoder.entry_with(&fields, &Extras { users, ttl_s, ..Extras::default() });
        self.pushed.push(frame.clone());
        self.forms.push(vec![frame]);
        seq as usize - 1
    }

    fn amend(&mut self, at: usize, change: &Amended<'_>) {
        let last = self.forms[at].last().unwrap().clone();
        let now = self.encoder.amended(&last, change).unwrap();
        self.forms[at].push(now);
    }

    fn step(&mut self, (sender, what, which, n): Step) {
        let about = (!self.messages.is_empty()).then(|| self.messages[which % self.messages.len()]);
        let alive = about.filter(|at| !self.deleted.contains(at));
        let body = vec![b'a' + n % 26; 1 + usize::from(n % 5)];
        match (what, alive) {
            (0..3, Some(at)) => {
                let edit = self.push(sender, EntryKind::edited, &body, Some(at), 0);
                let at_ms = 1_000 * (edit as u64 + 1);
                let frame = self.pushed[edit].clone();
                let users = FrameRef::verify(&frame).unwrap().root().body_as_entry().unwrap().users();
                let (by_seq, content_type) = (edit as u64 + 1, edit as u8 + 1);
                self.amend(at, &Amended::Edited { by_seq, at_ms, content_type, body: &body, users });
                if let Some(before) = self.last_edit.insert(at, edit) {
                    self.amend(before, &Amended::Blanked { at_ms });
                }
            }
            (3, Some(at)) => {
                let at_ms = 1_000 * (self.push(sender, EntryKind::deleted, b"", Some(at), 0) as u64 + 1);
                self.amend(at, &Amended::Blanked { at_ms });
                if let Some(edit) = self.last_edit.remove(&at) {
                    self.amend(edit, &Amended::Blanked { at_ms });
                }
                self.deleted.push(at);
            }
            (4..7, Some(at)) => {
                let reaction = if n.is_multiple_of(3) { &b""[..] } else { &body };
                self.push(sender, EntryKind::reacted, reaction, Some(at), 0);
            }
            (7, _) => drop(self.push(sender, EntryKind::timer, b"", None, u32::from(n))),
            _ => {
                let at = self.push(sender, EntryKind::message, &body, about.filter(|_| n > 200), u32::from(n % 3));
                self.messages.push(at);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_order_and_any_form_give_the_same(
        steps in prop::collection::vec((1u64..4, 0u8..12, any::<usize>(), any::<u8>()), 1..60),
        picks in prop::collection::vec((any::<usize>(), any::<usize>()), 120),
    ) {
        let log = Log::of(&steps);
        let mut pushed = Conversation::new();
        log.pushed.iter().for_each(|frame| pushed.apply(&entry(frame)));
        let count = log.pushed.len();
        // Every entry once at least, in some form; some again in another.
        let mut order: Vec<(usize, usize)> = (0..count).map(|at| (at, picks[at].0)).collect();
        order.extend(picks[60..].iter().take(count / 2).map(|&(at, form)| (at % count, form)));
        for at in (1..order.len()).rev() {
            order.swap(at, picks[at % picks.len()].1 % (at + 1));
        }
        let mut other = Conversation::new();
        for (at, form) in order {
            let forms = &log.forms[at];
            other.apply(&entry(&forms[form % forms.len()]));
        }
        prop_assert!(pushed == other, "{:?} and {:?}", pushed.messages(0).collect::<Vec<_>>(), other.messages(0).collect::<Vec<_>>());
        // Pages as they are in the end say the same, without a body that another took the place of.
        let mut page = Conversation::new();
        log.forms.iter().for_each(|forms| page.apply(&entry(forms.last().unwrap())));
        prop_assert!(pushed == page);
    }
}

#[test]
fn a_message_is_what_its_last_edit_says_and_nothing_once_it_is_deleted() {
    let log = Log::of(&[(1, 9, 0, 0), (1, 0, 0, 1), (2, 4, 0, 1), (1, 0, 0, 2), (2, 4, 0, 2), (3, 4, 0, 4)]);
    let mut chat = Conversation::new();
    log.pushed.iter().rev().for_each(|frame| chat.apply(&entry(frame)));
    let message = chat.message(id(1), 0).unwrap();
    assert_eq!((message.body, message.edited_seq, message.edited_ms), (&b"ccc"[..], 4, 4_000));
    assert_eq!(message.mentions, [user(4)]);
    let reactions: Vec<_> = message.reactions().collect();
    assert_eq!(reactions, [(user(2), &b"ccc"[..]), (user(3), &b"eeeee"[..])], "the last of each");
    let place = Place { chat: CHAT, message: id(7), seq: 7, timestamp_ms: 7_000 };
    chat.amended(user(1), &place, &Amendment::Deleted { chat: CHAT, message: id(1) });
    let message = chat.message(id(1), 0).unwrap();
    assert_eq!((message.body, message.deleted_ms, message.reactions().count()), (&b""[..], 7_000, 0));
}

#[test]
fn an_own_message_disappears_as_the_chats_timer_said_when_it_was_sent() {
    let mut chat = Conversation::new();
    let at = |seq: u64| Place { chat: CHAT, message: id(seq), seq, timestamp_ms: 1_000 * seq };
    let send = NewSend::message(
        Bytes::from_static(b"x"),
        schema::encode::SendTarget::Chat(CHAT),
        Bytes::from_static(b"hello"),
    );
    let me = (user(1), DeviceId(1));
    chat.sent(me, &at(3), &send, 2);
    chat.amended(user(1), &at(1), &Amendment::Timer { chat: CHAT, ttl_s: 5 });
    chat.amended(user(1), &at(4), &Amendment::Timer { chat: CHAT, ttl_s: 0 });
    chat.sent(me, &at(5), &send, 4);
    assert_eq!(chat.ttl_s(), 0);
    assert_eq!(chat.messages(7_999).map(|message| message.seq).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(chat.messages(8_000).map(|message| message.seq).collect::<Vec<_>>(), [5]);
    assert_eq!(chat.expire(8_000), [3]);
    assert_eq!(chat.messages(0).map(|message| message.seq).collect::<Vec<_>>(), [5]);
}

#[test]
fn who_joined_after_the_timer_was_set_learns_of_it_from_others_messages() {
    let log = Log::of(&[(1, 9, 0, 5)]);
    let mut chat = Conversation::new();
    chat.apply(&entry(&log.pushed[0]));
    let place = Place { chat: CHAT, message: id(2), seq: 2, timestamp_ms: 2_000 };
    let target = schema::encode::SendTarget::Chat(CHAT);
    let send = NewSend::message(Bytes::from_static(b"x"), target, Bytes::from_static(b"hello"));
    chat.sent((user(2), DeviceId(1)), &place, &send, 1);
    assert_eq!(chat.messages(0).map(|message| message.ttl_s).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(chat.ttl_s(), 2);
}
