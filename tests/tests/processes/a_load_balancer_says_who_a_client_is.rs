//! Behind a load balancer: PROXY headers before TLS and `X-Forwarded-For`, believed from configured addresses and from no other.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};

use fabric::core::Protocol;
use schema::errors::ErrorCode;
use shardwire_tests::process::{Answer, Authority, Deadline, Native, Options, Server, Tls, Wire};

/// Version 2 for a client of IPv4, with one value beside the addresses.
fn v2(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[10, 0, 0, 1], &4_711u16.to_be_bytes(), &443u16.to_be_bytes()].concat();
    let value = [5, 0, 3, b'a', b'b', b'c'];
    let length = ((addresses.len() + value.len()) as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &length[..], &addresses, &value].concat()
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 10.0.0.1 4711 443\r\n").into_bytes()
}

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

fn config(proxies: &str, mode: &str) -> String {
    format!(
        "[limits]\nauth_timeout_ms = 2000\nrefused_tokens_per_second_per_address = 1\n\
         [http]\nrefused_tokens_per_second_per_address = 1\n\
         [edge]\ntrusted_proxies = [\"{proxies}\"]\nproxy_protocol = \"{mode}\"\n"
    )
}

/// Connects and says `header`, a byte at a time.
fn behind(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in header {
        stream.write_all(&[*byte]).unwrap();
    }
    stream
}

/// What a token that nobody signed is answered.
fn guess<W: Wire>(stream: W) -> io::Result<u16> {
    let mut native = Native::over(stream)?;
    let hello = native.encoder.hello(b"e30.e30.e30", b"", 0).to_vec();
    native.write(&hello)?;
    let got = native.next(30)?;
    got.and_then(|got| got.code()).ok_or_else(|| io::Error::other("no goodbye"))
}

/// Guesses until the address is refused before its token is looked at.
fn guess_until_refused<W: Wire>(mut connect: impl FnMut() -> W) {
    let deadline = Deadline::after_s(30);
    let refused = deadline.wait_until(|| match guess(connect()).unwrap() {
        code if code == ErrorCode::RateLimited as u16 => true,
        code => {
            assert_eq!(code, ErrorCode::BadToken as u16);
            false
        }
    });
    assert!(refused, "the bound per address did not hold");
}

fn forwarded(server: &Server, chain: &str) -> u16 {
    let headers = [("Authorization", "Bearer e30.e30.e30"), ("X-Forwarded-For", chain)];
    Answer::request(server.http(), ("GET", "/api/chats"), &headers, b"").unwrap().status
}

fn upgrade(server: &Server, chain: &str) -> String {
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: localhost:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer e30.e30.e30\r\nX-Forwarded-For: {chain}\r\n\r\n",
        server.ws().port()
    );
    let answer = Answer::ask(server.ws(), request.as_bytes()).unwrap();
    assert_eq!(answer.status, 101, "{answer:?}");
    answer.body
}

#[test]
fn headers_come_before_tls_on_every_listener_and_limits_go_by_the_client() {
    let authority = Authority::new("the test's");
    let [certificate, key] = authority.issue("server", |_| {}).map(|file| file.display().to_string());
    let arguments = ["--tls-cert".to_owned(), certificate, "--tls-key".to_owned(), key].to_vec();
    let config = config("127.0.0.0/8", "optional");
    let server = Server::start(Options { config, arguments, authority: Some(authority.file()), ..Options::default() });
    let tls =
        |address, header: &[u8], protocol| Tls::over(behind(address, header), &authority.file(), protocol).unwrap();
    let native = |header: &[u8]| tls(server.native(), header, Protocol::Native);
    let token = server.token(7, 1);
    for header in [&v2([203, 0, 113, 7])[..], &v1("203.0.113.7"), LOCAL, b""] {
        Native::over(native(header)).unwrap().hello(&token).unwrap();
        for address in [server.http(), server.ws()] {
            let request =
                format!("GET /healthz HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n", address.port());
            let answer = Answer::over(tls(address, header, Protocol::WebSocket), request.as_bytes()).unwrap();
            assert_eq!(answer.status, if address == server.http() { 200 } else { 404 }, "{answer:?}");
        }
    }
    assert_eq!(server.metric("proxy_headers_total"), 9);
    guess_until_refused(|| native(&v2([203, 0, 113, 7])));
    for other in [&v2([203, 0, 113, 8])[..], &v1("203.0.113.9"), b""] {
        assert_eq!(guess(native(other)).unwrap(), ErrorCode::BadToken as u16, "{other:?}");
    }
    assert!(server.metric("gateway_strangers_refused_total") >= 1);
    assert!(server.log().contains("client=203.0.113.7"), "{}", server.log());
}

