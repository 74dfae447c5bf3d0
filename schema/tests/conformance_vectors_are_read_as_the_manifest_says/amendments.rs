//! Frames of amendments, disappearing messages and the account log that every reader takes.

use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};
use schema::wire::{self, Body, EntryArgs, EntryKind, Role, SendArgs};

use super::groups::{chat_info, members};
use super::valid::{frame, id};

type Builder = FlatBufferBuilder<'static>;

const AT_MS: u64 = 1_767_225_600_123;
static CHAT: wire::Uuid = id(1);
static MESSAGE: wire::Uuid = id(33);
static TARGET: wire::Uuid = id(65);

/// Number, name, when it was named and when revoked.
struct Device<'a>(u32, &'a str, u64, u64);

const DEVICES: [Device<'_>; 3] =
    [Device(1, "Ada's phone", AT_MS, 0), Device(2, "Höhle 💻", AT_MS, AT_MS + 1), Device(u32::MAX, "", 0, u64::MAX)];

fn account(
    fbb: &mut Builder,
    settings: &[(&str, &[u8])],
    devices: &[Device<'_>],
    hidden: u8,
) -> WIPOffset<UnionWIPOffset> {
    let mut tables = Vec::new();
    for &(key, value) in settings {
        let (key, value) = (Some(fbb.create_vector(key.as_bytes())), Some(fbb.create_vector(value)));
        tables.push(wire::Setting::create(fbb, &wire::SettingArgs { key, value }));
    }
    let settings = Some(fbb.create_vector(&tables));
    let mut tables = Vec::new();
    for &Device(device, name, named_ms, revoked_ms) in devices {
        let name = Some(fbb.create_vector(name.as_bytes()));
        tables.push(wire::Device::create(fbb, &wire::DeviceArgs { device, name, named_ms, revoked_ms }));
    }
    let devices = Some(fbb.create_vector(&tables));
    let hidden: Vec<wire::Uuid> = (0..hidden).map(id).collect();
    let hidden = Some(fbb.create_vector(&hidden));
    wire::Account::create(fbb, &wire::AccountArgs { request_id: 9, settings, devices, hidden }).as_union_value()
}

/// What a device is told of its account, for hostile frames to be made of.
pub fn account_of(settings: &[(&str, &[u8])], hidden: u8) -> Vec<u8> {
    frame(Body::Account, |fbb| account(fbb, settings, &DEVICES, hidden))
}

/// The body of a kind that is about the account or about ticks, with everything set.
pub fn full(fbb: &mut Builder, kind: Body) -> WIPOffset<UnionWIPOffset> {
    match kind {
        Body::Ticks => {
            let members = Some(fbb.create_vector(&members(3)));
            wire::Ticks::create(fbb, &wire::TicksArgs { chat_id: Some(&CHAT), members }).as_union_value()
        }
        Body::AccountRequest => {
            let args = wire::AccountRequestArgs { request_id: 9, chat_id: Some(&CHAT) };
            wire::AccountRequest::create(fbb, &args).as_union_value()
        }
        Body::Account => account(fbb, &[("read_receipts", b"off"), ("app.theme", &[0, 255])], &DEVICES, 2),
        _ => unreachable!("{kind:?} has no full frame"),
    }
}

/// What a send or an entry names beside its numbers.
#[derive(Default)]
struct Named<'a> {
    body: &'a str,
    users: &'a [u64],
    key: &'a str,
}

fn send(named: &Named<'_>, with: impl FnOnce(&mut SendArgs<'_>)) -> Vec<u8> {
    frame(Body::Send, |fbb| {
        let (body, client_msg_id) = (fbb.create_vector(named.body.as_bytes()), fbb.create_vector(b"m1"));
        let users = (!named.users.is_empty()).then(|| fbb.create_vector(named.users));
        let key = (!named.key.is_empty()).then(|| fbb.create_vector(named.key.as_bytes()));
        let mut args =
            SendArgs { client_msg_id: Some(client_msg_id), body: Some(body), users, key, ..SendArgs::default() };
        with(&mut args);
        wire::Send::create(fbb, &args).as_union_value()
    })
}

