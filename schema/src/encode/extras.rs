//! Frames of what most messages do not have: amendments, timers, the account log, and what is told of them.

use bytes::Bytes;
use flatbuffers::{Vector, WIPOffset};

use super::{Encoder, EntryFields, SendFields, SendTarget, chats, client_msg_id_at};
use crate::frame::{FrameError, FrameRef};
use crate::ids::{ChatId, DeviceId, MessageId, UserId};
use crate::wire::{self, Body, Entry, Role};

/// Fields of sends and entries that most messages leave out; the default leaves all of them out. As in client.fbs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// Whom a change or an amendment names, or a message mentions.
    pub users: &'a [UserId],
    /// Kind role.
    pub role: Role,
    /// How long messages stay, s; 0 = for good.
    pub ttl_s: u32,
    /// How often a message has been passed on.
    pub forwarded: u8,
    /// Which chat a setting or a hidden message is about.
    pub subject: Option<ChatId>,
    /// Which setting.
    pub key: &'a [u8],
    /// Which device is named or revoked.
    pub device: DeviceId,
    /// Entries only: the seq of what is amended; 0 = nothing is.
    pub refers_seq: u64,
    /// Entries only: the edit that this one takes the place of; 0 = none.
    pub replaces_seq: u64,
    /// Entries only: the edit whose body this is; 0 = as it was sent.
    pub edited_seq: u64,
    /// Entries only: when that edit was made, ms since 1970.
    pub edited_ms: u64,
    /// Entries only: when the body was blanked, ms since 1970; 0 = it was not.
    pub deleted_ms: u64,
}

/// What an amendment makes of the entry that it amends.
#[derive(Clone, Copy, Debug)]
pub enum Amended<'a> {
    /// The body is another's from now on.
    Edited {
        /// The edit.
        by_seq: u64,
        /// When it was made, ms since 1970.
        at_ms: u64,
        /// The client's own.
        content_type: u8,
        /// The payload.
        body: &'a [u8],
        /// Who is mentioned, as the edit's entry names them.
        users: Option<Vector<'a, u64>>,
    },
    /// There is no body from now on.
    Blanked {
        /// When, ms since 1970.
        at_ms: u64,
    },
}

/// A device as [`Encoder::account`] tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceFields<'a> {
    /// Which.
    pub device: DeviceId,
    /// Empty = it never named itself.
    pub name: &'a [u8],
    /// Wall time, ms since 1970; 0 = never.
    pub named_ms: u64,
    /// Wall time, ms since 1970; 0 = never.
    pub revoked_ms: u64,
}

/// What a user has set for a chat, as a list of chats tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatSettings {
    /// It stays on top.
    pub pinned: bool,
    /// It is out of the way.
    pub archived: bool,
    /// Wall time, ms since 1970; 0 = not muted, `u64::MAX` = for good.
    pub muted_until_ms: u64,
}

type Numbers<'b> = Option<WIPOffset<Vector<'b, u64>>>;

