//! A client's side: whom it trusts, and the connections it begins.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::{ALPN_HTTP, ALPN_NATIVE, ClientSession, Session, TlsError, provider};
use crate::core::Protocol;

/// Whose certificates are trusted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// The authorities this host trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` replace them).
    #[default]
    Host,
    /// The authorities in a PEM file, and no others.
    File(PathBuf),
    /// These authorities, as PEM, and no others.
    Pem(String),
}

impl Trust {
    /// The authorities as PEM; `None`: those of the host. Blocks.
    ///
    /// # Errors
    /// [`TrustError::Unreadable`].
    pub fn pem(&self) -> Result<Option<String>, TrustError> {
        match self {
            Self::Host => Ok(None),
            Self::Pem(pem) => Ok(Some(pem.clone())),
            Self::File(path) => std::fs::read_to_string(path)
                .map(Some)
                .map_err(|source| TrustError::Unreadable { path: path.clone(), source }),
        }
    }

    fn roots(&self) -> Result<RootCertStore, TrustError> {
        let Some(pem) = self.pem()? else { return host_roots() };
        let path = || match self {
            Self::File(path) => path.clone(),
            _ => "what was given".into(),
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let added = certificate.ok().and_then(|certificate| roots.add(certificate).ok());
            added.ok_or_else(|| TrustError::Invalid { path: path() })?;
        }
        if roots.is_empty() { Err(TrustError::Empty { path: path() }) } else { Ok(roots) }
    }
}

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("the file of trusted authorities {path} cannot be read: {source}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no PEM, or a certificate in it is broken.
    #[error("{path} is not valid: PEM certificates of authorities are needed", path = path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
    },
    /// No certificate in the file.
    #[error("{path} holds no certificate", path = path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// The host has no list.
    #[error("this host trusts no authority: install its ca-certificates, or name a file of trusted authorities")]
    NoHostRoots,
    /// The name to connect to is neither a DNS name nor an address.
    #[error("`{0}` is neither a host name nor an address, so no certificate can be checked against it")]
    Name(String),
    /// The TLS library refuses the configuration.
    #[error("TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// What a client's connections share. Clones are the same; any thread.
#[derive(Clone, Debug)]
pub struct Client(Arc<ClientConfig>);

impl Client {
    /// A client that trusts `trust` and speaks `protocol`. `resumes`: later connections take up earlier sessions. Blocks
    /// (it reads files).
    ///
    /// # Errors
    /// [`TrustError`] names the file and what is wrong with it.
    pub fn new(trust: &Trust, protocol: Protocol, resumes: bool) -> Result<Self, TrustError> {
        let roots = trust.roots()?;
        let builder =
            ClientConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![match protocol {
            Protocol::Native | Protocol::Link => ALPN_NATIVE.to_vec(),
            Protocol::WebSocket => ALPN_HTTP.to_vec(),
        }];
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(Self(Arc::new(config)))
    }

    /// The name a server's certificate must carry: a host name or an address, without a port.
    ///
    /// # Errors
    /// [`TrustError::Name`].
    pub fn name(host: &str) -> Result<ServerName<'static>, TrustError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        ServerName::try_from(bare.to_owned()).map_err(|_| TrustError::Name(host.to_owned()))
    }

    /// Begins a connection to `name`: what to send first is appended to `out`.
    ///
    /// # Errors
    /// `Protocol` when the operating system gives no randomness.
    pub fn connect(&self, name: ServerName<'static>, out: &mut Vec<u8>) -> Result<ClientSession, TlsError> {
        let mut session = Session::new(UnbufferedClientConnection::new(self.0.clone(), name)?);
        session.begin(out)?;
        Ok(session)
    }

    /// For clients that bring their own I/O.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.clone()
    }
}

fn host_roots() -> Result<RootCertStore, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A host's list may hold relics that are no good; the others count.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 { Err(TrustError::NoHostRoots) } else { Ok(roots) }
}
