//! Tokens of every kind, right and wrong; keys and their files.

use core::time::Duration;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fabric::entropy::{Entropy, OsEntropy};
use proptest::prelude::*;

use super::dev_key::{DEV_KEY_FILE, DevKey};
use super::keys::{CLOCK_LEEWAY_S, MAX_KEYS};
use super::mint::PemPair;
use super::*;

const NOW_MS: u64 = 1_795_330_000_500;
const SECRET: &[u8] = b"a secret of at least 32 bytes, yes";
const HOUR: Duration = Duration::from_secs(3_600);

fn user(id: u64) -> UserId {
    UserId::new(id).expect("not 0")
}

fn hs256() -> Keys {
    let mut keys = Keys::new();
    keys.add(KeyKind::Hs256, None, SECRET).expect("long enough");
    keys
}

fn minter() -> Minter {
    Minter::hs256(SECRET, None).expect("long enough")
}

/// A token of any header and claims, signed with `SECRET`.
fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
    let signature = aws_lc_rs::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn claims(claims: &str) -> Result<Identity, AuthError> {
    hs256().verify(signed(r#"{"alg":"HS256"}"#, claims).as_bytes(), NOW_MS)
}

fn pair(kind: KeyKind) -> (Minter, Keys) {
    let pair = PemPair::generate(kind).expect("randomness");
    let mut keys = Keys::new();
    keys.add(kind, None, pair.public.as_bytes()).expect("its own public key");
    (Minter::from_pem(kind, pair.private.as_bytes(), None).expect("its own private key"), keys)
}

#[test]
fn a_minted_token_verifies_until_it_ends() {
    let (ed, ed_keys) = pair(KeyKind::EdDsa);
    let (es, es_keys) = pair(KeyKind::Es256);
    for (minter, keys) in [(minter(), hs256()), (ed, ed_keys), (es, es_keys)] {
        let token = minter.mint(user(u64::MAX), DeviceId(7), NOW_MS, HOUR).expect("minted");
        let expires_ms = NOW_MS + 3_600_500;
        let identity = Identity {
            expires_ms: Some(expires_ms),
            issued_s: Some(NOW_MS / 1_000),
            ..Identity::of(user(u64::MAX), DeviceId(7))
        };
        assert_eq!(keys.verify(token.as_bytes(), NOW_MS), Ok(identity));
        assert_eq!(keys.verify(token.as_bytes(), expires_ms - 1), Ok(identity));
        assert_eq!(keys.verify(token.as_bytes(), expires_ms), Err(AuthError::Expired));
        assert_eq!(Keys::new().verify(token.as_bytes(), NOW_MS), Err(AuthError::NoKey));
    }
}

#[test]
fn a_minted_token_names_what_is_demanded_and_who_may_operate() {
    let mut keys = hs256();
    keys.require(Requirements { audiences: vec!["chat".to_owned()], issuers: vec!["id".to_owned()] });
    let verify = |minter: Minter| {
        let token = minter.mint(user(1), DeviceId(2), NOW_MS, HOUR).expect("minted");
        keys.verify(token.as_bytes(), NOW_MS).map(|identity| identity.admin)
    };
    let naming = |aud: &str, iss: &str| minter().naming(Some(aud.to_owned()), Some(iss.to_owned()));
    assert_eq!(verify(naming("chat", "id")), Ok(false));
    assert_eq!(verify(naming("chat", "id").for_admins(true)), Ok(true));
    assert_eq!(verify(naming("mail", "id")), Err(AuthError::Audience));
    assert_eq!(verify(naming("chat", "other")), Err(AuthError::Issuer));
    assert_eq!(verify(minter()), Err(AuthError::Audience));
    assert_eq!(AuthError::Audience.code(), ErrorCode::BadToken);
}

#[test]
fn a_token_seen_before_is_still_checked() {
    for kind in [KeyKind::EdDsa, KeyKind::Es256] {
        let (minter, keys) = pair(kind);
        let token = minter.mint(user(9), DeviceId(7), NOW_MS, HOUR).expect("minted");
        let first = keys.verify(token.as_bytes(), NOW_MS);
        assert_eq!(first.map(|identity| identity.user), Ok(user(9)));
        assert_eq!(keys.verify(token.as_bytes(), NOW_MS), first);
        assert_eq!(keys.verify(token.as_bytes(), NOW_MS + 3_600_500), Err(AuthError::Expired));
        let mut changed = token.into_bytes();
        let last = changed.len() - 3;
        changed[last] ^= 1;
        assert!(keys.verify(&changed, NOW_MS).is_err(), "another token");
    }
}

#[test]
fn tokens_of_other_tools_verify() {
    // jwt.io's HS256 example's shape, with our claims and times as floats and a device as a text.
    let identity =
        claims(r#"{"sub":"12","dev":"3","exp":1795330001.5,"nbf":1795330000,"iat":1795330000.25,"aud":"x"}"#);
    let expected = Identity {
        expires_ms: Some(1_795_330_001_000),
        issued_s: Some(1_795_330_000),
        ..Identity::of(user(12), DeviceId(3))
    };
    assert_eq!(identity, Ok(expected));
}

#[test]
fn a_key_verifies_its_own_algorithm_only() {
    let es = PemPair::generate(KeyKind::Es256).expect("randomness");
    let mut keys = Keys::new();
    keys.add(KeyKind::Es256, None, es.public.as_bytes()).expect("a public key");
    // The classic confusion: the public key's text used as an HMAC secret.
    let forged = Minter::hs256(es.public.as_bytes(), None).expect("long enough");
    let forged = forged.mint(user(1), DeviceId(1), NOW_MS, HOUR).expect("minted");
    assert_eq!(keys.verify(forged.as_bytes(), NOW_MS), Err(AuthError::NoKey));
    keys.add(KeyKind::Hs256, None, SECRET).expect("a secret");
    assert_eq!(keys.verify(forged.as_bytes(), NOW_MS), Err(AuthError::Signature));
    for header in
        [r#"{"alg":"none"}"#, r#"{"alg":"None"}"#, "{}", r#"{"alg":"HS256","crit":["x"]}"#, r#"{"alg":1}"#, "x"]
    {
        let token = signed(header, r#"{"sub":"1","dev":1,"exp":1795340000}"#);
        assert_eq!(hs256().verify(token.as_bytes(), NOW_MS), Err(AuthError::Malformed), "{header}");
        let unsigned = format!("{}.", token.rsplit_once('.').expect("three parts").0);
        assert_eq!(hs256().verify(unsigned.as_bytes(), NOW_MS), Err(AuthError::Malformed), "{header}");
    }
    for alg in ["HS384", "HS512", "ES256", "EdDSA", "RS256", "PS256"] {
        let token = signed(&format!(r#"{{"alg":"{alg}"}}"#), r#"{"sub":"1","dev":1,"exp":1795340000}"#);
        assert_eq!(hs256().verify(token.as_bytes(), NOW_MS), Err(AuthError::NoKey), "{alg}");
    }
}

#[test]
fn several_keys_hold_at_once_and_a_key_id_picks_one() {
    let (old, new) = ([1u8; 32], [2u8; 32]);
    let mut keys = Keys::new();
    keys.add(KeyKind::Hs256, None, &old).expect("a secret");
    keys.add(KeyKind::Hs256, None, &new).expect("a secret");
    keys.add(KeyKind::Hs256, Some("k3".to_owned()), SECRET).expect("a secret");
    let mint = |secret: &[u8], id: Option<&str>| {
        let minter = Minter::hs256(secret, id.map(str::to_owned)).expect("long enough");
        minter.mint(user(1), DeviceId(0), NOW_MS, HOUR).expect("minted")
    };
    for (token, result) in [
        (mint(&old, None), None),
        (mint(&new, None), None),
        (mint(&new, Some("of another's book")), None),
        (mint(SECRET, Some("k3")), None),
        (mint(SECRET, None), Some(AuthError::Signature)),
        (mint(&old, Some("k3")), Some(AuthError::Signature)),
    ] {
        assert_eq!(keys.verify(token.as_bytes(), NOW_MS).err(), result);
    }
}

#[test]
fn what_a_client_is_told() {
    let code = |token: &[u8]| hs256().verify(token, NOW_MS).map_err(AuthError::code);
    assert_eq!(code(b""), Err(ErrorCode::Unauthenticated));
    assert_eq!(code(b"no token"), Err(ErrorCode::BadToken));
    assert_eq!(code(b"\xff.\xfe.\x00"), Err(ErrorCode::BadToken));
    assert_eq!(hs256().verify(&[b'x'; schema::limits::TOKEN_BYTES + 1], NOW_MS), Err(AuthError::TooLong));
    assert_eq!(AuthError::TooLong.code(), ErrorCode::BadToken);
    assert_eq!(claims(r#"{"sub":"1","dev":1,"exp":1}"#).map_err(AuthError::code), Err(ErrorCode::TokenExpired));
    assert_eq!(claims(r#"{"sub":"0","dev":1,"exp":1795340000}"#).map_err(AuthError::code), Err(ErrorCode::InvalidUser));
}

#[test]
fn claims_have_their_types() {
    let e = r#""exp":1795340000"#;
    for (text, error) in [
        (r#"{"sub":"1","dev":1}"#.to_owned(), AuthError::Claim("exp")),
        (r#"{"sub":"1","dev":1,"exp":"1795340000"}"#.to_owned(), AuthError::Claim("exp")),
        (r#"{"sub":"1","dev":1,"exp":-1}"#.to_owned(), AuthError::Claim("exp")),
        (r#"{"sub":"1","dev":1,"exp":null}"#.to_owned(), AuthError::Claim("exp")),
        (format!(r#"{{"dev":1,{e}}}"#), AuthError::Claim("sub")),
        (format!(r#"{{"sub":1,"dev":1,{e}}}"#), AuthError::InvalidUser),
        (format!(r#"{{"sub":"","dev":1,{e}}}"#), AuthError::InvalidUser),
        (format!(r#"{{"sub":"alice","dev":1,{e}}}"#), AuthError::InvalidUser),
        (format!(r#"{{"sub":"18446744073709551616","dev":1,{e}}}"#), AuthError::InvalidUser),
        (format!(r#"{{"sub":"1",{e}}}"#), AuthError::Claim("dev")),
        (format!(r#"{{"sub":"1","dev":4294967296,{e}}}"#), AuthError::Claim("dev")),
        (format!(r#"{{"sub":"1","dev":-1,{e}}}"#), AuthError::Claim("dev")),
        (format!(r#"{{"sub":"1","dev":"x",{e}}}"#), AuthError::Claim("dev")),
        (format!(r#"{{"sub":"1","dev":1,"nbf":"soon",{e}}}"#), AuthError::Claim("nbf")),
        ("[]".to_owned(), AuthError::Malformed),
        ("{".to_owned(), AuthError::Malformed),
    ] {
        assert_eq!(claims(&text), Err(error), "{text}");
    }
}

#[test]
fn a_token_from_the_future_waits_for_its_time() {
    let at = |name: &str, ahead: u64| {
        let from = NOW_MS / 1_000 + ahead;
        claims(&format!(r#"{{"sub":"1","dev":1,"exp":1795340000,"{name}":{from}}}"#)).err()
    };
    for name in ["nbf", "iat"] {
        assert_eq!(at(name, CLOCK_LEEWAY_S), None);
        assert_eq!(at(name, CLOCK_LEEWAY_S + 1), Some(AuthError::NotYetValid));
    }
    assert_eq!(claims(r#"{"sub":"1","dev":1,"exp":1e300}"#).map(|identity| identity.expires_ms), Ok(Some(u64::MAX)));
}

#[test]
fn keys_come_from_files_and_errors_name_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let ed = PemPair::generate(KeyKind::EdDsa).expect("randomness");
    let es = PemPair::generate(KeyKind::Es256).expect("randomness");
    let config = |kind, file| KeyConfig { kind, file, id: None };
    let keys = Keys::from_files(&[
        config(KeyKind::Hs256, write("secret", &[SECRET, b"\r\n"].concat())),
        config(KeyKind::EdDsa, write("ed.pem", ed.public.as_bytes())),
        config(KeyKind::Es256, write("es.pem", es.public.as_bytes())),
    ])
    .expect("three keys");
    assert_eq!(keys.len(), 3);
    let ed_minter = Minter::from_pem(KeyKind::EdDsa, ed.private.as_bytes(), None).expect("a private key");
    for minter in [&minter(), &ed_minter] {
        let token = minter.mint(user(1), DeviceId(1), NOW_MS, HOUR).expect("minted");
        assert!(keys.verify(token.as_bytes(), NOW_MS).is_ok());
    }
    for (kind, bytes) in [
        (KeyKind::Hs256, &b"a short secret"[..]),
        (KeyKind::EdDsa, es.public.as_bytes()),
        (KeyKind::Es256, ed.public.as_bytes()),
        (KeyKind::Es256, es.private.as_bytes()),
        (KeyKind::EdDsa, b"rubbish"),
        (KeyKind::Es256, b"\xff"),
    ] {
        let error = Keys::from_files(&[config(kind, write("wrong", bytes))]).expect_err("refused").to_string();
        assert!(error.contains("wrong: expected "), "{error}");
        assert!(!error.contains("short secret"));
    }
    let error = Keys::from_files(&[config(KeyKind::Hs256, folder.path().join("absent"))]).expect_err("refused");
    assert!(error.to_string().contains("absent"), "{error}");
    let big = write("big", &[b'x'; 64 * 1024 + 1]);
    assert!(matches!(Keys::from_files(&[config(KeyKind::Hs256, big)]), Err(KeyError::Io { .. })));
    let many: Vec<_> = (0..=MAX_KEYS).map(|_| config(KeyKind::Hs256, folder.path().join("secret"))).collect();
    assert!(matches!(Keys::from_files(&many), Err(KeyError::TooMany)));
}

#[test]
fn keys_made_by_openssl_are_taken() {
    // openssl genpkey -algorithm ed25519 (RFC 8410's example): a private key without its public half.
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let mut keys = Keys::new();
    keys.add(KeyKind::EdDsa, None, public.as_bytes()).expect("a public key");
    let minter = Minter::from_pem(KeyKind::EdDsa, private.as_bytes(), None).expect("a private key");
    let token = minter.mint(user(1), DeviceId(1), NOW_MS, HOUR).expect("minted");
    assert!(keys.verify(token.as_bytes(), NOW_MS).is_ok());
    assert_eq!(Minter::from_pem(KeyKind::Es256, private.as_bytes(), None).err(), Some(MintError::PrivateKey("ES256")));
    assert_eq!(Minter::hs256(b"short", None).err(), Some(MintError::ShortSecret));
}

#[test]
fn the_development_key_is_made_once_and_is_its_owners() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let keys: Vec<DevKey> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| DevKey::open_or_create(&data, &mut OsEntropy).expect("a key"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(keys[0].secret() != [0; 32]);
    let names: Vec<_> =
        fs::read_dir(&data).expect("the folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, [DEV_KEY_FILE]);
    let mode = fs::metadata(data.join(DEV_KEY_FILE)).expect("the key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(format!("{:?}", keys[0]), "DevKey");
}

#[test]
fn a_development_key_that_is_cut_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    for bytes in [&[1u8; 31][..], &[1; 33]] {
        fs::write(folder.path().join(DEV_KEY_FILE), bytes).expect("written");
        let error = DevKey::open_or_create(folder.path(), &mut OsEntropy).expect_err("refused");
        assert!(matches!(error, KeyError::Invalid { .. }));
    }
}

#[test]
fn a_development_key_that_cannot_be_written_is_an_error_with_its_path() {
    struct Zero;
    impl Entropy for Zero {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(0);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, b"").expect("written");
    let error = DevKey::open_or_create(&file, &mut Zero).expect_err("not a folder");
    assert!(error.to_string().contains("file/dev-key"), "{error}");
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?} {:?} {:?}", hs256(), minter(), PemPair::generate(KeyKind::EdDsa));
    assert!(!shown.contains("secret") && !shown.contains("BEGIN") && !shown.contains("97, 32"), "{shown}");
}

proptest! {
    #[test]
    fn any_bytes_are_refused(token in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(hs256().verify(&token, NOW_MS).is_err());
    }

    #[test]
    fn a_changed_token_is_refused(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut token = minter().mint(user(5), DeviceId(6), NOW_MS, HOUR).expect("minted").into_bytes();
        let at = at.index(token.len());
        prop_assume!(token[at] != byte);
        token[at] = byte;
        prop_assert!(hs256().verify(&token, NOW_MS).is_err());
    }
}
