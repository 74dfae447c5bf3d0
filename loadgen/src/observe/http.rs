//! One GET of a small text by HTTP, without a client library: HTTP/1.0, so that the answer ends with its connection.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::secure::{self, Secure};

/// A server that has not answered within this is given up.
const WITHIN: Duration = Duration::from_secs(5);
/// Longest answer taken, bytes.
const ANSWER_MAX: u64 = 16 << 20;

/// The body of `path` at `address`.
///
/// # Errors
/// Why there is none: not reached, another status than 200, not text, too long.
pub fn get(address: SocketAddr, secure: Option<&Secure>, path: &str) -> Result<String, String> {
    let url = format!("http{}://{address}{path}", if secure.is_some() { "s" } else { "" });
    let failed = |error: std::io::Error| format!("{url}: {error}");
    let stream = TcpStream::connect_timeout(&address, WITHIN).map_err(failed)?;
    stream.set_read_timeout(Some(WITHIN)).map_err(failed)?;
    stream.set_write_timeout(Some(WITHIN)).map_err(failed)?;
    let mut stream = secure::stream(secure, stream).map_err(failed)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX + 1).read_to_end(&mut answer).map_err(failed)?;
    if answer.len() as u64 > ANSWER_MAX {
        return Err(format!("{url}: its answer is longer than {ANSWER_MAX} bytes"));
    }
    let answer = String::from_utf8(answer).map_err(|_| format!("{url}: its answer is not text"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{url}: its answer is not HTTP"))?;
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => Err(format!("{url}: it answered {status}")),
        None => Err(format!("{url}: its answer is not HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    fn answer(text: &'static str) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1_024];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let got = get(address, None, "/metrics");
        assert!(server.join().unwrap().starts_with("GET /metrics HTTP/1.0\r\n"));
        got
    }

    #[test]
    fn a_body_is_returned_and_anything_else_said() {
        assert_eq!(answer("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\na 1\n").unwrap(), "a 1\n");
        assert!(answer("HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err().ends_with("/metrics: it answered 404"));
        assert!(answer("hello").unwrap_err().contains("not HTTP"));
    }
}
