//! TLS on every listener: clients of other makes chat through it; whoever breaks it is closed, counted, and alone with it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use client::core::Event;
use client::driver::Trust;
use client::{Client, ClientError};
use fabric::core::Protocol;
use schema::ids::{ChatId, UserId};
use shardwire_tests::process::{
    Answer, Authority, Deadline, Dice, Native, Options, Proxy, Server, Tls, binary, output, python_with,
};

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
fn a_certificate_is_replaced_whole_or_not_at_all_while_connections_live() {
    let authority = Authority::new("the test's");
    let server = Server::start(options(&authority));
    let token = server.token(1, 1);
    let to = UserId::new(2).unwrap();
    let shown = |address, protocol| Tls::connect(address, &authority.file(), protocol).unwrap().certificate();
    let listeners =
        [(server.native(), Protocol::Native), (server.ws(), Protocol::WebSocket), (server.http(), Protocol::WebSocket)];
    let first = shown(server.native(), Protocol::Native);
    let mut native = Native::login_tls(server.native(), &authority.file(), &token).unwrap();
    native.send("before", to, b"x").unwrap();

    // A key that belongs to another certificate: nothing changes, and the files are named.
    let [_, key] = authority.issue("server", |_| {});
    let [_, other] = authority.issue("other", |_| {});
    let right = std::fs::read(&key).unwrap();
    std::fs::copy(other, &key).unwrap();
    let refused = server.cli("reload", &[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    let squeezed: String = said.replace('│', "").split_whitespace().collect();
    assert!(!refused.status.success() && squeezed.contains("doesnotbelongtothefirstcertificate"), "{said}");
    listeners.iter().for_each(|&(address, protocol)| assert!(shown(address, protocol) == first));

    std::fs::write(&key, right).unwrap();
    let taken = server.cli("reload", &[]);
    let said = String::from_utf8_lossy(&taken.stdout);
    assert!(taken.status.success() && said.contains("TLS certificate: valid until"), "{said}");
    let second = shown(server.native(), Protocol::Native);
    assert!(second != first);
    listeners.iter().for_each(|&(address, protocol)| assert!(shown(address, protocol) == second));
    native.send("after", to, b"x").unwrap();
}

async fn client(server: &Server, address: String, user: u64, trust: Trust) -> Result<Client, ClientError> {
    let token = server.token(user, 1);
    Client::builder().address(address).tls(trust).token(token).connect_timeout_ms(5_000).connect().await
}

#[tokio::test]
async fn the_rust_client_goes_through_tls_over_cut_connections() {
    let authority = Authority::new("the test's");
    let server = Server::start(options(&authority));
    let proxy = Proxy::start(server.native(), 6_000, Dice::seeded());
    let trust = || Trust::File(authority.file());
    let mut to = client(&server, server.native().to_string(), 9, trust()).await.unwrap();
    let from = client(&server, format!("localhost:{}", proxy.address().port()), 7, trust()).await.unwrap();
    let mut seqs = Vec::new();
    for number in 0..200 {
        let sent = from.send(to.user(), vec![number; 500]).await.unwrap().ack().await.unwrap();
        assert_eq!(sent.seq, u64::from(number) + 1, "stored once, in order");
    }
    while seqs.len() < 200 {
        if let Event::Entry(entry) = to.next().await.expect("the client goes on") {
            assert_eq!(entry.body(), vec![seqs.len() as u8; 500]);
            seqs.push(entry.seq());
        }
    }
    assert!(proxy.cuts() > 2, "{} cuts", proxy.cuts());
    from.close().await.unwrap();
    to.close().await.unwrap();
    counted(&server, "tls_resumed", 1);
}

#[tokio::test]
async fn the_rust_client_says_why_it_does_not_trust_a_server() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Server::start(options(&ours));
    let address = server.native().to_string();
    let error = client(&server, address.clone(), 7, Trust::File(theirs.file())).await.err().unwrap().to_string();
    assert!(error.contains("no session with") && error.contains("invalid peer certificate"), "{error}");
    let nowhere = Trust::File(theirs.file().with_file_name("nowhere"));
    let error = client(&server, address, 7, nowhere).await.err().unwrap().to_string();
    assert!(error.contains("nowhere cannot be read"), "{error}");
}

#[test]
fn the_load_generator_audits_messages_that_went_through_tls() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("scenario.toml");
    let text = "[load]\nusers = 20\nmode = \"open\"\nprotocol = \"PROTOCOL\"\ntls = true\nrate = 300.0\nmessages = 900\n\
                drops_per_second = 4.0\nramp_s = 0.2\nsteady_s = 4.0\n[thresholds]\nerrors = 0\ndelivered = 700\n";
    for protocol in ["native", "websocket"] {
        std::fs::write(&scenario, text.replace("PROTOCOL", protocol)).unwrap();
        let mut command = std::process::Command::new(binary("loadgen"));
        command.arg("run").arg(&scenario).arg("--out").arg(folder.path().join(protocol));
        command.arg("--server").arg(binary("shardwire"));
        let output = output(command, 90);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        let report = std::fs::read_to_string(folder.path().join(protocol).join("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert!(report["stages"].is_object(), "the metrics came through TLS: {}", report["stages_unknown"]);
    }
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
