//! The dedupe key: (chat, sender, client_msg_id) as 16 bytes.

use core::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::ids::{ChatId, UserId};
use crate::limits::CLIENT_MSG_ID_BYTES;

const CLIENT_MSG_ID_MAX: usize = *CLIENT_MSG_ID_BYTES.end();

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
        // In one go where it fits: the hasher's pieces cost more than its rounds.
        let mut bytes = [0u8; 24 + CLIENT_MSG_ID_MAX];
        bytes[..16].copy_from_slice(&chat.0);
        bytes[16..24].copy_from_slice(&sender.get().to_le_bytes());
        let (here, rest) = client_msg_id.split_at(client_msg_id.len().min(CLIENT_MSG_ID_MAX));
        bytes[24..24 + here.len()].copy_from_slice(here);
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        hasher.write(&bytes[..24 + here.len()]);
        if !rest.is_empty() {
            hasher.write(rest);
        }
        DedupeKey(hasher.finish128().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_hash_of_its_parts_whatever_their_length() {
        let secret: [u8; 16] = *b"0123456789abcdef";
        let sender = UserId::new(77).expect("not 0");
        for len in [0, 1, 24, 63, 64, 65, 200] {
            let id: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut parts = SipHasher13::new_with_key(&secret);
            parts.write(&[9; 16]);
            parts.write(&77u64.to_le_bytes());
            parts.write(&id);
            let key = DedupeHasher::new(secret).key(ChatId([9; 16]), sender, &id);
            assert_eq!(key.0, parts.finish128().as_bytes(), "{len} bytes");
        }
    }
}
