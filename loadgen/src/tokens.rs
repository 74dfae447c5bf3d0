//! Tokens for the users: JWTs signed with a development key, a key file, or a key made for the run.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use serde::{Deserialize, Serialize};

use crate::fail::Failure;

/// A token lives for so long, s.
const TTL_S: u64 = 24 * 60 * 60;
/// The users' device.
const DEVICE: u32 = 1;
/// DER of a P-256 SubjectPublicKeyInfo up to its point.
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Signs tokens.
pub struct Minter {
    key: Key,
    random: SystemRandom,
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Bytes of a signature.
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Es256 | Self::EdDsa => 64,
        }
    }
}

/// What is signed: header and claims. `issued_s`: wall time, s since 1970.
fn claims(algorithm: Algorithm, user: u64, device: u32, issued_s: u64) -> String {
    let claims = format!(r#"{{"sub":"{user}","dev":{device},"iat":{issued_s},"exp":{}}}"#, issued_s + TTL_S);
    let mut text = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{}","typ":"JWT"}}"#, algorithm.name()));
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut text);
    text
}

enum Key {
    Hs256(Box<hmac::Key>),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Minter {
    /// HS256 with these bytes as the secret.
    pub fn hs256(secret: &[u8]) -> Self {
        Self { key: Key::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret))), random: SystemRandom::new() }
    }

    /// HS256 with a new secret; the second value is what the server's secret file holds.
    pub fn new_hs256() -> (Self, String) {
        use fabric::entropy::{Entropy as _, OsEntropy};
        let secret: String = (0..4).map(|_| format!("{:016x}", OsEntropy.next_u64())).collect();
        (Self::hs256(secret.as_bytes()), secret)
    }

    /// A new P-256 key; the second value is its public key as PEM.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new_es256() -> Result<(Self, String), Failure> {
        let random = SystemRandom::new();
        let failed = |_| Failure::Tokens("a P-256 key could not be made".to_owned());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| Failure::Tokens("a P-256 key could not be made".to_owned()))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).map_err(failed)?;
        let mut der = P256_SPKI_PREFIX.to_vec();
        der.extend_from_slice(pair.public_key().as_ref());
        let public = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", wrap(&STANDARD.encode(der)));
        Ok((Self { key: Key::Es256(pair), random }, public))
    }

    /// From a key file: a PEM private key (PKCS#8, P-256 or Ed25519), else an HS256 secret, taken as the server takes it
    /// (as it is, less one newline at the end of a text).
    ///
    /// # Errors
    /// The file cannot be read, or is a PEM of another kind.
    pub fn from_file(path: &Path) -> Result<Self, Failure> {
        let bytes = std::fs::read(path)
            .map_err(|e| Failure::Tokens(format!("the token key {} cannot be read: {e}", path.display())))?;
        Self::from_key(&bytes).map_err(|what| Failure::Tokens(format!("{}: {what}", path.display())))
    }

    fn from_key(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = core::str::from_utf8(bytes).unwrap_or("");
        if !text.contains("-----BEGIN") {
            return Ok(Self::hs256(without_newline(bytes)));
        }
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let der = STANDARD.decode(body).map_err(|_| "not a PEM file")?;
        let random = SystemRandom::new();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der) {
            return Ok(Self { key: Key::Es256(pair), random });
        }
        match Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            Ok(pair) => Ok(Self { key: Key::EdDsa(pair), random }),
            Err(_) => Err("expected a private key in PKCS#8, P-256 or Ed25519"),
        }
    }

    /// How it signs.
    pub const fn algorithm(&self) -> Algorithm {
        match self.key {
            Key::Hs256(_) => Algorithm::Hs256,
            Key::Es256(_) => Algorithm::Es256,
            Key::EdDsa(_) => Algorithm::EdDsa,
        }
    }

    /// A user's token. `now_ms`: wall time, ms since 1970.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn mint(&self, user: u64, device: u32, now_ms: u64) -> Result<String, Failure> {
        let text = claims(self.algorithm(), user, device, now_ms / 1_000);
        let signature = self.sign(&text)?;
        Ok(join(text, &signature))
    }

    fn sign(&self, text: &str) -> Result<Vec<u8>, Failure> {
        Ok(match &self.key {
            Key::Hs256(key) => hmac::sign(key, text.as_bytes()).as_ref().to_vec(),
            Key::EdDsa(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
            Key::Es256(pair) => pair
                .sign(&self.random, text.as_bytes())
                .map_err(|_| Failure::Tokens("a token could not be signed".to_owned()))?
                .as_ref()
                .to_vec(),
        })
    }
}

fn join(mut text: String, signature: &[u8]) -> String {
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    text
}

/// Signatures of the tokens of a range of users, device 1 each, without the key: what another host is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signatures {
    algorithm: Algorithm,
    issued_s: u64,
    first_user: u64,
    #[serde(with = "text")]
    bytes: Vec<u8>,
}

/// Bytes as base64.
mod text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Signatures {
    /// Signs for `users`. `now_ms`: wall time, ms since 1970.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new(minter: &Minter, users: core::ops::Range<u64>, now_ms: u64) -> Result<Self, Failure> {
        let (algorithm, issued_s, first_user) = (minter.algorithm(), now_ms / 1_000, users.start);
        let mut bytes = Vec::new();
        for user in users {
            bytes.extend_from_slice(&minter.sign(&claims(algorithm, user, DEVICE, issued_s))?);
        }
        Ok(Self { algorithm, issued_s, first_user, bytes })
    }

    /// A user's token; `None` for a user it was not made for.
    pub fn token(&self, user: u64) -> Option<String> {
        let len = self.algorithm.signature_bytes();
        let at = usize::try_from(user.checked_sub(self.first_user)?).ok()?.checked_mul(len)?;
        let signature = self.bytes.get(at..at.checked_add(len)?)?;
        Some(join(claims(self.algorithm, user, DEVICE, self.issued_s), signature))
    }
}

