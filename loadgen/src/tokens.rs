//! Tokens for the users: JWTs signed with a development key, a key file, or a key made for the run.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

use crate::fail::Failure;

/// A token lives for so long, s.
const TTL_S: u64 = 24 * 60 * 60;
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

enum Key {
    Hs256(hmac::Key),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Minter {
    /// HS256 with these bytes as the secret.
    pub fn hs256(secret: &[u8]) -> Self {
        Self { key: Key::Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret)), random: SystemRandom::new() }
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
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).map_err(failed)?;
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
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random) {
            return Ok(Self { key: Key::Es256(pair), random });
        }
        match Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            Ok(pair) => Ok(Self { key: Key::EdDsa(pair), random }),
            Err(_) => Err("expected a private key in PKCS#8, P-256 or Ed25519"),
        }
    }

    /// A user's token. `now_ms`: wall time, ms since 1970.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn mint(&self, user: u64, device: u32, now_ms: u64) -> Result<String, Failure> {
        let alg = match self.key {
            Key::Hs256(_) => "HS256",
            Key::Es256(_) => "ES256",
            Key::EdDsa(_) => "EdDSA",
        };
        let now_s = now_ms / 1_000;
        let claims = format!(r#"{{"sub":"{user}","dev":{device},"iat":{now_s},"exp":{}}}"#, now_s + TTL_S);
        let mut token = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#));
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(claims));
        let signature = match &self.key {
            Key::Hs256(key) => URL_SAFE_NO_PAD.encode(hmac::sign(key, token.as_bytes())),
            Key::EdDsa(pair) => URL_SAFE_NO_PAD.encode(pair.sign(token.as_bytes())),
            Key::Es256(pair) => {
                let signature = pair
                    .sign(&self.random, token.as_bytes())
                    .map_err(|_| Failure::Tokens("a token could not be signed".to_owned()))?;
                URL_SAFE_NO_PAD.encode(signature)
            }
        };
        token.push('.');
        token.push_str(&signature);
        Ok(token)
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
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

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
    fn a_pem_of_another_kind_is_refused() {
        let pem = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(Minter::from_key(pem).err().unwrap().contains("P-256 or Ed25519"));
    }
}
