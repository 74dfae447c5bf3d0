//! Whole runs over WebSocket against a small server in this process that keeps no promise it is told not to keep.

mod published;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fabric::net::websocket::{Decoder, Kind, Message, Role, accept_key, server_frame};
use loadgen::report::outputs::Outputs;
use loadgen::report::{Report, Verdict};
use loadgen::run::{Options, run};
use schema::encode::{Encoder, WelcomeFields};
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use serde_json::{Value, json};

/// Messages of both users; the lie is about the last one, so that it leaves no gap.
const MESSAGES: u64 = 20;

/// The users' load, in pairs and in a group of both.
const PAIRS: &str = "mode = \"closed\"\nin_flight = 4\nmessages = 20";
const GROUP: &str = "mode = \"open\"\nrate = 40.0\ngroups = [{ members = 2 }]";

/// What the server does with the last message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    Loses,
    Doubles,
    RenamesIt,
    NeverAnswers,
    KeepsTheReceipt,
    MakesUpTheReceipt,
}

/// The server, with the one chat of users 1 and 2, which may be a group.
struct Liar {
    lie: Lie,
    chat: Mutex<Chat>,
}

#[derive(Default)]
struct Chat {
    head: u64,
    /// Of these the changes that made a group.
    changes: u64,
    sessions: BTreeMap<u64, TcpStream>,
    /// For who was not there yet.
    missed: Option<Value>,
}

impl Liar {
    fn serve(lie: Lie) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let liar = Arc::new(Self { lie, chat: Mutex::default() });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let liar = Arc::clone(&liar);
                std::thread::spawn(move || liar.session(stream));
            }
        });
        address
    }

    /// One connection, to its end.
    fn session(&self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            bytes.push(byte[0]);
        }
        let head = String::from_utf8(bytes).ok()?;
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let subprotocol = header("Sec-WebSocket-Protocol: ")?;
        let accept = accept_key(header("Sec-WebSocket-Key: ")?.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).ok()?;
        if subprotocol == "flatbuffers" {
            return stream.write_all(&server_frame(Kind::Binary, &welcome())).ok();
        }
        let claims = header("Authorization: Bearer ")?.split('.').nth(1).map(str::to_owned)?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let user: u64 = claims["sub"].as_str()?.parse().ok()?;
        let mut chat = self.chat.lock().unwrap();
        chat.sessions.insert(user, stream.try_clone().ok()?);
        chat.tell(user, &json!({"type": "ready", "user_id": user.to_string(), "device_id": 1}));
        if let Some(missed) = chat.missed.clone() {
            chat.tell(user, &missed);
        }
        chat.tell(user, &json!({"type": "synced"}));
        drop(chat);
        self.listen(user, stream)
    }

    fn listen(&self, user: u64, mut stream: TcpStream) -> Option<()> {
        let (mut decoder, mut held, mut scratch) = (Decoder::new(Role::Server, 1 << 16), Vec::new(), Vec::new());
        let mut part = [0; 4_096];
        loop {
            let read = stream.read(&mut part).ok().filter(|read| *read > 0)?;
            held.extend_from_slice(&part[..read]);
            loop {
                let decoded = decoder.decode(&held, &mut scratch).ok()?;
                let (taken, text) = match decoded.message {
                    None => break,
                    Some(Message::Text(text)) => (decoded.taken, serde_json::from_str::<Value>(text).ok()?),
                    Some(_) => (decoded.taken, Value::Null),
                };
                held.drain(..taken);
                match text["type"].as_str() {
                    Some("created") => self.chat.lock().unwrap().created(user, &text)?,
                    Some("message") => self.chat.lock().unwrap().message(self.lie, user, &text)?,
                    Some("ack") => self.chat.lock().unwrap().mark(self.lie, user, &text)?,
                    _ => {}
                }
            }
        }
    }
}

impl Chat {
    /// A group of both is made.
    fn created(&mut self, creator: u64, change: &Value) -> Option<()> {
        (self.head, self.changes) = (1, 1);
        let chat = ChatId::group(UserId::new(creator)?, change["client_msg_id"].as_str()?.as_bytes()).to_string();
        let id = MessageId(1u128.to_be_bytes()).to_string();
        let mut told = json!({
            "type": "ack", "chat_id": chat, "message_id": id, "seq": 1, "status": "sent", "client_msg_id": change["client_msg_id"],
        });
        self.tell(creator, &told);
        (told["type"], told["kind"], told["sender_id"]) =
            ("entry".into(), "created".into(), creator.to_string().into());
        self.missed = Some(told.clone());
        self.tell(3 - creator, &told);
        Some(())
    }

