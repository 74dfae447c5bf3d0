//! Tokens made here: for development, for the load generator, for tests.

use core::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use schema::ids::{DeviceId, UserId};
use serde::Serialize;

use super::keys::{KeyConfig, KeyError, KeyKind, SECRET_BYTES};
use super::provider;

/// Why a token or a key cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The secret is shorter than 32 bytes.
    #[error("a secret has at least {SECRET_BYTES} bytes")]
    ShortSecret,
    /// Not a private key of the kind asked for.
    #[error("not a {0} private key in PEM (PKCS#8, BEGIN PRIVATE KEY)")]
    PrivateKey(&'static str),
    /// The signature could not be made.
    #[error("signing failed")]
    Signing,
}

/// Makes tokens with one key.
pub struct Minter {
    key: EncodingKey,
    header: Header,
    audience: Option<String>,
    issuer: Option<String>,
    admin: bool,
}

impl std::fmt::Debug for Minter {
    /// Never prints the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Minter({:?})", self.header.alg)
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    dev: u32,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    adm: bool,
}

impl Minter {
    /// With a shared secret.
    ///
    /// # Errors
    /// `ShortSecret` below 32 bytes.
    pub fn hs256(secret: &[u8], id: Option<String>) -> Result<Self, MintError> {
        if secret.len() < SECRET_BYTES {
            return Err(MintError::ShortSecret);
        }
        Ok(Self::new(Algorithm::HS256, EncodingKey::from_secret(secret), id))
    }

    /// With the key of a file: an HS256 secret, or a private key in PEM.
    ///
    /// # Errors
    /// [`KeyError`] when the file cannot be read or holds no such key.
    pub fn from_file(config: &KeyConfig) -> Result<Self, KeyError> {
        let bytes = super::keys::read_bounded(&config.file)?;
        let bytes = if config.kind == KeyKind::Hs256 { super::keys::without_newline(&bytes) } else { &bytes };
        Self::from_pem(config.kind, bytes, config.id.clone()).map_err(|_| KeyError::Invalid {
            path: config.file.clone(),
            expected: match config.kind {
                KeyKind::Hs256 => "a secret of at least 32 bytes",
                KeyKind::EdDsa | KeyKind::Es256 | KeyKind::Rs256 => "a private key in PEM (PKCS#8, BEGIN PRIVATE KEY)",
            },
        })
    }

    /// With an Ed25519, P-256 or RSA private key in PEM (PKCS#8), or, for `Hs256`, with the secret's bytes.
    ///
    /// # Errors
    /// `PrivateKey` or `ShortSecret` when it is no such key.
    pub fn from_pem(kind: KeyKind, pem: &[u8], id: Option<String>) -> Result<Self, MintError> {
        let refused = MintError::PrivateKey(kind.name());
        let key = match kind {
            KeyKind::Hs256 => return Self::hs256(pem, id),
            KeyKind::EdDsa => EncodingKey::from_ed_pem(pem).map_err(|_| refused)?,
            KeyKind::Es256 => EncodingKey::from_ec_pem(pem).map_err(|_| refused)?,
            KeyKind::Rs256 => EncodingKey::from_rsa_pem(pem).map_err(|_| refused)?,
        };
        let minter = Self::new(kind.algorithm(), key, id);
        // Only signing looks inside the key.
        jsonwebtoken::crypto::sign(b"", &minter.key, kind.algorithm()).map_err(|_| refused)?;
        Ok(minter)
    }

    fn new(algorithm: Algorithm, key: EncodingKey, id: Option<String>) -> Self {
        provider::install();
        let header = Header { kid: id, ..Header::new(algorithm) };
        Self { key, header, audience: None, issuer: None, admin: false }
    }

    /// Names an audience and an issuer in its tokens, for servers that demand them.
    #[must_use]
    pub fn naming(mut self, audience: Option<String>, issuer: Option<String>) -> Self {
        (self.audience, self.issuer) = (audience, issuer);
        self
    }

    /// Makes operators' tokens (`adm`).
    #[must_use]
    pub const fn for_admins(mut self, admin: bool) -> Self {
        self.admin = admin;
        self
    }

    /// A token for one device, valid for `ttl` (rounded up to a second) from `now_ms` (wall time, ms since 1970).
    ///
    /// # Errors
    /// `Signing` when the system has no randomness to sign with.
    pub fn mint(&self, user: UserId, device: DeviceId, now_ms: u64, ttl: Duration) -> Result<String, MintError> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let claims = Claims {
            sub: &user.to_string(),
            dev: device.0,
            iat: now_ms / 1_000,
            exp: now_ms.saturating_add(ttl_ms).div_ceil(1_000),
            aud: self.audience.as_deref(),
            iss: self.issuer.as_deref(),
            adm: self.admin,
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key).map_err(|_| MintError::Signing)
    }
}

/// A new pair of keys in PEM, for tests, benches and throwaway servers.
pub struct PemPair {
    /// PKCS#8, for [`Minter::from_pem`].
    pub private: String,
    /// SubjectPublicKeyInfo, for [`super::Keys::add`].
    pub public: String,
    kind: KeyKind,
    raw: Vec<u8>,
}

impl std::fmt::Debug for PemPair {
    /// Never prints the private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PemPair")
    }
}

impl PemPair {
    /// Generates one with the operating system's randomness.
    ///
    /// # Errors
    /// `PrivateKey` for `Hs256`, which has no pair, and `Rs256`, whose keys other tools make; `Signing` when there is no randomness.
    pub fn generate(kind: KeyKind) -> Result<Self, MintError> {
        const P256: &[u8] =
            b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
        const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
        let random = SystemRandom::new();
        let (pkcs8, prefix, public) = match kind {
            // ring makes no RSA keys.
            KeyKind::Hs256 | KeyKind::Rs256 => return Err(MintError::PrivateKey(kind.name())),
            KeyKind::EdDsa => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| MintError::Signing)?;
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_| MintError::Signing)?;
                (pkcs8, ED25519, pair.public_key().as_ref().to_vec())
            }
            KeyKind::Es256 => {
                let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).map_err(|_| MintError::Signing)?;
                let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref()).map_err(|_| MintError::Signing)?;
                (pkcs8, P256, pair.public_key().as_ref().to_vec())
            }
        };
        let (private, spki) = (pem("PRIVATE KEY", pkcs8.as_ref()), pem("PUBLIC KEY", &[prefix, &public].concat()));
        Ok(Self { private, public: spki, kind, raw: public })
    }

    /// The public half as a JWK with this key id, which must need no escaping in JSON.
    pub fn jwk(&self, id: &str) -> String {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let numbers = match &self.raw[..] {
            [4, point @ ..] if self.kind == KeyKind::Es256 => {
                let (x, y) = point.split_at(point.len() / 2);
                format!(r#""kty":"EC","crv":"P-256","x":"{}","y":"{}""#, part(x), part(y))
            }
            x => format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, part(x)),
        };
        format!(r#"{{{numbers},"use":"sig","alg":"{}","kid":"{id}"}}"#, self.kind.name())
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
