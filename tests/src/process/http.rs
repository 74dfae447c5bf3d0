//! HTTP over a socket, plain or in TLS: what goes out is exactly what a test says.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use fabric::core::Protocol;

use super::{Tls, Wire};

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers as they came.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Asks `path` of the server at `address`; at most 10 s.
    ///
    /// # Errors
    /// When it cannot be reached, takes too long, or does not answer in HTTP.
    pub fn get(address: SocketAddr, path: &str) -> std::io::Result<Self> {
        Self::ask(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
    }

    /// A request with headers and a body; Host, Content-Length and Connection are added unless they are among `headers`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn request(
        address: SocketAddr,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Self> {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let (host, length) = (address.to_string(), body.len().to_string());
        let own = [("Host", host.as_str()), ("Connection", "close"), ("Content-Length", length.as_str())];
        let given = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        for (name, value) in own.iter().filter(|(name, _)| !given(name)).chain(headers) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Self::ask(address, &[head.as_bytes(), body].concat())
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Sends bytes and reads to the end, as an answer of HTTP; at most 10 s between bytes.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn ask(address: SocketAddr, request: &[u8]) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address)?, request)
    }

    /// As [`Self::get`], through TLS.
    ///
    /// # Errors
    /// As [`Self::get`], or when the server is not trusted.
    pub fn get_tls(address: SocketAddr, authority: &Path, path: &str) -> std::io::Result<Self> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        Self::over(Tls::connect(address, authority, Protocol::WebSocket)?, request.as_bytes())
    }

    /// As [`Self::ask`], over a connection that stands.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn over(mut stream: impl Wire, request: &[u8]) -> std::io::Result<Self> {
        stream.socket().set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request)?;
        let mut bytes = Vec::new();
        // A server that refuses may reset what it has not read: what it said before that counts.
        if let Err(error) = stream.read_to_end(&mut bytes)
            && bytes.is_empty()
        {
            return Err(error);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let invalid = || std::io::Error::new(std::io::ErrorKind::InvalidData, format!("no HTTP answer: {text:?}"));
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(invalid)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(invalid)?;
        Ok(Self { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// The sum of a metric over its labels, in Prometheus text; `None` when it is not there.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with(['{', ' ']) {
                return None;
            }
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        };
        self.body.lines().filter_map(value).reduce(|a, b| a + b)
    }
}
