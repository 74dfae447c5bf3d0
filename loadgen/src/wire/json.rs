//! The JSON events of docs/PROTOCOL.md, to and from native frames.
//!
//! Timestamps are not translated: nothing here reads them. Marks name messages in JSON and seqs natively, so [`Seen`]
//! keeps which message had which seq until it is marked.

use core::fmt;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::encode::{Encoder, EntryFields, WelcomeFields};
use schema::errors::TABLE;
use schema::frame::FrameRef;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::limits::PROTOCOL_VERSIONS;
use schema::wire::{EntryKind, MarkStatus, Send, Uuid};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use super::WireError;
use crate::probe::Allowed;

/// Seqs remembered a user; the oldest go first. A mark is rarely further behind than one read of a socket; one that is
/// waits for the next.
const SEEN_MAX: usize = 1_024;
/// Stands for every kind of entry that is not a message.
const OTHER_KIND: EntryKind = EntryKind(u8::MAX);

/// The messages that may be marked next.
#[derive(Debug, Default)]
pub struct Seen(VecDeque<(ChatId, u64, MessageId)>);

impl Seen {
    fn add(&mut self, chat: ChatId, seq: u64, message: MessageId) {
        if self.0.len() == SEEN_MAX {
            self.0.pop_front();
        }
        self.0.push_back((chat, seq, message));
    }

    /// The message last seen at `seq` or below it; what came before it is forgotten as far as it is first in line.
    fn marked(&mut self, chat: ChatId, seq: u64) -> Option<MessageId> {
        let (_, marked, message) = *self.0.iter().rev().find(|(of, at, _)| *of == chat && *at <= seq)?;
        while self.0.front().is_some_and(|(of, at, _)| *of == chat && *at < marked) {
            self.0.pop_front();
        }
        Some(message)
    }
}

/// Text of an event, borrowed where it needs no unescaping.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Every field of every event of a server; an event's own are picked by its type.
#[derive(Deserialize)]
struct ServerEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    user_id: Option<Text<'a>>,
    device_id: Option<u32>,
    #[serde(borrow)]
    chat_id: Option<Text<'a>>,
    #[serde(borrow)]
    message_id: Option<Text<'a>>,
    seq: Option<u64>,
    #[serde(borrow)]
    sender_id: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    content_base64: Option<Text<'a>>,
    #[serde(borrow)]
    client_msg_id: Option<Text<'a>>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow)]
    code: Option<Text<'a>>,
    retry_after_ms: Option<u32>,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    request_id: Option<u64>,
    covers_first_seq: Option<u64>,
    covers_last_seq: Option<u64>,
    head_seq: Option<u64>,
    #[serde(borrow, default)]
    entries: Vec<ServerEvent<'a>>,
}

fn id<T: FromStr>(text: Option<&Text<'_>>, name: &'static str) -> Result<T, WireError> {
    text.and_then(|text| text.0.parse().ok()).ok_or(WireError::Event(name))
}

fn number<T>(number: Option<T>, name: &'static str) -> Result<T, WireError> {
    number.ok_or(WireError::Event(name))
}

impl ServerEvent<'_> {
    fn chat(&self) -> Result<ChatId, WireError> {
        id(self.chat_id.as_ref(), "chat_id is missing or wrong")
    }

    fn message(&self) -> Result<MessageId, WireError> {
        id(self.message_id.as_ref(), "message_id is missing or wrong")
    }

    fn seq(&self) -> Result<u64, WireError> {
        number(self.seq, "seq is missing")
    }

    fn client_msg_id(&self) -> &[u8] {
        self.client_msg_id.as_ref().map_or(&[], |id| id.0.as_bytes())
    }

    fn body(&self) -> Result<Cow<'_, [u8]>, WireError> {
        match (&self.content, &self.content_base64) {
            (Some(text), None) => Ok(Cow::Borrowed(text.0.as_bytes())),
            (None, Some(text)) => {
                let decoded = STANDARD.decode(text.0.as_bytes());
                decoded.map(Cow::Owned).map_err(|_| WireError::Event("content_base64 is no base64"))
            }
            _ => Err(WireError::Event("not exactly one of content and content_base64")),
        }
    }
}

