//! A model of the server: one client session, chats with logs, faults by dice.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use fabric::entropy::Entropy;
use schema::encode::{Encoder, EntryFields, WelcomeFields};
use schema::errors::ErrorCode;
use schema::frame::{FrameRef, VerifiedFrame};
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::{Body, EntryKind};

/// The client's user.
pub const ME: u64 = 1;

/// Splitmix64.
pub struct Random(pub u64);

impl Entropy for Random {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

pub struct Logged {
    pub sender: u64,
    pub id: Bytes,
    pub expired: bool,
}

#[derive(Default)]
pub struct Server {
    pub connected: bool,
    welcomed: bool,
    pub inbox: VecDeque<Bytes>,
    output: Vec<u8>,
    pub logs: BTreeMap<ChatId, Vec<Logged>>,
    /// What the device has acknowledged, own sends absorbed.
    acked: BTreeMap<ChatId, u64>,
    own: BTreeMap<ChatId, Vec<u64>>,
    cursors: BTreeMap<ChatId, u64>,
    /// Answers on their way, by chat: (frame, seq of an ack).
    answers: BTreeMap<ChatId, VecDeque<(Bytes, Option<u64>)>>,
    blocked: BTreeMap<ChatId, Bytes>,
    /// Never to be stored.
    refused: Vec<Bytes>,
}

impl Server {
    pub fn connect(&mut self) {
        self.disconnect();
        self.connected = true;
    }

    pub fn disconnect(&mut self) {
        self.connected = false;
        self.welcomed = false;
        self.inbox.clear();
        self.output.clear();
        self.cursors.clear();
        self.answers.clear();
        self.blocked.clear();
    }

    pub fn knows(&self, chat: ChatId) -> bool {
        self.logs.contains_key(&chat)
    }

    pub fn place(&self, chat: ChatId, id: &[u8]) -> Option<u64> {
        let log = self.logs.get(&chat)?;
        log.iter().position(|entry| entry.sender == ME && entry.id == id).map(|n| n as u64 + 1)
    }

    pub fn needs_no_handling(&self, chat: ChatId, seq: u64) -> bool {
        let entry = &self.logs[&chat][seq as usize - 1];
        entry.sender == ME || entry.expired
    }

    pub fn append(&mut self, chat: ChatId, sender: u64, id: Bytes) -> u64 {
        let log = self.logs.entry(chat).or_default();
        let expired = sender != ME && log.len() % 13 == 7;
        log.push(Logged { sender, id, expired });
        log.len() as u64
    }

    pub fn all_acked(&self) -> bool {
        self.logs.iter().all(|(chat, log)| self.acked.get(chat).copied().unwrap_or(0) == log.len() as u64)
    }

    pub fn state(&self) -> String {
        let logs: Vec<_> = self.logs.iter().map(|(c, l)| (l.len(), self.acked.get(c), self.cursors.get(c))).collect();
        format!("connected {} (head, acked, cursor) {logs:?}", self.connected)
    }

    /// Part of the output, cut anywhere.
    pub fn take_output(&mut self, random: &mut Random) -> Vec<u8> {
        let cut = (random.next_u64() as usize) % (self.output.len() + 1);
        let rest = self.output.split_off(if cut.is_multiple_of(3) { self.output.len() } else { cut });
        core::mem::replace(&mut self.output, rest)
    }

    pub fn work(&mut self, random: &mut Random, encoder: &mut Encoder, calm: bool) {
        for _ in 0..4 {
            if let Some(frame) = self.inbox.pop_front() {
                self.receive(random, encoder, calm, &frame);
            }
        }
        if self.welcomed {
            let chats: Vec<_> = self.logs.keys().copied().collect();
            for chat in chats {
                match random.next_u64() % 4 {
                    0 => self.answer(chat),
                    1 | 2 => self.push(random, encoder, calm, chat),
                    _ => {}
                }
            }
        }
    }

    fn receive(&mut self, random: &mut Random, encoder: &mut Encoder, calm: bool, frame: &Bytes) {
        let frame = VerifiedFrame::verify(frame.clone()).expect("a client writes valid frames");
        let root = frame.root();
        match root.body_type() {
            Body::Hello => {
                self.welcomed = true;
                self.output.extend_from_slice(&encoder.welcome(&WelcomeFields {
                    version: 1,
                    features: 0,
                    session_id: 1,
                    server_incarnation: 1,
                    user: UserId::new(ME).unwrap(),
                    device: DeviceId(1),
                    server_time_ms: 1,
                    frame_limit_bytes: 65_536,
                    window: 6,
                    sends_per_second: 200,
                    burst: 20,
                    ping_interval_ms: 300,
                    idle_timeout_ms: 1_000,
                }));
            }
            Body::Ping => self.output.extend_from_slice(&encoder.pong(1)),
            Body::Send => self.send(random, encoder, calm, &frame),
            Body::Mark => {
                let mark = root.body_as_mark().unwrap();
                let chat = ChatId::from(mark.chat_id().unwrap());
                assert!(mark.seq() <= self.logs[&chat].len() as u64, "nothing unseen is marked");
                self.ack(chat, mark.seq());
            }
            Body::HistoryRequest => {
                let ask = root.body_as_history_request().unwrap();
                let chat = ChatId::from(ask.chat_id().unwrap());
                let (from, head) = (ask.after_seq() + 1, self.logs[&chat].len() as u64);
                let last = head.min(from + 4);
                let entries: Vec<_> = (from..=last)
                    .filter(|&seq| !self.logs[&chat][seq as usize - 1].expired)
                    .map(|seq| self.entry(encoder, chat, seq))
                    .collect();
                let covers = (from, last);
                let page =
                    encoder.history_page(ask.request_id(), chat, covers, head, entries.iter().map(|entry| &entry[..]));
                self.output.extend_from_slice(&page);
            }
            other => panic!("a client wrote {other:?}"),
        }
    }

