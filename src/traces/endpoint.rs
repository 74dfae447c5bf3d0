//! Where a collector is.

use std::fmt;
use std::str::FromStr;

use axum::http::Uri;
use axum::http::uri::Scheme;

/// What is added to a base address.
const PATH: &str = "/v1/traces";

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("http://host:port or https://host:port, with a path before /v1/traces if the collector has one")]
pub struct NoEndpoint;

/// A collector's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        let uri: Uri = text.parse().map_err(|_| NoEndpoint)?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(NoEndpoint),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(NoEndpoint)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        if host.is_empty() || port == 0 || uri.query().is_some() {
            return Err(NoEndpoint);
        }
        let base = uri.path().trim_end_matches('/').trim_end_matches(PATH);
        Ok(Self { tls, host, port, path: format!("{base}{PATH}") })
    }
}

impl Endpoint {
    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}{}", if self.tls { "s" } else { "" }, self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_or_refused() {
        for (text, expected) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://otel.example/v1/traces", "https://otel.example:443/v1/traces"),
            ("http://[::1]:4318/collect", "http://[::1]:4318/collect/v1/traces"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), expected);
        }
        for wrong in
            ["", "localhost:4318", "grpc://a:1", "http://", "http://user:pass@a:1", "http://a:0", "http://a/?x=1"]
        {
            assert_eq!(wrong.parse::<Endpoint>(), Err(NoEndpoint), "{wrong}");
        }
    }
}
