//! Connections that keep no rule: silence, garbage, bad tokens, floods of sends, marks and requests beyond every limit.
//!
//! Whatever they do, nobody else may be affected; what a flood gets stored is part of the logs like everything else.

use bytes::Bytes;
use fabric::entropy::Entropy;
use fabric::sim::{Side, StreamId};
use schema::encode::{SendFields, SendTarget};
use schema::ids::{ChatId, DeviceId, UserId};
use schema::wire::{EntryKind, MarkStatus};

use super::model::body_of;
use super::plan::pick;
use super::tokens::token;
use super::world::World;

/// Devices that flood have numbers from here on.
const FLOODERS: u32 = 500;

/// A flood whose hello has been sent.
pub struct Flood {
    /// When it begins, ns.
    pub at_ns: u64,
    stream: StreamId,
    user: UserId,
    device: DeviceId,
}

impl World {
    /// Somebody connects who keeps no rule.
    pub fn stranger(&mut self) {
        if self.server.is_none() {
            return;
        }
        let kind = self.env.rng.below(10);
        self.env.fault("fault_stranger", kind);
        let now_ns = self.env.ns();
        let stream = self.env.net.connect(now_ns);
        let first = match kind {
            0 => return, // says nothing at all
            1 => {
                let mut noise = vec![0; 64];
                self.env.rng.fill(&mut noise);
                noise[..4].copy_from_slice(&60u32.to_le_bytes());
                Bytes::from(noise)
            }
            2 => self.encoder.hello(b"nobody", b"stranger", 0),
            3 => Bytes::from_static(&[0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0]),
            4 => self.encoder.ping(1),
            _ => {
                let (user, _) = pick(&mut self.env.rng, &self.plan.devices);
                let device = DeviceId(FLOODERS + self.env.rng.below(3) as u32);
                let at_ns = self.env.later(20_000_000, 100_000_000);
                self.floods.push(Flood { at_ns, stream, user, device });
                self.encoder.hello(token(user, device, 0).as_bytes(), b"stranger", 0)
            }
        };
        self.env.net.send(now_ns, stream, Side::Client, &first);
    }

    /// A flood begins: everything at once, and then nothing more.
    pub fn flood(&mut self) {
        let now_ns = self.env.ns();
        let Some(at) = self.floods.iter().position(|flood| flood.at_ns <= now_ns) else { return };
        let Flood { stream, user, device, .. } = self.floods.swap_remove(at);
        // What nobody hears of and disappears is never known to have been there.
        let chats = self.model.pairs_of(user).filter(|&(chat, _)| !super::amending::is_mortal(chat));
        let chats: Vec<_> = chats.collect();
        let mut bytes = Vec::new();
        for _ in 0..self.env.rng.between(5, 90) {
            if chats.is_empty() {
                break;
            }
            if let Some(frame) = self.flood_group((user, device)) {
                bytes.extend_from_slice(&frame);
                continue;
            }
            let (chat, peer) = pick(&mut self.env.rng, &chats);
            bytes.extend_from_slice(&self.flood_frame((user, device), chat, peer));
        }
        self.env.net.send(now_ns, stream, Side::Client, &bytes);
    }

    fn flood_frame(&mut self, (user, device): (UserId, DeviceId), chat: ChatId, peer: UserId) -> Bytes {
        match self.env.rng.below(10) {
            0 => {
                self.marks_somewhere(chat, user);
                self.encoder.mark(chat, self.env.rng.below(1_000) + 1, None, MarkStatus::delivered)
            }
            1..3 => self.encoder.history_request(self.env.rng.next_u64() >> 1, chat, self.env.rng.below(40), 1_000),
            3 => self.encoder.chat_request(1, chat, self.env.rng.below(9), self.env.rng.below(9) as u32),
            4 => self.encoder.chats_request(2, None, self.env.rng.below(200) as u32),
            _ => {
                let id = self.new_id(user, device);
                self.flood_send(&id, SendTarget::User(peer))
            }
        }
    }

    fn flood_send(&mut self, id: &Bytes, target: SendTarget) -> Bytes {
        self.encoder.send(&SendFields {
            client_msg_id: id,
            target,
            kind: EntryKind::message,
            content_type: 0,
            body: &body_of(id),
            refers_to: None,
            after_seq: 0,
            retry: false,
        })
    }

    /// Sometimes it goes to a group, and sometimes changes one.
    fn flood_group(&mut self, (user, device): (UserId, DeviceId)) -> Option<Bytes> {
        let groups = self.model.groups.keys().copied().filter(|&chat| !super::amending::is_mortal(chat));
        let groups: Vec<ChatId> = groups.collect();
        if groups.is_empty() || !self.env.rng.one_in(4) {
            return None;
        }
        let id = self.new_id(user, device);
        let Some(change) = self.wish_for_change(user).filter(|_| self.env.rng.one_in(6)) else {
            let group = pick(&mut self.env.rng, &groups);
            self.wish_for(group, &id, None);
            return Some(self.flood_send(&id, SendTarget::Chat(group)));
        };
        self.wish(user, &id, change.clone());
        Some(change.frame(&mut self.encoder, &id))
    }
}
