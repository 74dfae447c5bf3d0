//! The process' TLS: its certificate, which can be replaced while it serves, and HTTP's listener on it.

mod listener;

use fabric::net::tls::{Identity, IdentityError, Server, TlsError};
use fabric::time::{Clock as _, SystemClock};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::config::Config;

pub use listener::TlsListener;

/// A certificate that ends within so many days is warned of.
const WARN_DAYS: u64 = 14;
const DAY_S: u64 = 86_400;

/// Why there is no TLS though it was asked for.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TlsSetupError {
    /// The files.
    #[error(transparent)]
    #[diagnostic(help("tls.cert_file (--tls-cert) and tls.key_file (--tls-key) name the files"))]
    Identity(#[from] IdentityError),
    /// The library.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What every listener shows. Clones share it; any thread.
#[derive(Clone, Debug)]
pub struct Certificates {
    server: Server,
    expires_s: Gauge,
}

impl Certificates {
    /// The configured certificate and key; `None` when TLS is not configured. Blocks.
    ///
    /// # Errors
    /// [`TlsSetupError`] names the file and what is wrong with it.
    pub fn open(config: &Config) -> Result<Option<Self>, TlsSetupError> {
        let Some(identity) = read(config)? else { return Ok(None) };
        let expires_s = Gauge::default();
        expires_s.set(identity.expires_s() as i64);
        Ok(Some(Self { server: Server::new(identity)?, expires_s }))
    }

    /// Shows `identity` to every handshake that begins from now on; connections that stand stay. Whether it is another one.
    pub fn replace(&self, identity: Identity) -> bool {
        self.expires_s.set(identity.expires_s() as i64);
        self.server.replace(identity)
    }

    /// For listeners.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Shows when the certificate ends.
    pub fn register(&self, registry: &mut Registry) {
        let help = "When the TLS certificate in use ends, seconds since 1970";
        registry.register("tls_certificate_expires_seconds", help, self.expires_s.clone());
    }
}

/// Reads and checks the configured certificate and key, without using them yet; `None` when TLS is not configured. Blocks.
///
/// # Errors
/// [`IdentityError`] names the file and what is wrong with it.
pub fn read(config: &Config) -> Result<Option<Identity>, IdentityError> {
    let (Some(certificate), Some(key)) = (&config.tls.cert_file, &config.tls.key_file) else { return Ok(None) };
    let now = SystemClock.now();
    let identity = Identity::load(certificate, key, now)?;
    let days = identity.expires_s().saturating_sub(now.wall_ms() / 1_000) / DAY_S;
    if days < WARN_DAYS {
        tracing::warn!(file = %certificate.display(), days, "the TLS certificate ends soon: renew it");
    }
    Ok(Some(identity))
}
