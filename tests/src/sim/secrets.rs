//! Who is told what somebody has read: nobody is told of whoever turned receipts off, and they are told of nobody.
//!
//! What must stay true: a device that says `off` counts as saying so from the send on, though its session has not heard that
//! it is stored. Should it not be stored in this session, what was read meanwhile may be told: a mark that is said again in
//! the next session comes before it.

use bytes::Bytes;
use client::core::{AccountChange, Member};
use schema::ids::{ChatId, UserId};

use super::account::{READ_RECEIPTS, Stance, stance};
use super::device::Asked;
use super::talk::Wanted;
use super::world::World;

/// Entries of a chat that are read one after the other behind an `off`.
const READS: u64 = 5;

/// `off` is on its way, and not known to be stored.
pub struct Hush {
    id: Bytes,
    /// Read since.
    reads: Vec<(ChatId, u64)>,
}

/// Somebody was told of what was read on a device behind an `off` that was not stored then.
pub struct Suspect {
    hush: Bytes,
    of: (ChatId, UserId),
    seq: u64,
}

impl World {
    /// Whether a device that makes this change tells nobody from then on what it reads, and did before. It must leave at once.
    pub(super) fn would_hush(&self, at: usize, change: &AccountChange) -> bool {
        let device = &self.devices[at];
        let off = matches!(change, AccountChange::Setting { key, value, subject: None } if key[..] == *READ_RECEIPTS && &value[..] == b"off");
        let leaves = device.core.as_ref().is_some_and(|core| core.is_connected() && core.outbox_len() == 0);
        off && leaves && stance(device.user) == Stance::Closes && !device.app.silent && device.hush.is_none()
    }

    /// In the calm whoever turns receipts off sooner or later does so now, and reads on at once. Sometimes the listing that an
    /// answer to `on` asks for waits meanwhile for a part that is late, and says then what was.
    pub(super) fn go_private(&mut self, at: usize) {
        let user = self.devices[at].user;
        if stance(user) != Stance::Closes || self.model.account(user).state().is_private() {
            return;
        }
        if !self.turned(user) {
            self.set_receipts(at, b"on");
            let until_ns = self.env.later(5_000_000, 40_000_000);
            let late_ns = until_ns - self.env.ns();
            if let Some(server) = &mut self.server {
                server.stall(&mut self.env, (late_ns, late_ns));
            }
            let ahead_ns = self.env.rng.below(5_000_000);
            while self.env.ns() + ahead_ns < until_ns {
                self.step();
            }
        }
        self.set_receipts(at, b"off");
        let handed: Vec<_> = self.devices[at].app.last.iter().map(|(&chat, &seq)| (chat, seq)).collect();
        for (chat, seq) in handed {
            for seq in seq.saturating_sub(READS)..=seq {
                self.read_chat(at, chat, seq);
                if self.devices[at].hush.is_some() {
                    (0..4).for_each(|_| self.step());
                }
            }
        }
    }

    fn set_receipts(&mut self, at: usize, value: &'static [u8]) {
        let (key, value) = (READ_RECEIPTS.into(), Bytes::from_static(value));
        self.change_account(at, AccountChange::Setting { key, value, subject: None });
    }

    /// It has left.
    pub(super) fn hush(&mut self, at: usize, id: Bytes) {
        let device = &mut self.devices[at];
        if device.core.is_some() && device.stream.is_some() {
            device.hush = Some(Hush { id, reads: Vec::new() });
        }
    }

    /// A device's user has read a chat up to there.
    pub(super) fn reads(&mut self, at: usize, chat: ChatId, seq: u64) {
        let device = &mut self.devices[at];
        let secret = device.app.silent || device.hush.is_some();
        device.hush.iter_mut().for_each(|hush| hush.reads.push((chat, seq)));
        self.model.marked_read(chat, device.user, seq, secret);
    }