fn entry(named: &Named<'_>, with: impl FnOnce(&mut EntryArgs<'_>)) -> Vec<u8> {
    frame(Body::Entry, |fbb| {
        let (body, client_msg_id) = (fbb.create_vector(named.body.as_bytes()), fbb.create_vector(b"m1"));
        let users = (!named.users.is_empty()).then(|| fbb.create_vector(named.users));
        let key = (!named.key.is_empty()).then(|| fbb.create_vector(named.key.as_bytes()));
        let mut args = EntryArgs {
            chat_id: Some(&CHAT),
            message_id: Some(&MESSAGE),
            seq: 14,
            sender_id: 7,
            sender_device: 1,
            body: Some(body),
            client_msg_id: Some(client_msg_id),
            timestamp_ms: AT_MS,
            users,
            key,
            ..EntryArgs::default()
        };
        with(&mut args);
        wire::Entry::create(fbb, &args).as_union_value()
    })
}

/// Chats of which two are out of the ordinary.
pub fn chats_with_settings() -> Vec<u8> {
    let info = frame(Body::ChatInfo, |fbb| chat_info(fbb, 2));
    frame(Body::Chats, |fbb| {
        let mut tables = Vec::new();
        for (pinned, archived, muted_until_ms) in [(true, false, AT_MS), (false, true, u64::MAX), (false, false, 0)] {
            let frame = Some(fbb.create_vector(&info));
            let args = wire::ChatInfoBytesArgs { frame, pinned, archived, muted_until_ms };
            tables.push(wire::ChatInfoBytes::create(fbb, &args));
        }
        let chats = Some(fbb.create_vector(&tables));
        wire::Chats::create(fbb, &wire::ChatsArgs { request_id: 7, chats, has_more: false }).as_union_value()
    })
}

/// Of a device that was synced before; `user_id` and `device_id`: who it believes to be; `marks`: how many follow.
fn hello_again(user_id: u64, device_id: u32, marks: u32) -> Vec<u8> {
    frame(Body::Hello, |fbb| {
        let (token, agent) = (fbb.create_vector(b"header.claims.signature"), fbb.create_vector(b"example/1.0"));
        let (token, agent) = (Some(token), Some(agent));
        let (version_min, version_max, features, synced_ms) = (1, 1, 0, AT_MS);
        let args =
            wire::HelloArgs { version_min, version_max, features, token, agent, synced_ms, user_id, device_id, marks };
        wire::Hello::create(fbb, &args).as_union_value()
    })
}

fn account_of_many() -> Vec<u8> {
    let keys: Vec<String> = (0..256).map(|n| format!("app.key-{n}")).collect();
    let settings: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &[b'v'; 3][..])).collect();
    let devices: Vec<Device<'_>> = (1..=512).map(|n| Device(n, "a device", AT_MS, 0)).collect();
    frame(Body::Account, |fbb| account(fbb, &settings, &devices, u8::MAX))
}

fn sends() -> Vec<(&'static str, bool, Vec<u8>)> {
    macro_rules! of {
        ($named:expr, $kind:ident, $($field:ident: $value:expr),*) => {
            send($named, |args| {
                args.kind = EntryKind::$kind;
                args.after_seq = 13;
                $(args.$field = $value;)*
            })
        };
    }
    let nothing = Named::default();
    let reply = Named { body: "@9 see there", users: &[9, u64::MAX], key: "" };
    let text = Named { body: "better", ..Named::default() };
    let thumb = Named { body: "👍", ..Named::default() };
    let set = Named { body: "on", key: "pinned", ..Named::default() };
    let name = Named { body: "Ada's phone", ..Named::default() };
    vec![
        ("send_reply", false, of!(&reply, message, chat_id: Some(&CHAT), refers_to: Some(&TARGET), forwarded: 255)),
        ("send_edited", false, of!(&text, edited, chat_id: Some(&CHAT), refers_to: Some(&TARGET), retry: true)),
        ("send_deleted", false, of!(&nothing, deleted, chat_id: Some(&CHAT), refers_to: Some(&TARGET))),
        ("send_reacted", false, of!(&thumb, reacted, chat_id: Some(&CHAT), refers_to: Some(&TARGET))),
        ("send_timer", false, of!(&nothing, timer, chat_id: Some(&CHAT), ttl_s: 31_536_000)),
        ("send_setting", false, of!(&set, setting, subject: Some(&CHAT))),
        ("send_hidden", false, of!(&nothing, hidden, subject: Some(&CHAT), refers_to: Some(&TARGET))),
        ("send_device", false, of!(&name, device, device: u32::MAX)),
        ("send_revoked", false, of!(&nothing, revoked, device: 3)),
    ]
}

