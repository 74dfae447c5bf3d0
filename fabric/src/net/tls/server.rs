//! A server's side: its identity, which can be replaced while connections live.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, UnbufferedServerConnection};
use rustls::sign::CertifiedKey;

use super::{ALPN_HTTP, ALPN_NATIVE, Identity, ServerSession, Session, TlsError, provider};
use crate::core::Protocol;

/// What a process' listeners share. Clones are the same server; any thread.
#[derive(Clone, Debug)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    current: Arc<Current>,
    native: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
}

/// The identity that new handshakes show.
#[derive(Debug)]
struct Current(RwLock<Identity>);

impl Current {
    fn get(&self) -> Identity {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get().key)
    }
}

impl Server {
    /// A server of this identity. Sessions are taken up again by tickets whose keys live in this process only.
    ///
    /// # Errors
    /// `Protocol` when the operating system gives no randomness.
    pub fn new(identity: Identity) -> Result<Self, TlsError> {
        let current = Arc::new(Current(RwLock::new(identity)));
        let tickets = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        let config = |protocol: &[u8]| -> Result<Arc<ServerConfig>, TlsError> {
            let builder =
                ServerConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions()?;
            let mut config = builder.with_no_client_auth().with_cert_resolver(current.clone());
            config.alpn_protocols = vec![protocol.to_vec()];
            config.ticketer = tickets.clone();
            // Tickets hold all there is to keep: nothing is shared between threads but their key.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 1;
            Ok(Arc::new(config))
        };
        let (native, web) = (config(ALPN_NATIVE)?, config(ALPN_HTTP)?);
        Ok(Self(Arc::new(Inner { current, native, web })))
    }

    /// Shows another identity to every handshake that begins from now on; connections that stand stay. Whether it differs
    /// from the one before.
    pub fn replace(&self, identity: Identity) -> bool {
        let mut current = self.0.current.0.write().unwrap_or_else(PoisonError::into_inner);
        let differs = current.key.cert != identity.key.cert;
        *current = identity;
        differs
    }

    /// The identity that new handshakes show.
    pub fn identity(&self) -> Identity {
        self.0.current.get()
    }

    /// A connection that was accepted.
    ///
    /// # Errors
    /// `Protocol` when the operating system gives no randomness.
    pub fn accept(&self, protocol: Protocol) -> Result<ServerSession, TlsError> {
        let config = match protocol {
            Protocol::Native | Protocol::Link => &self.0.native,
            Protocol::WebSocket => &self.0.web,
        };
        Ok(Session::new(UnbufferedServerConnection::new(config.clone())?))
    }

    /// For HTTP servers that bring their own I/O. It follows [`Self::replace`].
    pub fn http_config(&self) -> Arc<ServerConfig> {
        self.0.web.clone()
    }
}
