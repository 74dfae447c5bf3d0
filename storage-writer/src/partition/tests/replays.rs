//! Crashes while only some partitions have flushed their part of what older journals left: those journals are replayed
//! whole over a store that has moved on. Nothing that was durable comes undone.

use std::collections::BTreeMap;

use bytes::Bytes;
use schema::encode::{Extras, SendFields, SendTarget};
use schema::envelope::{Address, Body};
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::{EntryKind, MarkStatus, Role};

use super::world::{World, small, user};
use crate::lsn::JournalId;
use crate::partition::PartitionConfig;
use crate::store::{ChatState, CrashPoint, HistoryRange, Store};

const ASKER: Address = Address { incarnation: 9, shard: 0, connection: 99, generation: 1 };
const EVERYBODY: [u16; 3] = [0, 1, 2];

/// A chat's state, and its entries as a reader is given them.
type Known = Vec<(ChatState, Vec<(u64, Bytes)>)>;

struct Talk {
    chat: ChatId,
    users: Vec<u64>,
    /// What was written in it, and by whom.
    written: Vec<(u64, MessageId)>,
}

struct Lives {
    world: World,
    talks: Vec<Talk>,
    sends: u64,
    /// How often each kind of entry was taken.
    taken: BTreeMap<EntryKind, u64>,
}

