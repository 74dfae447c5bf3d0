//! An account log's state, one rule at a time.

use schema::encode::ChatSettings;
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId, MessageId};
use schema::limits::{
    APP_SETTINGS_BYTES, APP_SETTINGS_MAX, CHAT_SETTINGS_MAX, DEVICE_NAME_BYTES, DEVICES_MAX, FRAME_LIMIT_BYTES,
    HIDDEN_MAX, SETTING_VALUE_BYTES,
};

use super::*;

const CHAT: ChatId = ChatId([1; 16]);
const ME: DeviceId = DeviceId(1);

fn setting(key: &str, subject: Option<ChatId>, value: &str) -> AccountChange {
    AccountChange::Setting { key: key.into(), subject, value: value.into() }
}

fn make(state: &mut AccountState, change: &AccountChange) -> Result<(), ErrorCode> {
    state.judge(change, ME)?;
    state.apply(7, change);
    Ok(())
}

fn message(id: u32) -> MessageId {
    let mut bytes = [0x80; 16];
    bytes[..4].copy_from_slice(&id.to_be_bytes());
    MessageId(bytes)
}

#[test]
fn settings_are_known_ones_with_known_values() {
    let state = AccountState::default();
    for (key, subject, value) in [
        ("read_receipts", None, "yes"),
        ("read_receipts", Some(CHAT), "on"),
        ("pinned", None, "on"),
        ("pinned", Some(CHAT), "1"),
        ("muted_until", Some(CHAT), "+5"),
        ("muted_until", Some(CHAT), "18446744073709551616"),
        ("app.", None, "x"),
        ("app.theme", Some(CHAT), "x"),
        ("theme", None, "x"),
    ] {
        assert_eq!(state.judge(&setting(key, subject, value), ME), Err(ErrorCode::InvalidSetting), "{key} {value}");
    }
}

#[test]
fn what_is_the_default_again_is_kept_nowhere() {
    let mut state = AccountState::default();
    make(&mut state, &setting("archived", Some(CHAT), "on")).unwrap();
    make(&mut state, &setting("muted_until", Some(CHAT), "18446744073709551615")).unwrap();
    assert_eq!(state.chat(CHAT), ChatSettings { pinned: false, archived: true, muted_until_ms: u64::MAX });
    make(&mut state, &setting("read_receipts", None, "off")).unwrap();
    make(&mut state, &setting("app.theme", None, "dark")).unwrap();
    assert!(state.facts().read_receipts_off);
    for (key, subject) in
        [("archived", Some(CHAT)), ("muted_until", Some(CHAT)), ("read_receipts", None), ("app.theme", None)]
    {
        make(&mut state, &setting(key, subject, "")).unwrap();
    }
    assert_eq!(state, AccountState::default());
}

#[test]
fn a_message_is_hidden_once_and_a_device_does_not_revoke_itself() {
    let mut state = AccountState::default();
    let hidden = AccountChange::Hidden { subject: CHAT, message: message(1) };
    make(&mut state, &hidden).unwrap();
    assert_eq!(make(&mut state, &hidden), Err(ErrorCode::NoChange));
    assert_eq!(make(&mut state, &AccountChange::Revoked { device: ME }), Err(ErrorCode::Forbidden));
    make(&mut state, &AccountChange::Device { device: ME, name: b"phone".to_vec() }).unwrap();
    assert_eq!(state.facts().revoked, [], "a name revokes nothing");
    state.apply(90, &AccountChange::Revoked { device: DeviceId(2) });
    state.apply(80, &AccountChange::Revoked { device: DeviceId(2) });
    assert_eq!(state.facts().revoked, [(DeviceId(2), 90)], "the later one counts");
}

#[test]
fn an_account_that_is_full_still_takes_what_adds_nothing_and_its_answer_fits_a_frame() {
    let mut state = AccountState::default();
    let long = "x".repeat(SETTING_VALUE_BYTES);
    let mut kept = 0;
    while make(&mut state, &setting(&format!("app.{kept:060}"), None, &long)).is_ok() {
        kept += 1;
    }
    assert_eq!(kept, APP_SETTINGS_BYTES / (64 + SETTING_VALUE_BYTES));
    make(&mut state, &setting(&format!("app.{:060}", 0), None, "")).unwrap();
    for n in kept..APP_SETTINGS_MAX {
        let _ = make(&mut state, &setting(&format!("app.{n}"), None, "x"));
    }
    assert_eq!(make(&mut state, &setting("app.more", None, &long)), Err(ErrorCode::AccountFull));
    assert_eq!(make(&mut state, &setting("app.100", None, "y")), Ok(()), "takes the place of what it was");
    for n in 0..DEVICES_MAX as u32 {
        let name = vec![b'n'; DEVICE_NAME_BYTES];
        make(&mut state, &AccountChange::Device { device: DeviceId(n), name }).unwrap();
    }
    assert_eq!(make(&mut state, &AccountChange::Revoked { device: DeviceId(999) }), Err(ErrorCode::AccountFull));
    make(&mut state, &AccountChange::Revoked { device: DeviceId(9) }).unwrap();
    for n in 0..HIDDEN_MAX as u32 {
        make(&mut state, &AccountChange::Hidden { subject: CHAT, message: message(n) }).unwrap();
    }
    let more = AccountChange::Hidden { subject: CHAT, message: message(1 << 20) };
    assert_eq!(make(&mut state, &more), Err(ErrorCode::AccountFull));
    let frame = state.frame(&mut Encoder::new(), 1, Some(CHAT));
    assert!(frame.len() <= FRAME_LIMIT_BYTES, "{} bytes", frame.len());
}

#[test]
fn only_so_many_chats_have_settings() {
    let mut state = AccountState::default();
    let chat = |n: u32| ChatId(message(n).0);
    for n in 0..CHAT_SETTINGS_MAX as u32 {
        make(&mut state, &setting("pinned", Some(chat(n)), "on")).unwrap();
    }
    let one_more = chat(CHAT_SETTINGS_MAX as u32);
    assert_eq!(make(&mut state, &setting("pinned", Some(one_more), "on")), Err(ErrorCode::AccountFull));
    assert_eq!(make(&mut state, &setting("pinned", Some(one_more), "off")), Ok(()), "as it is");
    make(&mut state, &setting("archived", Some(chat(3)), "on")).unwrap();
    make(&mut state, &setting("pinned", Some(chat(4)), "")).unwrap();
    make(&mut state, &setting("pinned", Some(one_more), "on")).unwrap();
}

#[test]
fn what_was_ordered_counts_at_once_and_is_forgotten_with_its_block() {
    let mut account = Account::default();
    let hidden = AccountChange::Hidden { subject: CHAT, message: message(1) };
    account.order(1, 5, hidden.clone());
    assert_eq!(account.current().judge(&hidden, ME), Err(ErrorCode::NoChange));
    assert_eq!(account.state, AccountState::default());
    account.forget();
    assert_eq!(account.current().judge(&hidden, ME), Ok(()));
    account.order(1, 5, hidden.clone());
    account.settle(1);
    assert_eq!(account.state.judge(&hidden, ME), Err(ErrorCode::NoChange));
}
