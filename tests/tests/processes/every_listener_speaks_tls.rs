//! TLS on every listener: clients of other makes chat through it; whoever breaks it is closed, counted, and alone with it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use fabric::core::Protocol;
use schema::ids::{ChatId, UserId};
use shardwire_tests::process::{Answer, Authority, Deadline, Native, Options, Server, Tls, python_with};

fn arguments([certificate, key]: &[PathBuf; 2]) -> Vec<String> {
    let [certificate, key] = [certificate, key].map(|file| file.display().to_string());
    vec!["--tls-cert".to_owned(), certificate, "--tls-key".to_owned(), key]
}

fn options(authority: &Authority) -> Options {
    let arguments = arguments(&authority.issue("server", |_| {}));
    Options { arguments, authority: Some(authority.file()), ..Options::default() }
}

/// The server ends a connection: what it said until then.
fn end_of(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => said,
        Err(error) => panic!("not ended: {error}"),
    }
}

fn counted(server: &Server, name: &str, least: u64) {
    let deadline = Deadline::after_s(30);
    let reached = deadline.wait_until(|| server.metric(&format!("{name}_total")) >= least);
    assert!(reached, "{name} is {}, not {least}", server.metric(&format!("{name}_total")));
}

#[test]
fn python_chats_through_tls_natively_and_over_a_websocket() {
    let authority = Authority::new("the test's");
    let mut server = Server::start(options(&authority));
    assert!(server.stdout().contains(" tls=on"), "{}", server.stdout());
    let trusted = [("SSL_CERT_FILE", authority.file())];
    let trusted = trusted.each_ref().map(|(name, file)| (*name, file.as_path()));
    let tokens = [server.token(7, 1), server.token(9, 1)];
    for (script, address) in [
        ("native_chat.py", format!("tls://localhost:{}", server.native().port())),
        ("chat.py", format!("wss://localhost:{}/ws", server.ws().port())),
    ] {
        let output = python_with(script, &[&address, &tokens[0], &tokens[1]], &trusted);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((stdout.as_ref(), output.status.success()), ("ok\n", true), "{script}: {stderr}");
    }
    assert_eq!((server.get("/readyz").status, server.get("/readyz").body.as_str()), (200, "ready\n"));
    counted(&server, "tls_handshakes", 6);
    assert!(server.metric("tls_certificate_expires_seconds") > 1_800_000_000);
    assert_eq!(server.metric("tls_handshake_failures_total") + server.metric("tls_plain_connections_total"), 0);
    server.terminate();
}

#[test]
fn python_refuses_a_server_that_another_authority_vouches_for() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Server::start(options(&ours));
    let address = format!("tls://localhost:{}", server.native().port());
    let output = python_with("native_chat.py", &[&address, "x", "y"], &[("SSL_CERT_FILE", &theirs.file())]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("CERTIFICATE_VERIFY_FAILED"), "{stderr}");
    counted(&server, "tls_handshake_failures", 1);
}

#[test]
fn a_plain_client_is_closed_and_counted_on_every_listener() {
    let authority = Authority::new("the test's");
    let server = Server::start(options(&authority));
    let hello = Native::connect(server.native()).unwrap().encoder.hello(b"token", b"", 0).to_vec();
    let upgrade = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n".to_vec();
    for (address, words) in [(server.native(), &hello), (server.ws(), &upgrade), (server.ws(), &hello)] {
        let mut plain = TcpStream::connect(address).unwrap();
        plain.write_all(words).unwrap();
        assert_eq!(end_of(&mut plain), b"", "nothing is said in the clear");
    }
    counted(&server, "tls_plain_connections", 3);
    assert!(Answer::get(server.http(), "/healthz").is_err(), "HTTP is behind TLS too");
}

#[test]
fn handshakes_that_break_off_overflow_or_crawl_are_ended_and_counted() {
    let authority = Authority::new("the test's");
    let config = "[limits]\nauth_timeout_ms = 1000\n".to_owned();
    let server = Server::start(Options { config, ..options(&authority) });
    let start = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(server.native()).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    // The begin of a client hello, and then the end.
    drop(start(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc]));
    counted(&server, "tls_handshake_failures", 1);
    // A record longer than there are: an alert, and the end.
    let said = end_of(&mut start(&[22, 3, 1, 0xff, 0xff, 1, 2, 3]));
    assert_eq!(said.first(), Some(&21), "{said:?}");
    counted(&server, "tls_handshake_failures", 2);
    // A handshake message of 16 MiB.
    let mut part = vec![22, 3, 1, 0x10, 0, 1, 0xff, 0xff, 0xff];
    part.resize(5 + 0x1000, 0);
    end_of(&mut start(&part));
    counted(&server, "tls_handshake_failures", 3);
    // One that begins and then waits for ever, and one that never begins.
    for bytes in [&[22, 3, 1, 2, 0, 1][..], &[]] {
        assert_eq!(end_of(&mut start(bytes)), b"", "nothing can be said before the handshake");
    }
    counted(&server, "gateway_auth_timeouts", 2);
    // One that has shaken hands and says nothing is told so, in TLS.
    let mut silent = Native::over(Tls::connect(server.native(), &authority.file(), Protocol::Native).unwrap()).unwrap();
    let goodbye = silent.next(30).unwrap().expect("a goodbye");
    assert_eq!(goodbye.code(), Some(schema::errors::ErrorCode::AuthTimeout as u16));
    assert!(silent.next(30).unwrap().is_none(), "a close notify: the end is no truncation");
}

