//! Frames that every reader takes: each body kind with nothing set and with everything set, extremes, and what a later version
//! may add.

use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, UnionWIPOffset, WIPOffset};
use schema::frame::FILE_IDENTIFIER;
use schema::wire::{self, Body};

use super::{Vector, amendments, groups};

type Builder = FlatBufferBuilder<'static>;

/// 16 bytes that count up from `first`.
pub const fn id(first: u8) -> wire::Uuid {
    let mut bytes = [first; 16];
    let mut n = 1;
    while n < bytes.len() {
        bytes[n] = bytes[n - 1].wrapping_add(1);
        n += 1;
    }
    wire::Uuid(bytes)
}

/// A whole frame round a body.
pub fn frame(kind: Body, body: impl FnOnce(&mut Builder) -> WIPOffset<UnionWIPOffset>) -> Vec<u8> {
    let mut fbb = Builder::new();
    let body = body(&mut fbb);
    let frame = wire::Frame::create(&mut fbb, &wire::FrameArgs { body_type: kind, body: Some(body) });
    fbb.finish_size_prefixed(frame, Some(FILE_IDENTIFIER));
    fbb.finished_data().to_vec()
}

fn union(table: WIPOffset<TableFinishedWIPOffset>) -> WIPOffset<UnionWIPOffset> {
    WIPOffset::new(table.value())
}

fn minimal(kind: Body) -> Vec<u8> {
    frame(kind, |fbb| {
        let start = fbb.start_table();
        union(fbb.end_table(start))
    })
}

macro_rules! create {
    ($fbb:ident, $table:ident, $args:expr) => {
        wire::$table::create($fbb, &$args).as_union_value()
    };
}

/// A ping, for hostile frames to be made of.
pub fn ping(nonce: u64) -> Vec<u8> {
    frame(Body::Ping, |fbb| create!(fbb, Ping, wire::PingArgs { nonce }))
}

/// A send to a user.
pub fn send(client_msg_id: &[u8], content: &[u8]) -> Vec<u8> {
    frame(Body::Send, |fbb| {
        let (body, client_msg_id) = (fbb.create_vector(content), fbb.create_vector(client_msg_id));
        let args =
            wire::SendArgs { client_msg_id: Some(client_msg_id), to: 9, body: Some(body), ..wire::SendArgs::default() };
        create!(fbb, Send, args)
    })
}

fn hello() -> Vec<u8> {
    frame(Body::Hello, |fbb| {
        let (token, agent) = (fbb.create_vector(b"header.claims.signature"), fbb.create_vector(b"example/1.0"));
        let (token, agent) = (Some(token), Some(agent));
        create!(
            fbb,
            Hello,
            wire::HelloArgs {
                version_min: 1,
                version_max: 3,
                features: 1 << 63 | 5,
                token,
                agent,
                ..wire::HelloArgs::default()
            }
        )
    })
}

fn welcome() -> Vec<u8> {
    let args = wire::WelcomeArgs {
        version: 1,
        features: 2,
        session_id: 0x0123_4567_89ab_cdef,
        server_incarnation: u64::MAX,
        user_id: u64::MAX,
        device_id: u32::MAX,
        server_time_ms: 1_767_225_600_123,
        frame_limit_bytes: 65_536,
        window: 4_096,
        sends_per_second: 1_000,
        burst: 5_000,
        ping_interval_ms: 20_000,
        idle_timeout_ms: 75_000,
    };
    frame(Body::Welcome, |fbb| create!(fbb, Welcome, args))
}

fn send_with_everything() -> Vec<u8> {
    frame(Body::Send, |fbb| {
        let (body, client_msg_id) = (fbb.create_vector("grüße".as_bytes()), fbb.create_vector(b"b1"));
        let args = wire::SendArgs {
            client_msg_id: Some(client_msg_id),
            chat_id: Some(&id(1)),
            to: 9,
            kind: wire::EntryKind(200),
            content_type: 255,
            body: Some(body),
            refers_to: Some(&id(101)),
            after_seq: 1 << 40,
            retry: true,
            ..wire::SendArgs::default()
        };
        create!(fbb, Send, args)
    })
}

