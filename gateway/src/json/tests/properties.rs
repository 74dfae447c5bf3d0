//! Whatever comes, and whatever is written reads back.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn any_text_gives_an_event_or_an_error(text in ".{0,200}") {
        let _ = decode(&text);
    }

    #[test]
    fn events_cut_or_garbled_give_an_event_or_an_error(at in 0usize..200, byte in 0u8..128) {
        let text = format!(
            r#"{{"type":"message","chat_id":"{CHAT_TEXT}","content":"a\ud83d\ude00","client_msg_id":"m","retry":true,"x":[{{}}]}}"#
        );
        let at = at % text.len();
        prop_assert!(decode(&text[..at]).is_err());
        let mut bytes = text.into_bytes();
        bytes[at] = byte;
        let _ = decode(str::from_utf8(&bytes).expect("ASCII"));
    }

    #[test]
    fn sends_read_back(content in any::<String>(), id in "\\PC{1,16}", to in 1u64.., retry in any::<bool>()) {
        let text = serde_json::json!({
            "type": "message", "to": to.to_string(), "content": content, "client_msg_id": id, "retry": retry
        }).to_string();
        let Ok(ClientEvent::Send(send)) = decode(&text) else { panic!("not a send") };
        prop_assert_eq!(send.target, Some(SendTarget::User(user(to))));
        prop_assert_eq!(&*send.body, content.as_bytes());
        prop_assert_eq!(&*send.client_msg_id, id.as_bytes());
        prop_assert_eq!(send.retry, retry);
    }

    #[test]
    fn deliveries_read_back(body in proptest::collection::vec(any::<u8>(), 0..100), text in any::<String>(), ms in 0u64..253_402_300_800_000) {
        use base64::Engine;
        for body in [&body[..], text.as_bytes()] {
            let frame = entry(EntryKind::message, body, text.as_bytes(), None);
            let event: serde_json::Value = serde_json::from_str(&json(&ServerEvent::Entry { frame: &frame })).expect("JSON");
            let got = match event["content"].as_str() {
                Some(content) => content.as_bytes().to_vec(),
                None => base64::engine::general_purpose::STANDARD
                    .decode(event["content_base64"].as_str().expect("one of both")).expect("base64"),
            };
            prop_assert_eq!(&got[..], body);
            prop_assert_eq!(event["client_msg_id"].as_str(), Some(&text[..]));
        }
        let mut out = Vec::new();
        super::super::text::time(&mut out, ms);
        prop_assert_eq!(out.len(), 24);
    }

    #[test]
    fn group_changes_read_back(name in "\\PC{1,40}", users in proptest::collection::vec(1u64.., 1..9), admin in any::<bool>()) {
        let texts: Vec<String> = users.iter().map(u64::to_string).collect();
        let text = serde_json::json!({
            "type": "created", "name": name, "users": texts, "client_msg_id": "g"
        }).to_string();
        let Ok(ClientEvent::Send(send)) = decode(&text) else { panic!("not a send") };
        prop_assert_eq!((&*send.body, send.target), (name.as_bytes(), None));
        let role = if admin { "admin" } else { "member" };
        let text = serde_json::json!({
            "type": "role", "chat_id": CHAT_TEXT, "users": texts, "role": role, "client_msg_id": "g"
        }).to_string();
        let Ok(ClientEvent::Send(send)) = decode(&text) else { panic!("not a send") };
        prop_assert_eq!(send.users.iter().map(|user| user.get()).collect::<Vec<_>>(), users);
        prop_assert_eq!(send.role.variant_name(), Some(role));
    }

    #[test]
    fn times_read_back(ms in 0u64..253_402_300_800_000, at in 0usize..24, byte in 32u8..127) {
        let text = crate::json::timestamp(ms);
        prop_assert_eq!(crate::json::read_timestamp(&text), Some(ms));
        let mut altered = text.into_bytes();
        altered[at] = byte;
        let _ = crate::json::read_timestamp(str::from_utf8(&altered).expect("ASCII"));
    }

    #[test]
    fn ids_are_written_as_they_are_displayed(id in any::<[u8; 16]>()) {
        let mut out = Vec::new();
        super::super::text::uuid(&mut out, &id);
        prop_assert_eq!(String::from_utf8(out).expect("text"), ChatId(id).to_string());
    }
}
