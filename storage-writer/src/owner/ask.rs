//! Who asks for what: what the owner takes out of a send, and what of it waits for the block.

use bytes::Bytes;
use fabric::tier::Send;
use schema::dedupe::DedupeKey;
use schema::envelope::{Address, Trace};
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire;

use super::batch::{Item, What};
use super::keys::Keys;

/// Who asks for what, taken out of a send once.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub reply: Address,
    pub request_id: u64,
    /// Only of a sampled send.
    pub trace: Option<&'a Trace>,
    pub chat: ChatId,
    pub user: UserId,
    pub device: DeviceId,
    pub key: DedupeKey,
    pub client_msg_id: &'a [u8],
}

impl<'a> Ask<'a> {
    /// With the frame's body. `None`: that is no `Send` with a client_msg_id.
    pub(super) fn of(send: &Send<'a>, keys: &Keys) -> Option<(Self, wire::Send<'a>)> {
        let body = send.frame.root().body_as_send()?;
        let client_msg_id = body.client_msg_id()?.bytes();
        let &Send { reply, request_id, trace, chat, user, device, .. } = send;
        let key = keys.key(chat, user, client_msg_id);
        Some((Self { reply, request_id, trace, chat, user, device, key, client_msg_id }, body))
    }

    /// What a batch keeps of a new entry. `frame`: the Entry frame, with where the client_msg_id begins in it.
    pub(super) fn item(
        &self,
        what: What,
        chat: u32,
        (seq, message): (u64, MessageId),
        (frame, id_at): (Bytes, usize),
    ) -> Item {
        let id = (id_at as u32, self.client_msg_id.len() as u32);
        self.keep(what, chat, (seq, message), frame, id)
    }

    /// What a batch keeps of one that is no new entry.
    pub(super) fn answer(&self, what: What, chat: u32, (seq, message): (u64, MessageId)) -> Item {
        let id = Bytes::copy_from_slice(self.client_msg_id);
        let id_bytes = id.len() as u32;
        self.keep(what, chat, (seq, message), id, (0, id_bytes))
    }

    fn keep(
        &self,
        what: What,
        chat: u32,
        (seq, message): (u64, MessageId),
        frame: Bytes,
        client_msg_id: (u32, u32),
    ) -> Item {
        let &Self { reply, request_id, user, device, key, .. } = self;
        let trace = self.trace.copied().map(Box::new);
        let (send, spooled) = (None, false);
        Item {
            what,
            chat,
            seq,
            message,
            frame,
            client_msg_id,
            key,
            user,
            device,
            reply,
            request_id,
            trace,
            send,
            spooled,
        }
    }
}
