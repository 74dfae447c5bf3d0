//! Keys rotated, hosts and rates changed under a running server, by `shardwire reload` and by SIGHUP; and what it refuses.

use std::path::PathBuf;
use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};
use gateway::auth::mint::PemPair;
use gateway::auth::{KeyKind, Minter};
use schema::ids::{DeviceId, UserId};
use schema::wire::Body;
use shardwire_tests::process::{Answer, Authority, Deadline, Native, Options, Server, Signal, unwrapped};

/// A server with a JWKS file beside its configuration.
struct Rig {
    server: Server,
    jwks: PathBuf,
    config: String,
}

impl Rig {
    fn start(keys: &[String]) -> Self {
        let mut server = Server::new(Options::default());
        let jwks = server.config_file().with_file_name("jwks.json");
        let config = format!("{}[auth]\njwks_file = {jwks:?}\n", Options::default().config);
        std::fs::write(server.config_file(), &config).unwrap();
        std::fs::write(&jwks, set(keys)).unwrap();
        server.start_again();
        Self { server, jwks, config }
    }

    /// What `shardwire reload` prints, or its error on one line.
    fn reload(&self) -> Result<String, String> {
        let output = self.server.cli("reload", &[]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        assert!(output.stdout.is_empty());
        Err(unwrapped(&text(&output.stderr)))
    }

    fn lets_in(&self, token: &str) -> bool {
        Native::login(self.server.native(), token).is_ok()
    }
}

fn set(keys: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn token(pair: &PemPair, kid: &str) -> String {
    token_of(1, pair, kid)
}

fn token_of(device: u32, pair: &PemPair, kid: &str) -> String {
    let minter = Minter::from_pem(KeyKind::Es256, pair.private.as_bytes(), Some(kid.to_owned())).unwrap();
    let user = UserId::new(7).unwrap();
    minter.mint(user, DeviceId(device), SystemClock.now().wall_ms(), Duration::from_secs(600)).unwrap()
}

fn pair() -> PemPair {
    PemPair::generate(KeyKind::Es256).unwrap()
}

#[test]
fn one_key_follows_the_other_and_half_a_rotation_changes_nothing() {
    let (old, new) = (pair(), pair());
    let (old_token, new_token) = (token(&old, "2025"), token(&new, "2026"));
    let rig = Rig::start(&[old.jwk("2025")]);
    assert!(rig.lets_in(&old_token) && !rig.lets_in(&new_token));

    // Half of the new key, half of the file, no file: nothing changes, and the file and the key are named.
    let half = new.jwk("2026").replacen("\"y\":\"", "\"y\":\"AA", 1);
    let both = set(&[old.jwk("2025"), new.jwk("2026")]);
    for (contents, says) in [
        (set(&[old.jwk("2025"), half]), r#"key 2 ("2026")"#),
        (both[..both.len() / 2].to_owned(), "not a JWKS"),
        (set(&[]), "none of its 0 keys"),
    ] {
        std::fs::write(&rig.jwks, contents).unwrap();
        let error = rig.reload().unwrap_err();
        assert!(error.contains("nothing is reloaded") && error.contains("jwks.json"), "{error}");
        assert!(error.contains(says), "{error}");
    }
    std::fs::remove_file(&rig.jwks).unwrap();
    assert!(rig.reload().unwrap_err().contains("jwks.json: No such file"));
    assert!(rig.lets_in(&old_token) && !rig.lets_in(&new_token));

    std::fs::write(&rig.jwks, &both).unwrap();
    let printed = rig.reload().unwrap();
    assert!(printed.contains(r#"keys: ES256 "2025", ES256 "2026""#), "{printed}");
    assert!(rig.lets_in(&old_token) && rig.lets_in(&new_token));
    let status = rig.server.cli("status", &[]);
    assert!(String::from_utf8_lossy(&status.stdout).contains(r#"ES256 "2025", ES256 "2026""#), "{status:?}");

    // The old one goes, by SIGHUP: its sessions go on, new ones it gets none, though the token was seen before.
    let mut session = Native::login(rig.server.native(), &token_of(2, &old, "2025")).unwrap();
    std::fs::write(&rig.jwks, set(&[new.jwk("2026")])).unwrap();
    rig.server.signal(Signal::HUP);
    let reloaded = || rig.server.log().matches("configuration reloaded").count() == 2;
    assert!(Deadline::after_s(10).wait_until(reloaded), "{}", rig.server.log());
    assert!(!rig.lets_in(&old_token) && rig.lets_in(&new_token));
    session.send("m1", UserId::new(8).unwrap(), b"still here").unwrap();
}

/// The status of an upgrade for this host.
fn upgrade(server: &Server, host: &str) -> u16 {
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    // A WebSocket that says a malformed frame is closed, so that the answer ends.
    let bytes = [request.as_bytes(), &[0xff; 16]].concat();
    Answer::ask(server.ws(), &bytes).unwrap().status
}

#[test]
fn what_can_change_changes_what_cannot_is_named_and_a_mistake_changes_nothing() {
    let key = pair();
    let rig = Rig::start(&[key.jwk("k")]);
    let write = |text: &str| std::fs::write(rig.server.config_file(), text).unwrap();
    assert_eq!(upgrade(&rig.server, "chat.example"), 403);
    let more = "audiences = [\"chat\"]\n[http]\nallowed_hosts = [\"chat.example\"]\n[log]\nlevel = \"debug\"\n";
    let wrong = format!("{}{}", rig.config, more.replace("debug", "loud"));
    write(&wrong);
    let error = rig.reload().unwrap_err();
    assert!(error.contains("log.level") && error.contains("error, warn, info, debug, trace"), "{error}");
    assert_eq!(upgrade(&rig.server, "chat.example"), 403);
    assert!(rig.lets_in(&token(&key, "k")));

    let right = format!("{}{more}", rig.config).replace("segment_bytes = 4194304", "segment_bytes = 8388608");
    write(&right);
    let printed = rig.reload().unwrap();
    for line in [
        r#"auth.audiences: [] -> ["chat"]"#,
        r#"http.allowed_hosts: [] -> ["chat.example"]"#,
        r#"log.level: "info" -> "debug""#,
        "storage.journal_segment_bytes: 4194304 -> 8388608  (needs a restart)",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
    let changed = || upgrade(&rig.server, "chat.example") == 101;
    assert!(Deadline::after_s(10).wait_until(changed), "{}", rig.server.log());
    assert!(!rig.lets_in(&token(&key, "k")), "an audience is demanded now");
    let again = rig.reload().unwrap();
    assert!(!again.contains("log.level") && again.contains("needs a restart"), "{again}");

    write(&Options::default().config);
    let error = rig.reload().unwrap_err();
    assert!(error.contains("does not fall back to the development key"), "{error}");
    assert_eq!(upgrade(&rig.server, "chat.example"), 101, "as it was");
}

#[test]
fn a_certificate_follows_another_half_a_pair_does_not_and_sessions_stay() {
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let files = before.issue("server", |_| {});
    let next = after.issue("server", |_| {});
    let [certificate, key] = files.each_ref().map(|file| file.display().to_string());
    let arguments = ["--tls-cert", &certificate, "--tls-key", &key].map(str::to_owned).to_vec();
    let mut server = Server::start(Options { arguments, authority: Some(before.file()), ..Options::default() });
    let login = |server: &Server, device, authority: &Authority| {
        Native::login_tls(server.native(), &authority.file(), &server.token(7, device))
    };
    let mut session = login(&server, 1, &before).unwrap();

    std::fs::copy(&next[0], &files[0]).unwrap();
    let output = server.cli("reload", &[]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && error.contains("nothing is reloaded"),
        "a certificate without its key: {error}"
    );
    assert!(login(&server, 2, &before).is_ok(), "as it was");

    std::fs::copy(&next[1], &files[1]).unwrap();
    let output = server.cli("reload", &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(login(&server, 3, &after).is_ok() && login(&server, 4, &before).is_err());
    session.send("m1", UserId::new(8).unwrap(), b"over the old one").unwrap();

    // And a stop says goodbye through TLS as it does without.
    server.signal(Signal::TERM);
    let mut kinds = Vec::new();
    while let Some(got) = session.next(30).expect("a clean end") {
        kinds.push(got.kind());
    }
    assert_eq!(kinds.last(), Some(&Body::Goodbye));
    drop(session);
    server.wait_for_the_end();
}
