//! The keys tokens are verified with: several at once, so that one can follow the other.

use std::io;
use std::path::{Path, PathBuf};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use schema::limits::TOKEN_BYTES;

use super::claims::{Claims, Requirements};
use super::known::{Known, TokenName};
use super::{AuthError, Identity, TokenVerifier, jwks, provider, rsa};

/// Most keys at a time.
pub const MAX_KEYS: usize = 16;
/// Shortest HS256 secret, bytes.
pub const SECRET_BYTES: usize = 32;
/// Longest key file, bytes.
pub const KEY_FILE_BYTES: u64 = 64 * 1024;
/// How far another host's clock may be ahead of ours in `nbf` and `iat`, s. `exp` has no leeway.
pub const CLOCK_LEEWAY_S: u64 = 30;

/// The algorithms tokens may be signed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum KeyKind {
    /// HMAC with SHA-256: a shared secret of at least [`SECRET_BYTES`].
    Hs256,
    /// Ed25519: a public key in PEM.
    EdDsa,
    /// ECDSA on P-256 with SHA-256: a public key in PEM.
    Es256,
    /// RSA (PKCS#1 v1.5) with SHA-256: a public key of 2,048 to 8,192 bits in PEM.
    Rs256,
}

impl KeyKind {
    /// The name of JWT's `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::EdDsa => Algorithm::EdDSA,
            Self::Es256 => Algorithm::ES256,
            Self::Rs256 => Algorithm::RS256,
        }
    }
}

/// Where a key is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyConfig {
    /// Its algorithm; no other is accepted for it.
    pub kind: KeyKind,
    /// The secret (taken as it is, less one newline at the end of a text) or the public key in PEM.
    pub file: PathBuf,
    /// The `kid` of its tokens; `None`: for tokens whose `kid` is absent or names no key.
    pub id: Option<String>,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file cannot be read, or the development key not be made.
    #[error("key file {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in the file is not such a key.
    #[error("key file {path}: expected {expected}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// A JWKS file that cannot be used, whole: a set with one bad key is not used in part.
    #[error("JWKS file {path}: {detail}")]
    Jwks {
        /// Which file.
        path: PathBuf,
        /// Which key, and what is wrong with it. Holds no part of a key.
        detail: String,
    },
    /// More than [`MAX_KEYS`].
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
}

struct Key {
    id: Option<String>,
    kind: KeyKind,
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

/// The keys of a process. Without any, every token is refused.
#[derive(Default)]
pub struct Keys {
    keys: Vec<Key>,
    requirements: Requirements,
    /// Tokens of public keys: an HMAC is verified as fast as it is looked up.
    known: Known,
}

impl std::fmt::Debug for Keys {
    /// Never prints a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| (key.algorithm, &key.id))).finish()
    }
}

impl Keys {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads keys from files.
    ///
    /// # Errors
    /// Names the file that cannot be read or is not such a key.
    pub fn from_files(configs: &[KeyConfig]) -> Result<Self, KeyError> {
        let mut keys = Self::new();
        for config in configs {
            let bytes = read_bounded(&config.file)?;
            let bytes = if config.kind == KeyKind::Hs256 { without_newline(&bytes) } else { &bytes };
            keys.add(config.kind, config.id.clone(), bytes).map_err(|error| match error {
                KeyError::Invalid { expected, .. } => KeyError::Invalid { path: config.file.clone(), expected },
                other => other,
            })?;
        }
        Ok(keys)
    }

    /// Adds a key: a secret's bytes, or a public key in PEM.
    ///
    /// # Errors
    /// `Invalid` (with an empty path) when the bytes are no such key, `TooMany`.
    pub fn add(&mut self, kind: KeyKind, id: Option<String>, bytes: &[u8]) -> Result<(), KeyError> {
        let invalid = |expected| KeyError::Invalid { path: PathBuf::new(), expected };
        let key = match kind {
            KeyKind::Hs256 if bytes.len() >= SECRET_BYTES => DecodingKey::from_secret(bytes),
            KeyKind::Hs256 => return Err(invalid("a secret of at least 32 bytes")),
            KeyKind::EdDsa => public(bytes, DecodingKey::from_ed_pem, 32)
                .ok_or_else(|| invalid("an Ed25519 public key in PEM (BEGIN PUBLIC KEY)"))?,
            KeyKind::Es256 => public(bytes, DecodingKey::from_ec_pem, 65)
                .ok_or_else(|| invalid("a P-256 public key in PEM (BEGIN PUBLIC KEY)"))?,
            KeyKind::Rs256 => rsa::public(bytes)
                .ok_or_else(|| invalid("an RSA public key of 2048 to 8192 bits in PEM (BEGIN PUBLIC KEY)"))?,
        };
        self.push(kind, id, key)
    }