/// Reads one event and appends its native frame to `frames`. Types that a client may ignore append nothing.
///
/// # Errors
/// It is no event, or lacks what its type needs.
pub fn frame(
    text: &str,
    allowed: &Allowed,
    encoder: &mut Encoder,
    seen: &mut Seen,
    frames: &mut Vec<u8>,
) -> Result<(), WireError> {
    let event: ServerEvent<'_> = serde_json::from_str(text).map_err(|_| WireError::Event("it cannot be read"))?;
    let bytes = match &*event.kind.0 {
        "message" | "entry" => entry(&event, encoder, seen)?,
        "ack" if event.user_id.is_some() => return receipt(&event, encoder, frames),
        "ack" if event.status.as_ref().is_some_and(|status| status.0 == "queued") => return Ok(()),
        "ack" => {
            let (chat, seq, message) = (event.chat()?, event.seq()?, event.message()?);
            seen.add(chat, seq, message);
            encoder.sent(event.client_msg_id(), chat, message, seq, 0)
        }
        "ready" => encoder.welcome(&welcome(&event, allowed)?),
        "synced" => encoder.synced(0),
        "pong" => encoder.pong(0),
        "error" => {
            let name = event.code.as_ref().ok_or(WireError::Event("code is missing"))?;
            let row = TABLE.iter().find(|row| row.name == name.0);
            let code = row.ok_or(WireError::Event("its code is not in the error table"))?.code;
            encoder.error(code, "", event.retry_after_ms.unwrap_or(0), event.client_msg_id())
        }
        "covered" => {
            let first = number(event.first_seq, "first_seq is missing")?;
            encoder.covered(event.chat()?, first, number(event.last_seq, "last_seq is missing")?)
        }
        "history" => history(&event, encoder, seen)?,
        _ => return Ok(()),
    };
    frames.extend_from_slice(&bytes);
    Ok(())
}

fn entry(event: &ServerEvent<'_>, encoder: &mut Encoder, seen: &mut Seen) -> Result<bytes::Bytes, WireError> {
    let is_message = event.kind.0 == "message";
    let body = if is_message { event.body()? } else { Cow::Borrowed(&[][..]) };
    let (chat, seq, message) = (event.chat()?, event.seq()?, event.message()?);
    seen.add(chat, seq, message);
    Ok(encoder.entry(&EntryFields {
        chat,
        message,
        seq,
        sender: id(event.sender_id.as_ref(), "sender_id is missing or wrong")?,
        device: DeviceId(0),
        kind: if is_message { EntryKind::message } else { OTHER_KIND },
        content_type: 0,
        body: &body,
        client_msg_id: event.client_msg_id(),
        refers_to: None,
        after_seq: 0,
        timestamp_ms: 0,
    }))
}

/// A receipt without a seq says nothing that a native client could use.
fn receipt(event: &ServerEvent<'_>, encoder: &mut Encoder, frames: &mut Vec<u8>) -> Result<(), WireError> {
    let user: UserId = id(event.user_id.as_ref(), "user_id is wrong")?;
    let (chat, message) = (event.chat()?, event.message()?);
    let read = event.status.as_ref().is_some_and(|status| status.0 == "read");
    let status = if read { MarkStatus::read } else { MarkStatus::delivered };
    if let Some(seq) = event.seq {
        frames.extend_from_slice(&encoder.receipt(chat, message, seq, user, status));
    }
    Ok(())
}

fn welcome(event: &ServerEvent<'_>, allowed: &Allowed) -> Result<WelcomeFields, WireError> {
    Ok(WelcomeFields {
        version: *PROTOCOL_VERSIONS.end(),
        features: 0,
        session_id: 0,
        server_incarnation: 0,
        user: id(event.user_id.as_ref(), "user_id is missing or wrong")?,
        device: DeviceId(number(event.device_id, "device_id is missing")?),
        server_time_ms: 0,
        frame_limit_bytes: allowed.frame_bytes,
        window: allowed.in_flight_per_session,
        sends_per_second: allowed.sends_per_second_per_user,
        burst: allowed.burst_per_user,
        ping_interval_ms: allowed.ping_interval_ms,
        idle_timeout_ms: allowed.idle_timeout_ms,
    })
}

