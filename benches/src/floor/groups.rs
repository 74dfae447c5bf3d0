//! Groups of the floor server: lists of members that it believes to whoever names them.

use bytes::Bytes;
use fabric::hash::Map;
use schema::encode::{Encoder, EntryFields};
use schema::ids::{ChatId, DeviceId, UserId};
use schema::wire::{EntryKind, Send};

use super::conn::Conn;
use super::forward::mark_dirty;
use super::table::Table;
use super::template::{Fields, Templates};

/// One group.
#[derive(Default)]
struct Group {
    /// Users, and the connection each had last.
    members: Vec<(u64, u32)>,
    head: u64,
    /// The changes that made it, for members who connect later.
    changes: Vec<Bytes>,
}

/// All of them.
pub struct Groups {
    by_chat: Map<ChatId, Group>,
    of_user: Map<u64, Vec<ChatId>>,
    /// An entry, written once and copied to each member.
    entry: Vec<u8>,
}

impl Default for Groups {
    fn default() -> Self {
        Self { by_chat: fabric::hash::map(1), of_user: fabric::hash::map(1), entry: Vec::new() }
    }
}

/// Whom a send goes to in the end, as long as it is handled.
pub struct Sending<'a> {
    /// Connections.
    pub conns: &'a mut [Conn],
    /// By user.
    pub users: &'a Map<u64, u32>,
    /// Those with output.
    pub dirty: &'a mut Vec<u32>,
    /// Writes frames.
    pub templates: &'a mut Templates,
    /// Messages so far, this one included.
    pub issued: u64,
    /// Wall time, ms since 1970.
    pub now_ms: u64,
}

/// The group a send goes to, if it goes to one.
pub fn target(send: &Table<'_>, sender: u64) -> Option<ChatId> {
    match EntryKind(send.u8(Send::VT_KIND)) {
        EntryKind::created => Some(ChatId::group(UserId::new(sender)?, send.bytes(Send::VT_CLIENT_MSG_ID))),
        _ => send.array(Send::VT_CHAT_ID).map(ChatId),
    }
}

impl Groups {
    /// What a user who has just come has missed: the changes that made its groups.
    pub fn greet(&self, user: u64, out: &mut Vec<u8>) {
        for chat in self.of_user.get(&user).into_iter().flatten() {
            self.by_chat.get(chat).into_iter().flat_map(|group| &group.changes).for_each(|frame| out.extend(frame));
        }
    }

    /// An ack to the sender and an entry to every other member who is there.
    pub fn send(&mut self, to: &mut Sending<'_>, index: u32, chat: ChatId, send: Table<'_>) {
        let sender = to.conns[index as usize].user;
        let kind = EntryKind(send.u8(Send::VT_KIND));
        let group = self.by_chat.entry(chat).or_default();
        group.head += 1;
        if kind == EntryKind::created || kind == EntryKind::added {
            let creator = (kind == EntryKind::created).then_some(sender);
            for user in creator.into_iter().chain(send.u64s(Send::VT_USERS)) {
                group.members.push((user, u32::MAX));
                self.of_user.entry(user).or_default().push(chat);
            }
        }
        let fields = Fields {
            chat,
            message: schema::timeuuid::from_parts(to.issued, [0x80, 0, 1, 0, 0, 0, 0, 0]),
            seq: group.head,
            sender,
            client_msg_id: send.bytes(Send::VT_CLIENT_MSG_ID),
            body: send.bytes(Send::VT_BODY),
            timestamp_ms: to.now_ms,
        };
        to.templates.ack(&fields, &mut to.conns[index as usize].out);
        mark_dirty(&mut to.conns[index as usize], index, to.dirty);
        self.entry.clear();
        if kind == EntryKind::message {
            to.templates.entry(&fields, &mut self.entry);
        } else {
            let frame = change(&fields, kind);
            self.entry.extend_from_slice(&frame);
            group.changes.push(frame);
        }
        for (user, conn) in group.members.iter_mut().filter(|(user, _)| *user != sender) {
            if to.conns.get(*conn as usize).is_none_or(|known| known.user != *user) {
                *conn = to.users.get(user).copied().unwrap_or(u32::MAX);
            }
            if let Some(there) = to.conns.get_mut(*conn as usize).filter(|c| c.open && !c.closing && c.user == *user) {
                there.out.extend_from_slice(&self.entry);
                mark_dirty(there, *conn, to.dirty);
            }
        }
    }
}

