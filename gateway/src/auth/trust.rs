//! Whom a running server trusts: its keys, which a reload replaces, and what was revoked.
//!
//! What must stay true: once [`Trust::replace`] returns, no new session begins with a key that is gone (the tokens known
//! to be right go with the keys that verified them), and no revoked token is let in under any key.

use std::sync::{Arc, PoisonError, RwLock};

use super::revoked::Revoked;
use super::{AuthError, Identity, Keys, TokenVerifier};

/// Keys in use.
#[derive(Debug)]
pub struct Trusted {
    /// They verify.
    pub keys: Keys,
    /// They are just the data folder's development key: whoever can read that folder can make tokens.
    pub development: bool,
}

/// One for all shards of a process.
#[derive(Debug)]
pub struct Trust {
    trusted: RwLock<Arc<Trusted>>,
    revoked: Revoked,
}

impl Trust {
    /// Trusts these keys, but for what is revoked.
    pub fn new(trusted: Trusted, revoked: Revoked) -> Self {
        Self { trusted: RwLock::new(Arc::new(trusted)), revoked }
    }

    /// The keys in use now. Any thread.
    pub fn trusted(&self) -> Arc<Trusted> {
        self.trusted.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Trusts these keys, and none of those before. Sessions that have begun go on.
    pub fn replace(&self, trusted: Trusted) {
        *self.trusted.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trusted);
    }

    /// What is revoked.
    pub const fn revoked(&self) -> &Revoked {
        &self.revoked
    }
}

impl TokenVerifier for Trust {
    fn verify(&self, token: &[u8], now_ms: u64) -> Result<Identity, AuthError> {
        let identity = self.trusted().keys.verify(token, now_ms)?;
        if self.revoked.refuses(&identity) { Err(AuthError::Revoked) } else { Ok(identity) }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use schema::ids::{DeviceId, UserId};

    use super::*;
    use crate::auth::mint::PemPair;
    use crate::auth::{KeyKind, Minter};

    const NOW_MS: u64 = 1_795_330_000_500;

    fn pair(kid: &str) -> (Minter, Trusted) {
        let pair = PemPair::generate(KeyKind::Es256).expect("randomness");
        let mut keys = Keys::new();
        keys.add(KeyKind::Es256, Some(kid.to_owned()), pair.public.as_bytes()).expect("a public key");
        let minter = Minter::from_pem(KeyKind::Es256, pair.private.as_bytes(), Some(kid.to_owned()));
        (minter.expect("a private key"), Trusted { keys, development: false })
    }

    fn token(minter: &Minter, user: u64) -> String {
        let user = UserId::new(user).expect("not 0");
        minter.mint(user, DeviceId(1), NOW_MS, Duration::from_secs(60)).expect("minted")
    }

    #[test]
    fn a_key_that_is_gone_verifies_nothing_not_even_what_it_verified_before() {
        let ((old, trusted_old), (new, trusted_new)) = (pair("old"), pair("new"));
        let trust = Trust::new(trusted_old, Revoked::default());
        let (old, new) = (token(&old, 7), token(&new, 7));
        assert!(trust.verify(old.as_bytes(), NOW_MS).is_ok() && trust.verify(old.as_bytes(), NOW_MS).is_ok());
        assert_eq!(trust.verify(new.as_bytes(), NOW_MS), Err(AuthError::NoKey));
        trust.replace(trusted_new);
        assert_eq!(trust.verify(old.as_bytes(), NOW_MS), Err(AuthError::NoKey));
        assert!(trust.verify(new.as_bytes(), NOW_MS).is_ok());
    }

    #[test]
    fn a_revoked_user_is_refused_also_with_a_token_seen_before() {
        let (minter, trusted) = pair("k");
        let trust = Trust::new(trusted, Revoked::default());
        let [seven, eight] = [7, 8].map(|user| token(&minter, user));
        assert!(trust.verify(seven.as_bytes(), NOW_MS).is_ok());
        trust.revoked().add(UserId::new(7).expect("not 0"), None, NOW_MS / 1_000).expect("in memory");
        assert_eq!(trust.verify(seven.as_bytes(), NOW_MS), Err(AuthError::Revoked));
        assert_eq!(AuthError::Revoked.code(), schema::errors::ErrorCode::TokenRevoked);
        assert!(trust.verify(eight.as_bytes(), NOW_MS).is_ok());
    }
}
