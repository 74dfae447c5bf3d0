//! Files that cannot be used, and what is said of each.

use super::*;

fn error(authority: &Authority, certificate: &str, key: &str) -> String {
    authority.load(certificate, key).unwrap_err().to_string()
}

fn says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn files_that_are_not_there_empty_or_no_pem_are_named() {
    let authority = Authority::new();
    authority.issue("server", |_| {});
    std::fs::write(authority.path("empty"), "").unwrap();
    std::fs::write(authority.path("text"), "hello").unwrap();
    std::fs::write(authority.path("cut"), "-----BEGIN CERTIFICATE-----\nMIIB\n").unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    std::fs::write(authority.path("broken"), broken).unwrap();
    let cut_key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n";
    std::fs::write(authority.path("cut.key"), cut_key).unwrap();
    let no_key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    std::fs::write(authority.path("no.key"), no_key).unwrap();
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(authority.path("locked.key"), locked).unwrap();

    says(&error(&authority, "nowhere", "server.key"), &["certificate file", "nowhere", "cannot be read"]);
    says(&error(&authority, "server.pem", "nowhere"), &["key file", "nowhere", "cannot be read"]);
    for file in ["empty", "text", "server.key"] {
        says(&error(&authority, file, "server.key"), &[file, "holds no certificate", "BEGIN CERTIFICATE"]);
    }
    says(&error(&authority, "cut", "server.key"), &["cut", "not valid PEM"]);
    says(&error(&authority, "broken", "server.key"), &["certificate 1 in", "broken"]);
    for file in ["empty", "server.pem", "locked.key"] {
        says(&error(&authority, "server.pem", file), &[file, "holds no private key", "passphrase"]);
    }
    says(&error(&authority, "server.pem", "cut.key"), &["cut.key", "not valid PEM"]);
    says(&error(&authority, "server.pem", "no.key"), &["no.key", "cannot be used", "Ed25519"]);
    for (certificate, key) in [("server.pem", "cut.key"), ("server.pem", "no.key"), ("server.pem", "locked.key")] {
        assert!(!error(&authority, certificate, key).contains("c2Vjcm"), "a key's content is not for errors");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let authority = Authority::new();
    authority.issue("one", |_| {});
    authority.issue("two", |_| {});
    says(&error(&authority, "one.pem", "two.key"), &["two.key does not belong", "one.pem"]);
    // The first of the chain is the server's.
    let chain = ["ca.pem", "one.pem"].map(|name| std::fs::read_to_string(authority.path(name)).unwrap()).concat();
    std::fs::write(authority.path("wrong-order"), chain).unwrap();
    says(&error(&authority, "wrong-order", "one.key"), &["one.key does not belong to the first certificate"]);
}

#[test]
fn certificates_out_of_their_time_are_refused_with_the_time() {
    let authority = Authority::new();
    authority.issue("old", |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 3);
    });
    authority.issue("new", |params| {
        params.not_before = rcgen::date_time_ymd(2123, 4, 5);
        params.not_after = rcgen::date_time_ymd(2124, 1, 1);
    });
    says(&error(&authority, "old.pem", "old.key"), &["old.pem expired at", "3 Feb 2020"]);
    says(&error(&authority, "new.pem", "new.key"), &["new.pem is not valid before", "5 Apr 2123", "clock"]);
    authority.issue("good", |params| params.not_after = rcgen::date_time_ymd(2100, 1, 1));
    assert_eq!(authority.load("good.pem", "good.key").unwrap().expires_s(), 4_102_444_800);
}

#[test]
fn keys_of_every_common_form_are_taken() {
    let authority = Authority::new();
    for (name, algorithm) in [
        ("p256", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("p384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("ed25519", &rcgen::PKCS_ED25519),
    ] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let pem = params.signed_by(&key, &authority.issuer).unwrap().pem();
        std::fs::write(authority.path(name), pem + &key.serialize_pem()).unwrap();
        let server = Server::new(authority.load(name, name).unwrap()).unwrap();
        shaken(&authority.client(false), &server);
    }
}

#[test]
fn who_is_trusted_is_checked_when_the_client_is_made() {
    let authority = Authority::new();
    std::fs::write(authority.path("empty"), "").unwrap();
    std::fs::write(authority.path("broken"), "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n").unwrap();
    for (file, what) in [("nowhere", "cannot be read"), ("empty", "holds no certificate"), ("broken", "not valid")] {
        let error = Client::new(&Trust::File(authority.path(file)), Protocol::Native, false).unwrap_err().to_string();
        says(&error, &[file, what]);
    }
    for name in ["localhost", "127.0.0.1", "::1", "[::1]", "chat.example"] {
        assert!(Client::name(name).is_ok(), "{name}");
    }
    for name in ["", "a b", "localhost:7400"] {
        says(&Client::name(name).unwrap_err().to_string(), &[name, "neither"]);
    }
}