    /// A device's session ends, or something was refused: what it read behind an `off` may be told.
    pub(super) fn unhush(&mut self, at: usize) {
        let Some(hush) = self.devices[at].hush.take() else { return };
        let user = self.devices[at].user;
        hush.reads.into_iter().for_each(|(chat, seq)| self.model.marked_read(chat, user, seq, false));
        self.told.suspects.retain(|suspect| suspect.hush != hush.id);
    }

    /// A device has heard of an entry: if it is of its account, it knows from now on. `stored`: it was its own send, and this
    /// session has its answer.
    pub(super) fn heard_of_account(&mut self, at: usize, id: &Bytes, stored: bool) {
        let Some((_, Wanted::Account(AccountChange::Setting { key, value, subject: None }))) =
            self.model.wanted.get(id)
        else {
            return;
        };
        let user = self.devices[at].user;
        if key[..] != *READ_RECEIPTS || &value[..] != b"off" || stance(user) != Stance::Closes {
            return;
        }
        self.devices[at].app.silent = true;
        self.devices[at].veiled |= stored;
        if !stored || self.devices[at].hush.as_ref().is_none_or(|hush| hush.id != *id) {
            return;
        }
        let hush = self.devices[at].hush.take();
        self.env.counts.add("secrets_at_once", u64::from(hush.is_some_and(|hush| !hush.reads.is_empty())));
        for suspect in self.told.suspects.extract_if(.., |suspect| suspect.hush == *id) {
            let told = self.model.tellable_of(suspect.of.0, suspect.of.1);
            let Suspect { of: (chat, user), seq, .. } = suspect;
            assert!(
                seq <= told,
                "invariant secrets: {user} has read {seq} of {chat} behind off, and tells of {told} only"
            );
        }
    }

    /// A session begins: what it will know of its user's receipts.
    pub(super) fn veil(&mut self, at: usize) {
        let user = self.devices[at].user;
        let private = stance(user) == Stance::Closes && self.model.account(user).state().is_private();
        let device = &mut self.devices[at];
        device.veiled = private;
        device.app.silent |= private;
    }

    /// A device is told that somebody has read so much.
    pub(super) fn told_read(&mut self, at: usize, (chat, user): (ChatId, UserId), seq: u64) {
        let device = &self.devices[at];
        if device.user == user {
            return;
        }
        let me = (device.user, device.device);
        assert!(
            !device.veiled,
            "invariant secrets: {me:?} tells nobody, and is told that {user} has read {seq} of {chat}"
        );
        let told = self.model.tellable_of(chat, user);
        if seq <= told {
            return;
        }
        let covers = |hush: &&Hush| hush.reads.iter().any(|&(of, read)| of == chat && read >= seq);
        let mut hushes =
            self.devices.iter().filter(|device| device.user == user).filter_map(|device| device.hush.as_ref());
        let Some(hush) = hushes.find(covers) else {
            panic!("invariant secrets: {user} has read {seq} of {chat}, and tells of {told} only")
        };
        self.told.suspects.push(Suspect { hush: hush.id.clone(), of: (chat, user), seq });
    }

    /// Ticks came.
    pub(super) fn check_ticks_told(&self, at: usize, chat: ChatId, members: &[Member]) {
        if self.devices[at].veiled {
            self.check_blind(at, chat, members);
        }
    }

    /// An answer came: whoever asked behind `off` is told of nobody's reading.
    pub(super) fn check_answer_told(&self, at: usize, asked: Asked, chat: ChatId, members: &[Member]) {
        if asked.blind {
            self.check_blind(at, chat, members);
        }
    }

    fn check_blind(&self, at: usize, chat: ChatId, members: &[Member]) {
        let device = &self.devices[at];
        let told = members.iter().find(|member| member.user != device.user && member.read_seq > 0);
        let me = (device.user, device.device);
        assert!(told.is_none(), "invariant secrets: {me:?} tells nobody, and is told of {chat}: {told:?}");
    }
}