#[test]
fn who_closes_its_half_is_heard_to_the_end() {
    let authority = Authority::new("the test's");
    let server = Server::start(options(&authority));
    let (token, address) = (server.token(1, 1), server.native());
    let login = || Native::login_tls(address, &authority.file(), &token).unwrap();
    let to = UserId::new(2).unwrap();
    // What comes before the close notify counts; the server answers with its own.
    let mut native = login();
    let frame = native.message("last words", to, &[b'x'; 40_000], false);
    native.write(&frame).unwrap();
    native.close_notify().unwrap();
    while native.next(30).unwrap().is_some() {}
    // One that is cut off counts as such; it is a client's crash, no error.
    let mut native = login();
    let frame = native.message("cut", to, b"x", false);
    native.write(&frame).unwrap();
    native.end_writing().unwrap();
    assert!(native.is_ended_within(30));
    counted(&server, "tls_truncated", 1);
    let chat = ChatId::direct(UserId::new(1).unwrap(), to);
    let mut native = login();
    let deadline = Deadline::after_s(30);
    let kept = |native: &mut Native<Tls>| native.history(chat).map_or(0, |entries| entries.len());
    assert!(deadline.wait_until(|| kept(&mut native) == 2), "both were taken");
}

fn message_count(address: SocketAddr, authority: &Authority, token: &str) -> std::io::Result<usize> {
    let mut native = Native::login_tls(address, &authority.file(), token)?;
    let sends = 2_000;
    let to = UserId::new(2).unwrap();
    // All at once: answers pile up while nothing is read.
    let frames: Vec<u8> =
        (0..sends).flat_map(|number| native.message(&format!("m{number}"), to, &[7; 1_000], false)).collect();
    native.write(&frames)?;
    let mut acks = 0;
    while acks < sends {
        let got = native.next(30)?.ok_or_else(|| std::io::Error::other(format!("{acks} answers")))?;
        acks += usize::from(got.ack().is_some());
    }
    Ok(acks)
}

#[test]
fn much_at_once_is_answered_in_order() {
    let authority = Authority::new("the test's");
    let server = Server::start(options(&authority));
    assert_eq!(message_count(server.native(), &authority, &server.token(1, 1)).unwrap(), 2_000);
    assert_eq!(server.metric("tls_errors_total"), 0);
}

#[test]
fn files_that_cannot_be_used_stop_the_start_with_their_name() {
    let authority = Authority::new("the test's");
    let [certificate, key] = authority.issue("one", |_| {});
    let [_, other] = authority.issue("two", |_| {});
    let [old, old_key] = authority.issue("old", |params| params.not_after = rcgen::date_time_ymd(2020, 2, 3));
    let empty = certificate.with_file_name("empty");
    std::fs::write(&empty, "").unwrap();
    let nowhere = certificate.with_file_name("nowhere");
    for (files, words) in [
        ([&certificate, &other], &["two.key does not belong to the first certificate", "one.pem"][..]),
        ([&old, &old_key], &["old.pem expired at", "2020"]),
        ([&empty, &key], &["empty holds no certificate", "--tls-cert"]),
        ([&certificate, &empty], &["empty holds no private key"]),
        ([&certificate, &nowhere], &["key file", "nowhere", "cannot be read"]),
    ] {
        let arguments = arguments(&files.map(Clone::clone));
        let output = Server::new(Options { arguments, ..Options::default() }).start_in_vain();
        // Long lines are wrapped for reading.
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said: String = stderr.replace("│", "").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!output.status.success(), "{said}");
        for word in words {
            let squeezed = |text: &str| text.replace(' ', "");
            assert!(squeezed(&said).contains(&squeezed(word)), "`{word}` is not in: {said}");
        }
    }
    let lonely = Options { arguments: arguments(&[certificate, key])[..2].to_vec(), ..Options::default() };
    let output = Server::new(lonely).start_in_vain();
    assert!(String::from_utf8_lossy(&output.stderr).contains("--tls-key"), "one without the other");
}
