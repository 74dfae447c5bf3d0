//! The last messages pushed to a JSON session, so that it may acknowledge them by message id alone.

use std::collections::VecDeque;

use schema::ids::{ChatId, MessageId};

/// How many are remembered.
pub(crate) const RECENT: usize = 64;

/// The last [`RECENT`] messages pushed.
#[derive(Default)]
pub(crate) struct Recent(VecDeque<(MessageId, ChatId, u64)>);

impl Recent {
    pub(crate) fn push(&mut self, message: MessageId, chat: ChatId, seq: u64) {
        if self.0.len() == RECENT {
            self.0.pop_front();
        }
        self.0.push_back((message, chat, seq));
    }

    pub(crate) fn find(&self, message: MessageId) -> Option<(ChatId, u64)> {
        self.0.iter().rev().find(|(id, _, _)| *id == message).map(|&(_, chat, seq)| (chat, seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_64_are_found() {
        let mut recent = Recent::default();
        for i in 0..65u8 {
            recent.push(MessageId([i; 16]), ChatId([i / 2; 16]), i.into());
        }
        assert_eq!(recent.find(MessageId([0; 16])), None);
        assert_eq!(recent.find(MessageId([1; 16])), Some((ChatId([0; 16]), 1)));
        assert_eq!(recent.find(MessageId([64; 16])), Some((ChatId([32; 16]), 64)));
    }
}