impl Lives {
    /// Direct chats, groups and account logs of four users, in both of two partitions.
    fn new(seed: u64, freeze_bytes: usize) -> Self {
        let config = PartitionConfig {
            freeze_bytes,
            freeze_idle_ms: 20_000,
            freeze_age_ms: 60_000,
            edit_window_s: 1_000_000,
            delete_window_s: 1_000_000,
            ..small()
        };
        let mut lives =
            Self { world: World::new(seed, 2, config), talks: Vec::new(), sends: 0, taken: BTreeMap::new() };
        for (from, to) in [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)] {
            lives.world.send_text(user(from), user(to), &format!("{from}-{to}"), "first words");
            lives.world.settle();
            lives.talks.push(Talk {
                chat: ChatId::direct(user(from), user(to)),
                users: vec![from, to],
                written: Vec::new(),
            });
        }
        for id in ["group a", "group b", "group c"] {
            let (chat, users) = (ChatId::group(user(1), id.as_bytes()), [user(2), user(3)]);
            let extras = Extras { users: &users, role: Role::member, ..Extras::default() };
            lives.say_as(id, 1, chat, (EntryKind::created, "Hiking"), None, &extras).expect("made");
            lives.talks.push(Talk { chat, users: vec![1, 2, 3, 4], written: Vec::new() });
        }
        lives
    }

    fn say(
        &mut self,
        by: u64,
        chat: ChatId,
        what: (EntryKind, &str),
        of: Option<MessageId>,
        extras: &Extras<'_>,
    ) -> Option<MessageId> {
        self.sends += 1;
        let id = format!("s{}", self.sends);
        self.say_as(&id, by, chat, what, of, extras)
    }

    fn say_as(
        &mut self,
        id: &str,
        by: u64,
        chat: ChatId,
        (kind, body): (EntryKind, &str),
        refers_to: Option<MessageId>,
        extras: &Extras<'_>,
    ) -> Option<MessageId> {
        let target = SendTarget::Chat(chat);
        let (client_msg_id, body) = (id.as_bytes(), body.as_bytes());
        let (content_type, after_seq, retry) = (0, 0, false);
        let fields = SendFields { client_msg_id, target, kind, content_type, body, refers_to, after_seq, retry };
        let named = (kind != EntryKind::created && chat != ChatId::account(user(by))).then_some(target);
        self.world.out.gateway.clear();
        self.world.say_in(user(by), chat, |encoder| encoder.send_with(&fields, named, extras));
        self.world.settle();
        let sent = self.world.out.gateway.drain(..).find_map(|(_, envelope)| match envelope.body {
            Body::Sent { message, .. } => Some(message),
            _ => None,
        })?;
        *self.taken.entry(kind).or_default() += 1;
        Some(sent)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.world.random(from.len() as u64) as usize]
    }

    /// Something happens. What may not be is refused.
    fn step(&mut self) {
        let at = self.world.random(self.talks.len() as u64) as usize;
        let Talk { chat, users, written } = &self.talks[at];
        let (chat, users, written) = (*chat, users.clone(), written.clone());
        let by = self.pick(&users);
        let none = Extras::default();
        match self.world.random(11) {
            0 | 1 => {
                let sent = self.say(by, chat, (EntryKind::message, "words"), None, &none);
                self.talks[at].written.extend(sent.map(|message| (by, message)));
            }
            2..5 if !written.is_empty() => {
                let (by, of) = self.pick(&written);
                let kinds = [EntryKind::edited, EntryKind::edited, EntryKind::deleted, EntryKind::reacted];
                let (kind, body) = (self.pick(&kinds), format!("other words {}", self.sends));
                let body = if kind == EntryKind::deleted { "" } else { &body };
                self.say(by, chat, (kind, body), Some(of), &none);
            }
            5 => {
                let ttl_s = self.pick(&[0, 500_000, 600_000]);
                self.say(by, chat, (EntryKind::timer, ""), None, &Extras { ttl_s, ..none });
            }
            6 | 10 => self.change_group(),
            7 => self.change_account(by),
            _ => self.mark(by, chat),
        }
    }

    fn change_group(&mut self) {
        let groups: Vec<ChatId> = self.talks.iter().filter(|talk| talk.users.len() > 2).map(|talk| talk.chat).collect();
        let chat = self.pick(&groups);
        let kinds = [EntryKind::added, EntryKind::removed, EntryKind::role, EntryKind::renamed];
        let kind = self.pick(&kinds);
        let users = [user(self.pick(&[2, 3, 4]))];
        let users: &[UserId] = if kind == EntryKind::renamed { &[] } else { &users };
        let role = self.pick(&[Role::member, Role::admin]);
        let name = format!("Climbing {}", self.sends);
        let body = if kind == EntryKind::renamed { &name } else { "" };
        self.say(1, chat, (kind, body), None, &Extras { users, role, ..Extras::default() });
    }

    fn change_account(&mut self, by: u64) {
        let (account, none) = (ChatId::account(user(by)), Extras::default());
        let (subject, of) = (Some(self.talks[0].chat), Some(MessageId([self.sends as u8; 16])));
        let device = DeviceId(2 + self.world.random(2) as u32);
        let value = self.pick(&["on", "off"]);
        let (what, of, extras) = match self.world.random(5) {
            0 => ((EntryKind::hidden, ""), of, Extras { subject, ..none }),
            1 => ((EntryKind::device, value), None, Extras { device, ..none }),
            2 => ((EntryKind::revoked, ""), None, Extras { device, ..none }),
            3 => ((EntryKind::setting, value), None, Extras { key: b"pinned", subject, ..none }),
            _ => ((EntryKind::setting, value), None, Extras { key: b"read_receipts", ..none }),
        };
        self.say(by, account, what, of, &extras);
    }

    fn mark(&mut self, who: u64, chat: ChatId) {
        let (user, device) = (user(who), DeviceId(1 + self.world.random(2) as u32));
        let (seq, secret) = (1 + self.world.random(20), self.world.random(3) == 0);
        let status = self.pick(&[MarkStatus::delivered, MarkStatus::read, MarkStatus::read]);
        self.world.chat(chat, ASKER, Body::Mark { chat, user, device, seq, message: None, status, secret });
        self.world.settle();
    }

    /// All that the partitions know. When somebody ticked is left out: of what is replayed that is the time of the start.
    fn known(&mut self) -> Known {
        let mut states: Vec<ChatState> = Vec::new();
        for partition in &self.world.partitions {
            let chats = &partition.memory.chats;
            states.extend((0..chats.len() as u32).map(|index| chats.get(index).to_state()));
        }
        states.sort_by_key(|state| state.chat);
        states.into_iter().map(|state| self.with_entries(state)).collect()
    }

    fn with_entries(&mut self, mut state: ChatState) -> (ChatState, Vec<(u64, Bytes)>) {
        state.ticked_ms = 0;
        state.shown.sort_unstable();
        state.members.iter_mut().for_each(|member| member.devices.sort_by_key(|device| device.device));
        let (chat, user) = (state.chat, state.members[0].user);
        let (after_seq, before_seq, newest, ticks, blind) = (0, 0, false, false, false);
        let (limit_entries, limit_bytes) = (1_000, 1 << 20);
        let body =
            Body::PageRequest { chat, user, after_seq, before_seq, newest, limit_entries, limit_bytes, ticks, blind };
        self.world.out.gateway.clear();
        self.world.chat(chat, ASKER, body);
        // No time passes, so that nothing is flushed for it.
        self.world.turn();
        self.world.run_jobs(100);
        match self.world.out.gateway.drain(..).map(|(_, envelope)| envelope.body).next_back() {
            Some(Body::Page { entries, .. }) => (state, entries),
            other => panic!("{other:?}"),
        }
    }

    /// What is in memory goes to the store, but for what is held.
    fn flush(&mut self) {
        for _ in 0..8 {
            self.world.advance(30_000);
            self.world.settle();
        }
    }

    /// A flush ends somewhere on its way, if there is something to flush.
    fn flush_in_part(&mut self) {
        let mut tables = self.world.partitions.iter().map(|partition| &partition.memory.tables);
        if tables.any(|tables| tables.frozen.is_empty() && !tables.active.is_empty()) {
            let point = self.pick(&CrashPoint::ALL);
            self.world.store.crash_at(point);
            self.world.advance(30_000);
            self.world.settle();
        }
    }

    /// Power goes. Whatever is known before is known after, before anything is flushed.
    fn crash(&mut self, partitions: u16) {
        let before = self.known();
        self.world.held = EVERYBODY.to_vec();
        self.world.crash(partitions);
        let after = self.known();
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after);
        }
        assert_eq!(before.len(), after.len());
    }

    /// Whether a body is anywhere in the store.
    fn is_stored(&self, chat: ChatId, body: &str) -> bool {
        let range =
            HistoryRange { after_seq: 0, up_to_seq: u64::MAX, limit_entries: usize::MAX, limit_bytes: usize::MAX };
        let stored = self.world.store.history(chat, range).expect("reads");
        stored.iter().any(|entry| entry.frame.windows(body.len()).any(|part| part == body.as_bytes()))
    }

    /// The journals of which something is in the store.
    fn applied(&self) -> Vec<JournalId> {
        self.world.store.applied().expect("applied").into_iter().map(|(journal, _)| journal).collect()
    }
}

