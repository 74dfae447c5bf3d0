//! Tokens of the simulation: `user.device.issued`, never expired, never forged.

use gateway::auth::{AuthError, Identity, TokenVerifier};
use schema::ids::{DeviceId, UserId};

/// Takes every well-formed token.
pub struct SimTokens;

/// A device's token. `issued_s`: when it was issued, s since 1970; 0 = it does not say.
pub fn token(user: UserId, device: DeviceId, issued_s: u64) -> String {
    format!("{}.{}.{issued_s}", user.get(), device.0)
}

impl TokenVerifier for SimTokens {
    fn verify(&self, token: &[u8], _now_ms: u64) -> Result<Identity, AuthError> {
        let text = std::str::from_utf8(token).map_err(|_| AuthError::Malformed)?;
        let (user, rest) = text.split_once('.').ok_or(AuthError::Malformed)?;
        let (device, issued) = rest.split_once('.').ok_or(AuthError::Malformed)?;
        let user = user.parse().ok().and_then(UserId::new).ok_or(AuthError::InvalidUser)?;
        let device = device.parse().map_err(|_| AuthError::Malformed)?;
        let issued_s: u64 = issued.parse().map_err(|_| AuthError::Malformed)?;
        Ok(Identity { issued_s: (issued_s > 0).then_some(issued_s), ..Identity::of(user, DeviceId(device)) })
    }
}