    fn message(&mut self, lie: Lie, sender: u64, message: &Value) -> Option<()> {
        self.head += 1;
        let seq = self.head;
        let receiver = 3 - sender;
        let chat = match message["chat_id"].as_str() {
            Some(group) => group.to_owned(),
            None => ChatId::direct(UserId::new(sender)?, UserId::new(receiver)?).to_string(),
        };
        let id = |seq: u64| MessageId(u128::from(seq).to_be_bytes()).to_string();
        let lie = if seq == MESSAGES + self.changes { lie } else { Lie::None };
        let mut delivery = json!({
            "type": "message", "chat_id": chat, "message_id": id(seq), "seq": seq, "sender_id": sender.to_string(),
            "content": message["content"], "client_msg_id": message["client_msg_id"],
        });
        if lie != Lie::NeverAnswers {
            let ack = json!({
                "type": "ack", "chat_id": chat, "message_id": id(seq), "seq": seq, "status": "sent",
                "client_msg_id": message["client_msg_id"],
            });
            self.tell(sender, &ack);
        }
        if lie == Lie::MakesUpTheReceipt {
            self.receipt(receiver, &chat, seq);
        }
        if matches!(lie, Lie::Loses | Lie::MakesUpTheReceipt) {
            return Some(());
        }
        if lie == Lie::RenamesIt {
            delivery["message_id"] = json!(id(seq + 100));
        }
        self.tell(receiver, &delivery);
        if lie == Lie::Doubles {
            delivery["seq"] = json!(seq + 1);
            self.tell(receiver, &delivery);
        }
        Some(())
    }

    /// A user says how far it is: the other one gets a receipt.
    fn mark(&mut self, lie: Lie, user: u64, mark: &Value) -> Option<()> {
        let id = mark["message_id"].as_str()?.replace('-', "");
        let seq = u64::try_from(u128::from_str_radix(&id, 16).ok()?).ok()?;
        // Marks are cumulative: only the last one covers the last message.
        if lie != Lie::KeepsTheReceipt || seq < MESSAGES + self.changes {
            self.receipt(user, mark["chat_id"].as_str()?, seq);
        }
        Some(())
    }

    fn receipt(&mut self, user: u64, chat: &str, seq: u64) {
        let id = MessageId(u128::from(seq).to_be_bytes()).to_string();
        let receipt = json!({
            "type": "ack", "chat_id": chat, "message_id": id, "seq": seq, "status": "delivered",
            "user_id": user.to_string(),
        });
        self.tell(3 - user, &receipt);
    }

    fn tell(&mut self, user: u64, event: &Value) {
        if let Some(stream) = self.sessions.get_mut(&user) {
            // A client that is gone hears nothing.
            let _ = stream.write_all(&server_frame(Kind::Text, event.to_string().as_bytes()));
        }
    }
}

fn welcome() -> bytes::Bytes {
    Encoder::new().welcome(&WelcomeFields {
        version: 1,
        features: 0,
        session_id: 1,
        server_incarnation: 1,
        user: UserId::new(1).unwrap(),
        device: DeviceId(1),
        server_time_ms: 0,
        frame_limit_bytes: 65_536,
        window: 100,
        sends_per_second: 0,
        burst: 0,
        ping_interval_ms: 20_000,
        idle_timeout_ms: 75_000,
    })
}

fn report(lie: Lie) -> Report {
    let folder = tempfile::tempdir().unwrap();
    report_in(folder.path(), lie, PAIRS)
}

fn group_report(lie: Lie) -> Report {
    let folder = tempfile::tempdir().unwrap();
    report_in(folder.path(), lie, GROUP)
}

fn report_in(folder: &Path, lie: Lie, load: &str) -> Report {
    let (scenario, key) = (folder.join("scenario.toml"), folder.join("key"));
    let text = format!(
        "[load]\nusers = 2\nprotocol = \"websocket\"\nramp_s = 0.0\nsteady_s = {:?}\ndrain_s = 1.0\n{load}\n",
        if load == PAIRS { 20.0 } else { 0.5 }
    );
    std::fs::write(&scenario, text).unwrap();
    std::fs::write(&key, "a secret of at least thirty-two bytes").unwrap();
    let outputs = Outputs {
        folder: folder.join("out"),
        junit: Some(folder.join("junit.xml")),
        prometheus: Some(folder.join("figures.prom")),
    };
    let options = Options {
        scenario,
        targets: vec![Liar::serve(lie)],
        token_key: Some(key),
        outputs,
        quiet: true,
        ..Options::default()
    };
    run(&options, &Arc::default()).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn an_honest_server_passes() {
    let report = report(Lie::None);
    assert_eq!((report.verdict, report.exit_code), (Verdict::Pass, 0), "{} {:?}", report.reason, report.errors);
    assert_eq!((report.audit.sent, report.audit.acked, report.audit.delivered), (20, 20, 20));
    assert!(report.latency_us.count > 0 && report.errors.is_empty(), "{:?}", report.errors);
}

#[test]
fn a_run_leaves_a_report_as_published_and_all_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let report = report_in(folder.path(), Lie::Loses, PAIRS);
    let text = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
    let json: Value = serde_json::from_str(&text("out/report.json")).unwrap();
    assert_eq!(published::faults(&json), Vec::<String>::new());
    let (samples, spans) = (json["series"].as_array().unwrap(), json["phases"].as_array().unwrap());
    assert_eq!(samples.iter().map(|s| s["sent"].as_u64().unwrap()).sum::<u64>(), MESSAGES);
    assert!(spans.windows(2).all(|w| w[0]["to_s"] == w[1]["from_s"]), "{spans:?}");
    assert_eq!(json["latency_curve"].as_array().unwrap().last().unwrap()["us"], json["latency_us"]["max"]);
    assert!(report.stages.is_none() && report.stages_unknown.unwrap().contains("--target-http"));
    assert!(text("out/report.html").contains("Audit failed"));
    assert!(text("junit.xml").contains("<testcase classname=\"loadgen scenario\" name=\"audit\" time=\"0\"><failure"));
    assert!(text("figures.prom").contains("result=\"lost\"} 1.0"));
}

