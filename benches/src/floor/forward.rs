//! What a frame causes: a Welcome, a Pong, or an Entry there and a SendAck back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fabric::hash::Map;
use schema::encode::{Encoder, WelcomeFields};
use schema::ids::{ChatId, DeviceId, UserId};
use schema::limits;
use schema::wire::{Body, Hello, Ping, Send};

use super::conn::{Conn, first_frame};
use super::groups::{self, Groups, Sending};
use super::table::{self, Table};
use super::template::{Fields, Templates};

/// Chats, users and how frames are answered.
pub struct Forwarder {
    users: Map<u64, u32>,
    chat_of: Map<(u64, u64), u32>,
    chats: Vec<(ChatId, u64)>,
    groups: Groups,
    templates: Templates,
    encoder: Encoder,
    issued: u64,
    /// Wall time, ms since 1970; set once a turn.
    pub now_ms: u64,
}

impl Default for Forwarder {
    fn default() -> Self {
        Self::new()
    }
}

impl Forwarder {
    /// Nobody connected, no chats.
    pub fn new() -> Self {
        Self {
            users: fabric::hash::map(1),
            chat_of: fabric::hash::map(1),
            chats: Vec::new(),
            groups: Groups::default(),
            templates: Templates::default(),
            encoder: Encoder::new(),
            issued: 0,
            now_ms: 0,
        }
    }

    /// Takes bytes of connection `index`; `dirty` gets every connection that has output now. `false`: close it.
    pub fn received(&mut self, conns: &mut [Conn], index: u32, bytes: &[u8], dirty: &mut Vec<u32>) -> bool {
        let mut joined = core::mem::take(&mut conns[index as usize].partial);
        let mut bytes = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined
        };
        loop {
            match first_frame(bytes) {
                Ok(Some(len)) => {
                    if self.frame(conns, index, &bytes[..len], dirty).is_none() {
                        return false;
                    }
                    bytes = &bytes[len..];
                }
                Ok(None) => break,
                Err(_) => return false,
            }
        }
        if !bytes.is_empty() {
            conns[index as usize].partial.extend_from_slice(bytes);
        }
        true
    }

    /// Forgets a connection's user.
    pub fn closed(&mut self, user: u64, index: u32) {
        if self.users.get(&user) == Some(&index) {
            self.users.remove(&user);
        }
    }

    fn frame(&mut self, conns: &mut [Conn], index: u32, frame: &[u8], dirty: &mut Vec<u32>) -> Option<()> {
        let (kind, body) = table::body(frame)?;
        match Body(kind) {
            Body::Send if conns[index as usize].user != 0 => self.send(conns, index, body, dirty),
            Body::Hello => {
                let (user, device) = subject(body.bytes(Hello::VT_TOKEN))?;
                self.users.insert(user.get(), index);
                let welcome = welcome(user, device, self.now_ms);
                let conn = &mut conns[index as usize];
                conn.user = user.get();
                conn.out.extend_from_slice(&self.encoder.welcome(&welcome));
                self.groups.greet(user.get(), &mut conn.out);
                conn.out.extend_from_slice(&self.encoder.synced(self.now_ms));
                mark_dirty(conn, index, dirty);
            }
            Body::Ping => {
                let conn = &mut conns[index as usize];
                conn.out.extend_from_slice(&self.encoder.pong(body.u64(Ping::VT_NONCE)));
                mark_dirty(conn, index, dirty);
            }
            _ => {}
        }
        Some(())
    }

    fn send(&mut self, conns: &mut [Conn], index: u32, send: Table<'_>, dirty: &mut Vec<u32>) {
        let sender = conns[index as usize].user;
        self.issued += 1;
        if let Some(chat) = groups::target(&send, sender) {
            let (issued, now_ms) = (self.issued, self.now_ms);
            let (users, templates) = (&self.users, &mut self.templates);
            return self.groups.send(
                &mut Sending { conns, users, dirty, templates, issued, now_ms },
                index,
                chat,
                send,
            );
        }
        let to = send.u64(Send::VT_TO);
        let (_, peer, chat) = self.peer(conns, index, sender, to);
        let (chat, head) = &mut self.chats[chat as usize];
        *head += 1;
        let fields = Fields {
            chat: *chat,
            message: schema::timeuuid::from_parts(self.issued, [0x80, 0, 1, 0, 0, 0, 0, 0]),
            seq: *head,
            sender,
            client_msg_id: send.bytes(Send::VT_CLIENT_MSG_ID),
            body: send.bytes(Send::VT_BODY),
            timestamp_ms: self.now_ms,
        };
        self.templates.ack(&fields, &mut conns[index as usize].out);
        mark_dirty(&mut conns[index as usize], index, dirty);
        if let Some(conn) = conns.get_mut(peer as usize).filter(|c| c.open && !c.closing && c.user == to) {
            self.templates.entry(&fields, &mut conn.out);
            mark_dirty(conn, peer, dirty);
        }
    }

    /// Connection and chat of a receiver; kept on the sender's connection while they hold.
    fn peer(&mut self, conns: &mut [Conn], index: u32, sender: u64, to: u64) -> (u64, u32, u32) {
        let known = conns[index as usize].peer;
        if known.0 == to && conns.get(known.1 as usize).is_some_and(|c| c.user == to) {
            return known;
        }
        let pair = (sender.min(to), sender.max(to));
        let chats = &mut self.chats;
        let chat = *self.chat_of.entry(pair).or_insert_with(|| {
            let user = |id| UserId::new(id).unwrap_or(UserId::new(1).expect("1 is a user"));
            chats.push((ChatId::direct(user(sender), user(to)), 0));
            (chats.len() - 1) as u32
        });
        let peer = (to, self.users.get(&to).copied().unwrap_or(u32::MAX), chat);
        conns[index as usize].peer = peer;
        peer
    }
}

/// Puts a connection on the list of those to flush, once.
pub fn mark_dirty(conn: &mut Conn, index: u32, dirty: &mut Vec<u32>) {
    if !conn.dirty {
        conn.dirty = true;
        dirty.push(index);
    }
}

/// The user and device a token names; its signature is not looked at.
fn subject(token: &[u8]) -> Option<(UserId, DeviceId)> {
    let claims = token.split(|b| *b == b'.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims = core::str::from_utf8(&claims).ok()?;
    let claim = |name: &str| {
        let (_, value) = claims.split_once(name)?;
        Some(value.trim_start_matches('"').chars().take_while(char::is_ascii_digit).collect::<String>())
    };
    Some((claim("\"sub\":")?.parse().ok()?, claim("\"dev\":")?.parse().ok()?))
}

fn welcome(user: UserId, device: DeviceId, now_ms: u64) -> WelcomeFields {
    WelcomeFields {
        version: 1,
        features: 0,
        session_id: user.get(),
        server_incarnation: 1,
        user,
        device,
        server_time_ms: now_ms,
        frame_limit_bytes: limits::FRAME_LIMIT_BYTES as u32,
        window: u32::MAX,
        sends_per_second: 0,
        burst: 0,
        ping_interval_ms: limits::PING_INTERVAL_MS,
        idle_timeout_ms: limits::IDLE_TIMEOUT_MS,
    }
}
