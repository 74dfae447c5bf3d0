//! Who a server is: a chain of certificates and the key of its first, from PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

use super::provider;
use crate::time::Now;

/// Why a certificate and a key cannot be used. Never says anything of a key's content.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("the {what} file {path} cannot be read: {source}", path = path.display())]
    Unreadable {
        /// `certificate` or `key`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not PEM.
    #[error("{path} is not valid PEM: a BEGIN line without its END, or base64 that is broken", path = path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
    },
    /// No certificate.
    #[error("{path} holds no certificate: put the server's certificate first, then those that sign it, as PEM \
             (-----BEGIN CERTIFICATE-----)", path = path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// No key.
    #[error("{path} holds no private key: PEM with PRIVATE KEY (PKCS#8), EC PRIVATE KEY or RSA PRIVATE KEY is needed, \
             without a passphrase", path = path.display())]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// A key of an unknown kind.
    #[error("the private key in {path} cannot be used: it must be ECDSA (P-256, P-384), Ed25519 or RSA (2048 bits or \
             more), without a passphrase", path = path.display())]
    UnusableKey {
        /// Which.
        path: PathBuf,
    },
    /// A certificate that cannot be read.
    #[error("certificate {number} in {path} is broken", path = path.display())]
    BrokenCertificate {
        /// Which.
        path: PathBuf,
        /// From 1, as in the file.
        number: usize,
    },
    /// They do not belong together.
    #[error("the private key in {key} does not belong to the first certificate in {certificate}",
            key = key.display(), certificate = certificate.display())]
    NotAPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// Too old.
    #[error("the certificate in {path} expired at {at}", path = path.display())]
    Expired {
        /// Which.
        path: PathBuf,
        /// When.
        at: String,
    },
    /// Too new.
    #[error("the certificate in {path} is not valid before {at}: is this host's clock right?", path = path.display())]
    NotYetValid {
        /// Which.
        path: PathBuf,
        /// When.
        at: String,
    },
}

/// A chain of certificates and the key of its first. Clones share them.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    expires_s: u64,
}

impl Identity {
    /// Reads and checks two PEM files: that the key is the first certificate's, and that this one is valid at
    /// `now`. Blocks.
    ///
    /// # Errors
    /// [`IdentityError`] names the file and what would do.
    pub fn load(certificate: &Path, key: &Path, now: Now) -> Result<Self, IdentityError> {
        let pem = read("certificate", certificate)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|_| IdentityError::NotPem { path: certificate.to_owned() })?;
        if chain.is_empty() {
            return Err(IdentityError::NoCertificate { path: certificate.to_owned() });
        }
        let expires_s = check(&chain, certificate, now)?;
        let private = PrivateKeyDer::from_pem_slice(&read("key", key)?).map_err(|error| match error {
            PemError::NoItemsFound => IdentityError::NoKey { path: key.to_owned() },
            _ => IdentityError::NotPem { path: key.to_owned() },
        })?;
        let private = provider()
            .key_provider
            .load_private_key(private)
            .map_err(|_| IdentityError::UnusableKey { path: key.to_owned() })?;
        let certified = CertifiedKey::new(chain, private);
        certified
            .keys_match()
            .map_err(|_| IdentityError::NotAPair { certificate: certificate.to_owned(), key: key.to_owned() })?;
        Ok(Self { key: Arc::new(certified), expires_s })
    }

    /// When its certificate ends, seconds since 1970.
    pub const fn expires_s(&self) -> u64 {
        self.expires_s
    }
}

impl core::fmt::Display for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let until = ASN1Time::from_timestamp(self.expires_s.cast_signed()).map(shown).unwrap_or_default();
        write!(f, "valid until {until}, {} in its chain", self.key.cert.len())
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::Unreadable { what, path: path.to_owned(), source })
}

/// That all can be read and the first is valid at `now`; when it ends. What becomes of the others is the clients' to judge:
/// chains carry expired ones for the sake of old clients.
fn check(chain: &[CertificateDer<'_>], path: &Path, now: Now) -> Result<u64, IdentityError> {
    let now_s = (now.wall_ms() / 1_000) as i64;
    let path = || path.to_owned();
    let mut expires_s = 0;
    for (number, der) in (1..).zip(chain) {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| IdentityError::BrokenCertificate { path: path(), number })?;
        if number > 1 {
            continue;
        }
        let validity = certificate.validity();
        if validity.not_after.timestamp() < now_s {
            return Err(IdentityError::Expired { path: path(), at: shown(validity.not_after) });
        }
        if validity.not_before.timestamp() > now_s {
            return Err(IdentityError::NotYetValid { path: path(), at: shown(validity.not_before) });
        }
        expires_s = validity.not_after.timestamp();
    }
    Ok(expires_s.unsigned_abs())
}

fn shown(time: ASN1Time) -> String {
    time.to_rfc2822().unwrap_or_else(|_| time.to_string())
}