#[test]
fn an_edit_and_a_deletion_stay_when_the_originals_journal_is_replayed() {
    let mut lives = Lives::new(1, 64_000);
    lives.flush();
    lives.world.crash(2);
    lives.flush();
    let chat = lives.talks[0].chat;
    let (here, none) = (chat.slot().partition(2), Extras::default());
    let there = lives.talks.iter().map(|talk| talk.chat).find(|chat| chat.slot().partition(2) != here);
    let say = |lives: &mut Lives, kind, body, of| {
        lives.say(1, chat, (kind, body), of, &none).expect("taken");
    };
    // Long before a table is frozen: all this is in the journals only.
    let mut ids = Vec::new();
    for body in ["one thing", "another thing"] {
        ids.push(lives.say(1, chat, (EntryKind::message, body), None, &none).expect("taken"));
    }
    say(&mut lives, EntryKind::edited, "better", Some(ids[0]));
    lives.say(3, there.expect("elsewhere"), (EntryKind::message, "elsewhere"), None, &none);
    let before = lives.applied();
    lives.world.held = vec![1 - here];
    lives.world.crash(2);
    say(&mut lives, EntryKind::edited, "the best", Some(ids[0]));
    say(&mut lives, EntryKind::deleted, "", Some(ids[1]));
    lives.flush();
    let new: Vec<JournalId> = lives.applied().into_iter().filter(|journal| !before.contains(journal)).collect();
    assert_eq!(new.len(), 1, "the one partition's amendments are in the store");
    assert!(lives.world.is_holding(), "the old journals are not marked");
    for partitions in [2, 3, 1] {
        lives.crash(partitions);
        for held in [vec![1], vec![0], Vec::new()] {
            lives.world.held = held;
            lives.flush();
            assert!(lives.is_stored(chat, "the best"));
            for body in ["one thing", "another thing", "better"] {
                assert!(!lives.is_stored(chat, body), "{body}");
            }
        }
    }
}

#[test]
fn nothing_durable_comes_undone_whichever_partitions_had_flushed() {
    let mut taken: BTreeMap<EntryKind, u64> = BTreeMap::new();
    let (mut windows, mut receipts, mut failed) = (0, 0, 0);
    for seed in 0..12 {
        let mut lives = Lives::new(seed, [6_000, 24_000][seed as usize % 2]);
        let mut old = Vec::new();
        for _ in 0..8 {
            for _ in 0..25 {
                lives.step();
            }
            match lives.world.random(3) {
                0 => lives.flush(),
                1 => lives.flush_in_part(),
                _ => {}
            }
            let applied = lives.applied();
            windows += u64::from(lives.world.is_holding() && applied.iter().any(|id| !old.contains(id)));
            old = applied;
            let partitions = [2, 2, 3][lives.world.random(3) as usize];
            lives.crash(partitions);
            lives.world.held = vec![lives.world.random(partitions.into()) as u16];
        }
        receipts += lives.world.metrics.receipts.get();
        failed += lives.world.metrics.flush_failures.get();
        for (kind, count) in lives.taken {
            *taken.entry(kind).or_default() += count;
        }
    }
    assert!(windows > 10 && receipts > 50 && failed > 10, "{windows} {receipts} {failed}");
    let wanted = [EntryKind::message, EntryKind::edited, EntryKind::deleted, EntryKind::reacted, EntryKind::timer];
    let changes = [EntryKind::added, EntryKind::removed, EntryKind::role, EntryKind::renamed];
    let own = [EntryKind::hidden, EntryKind::device, EntryKind::revoked, EntryKind::setting];
    for kind in [&wanted[..], &changes, &own].concat() {
        assert!(taken.get(&kind).is_some_and(|&count| count > 5), "{kind:?}: {taken:?}");
    }
}
