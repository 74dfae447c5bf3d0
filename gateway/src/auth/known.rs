//! Tokens whose signature has been verified: most of what a reconnect costs is to verify the same token again.
//!
//! A token is known by its SHA-256, so a changed byte makes another token; its times are checked at every use. What must
//! stay true: only what a key has verified gets in, there are never more than [`KNOWN_TOKENS`], and no token is kept.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use fabric::hash::{Map, map};
use schema::ids::{DeviceId, UserId};

use super::{AuthError, Identity};

/// Most tokens known at a time, over all shards of a process: about 5 MB.
pub const KNOWN_TOKENS: usize = 65_536;
/// Parts of the table, each behind its own lock. A power of two.
const PARTS: usize = 16;
/// Entries of a part's younger half before it becomes the older one, whose entries are forgotten.
const HALF: usize = KNOWN_TOKENS / PARTS / 2;

/// The first half of a token's SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenName([u8; 16]);

impl TokenName {
    pub(super) fn of(token: &[u8]) -> Self {
        let digest = digest(&SHA256, token);
        Self(*digest.as_ref().first_chunk().expect("a SHA-256 has 32 bytes"))
    }

    const fn part(self) -> usize {
        self.0[0] as usize % PARTS
    }
}

/// What a verified token says, times included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Verified {
    pub(super) user: UserId,
    pub(super) device: DeviceId,
    /// The first second at which it is valid, leeway included.
    pub(super) from_s: u64,
    /// The second at which it has ended.
    pub(super) until_s: u64,
    /// The second it was issued.
    pub(super) issued_s: Option<u64>,
    pub(super) admin: bool,
}

impl Verified {
    /// Who it is for, as of `now_ms`.
    pub(super) fn at(&self, now_ms: u64) -> Result<Identity, AuthError> {
        let expires_ms = self.until_s.saturating_mul(1_000);
        if now_ms >= expires_ms {
            return Err(AuthError::Expired);
        }
        if now_ms / 1_000 < self.from_s {
            return Err(AuthError::NotYetValid);
        }
        let Self { user, device, issued_s, admin, .. } = *self;
        Ok(Identity { user, device, expires_ms: Some(expires_ms), issued_s, admin })
    }
}

struct Part {
    young: Map<TokenName, Verified>,
    old: Map<TokenName, Verified>,
}

/// The known tokens of a process. Any thread; a look-up takes a lock for a moment.
pub(super) struct Known {
    parts: [Mutex<Part>; PARTS],
}

impl Default for Known {
    fn default() -> Self {
        // Names are hashes already and an issuer's keys decide which get in: no seed is needed.
        Self { parts: core::array::from_fn(|_| Mutex::new(Part { young: map(0), old: map(0) })) }
    }
}

impl Known {
    pub(super) fn get(&self, name: TokenName) -> Option<Verified> {
        let part = self.parts[name.part()].lock().unwrap_or_else(PoisonError::into_inner);
        part.young.get(&name).or_else(|| part.old.get(&name)).copied()
    }

    /// Remembers a token whose signature is right.
    pub(super) fn put(&self, name: TokenName, verified: Verified) {
        let mut part = self.parts[name.part()].lock().unwrap_or_else(PoisonError::into_inner);
        if part.young.len() >= HALF {
            part.old = core::mem::replace(&mut part.young, map(0));
        }
        part.young.insert(name, verified);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let len = |part: &Mutex<Part>| part.lock().map_or(0, |part| part.young.len() + part.old.len());
        self.parts.iter().map(len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn verified(until_s: u64) -> Verified {
        let user = UserId::new(7).expect("not 0");
        Verified { user, device: DeviceId(1), from_s: 100, until_s, issued_s: None, admin: false }
    }

    #[test]
    fn a_known_token_still_begins_and_ends() {
        let verified = verified(200);
        assert_eq!(verified.at(99_999), Err(AuthError::NotYetValid));
        assert_eq!(verified.at(100_000).map(|identity| identity.expires_ms), Ok(Some(200_000)));
        assert_eq!(verified.at(200_000), Err(AuthError::Expired));
    }

    #[test]
    fn the_newest_are_known_and_never_more_than_the_limit() {
        let known = Known::default();
        let name = |token: u32| TokenName::of(&token.to_le_bytes());
        let last = 4 * KNOWN_TOKENS as u32;
        for token in 0..last {
            known.put(name(token), verified(u64::from(token)));
        }
        assert!(known.len() <= KNOWN_TOKENS, "{}", known.len());
        for token in last - HALF as u32..last {
            assert_eq!(known.get(name(token)), Some(verified(u64::from(token))));
        }
        assert_eq!(known.get(name(0)), None);
    }
}