fn send_ack() -> Vec<u8> {
    frame(Body::SendAck, |fbb| {
        let client_msg_id = Some(fbb.create_vector(b"b1"));
        let args = wire::SendAckArgs {
            client_msg_id,
            chat_id: Some(&id(1)),
            message_id: Some(&id(33)),
            seq: 14,
            status: wire::SendStatus::queued,
            timestamp_ms: 1_767_225_600_123,
        };
        create!(fbb, SendAck, args)
    })
}

/// An entry with everything that a message's may have, of a kind of a later version.
pub fn entry() -> Vec<u8> {
    frame(Body::Entry, |fbb| {
        let (body, client_msg_id) = (fbb.create_vector(&[0u8, 255, 10, 13]), fbb.create_vector(b"a1"));
        let args = wire::EntryArgs {
            chat_id: Some(&id(1)),
            message_id: Some(&id(33)),
            seq: 12,
            sender_id: 9,
            sender_device: 3,
            kind: wire::EntryKind(7),
            content_type: 2,
            body: Some(body),
            client_msg_id: Some(client_msg_id),
            refers_to: Some(&id(101)),
            after_seq: 11,
            timestamp_ms: 1_767_225_600_123,
            ..wire::EntryArgs::default()
        };
        create!(fbb, Entry, args)
    })
}

/// A page with `count` entries.
pub fn history_page(count: usize) -> Vec<u8> {
    let entry = entry();
    frame(Body::HistoryPage, |fbb| {
        let mut tables = Vec::new();
        for _ in 0..count {
            let frame = Some(fbb.create_vector(&entry));
            tables.push(wire::EntryBytes::create(fbb, &wire::EntryBytesArgs { frame }));
        }
        let entries = Some(fbb.create_vector(&tables));
        let args = wire::HistoryPageArgs {
            request_id: 5,
            chat_id: Some(&id(1)),
            covers_first_seq: 11,
            covers_last_seq: 12,
            head_seq: 40,
            entries,
        };
        create!(fbb, HistoryPage, args)
    })
}

fn full(kind: Body) -> Vec<u8> {
    let (chat, message) = (id(1), id(33));
    let (chat_id, message_id) = (Some(&chat), Some(&message));
    match kind {
        Body::Hello => hello(),
        Body::Welcome => welcome(),
        Body::Send => send_with_everything(),
        Body::SendAck => send_ack(),
        Body::Entry => entry(),
        Body::HistoryPage => history_page(2),
        Body::Ping => ping(u64::MAX),
        _ => frame(kind, |fbb| match kind {
            Body::Mark => {
                let status = wire::MarkStatus::read;
                create!(fbb, Mark, wire::MarkArgs { chat_id, message_id, seq: 12, status })
            }
            Body::Receipt => {
                let status = wire::MarkStatus::read;
                create!(fbb, Receipt, wire::ReceiptArgs { chat_id, message_id, seq: 12, user_id: 9, status })
            }
            Body::Synced => create!(fbb, Synced, wire::SyncedArgs { server_time_ms: 1_767_225_600_123 }),
            Body::Covered => create!(fbb, Covered, wire::CoveredArgs { chat_id, first_seq: 1, last_seq: 1 << 33 }),
            Body::Pong => create!(fbb, Pong, wire::PongArgs { nonce: 1 }),
            Body::Error => {
                let (text, client_msg_id) = (fbb.create_vector(b"too many sends; slow down"), fbb.create_vector(b"b2"));
                let (text, client_msg_id) = (Some(text), Some(client_msg_id));
                let args = wire::ErrorArgs {
                    code: 16,
                    fault: 2,
                    retry: 2,
                    scope: 1,
                    retry_after_ms: 1_000,
                    text,
                    client_msg_id,
                };
                create!(fbb, Error, args)
            }
            Body::HistoryRequest => {
                create!(
                    fbb,
                    HistoryRequest,
                    wire::HistoryRequestArgs { request_id: 5, chat_id, after_seq: 10, limit: 1_000 }
                )
            }
            Body::Window => create!(fbb, Window, wire::WindowArgs { window: 4_096 }),
            Body::Goodbye => {
                let text = Some(fbb.create_vector(b"the server is going away; come back"));
                let args = wire::GoodbyeArgs { code: 24, close_code: 1_001, retry: 3, retry_after_ms: 1_000, text };
                create!(fbb, Goodbye, args)
            }
            _ => groups::full(fbb, kind),
        }),
    }
}

