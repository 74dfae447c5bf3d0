//! Tokens of the simulation: `user.device`, never expired, never forged.

use gateway::auth::{AuthError, Identity, TokenVerifier};
use schema::ids::{DeviceId, UserId};

/// Takes every well-formed token.
pub struct SimTokens;

/// A device's token.
pub fn token(user: UserId, device: DeviceId) -> String {
    format!("{}.{}", user.get(), device.0)
}

impl TokenVerifier for SimTokens {
    fn verify(&self, token: &[u8], _now_ms: u64) -> Result<Identity, AuthError> {
        let text = std::str::from_utf8(token).map_err(|_| AuthError::Malformed)?;
        let (user, device) = text.split_once('.').ok_or(AuthError::Malformed)?;
        let user = user.parse().ok().and_then(UserId::new).ok_or(AuthError::InvalidUser)?;
        let device = device.parse().map_err(|_| AuthError::Malformed)?;
        Ok(Identity::of(user, DeviceId(device)))
    }
}