    /// Adds every key of a JWKS file (RFC 7517) that verifies signatures; see [`jwks`] for which those are. All or none.
    ///
    /// # Errors
    /// `Io`, `Jwks` naming the key that is wrong, `TooMany`.
    pub fn add_jwks_file(&mut self, file: &Path) -> Result<(), KeyError> {
        let wrong = |detail| KeyError::Jwks { path: file.to_owned(), detail };
        let keys = jwks::read(&read_bounded(file)?).map_err(wrong)?;
        if let Some(kid) = keys.iter().find_map(|new| self.same(new.kind, new.id.as_deref()?)) {
            return Err(wrong(format!("the key id {kid:?} is there already, for the same algorithm")));
        }
        if self.keys.len() + keys.len() > MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        keys.into_iter().try_for_each(|jwks::Read { kind, id, key }| self.push(kind, id, key))
    }

    fn same(&self, kind: KeyKind, id: &str) -> Option<&str> {
        let same = self.keys.iter().find(|key| key.kind == kind && key.id.as_deref() == Some(id));
        same.and_then(|key| key.id.as_deref())
    }

    /// Demands audience and issuer of tokens from now on. Before the first verification.
    pub fn require(&mut self, requirements: Requirements) {
        self.requirements = requirements;
    }

    fn push(&mut self, kind: KeyKind, id: Option<String>, key: DecodingKey) -> Result<(), KeyError> {
        provider::install();
        if self.keys.len() == MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        let mut validation = Validation::new(kind.algorithm());
        // Times, audience and issuer are checked in `claims`, times against the time passed in.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(&[]);
        self.keys.push(Key { id, kind, algorithm: kind.algorithm(), key, validation });
        Ok(())
    }

    /// Each key's algorithm and key id, for people.
    pub fn names(&self) -> Vec<String> {
        let name = |key: &Key| match &key.id {
            Some(id) => format!("{} {id:?}", key.kind.name()),
            None => key.kind.name().to_owned(),
        };
        self.keys.iter().map(name).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether every token will be refused.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys a token may be signed with: its key id's, or, when it names none of ours, those without an id.
    fn candidates(&self, header: &Header) -> impl Iterator<Item = &Key> {
        let named = header.kid.as_deref().filter(|kid| self.keys.iter().any(|key| key.id.as_deref() == Some(kid)));
        self.keys.iter().filter(move |key| key.algorithm == header.alg && key.id.as_deref() == named)
    }
}

impl TokenVerifier for Keys {
    fn verify(&self, token: &[u8], now_ms: u64) -> Result<Identity, AuthError> {
        if token.is_empty() {
            return Err(AuthError::Missing);
        }
        if token.len() > TOKEN_BYTES {
            return Err(AuthError::TooLong);
        }
        let public = self.keys.iter().any(|key| key.algorithm != Algorithm::HS256);
        let name = public.then(|| TokenName::of(token));
        if let Some(verified) = name.and_then(|name| self.known.get(name)) {
            return verified.at(now_ms);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| AuthError::Malformed)?;
        if header.crit.is_some() {
            return Err(AuthError::Malformed);
        }
        let mut refused = AuthError::NoKey;
        for key in self.candidates(&header) {
            match jsonwebtoken::decode::<Claims>(token, &key.key, &key.validation) {
                Ok(data) => {
                    let verified = data.claims.read(&self.requirements)?;
                    if let Some(name) = name.filter(|_| key.algorithm != Algorithm::HS256) {
                        self.known.put(name, verified);
                    }
                    return verified.at(now_ms);
                }
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => refused = AuthError::Signature,
                    _ => return Err(AuthError::Malformed),
                },
            }
        }
        Err(refused)
    }
}

fn public(
    pem: &[u8],
    read: fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>,
    raw_bytes: usize,
) -> Option<DecodingKey> {
    // Certificates and private keys parse too, but not to a public key's bytes.
    if !str::from_utf8(pem).ok()?.contains("-----BEGIN PUBLIC KEY-----") {
        return None;
    }
    read(pem).ok().filter(|key| key.try_get_as_bytes().is_ok_and(|raw| raw.len() == raw_bytes))
}

pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, KEY_FILE_BYTES + 1), &mut bytes).map_err(failed)?;
    if bytes.len() as u64 > KEY_FILE_BYTES {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "more than 64 KiB")));
    }
    Ok(bytes)
}

/// Editors end a text with a newline that nobody means to be part of the secret; random bytes are left as they are.
pub(super) fn without_newline(secret: &[u8]) -> &[u8] {
    let text = secret.strip_suffix(b"\n").map(|text| text.strip_suffix(b"\r").unwrap_or(text));
    text.filter(|text| text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')).unwrap_or(secret)
}
