//! The secret that leader and remote workers share.

use std::path::Path;

use aws_lc_rs::hmac;

use crate::fail::Failure;

/// Where it is when no file is named.
const VARIABLE: &str = "SHARDWIRE_LOADGEN_TOKEN";
/// A shorter one can be guessed.
const BYTES_MIN: usize = 16;

/// What both sides know. Never shown.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// Of these bytes.
    ///
    /// # Errors
    /// They are fewer than 16.
    pub fn new(bytes: &[u8]) -> Result<Self, Failure> {
        let bytes = bytes.trim_ascii();
        if bytes.len() < BYTES_MIN {
            return Err(Failure::Remote(format!(
                "the secret of leader and workers has {} bytes, at least {BYTES_MIN} are needed; `openssl rand -hex 32 > FILE` makes one",
                bytes.len()
            )));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// From a file, else from the environment.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is too short.
    pub fn find(file: Option<&Path>) -> Result<Self, Failure> {
        match file {
            Some(file) => {
                let unreadable = |e| Failure::Remote(format!("the secret {} cannot be read: {e}", file.display()));
                Self::new(&std::fs::read(file).map_err(unreadable)?)
            }
            None => match std::env::var(VARIABLE) {
                Ok(text) => Self::new(text.as_bytes()),
                Err(_) => Err(Failure::Remote(format!(
                    "leader and workers share a secret: name its file, the same on every host, or set {VARIABLE}"
                ))),
            },
        }
    }

    /// What only who knows the secret can say about `parts`.
    pub(super) fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        context.sign().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Whether `tag` is that.
    pub(super) fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        hmac::verify(&self.0, &parts.concat(), tag).is_ok()
    }
}
