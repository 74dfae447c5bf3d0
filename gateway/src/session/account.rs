//! What a session knows of its user's account: whether its device was revoked, and whether the user tells what they read.
//!
//! It comes with the first page of a sync, and before that nothing is taken from the session and nothing given to it. Later
//! it follows from the account log: from entries of the user's other devices as they are pushed, from the session's own sends
//! as they are stored, and from every listing. What must stay true: a revoked device is given nothing; what a user reads with
//! `read_receipts` off is told to nobody.

use bytes::Bytes;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::AccountFacts;
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{DeviceId, UserId};
use schema::wire::{EntryKind, MarkStatus, Send};

use super::sync::ANSWER_TICKS;
use crate::conn::{Conn, FLAG_PRIVATE, FLAG_UNKNOWN};
use crate::shard::Shard;

/// A session about which nothing has come for so long ends, ticks: it has been asked for a few times.
pub(crate) const ACCOUNT_TICKS: u32 = 3 * ANSWER_TICKS;
/// Receipts kept for a session until it may have them.
const HELD_RECEIPTS: usize = 64;
/// The setting that decides whether a user tells what they read.
const READ_RECEIPTS: &[u8] = b"read_receipts";

/// Sends of a session that change whether its user tells what they read: client_msg_id, and whether they do then.
#[derive(Default)]
pub(crate) struct Changes(Vec<(Vec<u8>, bool)>);

/// A receipt that says `delivered` where another said `read`.
pub(crate) struct Veiled {
    /// Whose it is.
    pub(crate) of: UserId,
    pub(crate) frame: Bytes,
}

impl Conn {
    /// Whether its token may be from before this time, ms since 1970. A token names a second: it may be from its beginning.
    fn is_from_before(&self, at_ms: u64) -> bool {
        self.issued_s == 0 || u64::from(self.issued_s) * 1_000 <= at_ms
    }

    fn tell(&mut self, tells: bool) {
        self.flags = if tells { self.flags & !FLAG_PRIVATE } else { self.flags | FLAG_PRIVATE };
    }
}

/// Whether the user tells what they read from then on, if this entry or send says.
fn tells(key: Option<&[u8]>, about_a_chat: bool, value: Option<&[u8]>) -> Option<bool> {
    (key == Some(READ_RECEIPTS) && !about_a_chat).then(|| value != Some(b"off"))
}

impl Shard {
    /// Takes what is known of the session's user. False: its device was revoked, and the session ends.
    pub(super) fn learn(&mut self, now: Now, index: u32, account: &AccountFacts, egress: &mut dyn Egress) -> bool {
        let place = &mut self.conns[index];
        let mut revoked = account.revoked.iter().filter(|(device, _)| device.0 == place.device);
        if revoked.any(|&(_, at_ms)| place.is_from_before(at_ms)) {
            self.revoked(now, index, egress);
            return false;
        }
        // What is under way, or was pushed since this was asked for, is newer than what the owner has told.
        let active = place.active();
        let newer = active.changes.is_some() || active.sync.as_ref().is_some_and(|sync| sync.again);
        if account.read_receipts_off || !newer {
            place.tell(!account.read_receipts_off);
        }
        if place.has(FLAG_UNKNOWN) {
            place.flags &= !FLAG_UNKNOWN;
            let sync = place.active().sync.as_mut();
            let held = sync.map(|sync| core::mem::take(&mut sync.held)).unwrap_or_default();
            self.welcome(now, index);
            let id = self.conns.id(index);
            for frame in held {
                self.notice(now, frame, &[(id.index, id.generation)]);
            }
        }
        true
    }

    fn revoked(&mut self, now: Now, index: u32, egress: &mut dyn Egress) {
        self.metrics.sessions_revoked.inc();
        self.close(now, index, ErrorCode::TokenRevoked, egress);
    }

    /// A new entry of the session's own account log, from another device. False: it revokes this one, and the session ends.
    pub(crate) fn own_account(&mut self, now: Now, index: u32, frame: &[u8], egress: &mut dyn Egress) -> bool {
        let verified = FrameRef::verify(frame).ok();
        let Some(entry) = verified.as_ref().and_then(|frame| frame.root().body_as_entry()) else { return true };
        let place = &mut self.conns[index];
        if entry.kind() == EntryKind::revoked
            && DeviceId(entry.device()) == DeviceId(place.device)
            && place.is_from_before(entry.timestamp_ms())
        {
            self.revoked(now, index, egress);
            return false;
        }
        let (key, value) = (entry.key().map(|key| key.bytes()), entry.body().map(|body| body.bytes()));
        if let Some(tells) = tells(key, entry.subject().is_some(), value) {
            place.tell(tells);
            // A listing under way may have been answered before.
            if let Some(sync) = &mut place.active().sync {
                sync.restart(false);
            }
        }
        true
    }

    /// The session's own send to its account log is on its way. To tell nobody counts at once, to tell once it is stored.
    pub(super) fn account_change(&mut self, index: u32, send: &Send<'_>) {
        let (key, value) = (send.key().map(|key| key.bytes()), send.body().map(|body| body.bytes()));
        let Some(tells) = tells(key, send.subject().is_some(), value) else { return };
        let id = send.client_msg_id().map_or(&[][..], |id| id.bytes()).to_vec();
        let place = &mut self.conns[index];
        place.active().changes.get_or_insert_default().0.push((id, tells));
        if !tells {
            place.tell(false);
        }
    }

    /// A send of the session has its answer. If it was to its account log, what counts now is asked for: a resend's answer
    /// says nothing of what came after it, and a refused one changed nothing.
    pub(super) fn account_changed(&mut self, now: Now, index: u32, id: &[u8], stored: bool, egress: &mut dyn Egress) {
        let place = &mut self.conns[index];
        let Some(changes) = &mut place.active().changes else { return };
        let Some(at) = changes.0.iter().position(|(other, _)| other == id) else { return };
        let (_, tells) = changes.0.remove(at);
        if changes.0.is_empty() {
            place.active().changes = None;
            if stored {
                place.tell(tells);
            }
            self.resync(now, index, false, egress);
        }
    }

    /// Keeps a receipt until the session may have it.
    pub(crate) fn hold_receipt(&mut self, now: Now, index: u32, frame: &Bytes) {
        let held = &mut self.conns[index].active().sync(self.config.hash_seed).held;
        if held.len() < HELD_RECEIPTS {
            held.push(frame.clone());
        } else {
            self.receipt_dropped(now, index);
        }
    }

    /// What is told of a receipt to who is told of nobody what they have read; `None`: the receipt itself.
    pub(crate) fn veiled(&mut self, frame: &[u8]) -> Option<Veiled> {
        let verified = FrameRef::verify(frame).ok()?;
        let receipt = verified.root().body_as_receipt().filter(|receipt| receipt.status() == MarkStatus::read)?;
        let of = UserId::new(receipt.user_id())?;
        let (chat, message) = (receipt.chat_id()?.into(), receipt.message_id()?.into());
        let frame = self.encoder.receipt(chat, message, receipt.seq(), of, MarkStatus::delivered);
        Some(Veiled { of, frame })
    }
}
