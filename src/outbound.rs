//! HTTP that this program asks others for: an S3 service, other nodes. Blocks; for commands, never on a shard thread.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// This host has no list of certificates to trust.
#[derive(Debug, thiserror::Error)]
#[error("this host has no certificates to trust; install ca-certificates or set SSL_CERT_FILE")]
pub struct NoRoots;

/// What asks `url`: trusts the host's certificates, follows no redirects, and gives up after `silence` without an answer or
/// another byte. Statuses are the caller's to judge.
///
/// # Errors
/// The URL is one of TLS and the host trusts nobody.
pub fn agent(url: &str, silence: Duration) -> Result<Agent, NoRoots> {
    let certificates = rustls_native_certs::load_native_certs().certs;
    if url.starts_with("https:") && certificates.is_empty() {
        return Err(NoRoots);
    }
    let roots: Vec<_> = certificates.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("shardwire/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(silence))
        .timeout_recv_response(Some(silence))
        .timeout_per_read(Some(silence))
        .timeout_per_write(Some(silence))
        .build();
    Ok(config.into())
}
