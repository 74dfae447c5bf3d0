//! Sets of keys: rotation by key id, sets of other tools, sets that are refused whole.

use core::time::Duration;

use proptest::prelude::*;
use schema::ids::{DeviceId, UserId};

use super::*;
use crate::auth::mint::PemPair;
use crate::auth::{AuthError, KeyError, Keys, Minter, TokenVerifier as _};

const NOW_MS: u64 = 1_795_330_000_500;
const RSA_PRIVATE: &str = include_str!("../../../tests/keys/rsa.pem");
const RSA_PUBLIC: &str = include_str!("../../../tests/keys/rsa.pub.pem");
const RSA_SHORT: &str = include_str!("../../../tests/keys/rsa-1024.pub.pem");

fn error(text: &str) -> String {
    read(text.as_bytes()).err().unwrap_or_else(|| panic!("{text} is taken"))
}

fn rsa_jwk(kid: &str) -> String {
    let key = rsa::public(RSA_PUBLIC.as_bytes()).expect("a public key");
    let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else { panic!("an RSA key") };
    let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
    format!(r#"{{"kty":"RSA","alg":"RS256","use":"sig","kid":"{kid}","n":"{n}","e":"{e}"}}"#)
}

fn keys(jwks: &[String]) -> Result<Keys, KeyError> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, format!(r#"{{"keys":[{}]}}"#, jwks.join(","))).expect("written");
    let mut keys = Keys::new();
    keys.add_jwks_file(&file).map(|()| keys)
}

fn verified(keys: &Keys, kind: KeyKind, private: &str, kid: Option<&str>) -> Option<AuthError> {
    let minter = Minter::from_pem(kind, private.as_bytes(), kid.map(str::to_owned)).expect("a private key");
    let token = minter.mint(UserId::new(7).expect("not 0"), DeviceId(1), NOW_MS, Duration::from_secs(60));
    keys.verify(token.expect("minted").as_bytes(), NOW_MS).err()
}

#[test]
fn one_key_follows_the_other_by_its_key_id() {
    let [old, new, ed] = [KeyKind::Es256, KeyKind::Es256, KeyKind::EdDsa].map(|kind| PemPair::generate(kind).unwrap());
    let before = keys(&[old.jwk("2025")]).unwrap();
    let both = keys(&[old.jwk("2025"), new.jwk("2026"), ed.jwk("2026"), rsa_jwk("rsa")]).unwrap();
    let after = keys(&[new.jwk("2026")]).unwrap();
    let es256 = |keys, pair: &PemPair, kid| verified(keys, KeyKind::Es256, &pair.private, Some(kid));
    assert_eq!(es256(&before, &old, "2025"), None);
    assert_eq!(es256(&before, &new, "2026"), Some(AuthError::NoKey), "not announced yet");
    assert_eq!(es256(&both, &old, "2025"), None);
    assert_eq!(es256(&both, &new, "2026"), None);
    assert_eq!(es256(&both, &new, "2025"), Some(AuthError::Signature), "a key under another's id");
    assert_eq!(es256(&after, &old, "2025"), Some(AuthError::NoKey), "no longer trusted");
    assert_eq!(es256(&after, &new, "2026"), None);
    assert_eq!(verified(&both, KeyKind::EdDsa, &ed.private, Some("2026")), None, "same id, other algorithm");
    assert_eq!(verified(&both, KeyKind::Rs256, RSA_PRIVATE, Some("rsa")), None);
    assert_eq!(verified(&both, KeyKind::Rs256, RSA_PRIVATE, None), Some(AuthError::NoKey), "its tokens name it");
    assert_eq!(both.names(), [r#"ES256 "2025""#, r#"ES256 "2026""#, r#"EdDSA "2026""#, r#"RS256 "rsa""#]);
}

#[test]
fn rsa_keys_come_from_pem_too() {
    let mut keys = Keys::new();
    keys.add(KeyKind::Rs256, None, RSA_PUBLIC.as_bytes()).unwrap();
    assert_eq!(verified(&keys, KeyKind::Rs256, RSA_PRIVATE, None), None);
    let es = PemPair::generate(KeyKind::Es256).unwrap();
    let cut = RSA_PUBLIC.replacen("MII", "MIA", 1);
    let wrong =
        [RSA_SHORT, RSA_PRIVATE, &es.public, &cut, "", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"];
    for wrong in wrong {
        let error = keys.add(KeyKind::Rs256, None, wrong.as_bytes()).expect_err(wrong).to_string();
        assert!(error.contains("2048 to 8192 bits"), "{error}");
    }
    assert_eq!(
        Minter::from_pem(KeyKind::Rs256, es.private.as_bytes(), None).err().map(|e| e.to_string()).as_deref(),
        Some("not a RS256 private key in PEM (PKCS#8, BEGIN PRIVATE KEY)")
    );
}

#[test]
fn keys_of_other_uses_are_left_alone_but_not_all_of_them() {
    let foreign = [
        r#"{"kty":"RSA","use":"enc","n":"AQ","e":"AQ"}"#,
        r#"{"kty":"RSA","alg":"PS512","n":"AQ","e":"AQ"}"#,
        r#"{"kty":"EC","crv":"P-384","x":"AQ","y":"AQ"}"#,
        r#"{"kty":"OKP","crv":"X25519","x":"AQ"}"#,
        r#"{"kty":"oct","key_ops":["encrypt"],"k":"AQ"}"#,
        r#"{"kty":"LWE","kid":"tomorrow"}"#,
    ];
    let set = |more: &str| format!(r#"{{"keys":[{}{more}],"issued":"by another tool"}}"#, foreign.join(","));
    assert!(error(&set("")).contains("none of its 6 keys is for RS256, ES256, EdDSA (Ed25519) or HS256"));
    assert_eq!(read(set(&format!(",{}", rsa_jwk("a"))).as_bytes()).map(|keys| keys.len()), Ok(1));
}

#[test]
fn a_set_with_one_damaged_key_is_refused_whole_and_the_key_named() {
    let es = PemPair::generate(KeyKind::Es256).unwrap();
    let whole = es.jwk("good");
    let secret = "c2VjcmV0LXNlY3JldA";
    for (damaged, says) in [
        (r#"{"kty":"EC","crv":"P-256","kid":"new","x":"AAAA"}"#, "key 2 (\"new\"): a part of it is missing"),
        (r#"{"kty":"EC","crv":"P-256","kid":"new","x":"AAAA","y":"AAAA"}"#, "32 bytes each on P-256"),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#, "key 2: \"x\" has 32 bytes on Ed25519"),
        (r#"{"kty":"RSA","kid":"new","n":"AQAB","e":"AQAB"}"#, "no RSA public key of 2048 to 8192 bits"),
        (r#"{"kty":"RSA","kid":"new","n":"+/==","e":"AQAB"}"#, "not base64url"),
        (r#"{"kty":"RSA","kid":"new","n":"AQAB","e":"AQAB","d":"c2VjcmV0LXNlY3JldA"}"#, "a private key"),
        (r#"{"kty":"oct","kid":"new","k":"c2VjcmV0LXNlY3JldA"}"#, "a secret of at least 32 bytes"),
        (r#"{"kty":"oct","kid":7,"k":"c2VjcmV0LXNlY3JldA"}"#, "not a JWKS"),
        (r#"{"kid":"new"}"#, "not a JWKS"),
        (&whole, "another key has this key id and algorithm"),
    ] {
        let error = error(&format!(r#"{{"keys":[{whole},{damaged}]}}"#));
        assert!(error.contains(says) && !error.contains(secret), "{error}");
    }
    for text in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[]}"#, "-----BEGIN PUBLIC KEY-----", "\u{0}"] {
        assert!(read(text.as_bytes()).is_err(), "{text}");
    }
    let error = keys(&[whole.clone(), whole]).expect_err("twice the same").to_string();
    assert!(error.contains("jwks.json: key 2 (\"good\")"), "{error}");
}

proptest! {
    #[test]
    fn any_file_is_a_set_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
        let body = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        prop_assert!(rsa::public(pem.as_bytes()).is_none());
    }

    #[test]
    fn a_set_cut_or_changed_anywhere_is_refused_or_its_keys_are_whole(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut set = format!(r#"{{"keys":[{}]}}"#, rsa_jwk("a")).into_bytes();
        let at = at.index(set.len());
        prop_assert!(read(&set[..at]).is_err());
        set[at] = byte;
        if let Ok(keys) = read(&set) {
            prop_assert_eq!(keys.len(), 1);
        }
    }
}
