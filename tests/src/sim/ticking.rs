//! Ticks: whoever connects again is told how far others came meanwhile.
//!
//! What must stay true: after a reconnect and its sync a device knows every mark that rose since its first sync.

use std::collections::{BTreeMap, BTreeSet};

use client::core::Question;
use client::store::ClientStore;
use schema::ids::{ChatId, UserId};
use schema::wire::MarkStatus;

use super::talk::Wanted;
use super::world::World;

/// How long marks have to become durable, simulated ns.
const MARKS_NS: u64 = 2_000_000_000;

/// What users' devices marked, and when first, ns: rising in both.
#[derive(Default)]
pub struct Marked(BTreeMap<(ChatId, UserId, bool), Vec<(u64, u64)>>);

impl Marked {
    fn note(&mut self, (chat, user, read): (ChatId, UserId, bool), seq: u64, at_ns: u64) {
        let marks = self.0.entry((chat, user, read)).or_default();
        if marks.last().is_none_or(|&(last, _)| last < seq) {
            marks.push((seq, at_ns));
        }
    }

    /// When anybody first asked for a mark that is not below this one; `None`: nobody did.
    fn first_ns(&self, chat: ChatId, user: UserId, read: bool, seq: u64) -> Option<u64> {
        let first = |read| {
            let marks = self.0.get(&(chat, user, read))?;
            marks.get(marks.partition_point(|&(marked, _)| marked < seq)).map(|&(_, at_ns)| at_ns)
        };
        // What is read is delivered.
        let delivered = if read { None } else { first(false) };
        first(true).into_iter().chain(delivered).min()
    }
}

impl World {
    /// A device is about to mark.
    pub fn marks(&mut self, at: usize, chat: ChatId, status: MarkStatus, seq: u64) {
        let (user, now_ns) = (self.devices[at].user, self.env.ns());
        self.marked.note((chat, user, status == MarkStatus::read), seq, now_ns);
    }

    /// Somebody marks in a user's name whatever there is.
    pub fn marks_somewhere(&mut self, chat: ChatId, user: UserId) {
        let now_ns = self.env.ns();
        self.marked.note((chat, user, false), u64::MAX, now_ns);
    }

    /// In the calm some devices go away, the others read; when all have connected again they know what owners say.
    pub fn some_are_away(&mut self) {
        let live: Vec<usize> = (0..self.devices.len()).filter(|&at| self.devices[at].is_live()).collect();
        let away: BTreeSet<usize> = live.iter().copied().filter(|_| self.env.rng.one_in(2)).collect();
        for &at in &away {
            self.devices[at].store.sync().expect("a memory store syncs");
            self.hang_up(at);
            self.devices[at].down(u64::MAX);
        }
        for &at in live.iter().filter(|&at| !away.contains(at)) {
            self.read_all(at);
        }
        let until_ns = self.env.ns() + MARKS_NS;
        while self.env.ns() < until_ns {
            self.step();
        }
        let before = self.told.chats.len();
        for &at in live.iter().filter(|&at| !away.contains(at)) {
            self.ask(at, Question::Chats { before: None, limit: 100 });
        }
        self.wait_for_answers();
        let streams: Vec<_> = self.streams.keys().copied().collect();
        for stream in streams {
            self.env.net.break_stream(self.env.ns(), stream);
            self.client_closed(stream);
        }
        for at in away {
            self.devices[at].start_ns = Some(self.env.later(1_000, 50_000_000));
        }
        self.rest("after some were away");
        self.check_ticks(before);
    }

    pub(super) fn read_all(&mut self, at: usize) {
        if self.devices[at].is_guest() {
            return;
        }
        let handed: Vec<_> = self.devices[at].app.last.iter().map(|(&chat, &seq)| (chat, seq)).collect();
        for (chat, seq) in handed {
            if self.env.rng.one_in(2) {
                self.read_chat(at, chat, seq);
            }
        }
    }

    /// What was told since then of how far members are is known to every device.
    fn check_ticks(&mut self, before: usize) {
        let mut due: BTreeMap<(ChatId, UserId), (u64, u64)> = BTreeMap::new();
        for (_, _, info) in &self.told.chats[before..] {
            for member in &info.members {
                let top = due.entry((info.chat, member.user)).or_default();
                *top = (top.0.max(member.delivered_seq), top.1.max(member.read_seq));
            }
        }
        // Whoever turned receipts off, or on, is told less, and tells less.
        let turned: BTreeSet<UserId> =
            self.plan.devices.iter().map(|&(user, _)| user).filter(|&user| self.turned(user)).collect();
        let mut compared = 0;
        for device in self.devices.iter().filter(|device| device.is_live()) {
            let Some(first_ns) = device.app.synced_first_ns else { continue };
            for (&(chat, user), &(delivered, read)) in &due {
                if user == device.user || !self.were_always_in(chat, [user, device.user]) {
                    continue;
                }
                let known = device.app.ticked.get(&(chat, user)).copied().unwrap_or_default();
                let open = !turned.contains(&user) && !turned.contains(&device.user);
                let rose = |is_read, seq| {
                    seq > 0 && self.marked.first_ns(chat, user, is_read, seq).is_some_and(|at_ns| at_ns > first_ns)
                };
                // That a user has what they wrote themselves is told to nobody.
                let had = self.model.last_of_others(chat, user, delivered);
                let missed = (known.0 < had && rose(false, delivered)) || (open && known.1 < read && rose(true, read));
                assert!(
                    !missed,
                    "invariant ticks: {:?} of {} knows {known:?} of {user} in {chat}, and not {:?}",
                    device.device,
                    device.user,
                    (delivered, read)
                );
                compared += 1;
            }
        }
        self.env.counts.add("marks_compared", compared);
    }

    /// Whether a user's devices ever changed whether they tell what they read.
    pub(super) fn turned(&self, user: UserId) -> bool {
        use client::core::AccountChange;
        let turns = |wanted: &Wanted| matches!(wanted, Wanted::Account(AccountChange::Setting { key, subject: None, .. }) if &key[..] == b"read_receipts");
        let account = ChatId::account(user);
        self.model.wanted.values().any(|(chat, wanted)| *chat == account && turns(wanted))
    }

    /// Whether all of them are in a chat, and were since they saw its first entry.
    fn were_always_in(&self, chat: ChatId, users: [UserId; 2]) -> bool {
        match (self.model.groups.get(&chat), self.model.pairs.get(&chat)) {
            (Some(group), _) => users.iter().all(|&user| group.sees_from(user) == Some(1)),
            (None, Some(&(a, b))) => users.iter().all(|&user| user == a || user == b),
            (None, None) => false,
        }
    }
}
