//! Audience, issuer and operators' tokens.

use serde_json::json;

use super::*;

fn read(claims: Value, audiences: &[&str], issuers: &[&str]) -> Result<Verified, AuthError> {
    let mut all = json!({"sub": "7", "dev": 1, "exp": 2_000});
    let (all_claims, more) = (all.as_object_mut().expect("an object"), claims.as_object().expect("an object"));
    all_claims.extend(more.clone());
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let requirements = Requirements { audiences: owned(audiences), issuers: owned(issuers) };
    serde_json::from_value::<Claims>(all).expect("claims").read(&requirements)
}

#[test]
fn an_audience_that_is_demanded_must_be_named() {
    for (aud, result) in [
        (json!({}), Some(AuthError::Audience)),
        (json!({"aud": "chat"}), None),
        (json!({"aud": ["mail", "chat-eu"]}), None),
        (json!({"aud": "mail"}), Some(AuthError::Audience)),
        (json!({"aud": []}), Some(AuthError::Audience)),
        (json!({"aud": ["Chat", 7, null]}), Some(AuthError::Audience)),
        (json!({"aud": 7}), Some(AuthError::Claim("aud"))),
    ] {
        assert_eq!(read(aud.clone(), &["chat", "chat-eu"], &[]).err(), result, "{aud}");
        assert_eq!(read(aud, &[], &[]).err(), None, "nothing is demanded");
    }
}

#[test]
fn an_issuer_that_is_demanded_must_be_named() {
    for (iss, result) in [
        (json!({}), Some(AuthError::Issuer)),
        (json!({"iss": "https://id.example"}), None),
        (json!({"iss": "https://id.example/"}), Some(AuthError::Issuer)),
        (json!({"iss": ["https://id.example"]}), Some(AuthError::Claim("iss"))),
    ] {
        assert_eq!(read(iss.clone(), &[], &["https://id.example"]).err(), result, "{iss}");
        assert_eq!(read(iss, &[], &[]).err(), None, "nothing is demanded");
    }
}

#[test]
fn an_operator_is_one_whose_token_says_true() {
    assert_eq!(read(json!({}), &[], &[]).map(|verified| verified.admin), Ok(false));
    assert_eq!(read(json!({"adm": false}), &[], &[]).map(|verified| verified.admin), Ok(false));
    assert_eq!(read(json!({"adm": true}), &[], &[]).map(|verified| verified.admin), Ok(true));
    for wrong in [json!({"adm": "true"}), json!({"adm": 1}), json!({"adm": [true]})] {
        assert_eq!(read(wrong, &[], &[]), Err(AuthError::Claim("adm")));
    }
    let issued = read(json!({"iat": 1_000.9}), &[], &[]).map(|verified| (verified.issued_s, verified.from_s));
    assert_eq!(issued, Ok((Some(1_000), 970)));
}
