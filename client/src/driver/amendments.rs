//! Amendments of messages, and the own account.

use bytes::Bytes;
use schema::ids::{ChatId, DeviceId, MessageId};
use tokio::sync::oneshot;

use super::task::Command;
use super::{Client, ClientError, SendHandle};
use crate::core::{Account, AccountChange, Amendment, Event, Question};

impl Client {
    /// Lets an own message say something else. More (content type, mentions) by [`Self::amend`].
    ///
    /// # Errors
    /// `Send` when it was not taken, `Stopped`.
    pub async fn edit(
        &self,
        chat: ChatId,
        message: MessageId,
        body: impl Into<Bytes>,
    ) -> Result<SendHandle, ClientError> {
        let (body, mentions) = (body.into(), Vec::new());
        self.amend(Bytes::new(), Amendment::Edited { chat, message, content_type: 0, body, mentions }).await
    }

    /// Deletes a message for everyone.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn delete(&self, chat: ChatId, message: MessageId) -> Result<SendHandle, ClientError> {
        self.amend(Bytes::new(), Amendment::Deleted { chat, message }).await
    }

    /// Reacts to a message; an empty reaction takes the own one back.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn react(
        &self,
        chat: ChatId,
        message: MessageId,
        reaction: impl Into<Bytes>,
    ) -> Result<SendHandle, ClientError> {
        self.amend(Bytes::new(), Amendment::Reacted { chat, message, reaction: reaction.into() }).await
    }

    /// Lets messages of a chat disappear `ttl_s` after they were sent (5 s to 365 days; 0 = they stay).
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn set_timer(&self, chat: ChatId, ttl_s: u32) -> Result<SendHandle, ClientError> {
        self.amend(Bytes::new(), Amendment::Timer { chat, ttl_s }).await
    }

    /// Amends. An empty `client_msg_id` is replaced by a random one.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn amend(&self, mut client_msg_id: Bytes, amendment: Amendment) -> Result<SendHandle, ClientError> {
        if client_msg_id.is_empty() {
            client_msg_id = crate::core::new_client_msg_id(&mut fabric::entropy::OsEntropy);
        }
        let (outcome_to, outcome) = oneshot::channel();
        let id = client_msg_id.clone();
        let chat = self.call(|answer| Command::Amend(id, amendment, outcome_to, answer)).await??;
        Ok(SendHandle { client_msg_id, chat, outcome })
    }

    /// Gives a setting a value (empty = the default again), for a chat where it is about one.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn set(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        subject: Option<ChatId>,
    ) -> Result<SendHandle, ClientError> {
        let change = AccountChange::Setting { key: key.into(), value: value.into(), subject };
        self.change_account(Bytes::new(), change).await
    }

    /// Hides a message from the own user, on all their devices.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn hide(&self, chat: ChatId, message: MessageId) -> Result<SendHandle, ClientError> {
        self.change_account(Bytes::new(), AccountChange::Hidden { chat, message }).await
    }

    /// Gives one of the own devices a name.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn name_device(&self, device: DeviceId, name: impl Into<Bytes>) -> Result<SendHandle, ClientError> {
        self.change_account(Bytes::new(), AccountChange::Named { device, name: name.into() }).await
    }

    /// Ends the session of another of the own devices, and takes its tokens' worth.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn revoke_device(&self, device: DeviceId) -> Result<SendHandle, ClientError> {
        self.change_account(Bytes::new(), AccountChange::Revoked { device }).await
    }

    /// Changes the own account. An empty `client_msg_id` is replaced by a random one.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn change_account(
        &self,
        mut client_msg_id: Bytes,
        change: AccountChange,
    ) -> Result<SendHandle, ClientError> {
        if client_msg_id.is_empty() {
            client_msg_id = crate::core::new_client_msg_id(&mut fabric::entropy::OsEntropy);
        }
        let (outcome_to, outcome) = oneshot::channel();
        let id = client_msg_id.clone();
        let chat = self.call(|answer| Command::ChangeAccount(id, change, outcome_to, answer)).await??;
        Ok(SendHandle { client_msg_id, chat, outcome })
    }

    /// The own settings and devices, and what is hidden of `chat`.
    ///
    /// # Errors
    /// `Ask`, `AskFailed`, `Stopped`.
    pub async fn account(&self, chat: Option<ChatId>) -> Result<Account, ClientError> {
        match self.ask(Question::Account { chat }).await? {
            Event::Account(account) => Ok(*account),
            other => unreachable!("the core matches answers with their questions: {other:?}"),
        }
    }
}