impl Encoder {
    fn extra_users(&mut self, users: &[UserId]) -> Numbers<'static> {
        (!users.is_empty()).then(|| self.fbb.create_vector(&chats::numbers(users)))
    }

    /// A Send frame with extras. No `target`: a group that is made, or the sender's own account log.
    pub fn send_with(&mut self, s: &SendFields<'_>, target: Option<SendTarget>, extras: &Extras<'_>) -> Bytes {
        let body = Some(self.fbb.create_vector(s.body));
        let client_msg_id = Some(self.fbb.create_vector(s.client_msg_id));
        let users = self.extra_users(extras.users);
        let key = (!extras.key.is_empty()).then(|| self.fbb.create_vector(extras.key));
        let refers_to = s.refers_to.map(wire::Uuid::from);
        let subject = extras.subject.map(wire::Uuid::from);
        let (chat_id, to) = match target {
            Some(SendTarget::Chat(chat)) => (Some(wire::Uuid::from(chat)), 0),
            Some(SendTarget::User(user)) => (None, user.get()),
            None => (None, 0),
        };
        let fields = wire::SendArgs {
            client_msg_id,
            chat_id: chat_id.as_ref(),
            to,
            kind: s.kind,
            content_type: s.content_type,
            body,
            refers_to: refers_to.as_ref(),
            after_seq: s.after_seq,
            retry: s.retry,
            users,
            role: extras.role,
            ttl_s: extras.ttl_s,
            forwarded: extras.forwarded,
            subject: subject.as_ref(),
            key,
            device: extras.device.0,
        };
        let send = wire::Send::create(&mut self.fbb, &fields);
        self.finish(Body::Send, send.as_union_value())
    }

    /// An Entry frame with extras.
    pub fn entry_with(&mut self, e: &EntryFields<'_>, x: &Extras<'_>) -> Bytes {
        let users = self.extra_users(x.users);
        self.write_entry(e, x, users)
    }

    /// As [`Self::entry_with`], with where its client_msg_id begins in it.
    pub fn entry_with_id_and(&mut self, e: &EntryFields<'_>, extras: &Extras<'_>) -> (Bytes, usize) {
        let bytes = self.entry_with(e, extras);
        let at = client_msg_id_at(&bytes);
        (bytes, at)
    }

    fn write_entry(&mut self, e: &EntryFields<'_>, x: &Extras<'_>, users: Numbers<'static>) -> Bytes {
        let body = Some(self.fbb.create_vector(e.body));
        let client_msg_id = Some(self.fbb.create_vector(e.client_msg_id));
        let key = (!x.key.is_empty()).then(|| self.fbb.create_vector(x.key));
        let refers_to = e.refers_to.map(wire::Uuid::from);
        let subject = x.subject.map(wire::Uuid::from);
        let fields = wire::EntryArgs {
            chat_id: Some(&e.chat.into()),
            message_id: Some(&e.message.into()),
            seq: e.seq,
            sender_id: e.sender.get(),
            sender_device: e.device.0,
            kind: e.kind,
            content_type: e.content_type,
            body,
            client_msg_id,
            refers_to: refers_to.as_ref(),
            after_seq: e.after_seq,
            timestamp_ms: e.timestamp_ms,
            users,
            role: x.role,
            ttl_s: x.ttl_s,
            forwarded: x.forwarded,
            subject: subject.as_ref(),
            key,
            device: x.device.0,
            refers_seq: x.refers_seq,
            replaces_seq: x.replaces_seq,
            edited_seq: x.edited_seq,
            edited_ms: x.edited_ms,
            deleted_ms: x.deleted_ms,
        };
        let entry = wire::Entry::create(&mut self.fbb, &fields);
        self.finish(Body::Entry, entry.as_union_value())
    }

    /// What an amendment makes of an Entry frame: the same entry, in the same place, with another body or none. What is blank stays
    /// blank, and an older edit changes nothing.
    ///
    /// # Errors
    /// [`FrameError`] when `frame` is no frame of an entry.
    pub fn amended(&mut self, frame: &[u8], change: &Amended<'_>) -> Result<Bytes, FrameError> {
        let verified = FrameRef::verify(frame)?;
        let entry = verified.root().body_as_entry();
        let Some((entry, fields)) = entry.and_then(|entry| Some((entry, entry_fields(&entry)?))) else {
            return Err(FrameError::Malformed("it is not an entry's".to_owned()));
        };
        let kept = Extras {
            users: &[],
            role: entry.role(),
            ttl_s: entry.ttl_s(),
            forwarded: entry.forwarded(),
            subject: entry.subject().map(ChatId::from),
            key: entry.key().map_or(&[][..], |key| key.bytes()),
            device: DeviceId(entry.device()),
            refers_seq: entry.refers_seq(),
            replaces_seq: entry.replaces_seq(),
            edited_seq: entry.edited_seq(),
            edited_ms: entry.edited_ms(),
            deleted_ms: entry.deleted_ms(),
        };
        let (fields, extras, users) = match *change {
            Amended::Edited { by_seq, at_ms, content_type, body, users }
                if kept.deleted_ms == 0 && by_seq > kept.edited_seq =>
            {
                let extras = Extras { edited_seq: by_seq, edited_ms: at_ms, ..kept };
                (EntryFields { content_type, body, ..fields }, extras, users)
            }
            Amended::Blanked { at_ms } if kept.deleted_ms == 0 => {
                let extras = Extras { deleted_ms: at_ms, edited_seq: 0, edited_ms: 0, ..kept };
                (EntryFields { body: &[], ..fields }, extras, None)
            }
            _ => return Ok(Bytes::copy_from_slice(frame)),
        };
        let users = users.map(|users| {
            let users: Vec<u64> = users.iter().collect();
            self.fbb.create_vector(&users)
        });
        Ok(self.write_entry(&fields, &extras, users))
    }

    /// A Hello frame of a device that was here before. `synced_ms`: its last Synced's server_time_ms, 0 = none. `me`: who it
    /// believes to be, and how many marks follow directly; `None` = it does not say.
    pub fn hello_again(
        &mut self,
        token: &[u8],
        agent: &[u8],
        features: u64,
        synced_ms: u64,
        me: Option<(UserId, DeviceId, u32)>,
    ) -> Bytes {
        let token = Some(self.fbb.create_vector(token));
        let agent = Some(self.fbb.create_vector(agent));
        let fields = wire::HelloArgs {
            version_min: *crate::limits::PROTOCOL_VERSIONS.start(),
            version_max: *crate::limits::PROTOCOL_VERSIONS.end(),
            features,
            token,
            agent,
            synced_ms,
            user_id: me.map_or(0, |(user, ..)| user.get()),
            device_id: me.map_or(0, |(_, device, _)| device.0),
            marks: me.map_or(0, |(.., marks)| marks),
        };
        let hello = wire::Hello::create(&mut self.fbb, &fields);
        self.finish(Body::Hello, hello.as_union_value())
    }

    /// A Ticks frame.
    pub fn ticks(&mut self, chat: ChatId, members: &[chats::MemberFields]) -> Bytes {
        let members = Some(self.fbb.create_vector(&chats::table(members)));
        let ticks = wire::Ticks::create(&mut self.fbb, &wire::TicksArgs { chat_id: Some(&chat.into()), members });
        self.finish(Body::Ticks, ticks.as_union_value())
    }

    /// An AccountRequest frame. `chat`: tell what is hidden of it.
    pub fn account_request(&mut self, request_id: u64, chat: Option<ChatId>) -> Bytes {
        let chat = chat.map(wire::Uuid::from);
        let fields = wire::AccountRequestArgs { request_id, chat_id: chat.as_ref() };
        let request = wire::AccountRequest::create(&mut self.fbb, &fields);
        self.finish(Body::AccountRequest, request.as_union_value())
    }

    /// An Account frame. `settings`: key and value.
    pub fn account(
        &mut self,
        request_id: u64,
        settings: &[(&[u8], &[u8])],
        devices: &[DeviceFields<'_>],
        hidden: &[MessageId],
    ) -> Bytes {
        let mut offsets = Vec::with_capacity(settings.len());
        for (key, value) in settings {
            let (key, value) = (Some(self.fbb.create_vector(key)), Some(self.fbb.create_vector(value)));
            offsets.push(wire::Setting::create(&mut self.fbb, &wire::SettingArgs { key, value }));
        }
        let settings = Some(self.fbb.create_vector(&offsets));
        let mut offsets = Vec::with_capacity(devices.len());
        for &DeviceFields { device, name, named_ms, revoked_ms } in devices {
            let name = Some(self.fbb.create_vector(name));
            let fields = wire::DeviceArgs { device: device.0, name, named_ms, revoked_ms };
            offsets.push(wire::Device::create(&mut self.fbb, &fields));
        }
        let devices = Some(self.fbb.create_vector(&offsets));
        let hidden: Vec<wire::Uuid> = hidden.iter().map(|&message| message.into()).collect();
        let hidden = Some(self.fbb.create_vector(&hidden));
        let account =
            wire::Account::create(&mut self.fbb, &wire::AccountArgs { request_id, settings, devices, hidden });
        self.finish(Body::Account, account.as_union_value())
    }
}

/// The plain fields of an entry; `None` when it lacks what every entry has.
pub fn entry_fields<'a>(entry: &Entry<'a>) -> Option<EntryFields<'a>> {
    Some(EntryFields {
        chat: entry.chat_id()?.into(),
        message: entry.message_id()?.into(),
        seq: entry.seq(),
        sender: UserId::new(entry.sender_id())?,
        device: DeviceId(entry.sender_device()),
        kind: entry.kind(),
        content_type: entry.content_type(),
        body: entry.body().map_or(&[][..], |body| body.bytes()),
        client_msg_id: entry.client_msg_id().map_or(&[][..], |id| id.bytes()),
        refers_to: entry.refers_to().map(MessageId::from),
        after_seq: entry.after_seq(),
        timestamp_ms: entry.timestamp_ms(),
    })
}

#[cfg(test)]
mod tests;