fn entries() -> Vec<(&'static str, bool, Vec<u8>)> {
    macro_rules! of {
        ($named:expr, $kind:ident, $($field:ident: $value:expr),*) => {
            entry($named, |args| {
                args.kind = EntryKind::$kind;
                $(args.$field = $value;)*
            })
        };
    }
    let everything = Named { body: "grüße", users: &[9, u64::MAX], key: "app.theme" };
    let text = Named { body: "better", users: &[9], key: "" };
    let thumb = Named { body: "👍", ..Named::default() };
    let set = Named { body: "on", key: "pinned", ..Named::default() };
    let name = Named { body: "Ada's phone", ..Named::default() };
    let nothing = Named::default();
    vec![
        (
            "entry_with_every_field",
            true,
            of!(&everything, message, refers_to: Some(&TARGET), after_seq: 11, content_type: 1, role: Role::admin,
                ttl_s: u32::MAX, forwarded: 255, subject: Some(&CHAT), device: u32::MAX, refers_seq: 1 << 40,
                replaces_seq: 1 << 41, edited_seq: 1 << 42, edited_ms: AT_MS + 1, deleted_ms: AT_MS + 2),
        ),
        (
            "entry_message_as_edited",
            true,
            of!(&text, message, refers_to: Some(&TARGET), after_seq: 12, ttl_s: 86_400, forwarded: 1, edited_seq: 15,
                edited_ms: AT_MS + 1_000),
        ),
        ("entry_message_as_deleted", true, of!(&nothing, message, deleted_ms: AT_MS + 2_000)),
        ("entry_edited", true, of!(&text, edited, refers_to: Some(&TARGET), refers_seq: 12, replaces_seq: 13)),
        ("entry_deleted", true, of!(&nothing, deleted, refers_to: Some(&TARGET), refers_seq: 12, replaces_seq: 13)),
        ("entry_reacted", true, of!(&thumb, reacted, refers_to: Some(&TARGET), refers_seq: 12)),
        ("entry_timer", true, of!(&nothing, timer, ttl_s: 86_400)),
        ("entry_setting", true, of!(&set, setting, subject: Some(&CHAT))),
        ("entry_hidden", true, of!(&nothing, hidden, subject: Some(&CHAT), refers_to: Some(&TARGET))),
        ("entry_device", true, of!(&name, device, device: 2)),
        ("entry_revoked", true, of!(&nothing, revoked, device: 3)),
    ]
}

/// A setting, for hostile frames to be made of.
pub fn setting() -> Vec<u8> {
    send(&Named { body: "on", key: "pinned", ..Named::default() }, |args| args.kind = EntryKind::setting)
}

/// Further ones: name, whether a server sends it, bytes.
pub fn more() -> Vec<(&'static str, bool, Vec<u8>)> {
    let mut out = vec![
        ("hello_again", false, hello_again(0, 0, 0)),
        ("hello_of_a_known_device", false, hello_again(u64::MAX, u32::MAX, u32::MAX)),
    ];
    out.extend(sends());
    out.extend(entries());
    out.extend([
        ("chats_with_settings", true, chats_with_settings()),
        ("account_of_nothing", true, frame(Body::Account, |fbb| account(fbb, &[], &[], 0))),
        ("account_of_many", true, account_of_many()),
    ]);
    out
}