fn change(fields: &Fields<'_>, kind: EntryKind) -> Bytes {
    Encoder::new().entry(&EntryFields {
        chat: fields.chat,
        message: fields.message,
        seq: fields.seq,
        sender: UserId::new(fields.sender).unwrap_or(UserId::new(1).expect("1 is a user")),
        device: DeviceId(0),
        kind,
        content_type: 0,
        body: fields.body,
        client_msg_id: fields.client_msg_id,
        refers_to: None,
        after_seq: 0,
        timestamp_ms: fields.timestamp_ms,
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use schema::encode::{ChangeFields, SendFields, SendTarget};
    use schema::frame::{FrameRef, frame_len};
    use schema::wire::Role;

    use super::super::forward::Forwarder;
    use super::*;

    const LIMIT: usize = 1 << 16;

    struct Floor {
        forwarder: Forwarder,
        conns: Vec<Conn>,
    }

    impl Floor {
        fn say(&mut self, conn: usize, frame: &[u8]) {
            assert!(self.forwarder.received(&mut self.conns, conn as u32, frame, &mut Vec::new()));
        }

        fn hello(&mut self, user: u64) {
            let claims = format!("{{\"sub\":\"{user}\",\"dev\":1}}");
            let token = format!("x.{}.x", URL_SAFE_NO_PAD.encode(claims));
            self.say(user as usize - 1, &Encoder::new().hello(token.as_bytes(), b"test", 0));
        }

        /// Seqs of the entries that a connection has been told since the last call.
        fn told(&mut self, conn: usize) -> Vec<u64> {
            let out = core::mem::take(&mut self.conns[conn].out);
            let (mut at, mut seqs) = (0, Vec::new());
            while let Some(len) = frame_len(&out[at..], LIMIT).expect("frames") {
                let frame = FrameRef::verify_from_server(&out[at..at + len]).expect("a frame");
                seqs.extend(frame.root().body_as_entry().map(|entry| entry.seq()));
                at += len;
            }
            seqs
        }
    }

    #[test]
    fn every_other_member_gets_an_entry_also_who_connects_later() {
        let conns = (0..3).map(|_| Conn { open: true, ..Conn::default() }).collect();
        let mut floor = Floor { forwarder: Forwarder::new(), conns };
        floor.hello(1);
        floor.hello(2);
        let users = [2, 3].map(|user| UserId::new(user).unwrap());
        let (kind, name) = (EntryKind::created, &b"group"[..]);
        let change = ChangeFields {
            client_msg_id: b"made",
            chat: None,
            kind,
            name,
            users: &users,
            role: Role::member,
            retry: false,
        };
        floor.say(0, &Encoder::new().change(&change));
        floor.hello(3);
        assert_eq!([floor.told(0), floor.told(1), floor.told(2)], [vec![], vec![1], vec![1]]);
        let chat = ChatId::group(UserId::new(1).unwrap(), b"made");
        let (target, kind) = (SendTarget::Chat(chat), EntryKind::message);
        let send = SendFields {
            client_msg_id: b"first",
            target,
            kind,
            content_type: 0,
            body: b"hi",
            refers_to: None,
            after_seq: 0,
            retry: false,
        };
        floor.say(1, &Encoder::new().send(&send));
        assert_eq!([floor.told(0), floor.told(1), floor.told(2)], [vec![2], vec![], vec![2]]);
    }
}
