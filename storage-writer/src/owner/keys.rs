//! Dedupe keys, each made once: that of a send that was announced is kept until it comes.
//!
//! What must stay true: a key is the hash of its parts, whether it was kept or not.

use schema::dedupe::{DedupeHasher, DedupeKey};
use schema::ids::{ChatId, UserId};
use schema::limits::CLIENT_MSG_ID_BYTES;

/// Sends that are announced and have not come: the one at work and the one behind it.
const KEPT: usize = 2;
const ID_MAX: usize = *CLIENT_MSG_ID_BYTES.end();

struct Kept {
    chat: ChatId,
    user: UserId,
    client_msg_id: [u8; ID_MAX],
    id_bytes: usize,
    key: DedupeKey,
}

impl Kept {
    fn is_of(&self, chat: ChatId, user: UserId, client_msg_id: &[u8]) -> bool {
        self.user == user && self.chat == chat && self.client_msg_id[..self.id_bytes] == *client_msg_id
    }
}

/// Makes keys.
pub(crate) struct Keys {
    hasher: DedupeHasher,
    kept: [Option<Kept>; KEPT],
    /// The older one.
    next: usize,
}

impl Keys {
    pub(crate) const fn new(hasher: DedupeHasher) -> Self {
        Self { hasher, kept: [const { None }; KEPT], next: 0 }
    }

    /// The key of a send that comes soon.
    pub(crate) fn ahead(&mut self, chat: ChatId, user: UserId, client_msg_id: &[u8]) -> DedupeKey {
        let key = self.hasher.key(chat, user, client_msg_id);
        let mut kept = Kept { chat, user, client_msg_id: [0; ID_MAX], id_bytes: client_msg_id.len(), key };
        if let Some(room) = kept.client_msg_id.get_mut(..client_msg_id.len()) {
            room.copy_from_slice(client_msg_id);
            self.kept[self.next] = Some(kept);
            self.next = (self.next + 1) % KEPT;
        }
        key
    }

    /// The key of a send.
    pub(crate) fn key(&self, chat: ChatId, user: UserId, client_msg_id: &[u8]) -> DedupeKey {
        let (newer, older) = self.kept.split_at(self.next);
        let kept = older.iter().chain(newer).flatten().find(|kept| kept.is_of(chat, user, client_msg_id));
        kept.map_or_else(|| self.hasher.key(chat, user, client_msg_id), |kept| kept.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_hash_of_its_parts_whatever_was_announced() {
        let hasher = DedupeHasher::new([7; 16]);
        let mut keys = Keys::new(hasher);
        let user = |n| UserId::new(n).expect("not 0");
        let ids: Vec<Vec<u8>> = [0, 1, 16, 63, 64, 65, 200].map(|len| vec![5; len]).into();
        let sends: Vec<(ChatId, UserId, &[u8])> = (1..=2u8)
            .flat_map(|chat| (1..=2).map(move |n| (ChatId([chat; 16]), user(n))))
            .flat_map(|(chat, user)| ids.iter().map(move |id| (chat, user, &id[..])))
            .collect();
        for &(chat, user, id) in &sends {
            assert_eq!(keys.ahead(chat, user, id), hasher.key(chat, user, id));
            for &(chat, user, id) in &sends {
                assert_eq!(keys.key(chat, user, id), hasher.key(chat, user, id), "{} bytes", id.len());
            }
        }
    }

    #[test]
    fn what_was_announced_last_is_kept() {
        let mut keys = Keys::new(DedupeHasher::new([7; 16]));
        let user = UserId::new(1).expect("not 0");
        let chat = ChatId([1; 16]);
        let announced = [&b"first"[..], b"second", b"third"].map(|id| keys.ahead(chat, user, id));
        // Of another secret, so that what is made anew shows.
        keys.hasher = DedupeHasher::new([8; 16]);
        assert_ne!(keys.key(chat, user, b"first"), announced[0]);
        assert_eq!(keys.key(chat, user, b"second"), announced[1]);
        assert_eq!(keys.key(chat, user, b"third"), announced[2]);
    }
}
