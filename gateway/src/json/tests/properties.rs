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
    fn amendments_read_back(
        text in any::<String>(), id in any::<[u8; 16]>(), users in proptest::collection::vec(1u64.., 0..9),
        after_seq in any::<u64>(), forwarded in any::<u8>(), device in any::<u32>(),
    ) {
        let texts: Vec<String> = users.iter().map(u64::to_string).collect();
        let refers_to = MessageId(id).to_string();
        for kind in ["message", "edited"] {
            let event = serde_json::json!({
                "type": kind, "chat_id": CHAT_TEXT, "content": text, "refers_to": refers_to, "mentions": texts,
                "after_seq": after_seq, "forwarded": forwarded, "client_msg_id": "m"
            }).to_string();
            let Ok(ClientEvent::Send(send)) = decode(&event) else { panic!("not a send") };
            prop_assert_eq!((&*send.body, send.refers_to, send.after_seq), (text.as_bytes(), Some(MessageId(id)), after_seq));
            prop_assert_eq!(send.users.iter().map(|user| user.get()).collect::<Vec<_>>(), users.clone());
            // What a client says is what the others are shown.
            let frame = send.frame(&mut Encoder::new());
            let frame = schema::frame::FrameRef::verify(&frame).expect("a frame");
            let send = frame.root().body_as_send().expect("a send");
            prop_assert_eq!(send.users().map_or(0, |users| users.len()), users.len());
            prop_assert_eq!((send.after_seq(), send.body().unwrap().bytes()), (after_seq, text.as_bytes()));
            prop_assert_eq!(send.forwarded(), if kind == "message" { forwarded } else { 0 });
        }
        let event = serde_json::json!({
            "type": "device", "device_id": device, "name": format!("d{text}").chars().take(32).collect::<String>(),
            "client_msg_id": "m"
        }).to_string();
        let Ok(ClientEvent::Send(send)) = decode(&event) else { panic!("not a send") };
        prop_assert_eq!((send.device, send.target), (DeviceId(device), None));
    }

    #[test]
    fn entries_with_extras_read_back(
        body in proptest::collection::vec(any::<u8>(), 0..40), numbers in any::<[u64; 4]>(), kind in any::<u8>(),
        small in any::<(u8, u32, u32)>(), ms in (0u64..253_402_300_800_000, 0u64..253_402_300_800_000),
    ) {
        let users: Vec<UserId> = numbers.iter().filter_map(|id| UserId::new(*id)).collect();
        let (forwarded, ttl_s, device) = small;
        let extras = schema::encode::Extras {
            users: &users, ttl_s, forwarded, subject: Some(CHAT), key: &body, device: DeviceId(device),
            refers_seq: numbers[0], replaces_seq: numbers[1], edited_seq: numbers[2], edited_ms: ms.0, deleted_ms: ms.1,
            ..schema::encode::Extras::default()
        };
        let fields = EntryFields {
            chat: CHAT, message: MESSAGE, seq: 41, sender: user(7), device: DeviceId(2), kind: EntryKind(kind),
            content_type: 0, body: &body, client_msg_id: b"c", refers_to: Some(MESSAGE), after_seq: numbers[3],
            timestamp_ms: TIME_MS,
        };
        let frame = Encoder::new().entry_with(&fields, &extras);
        let event: serde_json::Value = serde_json::from_str(&json(&ServerEvent::Entry { frame: &frame })).expect("JSON");
        for (name, number) in [("refers_seq", numbers[0]), ("replaces_seq", numbers[1]), ("edited_seq", numbers[2]),
            ("after_seq", numbers[3]), ("forwarded", forwarded.into())] {
            prop_assert_eq!(event[name].as_u64(), Some(number).filter(|number| *number > 0), "{}", name);
        }
        for (name, ms) in [("edited_at", ms.0), ("deleted_at", ms.1)] {
            let read = event[name].as_str().and_then(crate::json::read_timestamp);
            prop_assert_eq!(read, Some(ms).filter(|ms| *ms > 0));
        }
        prop_assert_eq!(event["subject"].as_str(), Some(CHAT_TEXT));
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
