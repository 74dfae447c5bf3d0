//! Sessions that end because of who they are: the token's time is up, an operator revoked a device or a user.

use schema::errors::ErrorCode;
use schema::ids::UserId;
use schema::wire::Body;
use shardwire_tests::process::{Deadline, Native, Options, Server};

/// Why a session ended.
fn farewell(session: &mut Native) -> Option<ErrorCode> {
    loop {
        let got = session.next(30).expect("a clean end")?;
        if got.kind() == Body::Goodbye {
            return ErrorCode::from_code(got.code()?);
        }
    }
}

/// Why a token is not let in; `None` when it is.
fn refused(server: &Server, token: &str) -> Option<ErrorCode> {
    let mut native = Native::connect(server.native()).unwrap();
    let hello = native.encoder.hello(token.as_bytes(), b"shardwire-tests", 0);
    native.write(&hello).unwrap();
    let got = native.next(30).unwrap().expect("an answer");
    (got.kind() == Body::Goodbye).then(|| ErrorCode::from_code(got.code().unwrap()).unwrap())
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_session_ends_when_its_token_does() {
    let server = Server::start(Options::default());
    let output = server.cli("token", &words("--user 7 --device 1 --ttl 6s"));
    let token = String::from_utf8(output.stdout).unwrap();
    let mut stays = Native::login(server.native(), &server.token(8, 1)).unwrap();
    let mut session = Native::login(server.native(), token.trim_end()).unwrap();
    session.send("m1", UserId::new(8).unwrap(), b"in time").unwrap();
    assert_eq!(farewell(&mut session), Some(ErrorCode::TokenExpired));
    assert_eq!(refused(&server, token.trim_end()), Some(ErrorCode::TokenExpired));
    stays.send("m2", UserId::new(7).unwrap(), b"still here").unwrap();
    assert_eq!(server.metric("gateway_sessions_expired_total"), 1);
}

#[test]
fn a_revoked_device_is_out_at_once_and_stays_out_over_a_restart() {
    let mut server = Server::start(Options::default());
    let tokens = [(7, 1), (7, 2), (8, 1)].map(|(user, device)| server.token(user, device));
    let mut sessions = tokens.each_ref().map(|token| Native::login(server.native(), token).unwrap());
    let output = server.cli("revoke", &words("--user 7 --device 1"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains("user 7, device 1"), "{output:?}");
    assert_eq!(farewell(&mut sessions[0]), Some(ErrorCode::TokenRevoked));
    assert_eq!(refused(&server, &tokens[0]), Some(ErrorCode::TokenRevoked));
    for (session, to) in sessions[1..].iter_mut().zip([8, 7]) {
        session.send("m", UserId::new(to).unwrap(), b"still here").unwrap();
    }
    // A token of a later second is a new one.
    let anew = || refused(&server, &server.token(7, 1)).is_none();
    assert!(Deadline::after_s(10).wait_until(anew), "{}", server.log());

    assert!(server.cli("revoke", &words("--user 7")).status.success());
    assert_eq!(farewell(&mut sessions[1]), Some(ErrorCode::TokenRevoked));
    sessions[2].send("m2", UserId::new(9).unwrap(), b"still here").unwrap();
    assert_eq!(server.metric("gateway_sessions_revoked_total"), 2);
    server.kill9();
    server.start_again();
    assert_eq!(
        tokens.each_ref().map(|token| refused(&server, token)),
        [Some(ErrorCode::TokenRevoked), Some(ErrorCode::TokenRevoked), None]
    );
    let status = String::from_utf8_lossy(&server.cli("status", &[]).stdout).into_owned();
    assert!(status.contains("revoked: user 7, every device") && !status.contains("user 7, device 1"), "{status}");
    let unknown = server.cli("revoke", &words("--user 0"));
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("1 to"), "{unknown:?}");
}
