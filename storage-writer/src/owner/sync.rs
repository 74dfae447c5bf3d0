//! Sync: which chats have more than a device has acknowledged, and nudges for those who did not notice.

use core::time::Duration;

use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::{Body, ChangedChat, Class, Envelope, Header, Recipients, SyncCursor};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId, UserId};
use schema::limits::SYNC_PAGE_CHATS;

use super::commit::add_recipient;
use super::merges::{Asked, Page, newest_first};
use crate::partition::Partition;
use crate::store::AccountState;

/// Nudges fired in one turn; the rest follow in the next.
const NUDGES_A_TURN: usize = 1_024;

/// The device that is synced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Synced {
    pub user: UserId,
    pub device: DeviceId,
    /// When it was before, ms since 1970: who came further since then is told too; 0 = no.
    pub since_ms: u64,
}

/// What owners tell each other about a page that one of them merges.
pub(super) fn of_merge(merge: u64, body: Body) -> Envelope {
    let mut envelope = Envelope::new(Class::Sync, body);
    envelope.header.request_id = merge;
    envelope
}

impl Partition {
    /// Asks all partitions, this one included, and merges what they say.
    pub(crate) fn handle_sync(
        &mut self,
        now: Now,
        header: &Header,
        who: Synced,
        before: Option<SyncCursor>,
        egress: &mut dyn Egress,
    ) {
        self.metrics.sync_requests.inc();
        let account = ChatId::account(who.user);
        let reply = (header.reply, header.request_id);
        let due = now.plus(Duration::from_millis(self.config.sync_timeout_ms));
        let (reply_to, request_id) = reply;
        let asked = Asked { reply: reply_to, request_id, client_request: 0, account, limit: SYNC_PAGE_CHATS };
        let Some(id) = self.merges.start(due, self.partitions, asked) else {
            return self.refuse_read(Class::Sync, reply, account, ErrorCode::Overloaded, egress);
        };
        let Synced { user, device, since_ms } = who;
        let probe = Body::SyncProbe { user, device, before, since_ms, partition: self.number };
        self.ask_siblings(id, &probe, egress);
        let (chats, more) = self.changed_chats(who, before);
        self.sync_part(id, self.number, chats, more, egress);
    }

    /// A sibling asks for this partition's part.
    pub(crate) fn handle_probe(
        &mut self,
        header: &Header,
        who: Synced,
        before: Option<SyncCursor>,
        asker: u16,
        egress: &mut dyn Egress,
    ) {
        let (chats, more) = self.changed_chats(who, before);
        let part = Body::SyncPart { chats, more, partition: self.number };
        egress.to_partition(asker, of_merge(header.request_id, part));
    }

    /// Asks every other partition for its part of a page that is merged here.
    pub(super) fn ask_siblings(&self, merge: u64, probe: &Body, egress: &mut dyn Egress) {
        for partition in (0..self.partitions).filter(|&p| p != self.number) {
            egress.to_partition(partition, of_merge(merge, probe.clone()));
        }
    }

    /// A part has come.
    pub(crate) fn sync_part(
        &mut self,
        id: u64,
        partition: u16,
        chats: Vec<ChangedChat>,
        more: bool,
        egress: &mut dyn Egress,
    ) {
        if let Some((asked, Page { chats, next })) = self.merges.part(id, partition, chats, more) {
            self.metrics.sync_pages.inc();
            let account = self.memory.account(asked.account).map(AccountState::facts).unwrap_or_default();
            let mut page = Envelope::new(Class::Sync, Body::SyncPage { chats, next, account });
            page.header.reply = asked.reply;
            page.header.request_id = asked.request_id;
            egress.to_gateway(asked.reply, page);
        }
    }

    /// Refuses requests whose parts do not come.
    pub(crate) fn expire_merges(&mut self, now: Now, egress: &mut dyn Egress) {
        while let Some(asked) = self.merges.expired(now.mono_ns).or_else(|| self.lists.expired(now.mono_ns)) {
            let Asked { reply, request_id, account, .. } = asked;
            self.metrics.sync_timeouts.inc();
            self.refuse_read(Class::Sync, (reply, request_id), account, ErrorCode::Overloaded, egress);
        }
    }

    /// This partition's newest changed chats of a device below a cursor, newest first, and whether there are more.
    fn changed_chats(
        &self,
        Synced { user, device, since_ms }: Synced,
        before: Option<SyncCursor>,
    ) -> (Vec<ChangedChat>, bool) {
        let mut chats = Vec::new();
        for &index in self.memory.chats.of_user(user) {
            let chat = self.memory.chats.get(index);
            let Some(at) = chat.member(user) else { continue };
            let acked_seq = chat.members[at].acked(device);
            let (last_ms, head_seq) = (chat.last_ms(), chat.visible_head(user));
            let below = before.is_none_or(|before| SyncCursor { last_ms, chat: chat.id } < before);
            let ticked = below && chat.ticked_since(at, since_ms);
            if below && (head_seq > acked_seq || ticked) {
                chats.push(ChangedChat { chat: chat.id, head_seq, acked_seq, last_ms, ticked });
            }
        }
        newest_first(&mut chats);
        let more = chats.len() > SYNC_PAGE_CHATS;
        chats.truncate(SYNC_PAGE_CHATS);
        (chats, more)
    }

    /// A chat's head is committed: its first nudge is due in a while.
    pub(crate) fn schedule_nudge(&mut self, now: Now, index: u32) {
        let chat = self.memory.chats.get_mut(index);
        if chat.nudge.stage != 1 && self.nudges.schedule(1, now.mono_ns, index) {
            chat.nudge.stage = 1;
        }
    }

    /// Reminds the sessions of devices that have not acknowledged their chats' heads.
    pub(crate) fn fire_nudges(&mut self, now: Now, egress: &mut dyn Egress) {
        let first_ns = self.config.nudge_after_ms * 1_000_000;
        for _ in 0..NUDGES_A_TURN {
            let Some((stage, index)) = self.nudges.due(now.mono_ns) else { return };
            let chat = self.memory.chats.get_mut(index);
            if chat.nudge.stage != stage {
                continue; // a newer head began again
            }
            if stage == 1 && chat.committed_ns + first_ns > now.mono_ns {
                let committed_ns = chat.committed_ns;
                self.nudges.schedule(1, committed_ns, index);
                continue;
            }
            let head_seq = chat.head.seq;
            let behind = |m: &&super::chats::Member| {
                m.delivered < head_seq || m.devices.iter().any(|device| device.acked < head_seq)
            };
            let one = |member: &super::chats::Member| {
                let mut recipients = Recipients::new();
                add_recipient(&mut recipients, member);
                recipients
            };
            let recipients: Vec<Recipients> =
                chat.concerned(head_seq, 0).map(|(_, member)| member).filter(behind).map(one).collect();
            chat.nudge.stage = 0;
            if recipients.is_empty() {
                continue;
            }
            let id = chat.id;
            if self.nudges.schedule(stage + 1, now.mono_ns, index) {
                self.memory.chats.get_mut(index).nudge.stage = stage + 1;
            }
            for recipients in recipients {
                self.metrics.nudges.inc();
                let user = recipients[0].user;
                let body = Body::Nudge { chat: id, head_seq, recipients };
                // Whoever is registered where pushes do not come is reminded too.
                egress.to_all_routers(user, Envelope::new(Class::Control, body));
            }
        }
    }
}
