//! The cryptography behind `jsonwebtoken`: `aws-lc-rs`, which TLS uses too and which needs only a C compiler.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use signature::{Error, Signer, Verifier};

static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

/// Makes `jsonwebtoken` use it; any number of times.
pub(super) fn install() {
    // An error says that a provider is installed already: this one, before.
    let _ = PROVIDER.install_default();
}

struct Signing {
    algorithm: Algorithm,
    key: SigningKey,
}

enum SigningKey {
    Hmac(Box<hmac::Key>),
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer<Vec<u8>> for Signing {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        match &self.key {
            SigningKey::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            SigningKey::Ed(key) => Ok(key.sign(message).as_ref().to_vec()),
            SigningKey::Ec(key) => key
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| Error::new()),
            SigningKey::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| Error::new())?;
                Ok(signature)
            }
        }
    }
}

impl JwtSigner for Signing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    let bytes = key.as_bytes();
    let key = match algorithm {
        Algorithm::HS256 => SigningKey::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes))),
        // "maybe unchecked": openssl writes Ed25519 keys without their public half.
        Algorithm::EdDSA => {
            SigningKey::Ed(Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).map_err(|_| ErrorKind::InvalidEddsaKey)?)
        }
        Algorithm::ES256 => SigningKey::Ec(
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes)
                .map_err(|_| ErrorKind::InvalidEcdsaKey)?,
        ),
        Algorithm::RS256 => {
            SigningKey::Rsa(RsaKeyPair::from_der(bytes).map_err(|error| ErrorKind::InvalidRsaKey(error.to_string()))?)
        }
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    };
    Ok(Box::new(Signing { algorithm: *algorithm, key }))
}

struct Verifying {
    algorithm: Algorithm,
    key: VerifyingKey,
}

enum VerifyingKey {
    Hmac(Box<hmac::Key>),
    Public(ParsedPublicKey),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
}

impl Verifier<Vec<u8>> for Verifying {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        match &self.key {
            VerifyingKey::Hmac(key) => hmac::verify(key, message, signature).map_err(|_| Error::new()),
            VerifyingKey::Public(key) => key.verify_sig(message, signature).map_err(|_| Error::new()),
            VerifyingKey::Rsa(key) => {
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).map_err(|_| Error::new())
            }
        }
    }
}

impl JwtVerifier for Verifying {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn parsed(algorithm: &'static dyn VerificationAlgorithm, bytes: &[u8]) -> Result<ParsedPublicKey> {
    ParsedPublicKey::new(algorithm, bytes).map_err(|_| ErrorKind::InvalidKeyFormat.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    if let (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) = (algorithm, key.kind()) {
        let key = VerifyingKey::Rsa(RsaPublicKeyComponents { n: n.clone(), e: e.clone() });
        return Ok(Box::new(Verifying { algorithm: *algorithm, key }));
    }
    let bytes = key.try_get_as_bytes()?;
    let key = match algorithm {
        Algorithm::HS256 => VerifyingKey::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes))),
        Algorithm::EdDSA => VerifyingKey::Public(parsed(&ED25519, bytes)?),
        Algorithm::ES256 => VerifyingKey::Public(parsed(&ECDSA_P256_SHA256_FIXED, bytes)?),
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    };
    Ok(Box::new(Verifying { algorithm: *algorithm, key }))
}