#[test]
fn a_message_that_was_acknowledged_and_lost_is_found() {
    let report = report(Lie::Loses);
    assert_eq!((report.verdict, report.exit_code), (Verdict::Audit, 4), "{}", report.reason);
    assert_eq!((report.audit.lost, report.audit.acked_but_missing, report.audit.doubled), (1, 1, 0));
    let lost = &report.audit.lost_examples[0];
    assert_eq!((lost.sender + lost.receiver, lost.acked), (3, true));
}

#[test]
fn a_message_that_came_twice_is_found() {
    let report = report(Lie::Doubles);
    assert_eq!((report.verdict, report.audit.doubled, report.audit.lost), (Verdict::Audit, 1, 0), "{}", report.reason);
}

#[test]
fn a_message_under_another_id_is_found() {
    let report = report(Lie::RenamesIt);
    assert_eq!((report.verdict, report.audit.mismatched), (Verdict::Audit, 1), "{}", report.reason);
}

#[test]
fn a_message_without_an_answer_is_found() {
    let report = report(Lie::NeverAnswers);
    assert_eq!((report.verdict, report.audit.unanswered), (Verdict::Audit, 1), "{}", report.reason);
    assert_eq!(report.audit.delivered, 20);
}

#[test]
fn a_receipt_that_never_comes_is_found() {
    let report = report(Lie::KeepsTheReceipt);
    assert_eq!((report.verdict, report.audit.receipts_missing > 0), (Verdict::Audit, true), "{}", report.reason);
    assert_eq!((report.audit.lost, report.audit.receipts_unjudged), (0, 0));
}

#[test]
fn a_receipt_for_what_was_not_delivered_is_found() {
    let report = report(Lie::MakesUpTheReceipt);
    assert_eq!((report.audit.receipts_false, report.audit.lost), (1, 1), "{}", report.reason);
}

#[test]
fn an_honest_server_of_a_group_passes() {
    let report = group_report(Lie::None);
    assert_eq!((report.verdict, report.exit_code), (Verdict::Pass, 0), "{} {:?}", report.reason, report.errors);
    let audit = &report.audit;
    assert_eq!((audit.sent, audit.acked, audit.delivered, audit.deliveries), (20, 20, 20, 20));
    assert_eq!((audit.receipts_missing, audit.receipts_unjudged), (0, 0));
    let groups = report.groups.expect("there is one");
    assert!(groups.ack_us.count == 20 && groups.last_us.count == 20 && groups.receipts > 0, "{groups:?}");
}

#[test]
fn what_a_server_does_to_a_group_is_found() {
    let lost = group_report(Lie::Loses);
    assert_eq!((lost.audit.lost, lost.audit.acked_but_missing, lost.audit.delivered), (1, 1, 19), "{}", lost.reason);
    assert_eq!((lost.verdict, lost.audit.lost_examples[0].seq), (Verdict::Audit, Some(MESSAGES + 1)));
    let doubled = group_report(Lie::Doubles);
    assert_eq!((doubled.verdict, doubled.audit.doubled), (Verdict::Audit, 1), "{}", doubled.reason);
    let renamed = group_report(Lie::RenamesIt);
    assert_eq!((renamed.verdict, renamed.audit.mismatched), (Verdict::Audit, 1), "{}", renamed.reason);
    let untold = group_report(Lie::KeepsTheReceipt);
    let missing = &untold.audit.receipt_examples;
    assert_eq!((untold.verdict, untold.audit.lost), (Verdict::Audit, 0), "{}", untold.reason);
    assert!(missing.iter().any(|missing| missing.seq == MESSAGES + 1 && !missing.read), "{missing:?}");
    assert_eq!(untold.groups.map(|groups| groups.receipts_missing), Some(missing.len() as u64));
    let unanswered = group_report(Lie::NeverAnswers);
    assert_eq!((unanswered.audit.unanswered, unanswered.audit.lost), (1, 0), "{}", unanswered.reason);
}
