//! What a token claims, read once its signature is right: types are checked here, so that an error can name the claim.

use serde::Deserialize;
use serde_json::Value;

use schema::ids::{DeviceId, UserId};

use super::AuthError;
use super::keys::CLOCK_LEEWAY_S;
use super::known::Verified;

/// What tokens must name besides a user and a device. Empty = not looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Requirements {
    /// `aud` must be, or hold, one of these.
    pub audiences: Vec<String>,
    /// `iss` must be one of these.
    pub issuers: Vec<String>,
}

/// Claims as they came.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<Value>,
    dev: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    aud: Option<Value>,
    iss: Option<Value>,
    adm: Option<Value>,
}

impl Claims {
    pub(super) fn read(&self, requirements: &Requirements) -> Result<Verified, AuthError> {
        self.audience(&requirements.audiences)?;
        self.issuer(&requirements.issuers)?;
        let until_s = seconds(&self.exp, "exp")?.ok_or(AuthError::Claim("exp"))?;
        let issued_s = seconds(&self.iat, "iat")?;
        let from_s = seconds(&self.nbf, "nbf")?.max(issued_s).unwrap_or(0);
        let from_s = from_s.saturating_sub(CLOCK_LEEWAY_S);
        let user = match &self.sub {
            Some(Value::String(sub)) => sub.parse::<UserId>().map_err(|_| AuthError::InvalidUser)?,
            Some(_) => return Err(AuthError::InvalidUser),
            None => return Err(AuthError::Claim("sub")),
        };
        let device = match &self.dev {
            Some(Value::String(dev)) => dev.parse::<DeviceId>().ok(),
            Some(Value::Number(dev)) => dev.as_u64().and_then(|dev| u32::try_from(dev).ok()).map(DeviceId),
            _ => None,
        };
        let device = device.ok_or(AuthError::Claim("dev"))?;
        let admin = match self.adm {
            None => false,
            Some(Value::Bool(admin)) => admin,
            Some(_) => return Err(AuthError::Claim("adm")),
        };
        Ok(Verified { user, device, from_s, until_s, issued_s, admin })
    }

    /// RFC 7519: a text, or a list of texts.
    fn audience(&self, wanted: &[String]) -> Result<(), AuthError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let is_wanted = |name: &Value| name.as_str().is_some_and(|name| wanted.iter().any(|wanted| wanted == name));
        match &self.aud {
            Some(Value::Array(names)) if names.iter().any(is_wanted) => Ok(()),
            Some(name @ Value::String(_)) if is_wanted(name) => Ok(()),
            Some(Value::Array(_) | Value::String(_)) | None => Err(AuthError::Audience),
            Some(_) => Err(AuthError::Claim("aud")),
        }
    }

    fn issuer(&self, wanted: &[String]) -> Result<(), AuthError> {
        match &self.iss {
            _ if wanted.is_empty() => Ok(()),
            Some(Value::String(name)) if wanted.contains(name) => Ok(()),
            Some(Value::String(_)) | None => Err(AuthError::Issuer),
            Some(_) => Err(AuthError::Claim("iss")),
        }
    }
}

/// A NumericDate (RFC 7519: seconds since 1970, perhaps with a fraction), whole seconds.
fn seconds(claim: &Option<Value>, name: &'static str) -> Result<Option<u64>, AuthError> {
    match claim {
        None => Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => Ok(Some(whole)),
            (None, Some(fraction)) if fraction >= 0.0 => Ok(Some(fraction as u64)),
            _ => Err(AuthError::Claim(name)),
        },
        Some(_) => Err(AuthError::Claim(name)),
    }
}

#[cfg(test)]
mod tests;
