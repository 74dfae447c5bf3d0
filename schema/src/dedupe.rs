//! The dedupe key: (chat, sender, client_msg_id) as 16 bytes.

use core::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::ids::{ChatId, UserId};

/// 16 bytes of SipHash-1-3-128, keyed by the data folder's secret: nobody outside can make two keys collide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DedupeKey(pub [u8; 16]);

/// Makes [`DedupeKey`]s. One per data folder, drawn when the folder is made, kept for its life.
#[derive(Clone, Copy)]
pub struct DedupeHasher {
    secret: [u8; 16],
}

impl DedupeHasher {
    /// From the folder's secret.
    pub const fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// The key of one change.
    pub fn key(&self, chat: ChatId, sender: UserId, client_msg_id: &[u8]) -> DedupeKey {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        hasher.write(&chat.0);
        hasher.write(&sender.get().to_le_bytes());
        hasher.write(client_msg_id);
        DedupeKey(hasher.finish128().as_bytes())
    }
}