fn history(event: &ServerEvent<'_>, encoder: &mut Encoder, seen: &mut Seen) -> Result<bytes::Bytes, WireError> {
    let entries: Result<Vec<_>, _> = event.entries.iter().map(|event| entry(event, encoder, seen)).collect();
    let covers = (
        number(event.covers_first_seq, "covers_first_seq is missing")?,
        number(event.covers_last_seq, "covers_last_seq is missing")?,
    );
    let head = number(event.head_seq, "head_seq is missing")?;
    let request = number(event.request_id, "request_id is missing")?;
    Ok(encoder.history_page(request, event.chat()?, covers, head, entries?.iter().map(|frame| &frame[..])))
}

/// A client's event as JSON text.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ClientEvent<'a> {
    Message {
        #[serde(skip_serializing_if = "Option::is_none")]
        chat_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content_base64: Option<String>,
        client_msg_id: &'a str,
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        retry: bool,
    },
    Created {
        name: &'a str,
        users: Vec<String>,
        client_msg_id: &'a str,
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        retry: bool,
    },
    Added {
        chat_id: String,
        users: Vec<String>,
        client_msg_id: &'a str,
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        retry: bool,
    },
    Ack {
        chat_id: String,
        message_id: String,
        status: &'static str,
    },
    Ping,
    History {
        request_id: u64,
        chat_id: String,
        after_seq: u64,
        limit: u32,
    },
}

fn chat(id: Option<&Uuid>) -> Result<ChatId, WireError> {
    id.map(ChatId::from).ok_or(WireError::Event("a frame of the client without its chat"))
}

/// A send as an event: a message, or a change that makes a group.
fn said(send: Send<'_>) -> Result<ClientEvent<'_>, WireError> {
    let body = send.body().map_or(&[][..], |body| body.bytes());
    let text = |bytes| str::from_utf8(bytes).ok();
    let id = send.client_msg_id().map_or(&[][..], |id| id.bytes());
    let client_msg_id = text(id).ok_or(WireError::Event("a client_msg_id that is no text"))?;
    let users = || send.users().into_iter().flatten().map(|user| user.to_string()).collect();
    let (content, retry) = (text(body), send.retry());
    Ok(match send.kind() {
        EntryKind::created => {
            let name = content.ok_or(WireError::Event("a name that is no text"))?;
            ClientEvent::Created { name, users: users(), client_msg_id, retry }
        }
        EntryKind::added => {
            ClientEvent::Added { chat_id: chat(send.chat_id())?.to_string(), users: users(), client_msg_id, retry }
        }
        _ => ClientEvent::Message {
            chat_id: send.chat_id().map(|id| ChatId::from(id).to_string()),
            to: (send.to() != 0).then(|| send.to().to_string()),
            content,
            content_base64: content.is_none().then(|| STANDARD.encode(body)),
            client_msg_id,
            retry,
        },
    })
}

/// A client's native frame as an event, appended to `text`. `false`: JSON has no need of it.
///
/// # Errors
/// JSON has no words for it.
pub fn event(frame: FrameRef<'_>, seen: &mut Seen, text: &mut Vec<u8>) -> Result<bool, WireError> {
    let root = frame.root();
    let event = if let Some(send) = root.body_as_send() {
        said(send)?
    } else if let Some(mark) = root.body_as_mark() {
        let chat = chat(mark.chat_id())?;
        // Nothing of this chat was seen in JSON: there is nothing to mark either.
        let Some(message) = seen.marked(chat, mark.seq()) else { return Ok(false) };
        let status = if mark.status() == MarkStatus::read { "read" } else { "delivered" };
        ClientEvent::Ack { chat_id: chat.to_string(), message_id: message.to_string(), status }
    } else if root.body_as_ping().is_some() {
        ClientEvent::Ping
    } else if let Some(request) = root.body_as_history_request() {
        ClientEvent::History {
            request_id: request.request_id(),
            chat_id: chat(request.chat_id())?.to_string(),
            after_seq: request.after_seq(),
            limit: request.limit(),
        }
    } else {
        return Ok(false);
    };
    serde_json::to_writer(text, &event).map_err(|_| WireError::Event("cannot be written"))?;
    Ok(true)
}