/// Where a worker's tokens come from.
#[derive(Clone)]
pub enum Source {
    /// Signed here.
    Minter(Arc<Minter>),
    /// Signed by the host that leads the run.
    Signed(Arc<Signatures>),
}

/// A worker's tokens, made when they are presented. Kept are only signatures that are dear to make.
pub struct Tokens {
    source: Source,
    issued_s: u64,
    first_user: u64,
    kept: Vec<Option<Box<[u8; 64]>>>,
}

impl Tokens {
    /// For `users` users from `first_user` on. `now_ms`: wall time, ms since 1970. `again`: who comes again presents the token
    /// of before, whose signature a server may know; else each connect has one of its own, if its algorithm draws lots (ES256).
    pub fn new(source: Source, first_user: u64, users: usize, now_ms: u64, again: bool) -> Self {
        let dear = matches!(&source, Source::Minter(minter) if minter.algorithm() != Algorithm::Hs256);
        let kept = if dear && again { vec![None; users] } else { Vec::new() };
        Self { source, issued_s: now_ms / 1_000, first_user, kept }
    }

    /// The token of the `nth` user.
    ///
    /// # Errors
    /// It cannot be signed, or was not given.
    pub fn token(&mut self, nth: u32) -> Result<String, Failure> {
        let user = self.first_user + u64::from(nth);
        let minter = match &self.source {
            Source::Minter(minter) => minter,
            Source::Signed(signatures) => {
                let missing = || Failure::Tokens(format!("no signature was given for user {user}"));
                return signatures.token(user).ok_or_else(missing);
            }
        };
        let text = claims(minter.algorithm(), user, DEVICE, self.issued_s);
        let Some(kept) = self.kept.get_mut(nth as usize) else {
            let signature = minter.sign(&text)?;
            return Ok(join(text, &signature));
        };
        if kept.is_none() {
            let signature = <[u8; 64]>::try_from(minter.sign(&text)?.as_slice());
            *kept = Some(Box::new(signature.expect("the algorithms that are kept have 64 bytes")));
        }
        Ok(join(text, kept.as_deref().map_or(&[], |signature| &signature[..])))
    }
}

fn without_newline(secret: &[u8]) -> &[u8] {
    let text = secret.strip_suffix(b"\n").map(|text| text.strip_suffix(b"\r").unwrap_or(text));
    text.filter(|text| text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')).unwrap_or(secret)
}

fn wrap(text: &str) -> String {
    let lines: Vec<String> = text.as_bytes().chunks(64).map(|c| String::from_utf8_lossy(c).into_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn parts(token: &str) -> (String, Vec<u8>, String) {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap();
        (signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap(), String::from_utf8(claims).unwrap())
    }

    #[test]
    fn an_hs256_token_is_signed_and_names_its_user() {
        let secret = b"a secret of the tests";
        let (signed, signature, claims) =
            parts(&Minter::from_key(b"a secret of the tests\n").unwrap().mint(7, 3, 5_000).unwrap());
        assert!(hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes(), &signature).is_ok());
        assert!(claims.contains(r#""sub":"7","dev":3,"iat":5,"#), "{claims}");
    }

    #[test]
    fn an_es256_token_verifies_with_the_public_key_given_out() {
        let (minter, public) = Minter::new_es256().unwrap();
        let (signed, signature, _) = parts(&minter.mint(1, 0, 1_000).unwrap());
        let body: String = public.lines().filter(|l| !l.starts_with("-----")).collect();
        let der = STANDARD.decode(body).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &der[P256_SPKI_PREFIX.len()..]);
        assert!(key.verify(signed.as_bytes(), &signature).is_ok());
    }

    #[test]
    fn a_workers_tokens_are_the_minters_whether_signed_here_or_elsewhere() {
        let (es256, public) = Minter::new_es256().unwrap();
        let body: String = public.lines().filter(|l| !l.starts_with("-----")).collect();
        let der = STANDARD.decode(body).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &der[P256_SPKI_PREFIX.len()..]);
        let es256 = Arc::new(es256);
        let elsewhere = Arc::new(Signatures::new(&es256, 10..13, 5_000).unwrap());
        let mut new = Tokens::new(Source::Minter(es256.clone()), 10, 3, 5_000, false);
        assert_ne!(new.token(0).unwrap(), new.token(0).unwrap(), "a token a connect");
        let mut own = Tokens::new(Source::Minter(es256), 10, 3, 5_000, true);
        let mut given = Tokens::new(Source::Signed(elsewhere), 10, 4, 5_000, true);
        for nth in 0..3 {
            for token in [own.token(nth).unwrap(), given.token(nth).unwrap()] {
                let (signed, signature, claims) = parts(&token);
                assert!(key.verify(signed.as_bytes(), &signature).is_ok());
                assert!(claims.starts_with(&format!(r#"{{"sub":"{}","dev":1,"iat":5,"#, 10 + nth)), "{claims}");
            }
            assert_eq!(own.token(nth).unwrap(), own.token(nth).unwrap(), "a dear signature is made once");
        }
        assert!(given.token(3).unwrap_err().to_string().contains("user 13"));

        let hs256 = Arc::new(Minter::hs256(b"secret"));
        let mut tokens = Tokens::new(Source::Minter(Arc::clone(&hs256)), 1, 1, 7_000, true);
        assert_eq!(tokens.token(0).unwrap(), hs256.mint(1, DEVICE, 7_000).unwrap());
    }

    #[test]
    fn a_pem_of_another_kind_is_refused() {
        let pem = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(Minter::from_key(pem).err().unwrap().contains("P-256 or Ed25519"));
    }
}