    fn ack(&mut self, chat: ChatId, seq: u64) {
        let acked = self.acked.entry(chat).or_default();
        *acked = (*acked).max(seq);
        let own = self.own.entry(chat).or_default();
        while own.contains(&(*acked + 1)) {
            *acked += 1;
        }
    }

    fn send(&mut self, random: &mut Random, encoder: &mut Encoder, calm: bool, frame: &VerifiedFrame) {
        let send = frame.root().body_as_send().unwrap();
        let id = Bytes::copy_from_slice(send.client_msg_id().unwrap().bytes());
        let chat = match UserId::new(send.to()) {
            Some(peer) => ChatId::direct(UserId::new(ME).unwrap(), peer),
            None => send.chat_id().unwrap().into(),
        };
        let refusal = match self.blocked.get(&chat) {
            Some(blocker) if *blocker != id => Some(ErrorCode::AfterRefused),
            _ if calm => None,
            _ => match random.next_u64() % 24 {
                0 => Some(ErrorCode::Overloaded),
                1 => Some(ErrorCode::RateLimited),
                2 if self.place(chat, &id).is_none() => Some(ErrorCode::Forbidden),
                _ => None,
            },
        };
        let refusal =
            if self.refused.contains(&id) && refusal.is_none() { Some(ErrorCode::Forbidden) } else { refusal };
        let answer = match refusal {
            Some(code) => {
                match code {
                    ErrorCode::AfterRefused => {}
                    ErrorCode::Forbidden => {
                        self.blocked.remove(&chat);
                        self.refused.push(id.clone());
                    }
                    _ => drop(self.blocked.insert(chat, id.clone())),
                }
                (encoder.error(code, "", 5, &id), None)
            }
            None => {
                self.blocked.remove(&chat);
                let known = self.place(chat, &id);
                assert!(known.is_none() || send.retry(), "a resend says so");
                let seq = known.unwrap_or_else(|| self.append(chat, ME, id.clone()));
                self.own.entry(chat).or_default().push(seq);
                let acked = self.acked.get(&chat).copied().unwrap_or(0);
                self.ack(chat, acked);
                (encoder.sent(&id, chat, message(seq), seq, 1), Some(seq))
            }
        };
        self.answers.entry(chat).or_default().push_back(answer);
        // A chat without a log answers at once: it is not among those worked on.
        if !self.logs.contains_key(&chat) {
            self.answer(chat);
        }
    }

    fn answer(&mut self, chat: ChatId) {
        let Some((frame, seq)) = self.answers.get_mut(&chat).and_then(VecDeque::pop_front) else { return };
        self.output.extend_from_slice(&frame);
        if let Some(seq) = seq
            && self.cursor(chat) + 1 == seq
        {
            self.cursors.insert(chat, seq);
        }
    }

    fn cursor(&self, chat: ChatId) -> u64 {
        let acked = self.acked.get(&chat).copied().unwrap_or(0);
        self.cursors.get(&chat).copied().unwrap_or(0).max(acked)
    }

    fn push(&mut self, random: &mut Random, encoder: &mut Encoder, calm: bool, chat: ChatId) {
        let (cursor, head) = (self.cursor(chat), self.logs[&chat].len() as u64);
        let acked = self.acked.get(&chat).copied().unwrap_or(0);
        if cursor == head && acked < head && random.next_u64().is_multiple_of(100) {
            // The nudge: what a device does not acknowledge is pushed again.
            self.cursors.insert(chat, acked);
            return;
        }
        if !calm && cursor > 0 && random.next_u64().is_multiple_of(8) {
            // Again, from anywhere it was before.
            let seq = 1 + random.next_u64() % cursor;
            if self.cursors.contains_key(&chat) && !self.logs[&chat][seq as usize - 1].expired {
                let entry = self.entry(encoder, chat, seq);
                self.output.extend_from_slice(&entry);
            }
        }
        if cursor == head {
            return;
        }
        let seq = cursor + 1;
        let frame = if self.logs[&chat][cursor as usize].expired {
            encoder.covered(chat, seq, seq)
        } else {
            self.entry(encoder, chat, seq)
        };
        // Sometimes the server forgets one it owes (never the first of a session, which says where the device is).
        if calm || !self.cursors.contains_key(&chat) || !random.next_u64().is_multiple_of(12) {
            self.output.extend_from_slice(&frame);
        }
        self.cursors.insert(chat, seq);
    }

    fn entry(&self, encoder: &mut Encoder, chat: ChatId, seq: u64) -> Bytes {
        let logged = &self.logs[&chat][seq as usize - 1];
        let frame = encoder.entry(&EntryFields {
            chat,
            message: message(seq),
            seq,
            sender: UserId::new(logged.sender).unwrap(),
            device: DeviceId(1),
            kind: EntryKind((seq % 3) as u8),
            content_type: 0,
            body: b"body",
            client_msg_id: &logged.id,
            refers_to: None,
            after_seq: 0,
            timestamp_ms: 1,
        });
        FrameRef::verify(&frame).unwrap();
        frame
    }
}

fn message(seq: u64) -> MessageId {
    schema::timeuuid::from_parts(1_000_000 + seq, [0x80, 0, 1, 0, 0, 0, 0, 0])
}
