//! Groups, and what can be asked of chats.

use bytes::Bytes;
use schema::ids::{ChatId, MessageId, UserId};
use schema::wire::Role;
use tokio::sync::oneshot;

use super::task::Command;
use super::{Client, ClientError, SendHandle};
use crate::core::{ChatInfo, ChatsPage, Event, GroupChange, MessageStatus, Question};

impl Client {
    /// Makes a group of the own user, who is its admin, and `users`. Its id is the handle's chat; it exists once
    /// [`SendHandle::ack`] says so.
    ///
    /// # Errors
    /// `Send` when it was not taken, `Stopped`.
    pub async fn create_group(
        &self,
        name: impl Into<Bytes>,
        users: impl Into<Vec<UserId>>,
    ) -> Result<SendHandle, ClientError> {
        self.change(Bytes::new(), GroupChange::Created { name: name.into(), users: users.into() }).await
    }

    /// Makes users members of a group. Admins may.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn add_members(&self, group: ChatId, users: impl Into<Vec<UserId>>) -> Result<SendHandle, ClientError> {
        self.change(Bytes::new(), GroupChange::Added { group, users: users.into() }).await
    }

    /// Ends others' memberships of a group. Admins may.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn remove_members(
        &self,
        group: ChatId,
        users: impl Into<Vec<UserId>>,
    ) -> Result<SendHandle, ClientError> {
        self.change(Bytes::new(), GroupChange::Removed { group, users: users.into() }).await
    }

    /// Ends the own membership of a group.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn leave(&self, group: ChatId) -> Result<SendHandle, ClientError> {
        self.change(Bytes::new(), GroupChange::Left { group }).await
    }

    /// Gives members of a group a role. Admins may.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn set_role(
        &self,
        group: ChatId,
        users: impl Into<Vec<UserId>>,
        role: Role,
    ) -> Result<SendHandle, ClientError> {
        self.change(Bytes::new(), GroupChange::Role { group, users: users.into(), role }).await
    }

    /// Gives a group a name. Admins may.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn rename(&self, group: ChatId, name: impl Into<Bytes>) -> Result<SendHandle, ClientError> {
        self.change(Bytes::new(), GroupChange::Renamed { group, name: name.into() }).await
    }

    /// Changes a group. An empty `client_msg_id` is replaced by a random one.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn change(&self, mut client_msg_id: Bytes, change: GroupChange) -> Result<SendHandle, ClientError> {
        if client_msg_id.is_empty() {
            client_msg_id = crate::core::new_client_msg_id(&mut fabric::entropy::OsEntropy);
        }
        let (outcome_to, outcome) = oneshot::channel();
        let id = client_msg_id.clone();
        let chat = self.call(|answer| Command::Change(id, change, outcome_to, answer)).await??;
        Ok(SendHandle { client_msg_id, chat, outcome })
    }

    pub(super) async fn ask(&self, question: Question) -> Result<Event, ClientError> {
        self.call(|answer| Command::Ask(question, answer)).await?
    }

    /// What a chat is, and its members above `after_user`, at most `limit` (0 = the server's default): while it names a
    /// `next_user`, there are more.
    ///
    /// # Errors
    /// `Ask`, `AskFailed`, `Stopped`.
    pub async fn chat(&self, chat: ChatId, after_user: Option<UserId>, limit: u32) -> Result<ChatInfo, ClientError> {
        match self.ask(Question::Chat { chat, after_user, limit }).await? {
            Event::Chat(info) => Ok(*info),
            other => unreachable!("the core matches answers with their questions: {other:?}"),
        }
    }

    /// A page of the own chats, newest first, at most `limit` (0 = the server's default). `before`: `last_ms` and id of the
    /// last one of the page before.
    ///
    /// # Errors
    /// `Ask`, `AskFailed`, `Stopped`.
    pub async fn chats(&self, before: Option<(u64, ChatId)>, limit: u32) -> Result<ChatsPage, ClientError> {
        match self.ask(Question::Chats { before, limit }).await? {
            Event::Chats(page) => Ok(*page),
            other => unreachable!("the core matches answers with their questions: {other:?}"),
        }
    }

    /// Who has a message.
    ///
    /// # Errors
    /// `Ask`, `AskFailed`, `Stopped`.
    pub async fn status(&self, chat: ChatId, message: MessageId) -> Result<MessageStatus, ClientError> {
        match self.ask(Question::Status { chat, message }).await? {
            Event::Status(status) => Ok(*status),
            other => unreachable!("the core matches answers with their questions: {other:?}"),
        }
    }
}
