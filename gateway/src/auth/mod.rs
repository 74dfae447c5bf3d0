//! Who a connection is: tokens verified ([`keys`]), and made ([`mint`]).
//!
//! What must stay true: a key verifies one algorithm only, whatever a token's header says; time is passed in; no token,
//! claim or secret reaches a log, an error or a `Debug`.

mod claims;
pub mod dev_key;
mod jwks;
pub mod keys;
mod known;
pub mod mint;
mod provider;
pub mod revoked;
mod rsa;
pub mod trust;

use schema::errors::ErrorCode;
use schema::ids::{DeviceId, UserId};

pub use claims::Requirements;
pub use keys::{KeyConfig, KeyError, KeyKind, Keys};
pub use mint::{MintError, Minter};
pub use trust::{Trust, Trusted};

/// What a verified token says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The token's `sub`.
    pub user: UserId,
    /// The token's `dev`.
    pub device: DeviceId,
    /// When the token ends, wall time in ms since 1970; `None` = never.
    pub expires_ms: Option<u64>,
    /// The token's `iat`, s since 1970; `None` when it does not say.
    pub issued_s: Option<u64>,
    /// The token's `adm` is true: an operator's, who may see the whole host.
    pub admin: bool,
}

impl Identity {
    /// A device's, without an end, an issue time or an operator's rights.
    pub const fn of(user: UserId, device: DeviceId) -> Self {
        Self { user, device, expires_ms: None, issued_s: None, admin: false }
    }
}

/// Verifies tokens. One for all shards of a process.
pub trait TokenVerifier: Send + Sync {
    /// Verifies `token` as of `now_ms` (wall time, ms since 1970).
    ///
    /// # Errors
    /// The token is not valid; see [`AuthError`].
    fn verify(&self, token: &[u8], now_ms: u64) -> Result<Identity, AuthError>;
}

/// Why a token is refused. Says nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is none.
    #[error("no token was given")]
    Missing,
    /// Longer than [`schema::limits::TOKEN_BYTES`]; not looked at.
    #[error("the token is too long")]
    TooLong,
    /// Not a JWT of a known algorithm, or with header fields that would have to be understood.
    #[error("the token is malformed")]
    Malformed,
    /// None of the keys is for the token's algorithm and key id.
    #[error("no configured key fits the token")]
    NoKey,
    /// Not signed with the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` is missing, or a claim has the wrong type.
    #[error("the token's {0} claim is missing or has the wrong type")]
    Claim(&'static str),
    /// `sub` is not a user id.
    #[error("the token's subject is not a user id")]
    InvalidUser,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `aud` names none of the configured audiences.
    #[error("the token is for another audience")]
    Audience,
    /// `iss` is none of the configured issuers.
    #[error("the token is another issuer's")]
    Issuer,
    /// Issued before an operator revoked its user or device.
    #[error("the token has been revoked")]
    Revoked,
    /// `nbf` or `iat` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
}

impl AuthError {
    /// What the client is told.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Missing => ErrorCode::Unauthenticated,
            Self::Expired => ErrorCode::TokenExpired,
            Self::InvalidUser => ErrorCode::InvalidUser,
            Self::Revoked => ErrorCode::TokenRevoked,
            Self::TooLong
            | Self::Malformed
            | Self::NoKey
            | Self::Signature
            | Self::Claim(_)
            | Self::Audience
            | Self::Issuer
            | Self::NotYetValid => ErrorCode::BadToken,
        }
    }
}

#[cfg(test)]
mod tests;