#[test]
fn without_the_header_that_is_required_nobody_comes_in() {
    let server = Server::start(Options { config: config("127.0.0.1", "required"), ..Options::default() });
    let metric = |name: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.http());
        let answer = Answer::ask(server.http(), &[LOCAL, request.as_bytes()].concat()).unwrap();
        let line = answer.body.lines().find(|line| line.starts_with(&format!("shardwire_{name} "))).unwrap_or_default();
        line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).unwrap_or_default()
    };
    let refused = |reason: &str| metric(&format!("proxy_refused_total{{reason=\"{reason}\"}}"));
    let token = server.token(7, 1);
    let mut whole = Native::over(behind(server.native(), &v2([203, 0, 113, 7]))).unwrap().hello(&token).unwrap();
    whole.send("1", schema::ids::UserId::new(9).unwrap(), b"hello").unwrap();

    let hello = whole.encoder.hello(token.as_bytes(), b"", 0).to_vec();
    let too_long = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &[0xff, 0xff][..]].concat();
    let cases: [(&str, &[u8]); 4] = [
        ("missing", &hello),
        ("missing", b"GET /healthz HTTP/1.1\r\n\r\n"),
        ("malformed", b"PROXY TCP4 here there 1 2\r\n"),
        ("too_long", &too_long),
    ];
    for (reason, bytes) in cases {
        for address in [server.native(), server.ws(), server.http()] {
            let before = refused(reason);
            let mut stream = Native::over(TcpStream::connect(address).unwrap()).unwrap();
            stream.write(bytes).unwrap();
            assert!(stream.is_ended_within(30), "{reason} at {address}");
            assert_eq!(refused(reason), before + 1, "{reason} at {address}");
        }
    }
    let before = refused("cut");
    drop(behind(server.native(), &v2([1, 2, 3, 4])[..20]));
    drop(behind(server.http(), b"PROXY "));
    assert!(Deadline::after_s(30).wait_until(|| refused("cut") == before + 2));
    // One that begins its header and then waits is ended as any that does not authenticate.
    let mut slow = Native::over(behind(server.native(), &v2([1, 2, 3, 4])[..20])).unwrap();
    assert!(slow.is_ended_within(30));
    assert!(server.log().contains("does not begin with a PROXY header"), "{}", server.log());
    whole.send("2", schema::ids::UserId::new(9).unwrap(), b"still here").unwrap();
}

#[test]
fn forwarded_for_counts_from_trusted_addresses_only() {
    let trusting = Server::start(Options { config: config("127.0.0.0/8", "off"), ..Options::default() });
    let deadline = Deadline::after_s(30);
    // What the client itself put before it changes nothing.
    let mut lie = 0;
    assert!(deadline.wait_until(|| {
        lie += 1;
        forwarded(&trusting, &format!("10.1.1.{}, 198.51.100.1, 127.0.0.9", lie % 250)) == 429
    }));
    assert_eq!(forwarded(&trusting, "198.51.100.2, 127.0.0.9"), 401, "another client");
    assert!(deadline.wait_until(|| upgrade(&trusting, "198.51.100.1").contains("rate_limited")));
    assert!(upgrade(&trusting, "198.51.100.2").contains("bad_token"));

    let wary = Server::start(Options { config: config("10.0.0.0/8", "optional"), ..Options::default() });
    let mut client = 0;
    let mut another = || {
        client += 1;
        format!("198.51.100.{}", client % 250)
    };
    assert!(deadline.wait_until(|| forwarded(&wary, &another()) == 429), "nobody is forwarded for");
    assert!(deadline.wait_until(|| upgrade(&wary, &another()).contains("rate_limited")));
    let mut lying = Native::over(behind(wary.native(), &v2([203, 0, 113, 7]))).unwrap();
    assert!(lying.is_ended_within(30), "its header is no frame");
    assert_eq!(wary.metric("proxy_headers_total"), 0);

    let closed = Server::start(Options { config: config("10.0.0.0/8", "required"), ..Options::default() });
    for address in [closed.native(), closed.ws(), closed.http()] {
        let mut stream = Native::over(TcpStream::connect(address).unwrap()).unwrap();
        let _ = stream.write(&v2([203, 0, 113, 7]));
        assert!(stream.is_ended_within(30), "{address}");
    }
    assert!(closed.log().contains("its address is not in edge.trusted_proxies"), "{}", closed.log());
}
