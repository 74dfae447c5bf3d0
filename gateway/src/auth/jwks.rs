//! JWKS files (RFC 7517): several keys, each with the key id its tokens name, so that one can follow the other.
//!
//! Taken: RSA (RS256), EC on P-256 (ES256), OKP on Ed25519 (EdDSA) and oct (HS256). Keys for other uses or other algorithms
//! are another program's and left alone. A set with a key that would be taken but is damaged is refused whole: half a
//! rotation is worse than none. What must stay true: no error holds a part of a key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::keys::{KeyKind, SECRET_BYTES};
use super::rsa;

/// A key of a set.
pub(super) struct Read {
    pub(super) kind: KeyKind,
    pub(super) id: Option<String>,
    pub(super) key: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

/// The keys of a set that verify signatures. The error names the key, by number and key id, and what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Read>, String> {
    let set: Set = serde_json::from_slice(bytes).map_err(|error| {
        // serde's text may quote a value: only the place is told.
        let (line, column) = (error.line(), error.column());
        format!("not a JWKS ({{\"keys\":[…]}}, each key with a \"kty\"): line {line}, column {column}")
    })?;
    let mut keys: Vec<Read> = Vec::new();
    for (number, jwk) in (1..).zip(&set.keys) {
        let named = || match &jwk.kid {
            Some(kid) => format!("key {number} ({kid:?})"),
            None => format!("key {number}"),
        };
        let Some(kind) = jwk.kind() else { continue };
        let key = jwk.key(kind).map_err(|what| format!("{}: {what}", named()))?;
        if jwk.kid.is_some() && keys.iter().any(|other| other.kind == kind && other.id == jwk.kid) {
            return Err(format!("{}: another key has this key id and algorithm", named()));
        }
        keys.push(Read { kind, id: jwk.kid.clone(), key });
    }
    if keys.is_empty() {
        let found = set.keys.len();
        return Err(format!("none of its {found} keys is for RS256, ES256, EdDSA (Ed25519) or HS256 signatures"));
    }
    Ok(keys)
}

impl Jwk {
    /// What it verifies, if it is one of ours.
    fn kind(&self) -> Option<KeyKind> {
        let other_use = self.usage.as_deref().is_some_and(|usage| usage != "sig");
        if other_use || self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return None;
        }
        let kind = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => KeyKind::Rs256,
            ("EC", Some("P-256")) => KeyKind::Es256,
            ("OKP", Some("Ed25519")) => KeyKind::EdDsa,
            ("oct", _) => KeyKind::Hs256,
            _ => return None,
        };
        self.alg.as_deref().is_none_or(|alg| alg == kind.name()).then_some(kind)
    }

    fn key(&self, kind: KeyKind) -> Result<DecodingKey, &'static str> {
        if self.d.is_some() {
            return Err("it holds a private key (\"d\"); a server needs, and should have, only the public half");
        }
        match kind {
            KeyKind::Rs256 => rsa::key(&bytes(&self.n)?, &bytes(&self.e)?)
                .ok_or("\"n\" and \"e\" are no RSA public key of 2048 to 8192 bits"),
            KeyKind::Es256 => {
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                let point = [&[4], &x[..], &y[..]].concat();
                let whole = (x.len(), y.len()) == (32, 32);
                whole.then(|| DecodingKey::from_ec_der(&point)).ok_or("\"x\" and \"y\" have 32 bytes each on P-256")
            }
            KeyKind::EdDsa => {
                let x = bytes(&self.x)?;
                (x.len() == 32).then(|| DecodingKey::from_ed_der(&x)).ok_or("\"x\" has 32 bytes on Ed25519")
            }
            KeyKind::Hs256 => {
                let secret = bytes(&self.k)?;
                (secret.len() >= SECRET_BYTES)
                    .then(|| DecodingKey::from_secret(&secret))
                    .ok_or("\"k\" is a secret of at least 32 bytes")
            }
        }
    }
}

fn bytes(field: &Option<String>) -> Result<Vec<u8>, &'static str> {
    let text = field.as_ref().ok_or("a part of it is missing (RSA: n, e; EC: x, y; OKP: x; oct: k)")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a part of it is not base64url without padding")
}

#[cfg(test)]
mod tests;