/// A field of a later version behind the known ones.
fn ping_with_a_later_field() -> Vec<u8> {
    frame(Body::Ping, |fbb| {
        let start = fbb.start_table();
        fbb.push_slot::<u64>(wire::Ping::VT_NONCE, 7, 0);
        fbb.push_slot::<u64>(24, 99, 0);
        union(fbb.end_table(start))
    })
}

/// A frame of a later version, with a field of its own.
fn frame_with_a_later_field() -> Vec<u8> {
    let mut fbb = Builder::new();
    let body = wire::Ping::create(&mut fbb, &wire::PingArgs { nonce: 7 }).as_union_value();
    let start = fbb.start_table();
    fbb.push_slot::<u32>(10, 99, 0);
    fbb.push_slot_always(wire::Frame::VT_BODY, body);
    fbb.push_slot::<Body>(wire::Frame::VT_BODY_TYPE, Body::Ping, Body::NONE);
    let root = fbb.end_table(start);
    fbb.finish_size_prefixed(WIPOffset::<wire::Frame<'_>>::new(root.value()), Some(FILE_IDENTIFIER));
    fbb.finished_data().to_vec()
}

fn name_of(kind: Body) -> String {
    let mut name = String::new();
    for letter in kind.variant_name().unwrap_or_default().chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

fn is_from_server(kind: Body) -> bool {
    !matches!(
        kind,
        Body::Hello
            | Body::Send
            | Body::Mark
            | Body::HistoryRequest
            | Body::Ping
            | Body::Pong
            | Body::ChatRequest
            | Body::ChatsRequest
            | Body::StatusRequest
            | Body::AccountRequest
    )
}

/// All of them.
pub fn vectors() -> Vec<Vector> {
    let mut out = Vec::new();
    let mut add = |name: String, from_server, bytes| {
        out.push(Vector { name: format!("valid_{name}"), bytes, from_server, refused: None });
    };
    for &kind in Body::ENUM_VALUES.iter().filter(|&&kind| kind != Body::NONE) {
        add(format!("{}_minimal", name_of(kind)), is_from_server(kind), minimal(kind));
        add(format!("{}_full", name_of(kind)), is_from_server(kind), full(kind));
    }
    add("send_longest_client_msg_id".into(), false, send(&[b'x'; 64], b"hello"));
    add("send_empty_client_msg_id".into(), false, send(b"", b"hello"));
    add("send_empty_body".into(), false, send(b"b1", b""));
    let large: Vec<u8> = (0..60_000u32).map(|i| ((i * 31) >> 3) as u8).collect();
    add("send_large_body".into(), false, send(b"b1", &large));
    add("history_page_empty".into(), true, history_page(0));
    add("history_page_of_a_hundred".into(), true, history_page(100));
    for (name, from_server, bytes) in groups::more().into_iter().chain(amendments::more()) {
        add(name.into(), from_server, bytes);
    }
    add("later_body_kind".into(), true, minimal(Body(200)));
    add("ping_with_a_later_field".into(), false, ping_with_a_later_field());
    add("frame_with_a_later_field".into(), false, frame_with_a_later_field());
    out
}
