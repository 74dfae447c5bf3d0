//! The bodies: one arm a kind, each way.

use super::*;

macro_rules! union {
    ($fbb:expr, $kind:ident, $args:ident { $($field:ident : $value:expr),* $(,)? }) => {{
        let args = link::$args { $($field: $value),* };
        (link::Body::$kind, link::$kind::create($fbb, &args).as_union_value())
    }};
}

/// The union's member; the verifier has made sure that it is there.
macro_rules! member {
    ($root:expr, $as:ident) => {
        $root.$as().ok_or_else(|| EnvelopeError::Malformed("a body is missing".to_owned()))?
    };
}

mod holding;
mod question;
mod queued;
use holding::{decode_holding, encode_holding};
use question::{decode_question, encode_question};
use queued::{decode_queued, encode_queued};

pub(super) fn encode_body(fbb: &mut Builder, body: &Body) -> Union {
    match body {
        Body::Send { .. } | Body::ForgetRefusals { .. } | Body::Mark { .. } | Body::PageRequest { .. } => {
            encode_to_owner(fbb, body)
        }
        Body::SyncRequest { .. } | Body::SyncProbe { .. } | Body::SyncPart { .. } | Body::SyncPage { .. } => {
            encode_sync(fbb, body)
        }
        Body::Sent { .. } | Body::Refused { .. } | Body::Page { .. } => encode_answer(fbb, body),
        Body::Queued { .. } | Body::Settled { .. } => encode_queued(fbb, body),
        Body::ChatRequest { .. }
        | Body::StatusRequest { .. }
        | Body::ChatsRequest { .. }
        | Body::AccountRequest { .. }
        | Body::ChatsProbe { .. }
        | Body::ChatsPart { .. }
        | Body::Answer { .. } => encode_question(fbb, body),
        Body::Push { .. } | Body::Notify { .. } | Body::Nudge { .. } | Body::Gap(_) => encode_to_router(fbb, body),
        Body::Owners { .. } | Body::Move { .. } => encode_holding(fbb, body),
        Body::Register { .. } | Body::Unregister { .. } | Body::Registered { .. } | Body::Superseded { .. } => {
            encode_registration(fbb, body)
        }
        Body::Deliver { .. } | Body::DeliverNotice { .. } | Body::DeliverNudge { .. } => encode_delivery(fbb, body),
    }
}

fn encode_to_owner(fbb: &mut Builder, body: &Body) -> Union {
    match body {
        Body::Send { frame, user, device, chat, to, retry } => {
            let frame = Some(fbb.create_vector(frame.bytes()));
            let to = to.map_or(0, UserId::get);
            let chat = id(chat.0);
            union!(
                fbb,
                Send,
                SendArgs { frame: frame, user: user.get(), device: device.0, chat: Some(&chat), to: to, retry: *retry }
            )
        }
        Body::ForgetRefusals { chat } => {
            union!(fbb, ForgetRefusals, ForgetRefusalsArgs { chat: Some(&id(chat.0)) })
        }
        Body::Mark { chat, user, device, seq, message, status, secret } => {
            let message = message.map(|message| id(message.0));
            union!(
                fbb,
                Mark,
                MarkArgs {
                    chat: Some(&id(chat.0)),
                    user: user.get(),
                    device: device.0,
                    seq: *seq,
                    message: message.as_ref(),
                    status: status.0,
                    secret: *secret,
                }
            )
        }
        Body::PageRequest { chat, user, after_seq, before_seq, newest, limit_entries, limit_bytes, ticks, blind } => {
            union!(
                fbb,
                PageRequest,
                PageRequestArgs {
                    chat: Some(&id(chat.0)),
                    user: user.get(),
                    after_seq: *after_seq,
                    limit_entries: *limit_entries,
                    limit_bytes: *limit_bytes,
                    before_seq: *before_seq,
                    newest: *newest,
                    ticks: *ticks,
                    blind: *blind,
                }
            )
        }
        _ => unreachable!("encode_body sends no other kind here"),
    }
}

fn encode_sync(fbb: &mut Builder, body: &Body) -> Union {
    match body {
        Body::SyncRequest { user, device, before, since_ms } => {
            let before = before.map(encode_cursor);
            union!(
                fbb,
                SyncRequest,
                SyncRequestArgs { user: user.get(), device: device.0, before: before.as_ref(), since_ms: *since_ms }
            )
        }
        Body::SyncProbe { user, device, before, since_ms, partition } => {
            let before = before.map(encode_cursor);
            union!(
                fbb,
                SyncProbe,
                SyncProbeArgs {
                    user: user.get(),
                    device: device.0,
                    before: before.as_ref(),
                    partition: *partition,
                    since_ms: *since_ms,
                }
            )
        }
        Body::SyncPart { chats, more, partition } => {
            let chats = Some(encode_chats(fbb, chats));
            union!(fbb, SyncPart, SyncPartArgs { chats: chats, more: *more, partition: *partition })
        }
        Body::SyncPage { chats, next, account } => {
            let chats = Some(encode_chats(fbb, chats));
            let next = next.map(encode_cursor);
            let account = (*account != AccountFacts::default()).then(|| encode_facts(fbb, account));
            union!(fbb, SyncPage, SyncPageArgs { chats: chats, next: next.as_ref(), account: account })
        }
        _ => unreachable!("encode_body sends no other kind here"),
    }
}

fn encode_answer(fbb: &mut Builder, body: &Body) -> Union {
    match body {
        Body::Sent { client_msg_id, chat, message, seq, timestamp_ms } => {
            let client_msg_id = Some(fbb.create_vector(client_msg_id));
            let (chat, message) = (id(chat.0), id(message.0));
            union!(
                fbb,
                Sent,
                SentArgs {
                    client_msg_id: client_msg_id,
                    chat: Some(&chat),
                    message: Some(&message),
                    seq: *seq,
                    timestamp_ms: *timestamp_ms,
                }
            )
        }
        Body::Refused { client_msg_id, chat, code, retry_after_ms } => {
            let client_msg_id = Some(fbb.create_vector(client_msg_id));
            union!(
                fbb,
                Refused,
                RefusedArgs {
                    client_msg_id: client_msg_id,
                    chat: Some(&id(chat.0)),
                    code: *code as u16,
                    retry_after_ms: *retry_after_ms,
                }
            )
        }
        Body::Page { chat, covers_first, covers_last, head_seq, entries, ticks } => {
            let ticks = ticks.as_ref().map(|ticks| fbb.create_vector(ticks));
            let mut offsets = Vec::with_capacity(entries.len());
            for (seq, frame) in entries {
                let frame = Some(fbb.create_vector(frame));
                offsets.push(link::PageEntry::create(fbb, &link::PageEntryArgs { seq: *seq, frame }));
            }
            let entries = Some(fbb.create_vector(&offsets));
            union!(
                fbb,
                Page,
                PageArgs {
                    chat: Some(&id(chat.0)),
                    covers_first: *covers_first,
                    covers_last: *covers_last,
                    head_seq: *head_seq,
                    entries: entries,
                    ticks: ticks,
                }
            )
        }
        _ => unreachable!("encode_body sends no other kind here"),
    }
}

fn encode_to_router(fbb: &mut Builder, body: &Body) -> Union {
    match body {
        Body::Push { chat, seq, frame, recipients } => {
            let frame = Some(fbb.create_vector(frame));
            let recipients = Some(encode_recipients(fbb, recipients));
            let chat = id(chat.0);
            union!(fbb, Push, PushArgs { chat: Some(&chat), seq: *seq, frame: frame, recipients: recipients })
        }
        Body::Notify { frame, users } => {
            let frame = Some(fbb.create_vector(frame));
            let users: SmallVec<[u64; 4]> = users.iter().map(|user| user.get()).collect();
            let users = Some(fbb.create_vector(&users));
            union!(fbb, Notify, NotifyArgs { frame: frame, users: users })
        }
        Body::Nudge { chat, head_seq, recipients } => {
            let recipients = Some(encode_recipients(fbb, recipients));
            union!(fbb, Nudge, NudgeArgs { chat: Some(&id(chat.0)), head_seq: *head_seq, recipients: recipients })
        }
        Body::Gap(GapScope::All) => union!(fbb, GapAll, GapAllArgs {}),
        Body::Gap(GapScope::Users(users)) => {
            let users: Vec<u64> = users.iter().map(|user| user.get()).collect();
            let users = Some(fbb.create_vector(&users));
            union!(fbb, GapUsers, GapUsersArgs { users: users })
        }
        Body::Gap(GapScope::Sessions(sessions)) => {
            let sessions = Some(encode_sessions(fbb, sessions));
            union!(fbb, GapSessions, GapSessionsArgs { sessions: sessions })
        }
        _ => unreachable!("encode_body sends no other kind here"),
    }
}

fn encode_registration(fbb: &mut Builder, body: &Body) -> Union {
    match body {
        Body::Register { user, device, epoch } => {
            union!(fbb, Register, RegisterArgs { user: user.get(), device: device.0, epoch: *epoch })
        }
        Body::Unregister { user, device, epoch } => {
            union!(fbb, Unregister, UnregisterArgs { user: user.get(), device: device.0, epoch: *epoch })
        }
        Body::Registered { epoch } => union!(fbb, Registered, RegisteredArgs { epoch: *epoch }),
        Body::Superseded { epoch } => union!(fbb, Superseded, SupersededArgs { epoch: *epoch }),
        _ => unreachable!("encode_body sends no other kind here"),
    }
}

fn encode_delivery(fbb: &mut Builder, body: &Body) -> Union {
    match body {
        Body::Deliver { chat, seq, frame, targets } => {
            let frame = Some(fbb.create_vector(frame));
            let targets = Some(encode_targets(fbb, targets));
            union!(fbb, Deliver, DeliverArgs { chat: Some(&id(chat.0)), seq: *seq, frame: frame, targets: targets })
        }
        Body::DeliverNotice { frame, targets } => {
            let frame = Some(fbb.create_vector(frame));
            let targets = Some(encode_sessions(fbb, targets));
            union!(fbb, DeliverNotice, DeliverNoticeArgs { frame: frame, targets: targets })
        }
        Body::DeliverNudge { chat, head_seq, targets } => {
            let targets = Some(encode_targets(fbb, targets));
            union!(
                fbb,
                DeliverNudge,
                DeliverNudgeArgs { chat: Some(&id(chat.0)), head_seq: *head_seq, targets: targets }
            )
        }
        _ => unreachable!("encode_body sends no other kind here"),
    }
}

pub(super) fn decode_body(bytes: &Bytes, root: &link::Envelope<'_>) -> Result<Body, EnvelopeError> {
    use link::Body as Kind;
    match root.body_type() {
        Kind::Send | Kind::ForgetRefusals | Kind::Mark | Kind::PageRequest => decode_to_owner(bytes, root),
        Kind::SyncRequest | Kind::SyncProbe | Kind::SyncPart | Kind::SyncPage => decode_sync(root),
        Kind::Sent | Kind::Refused | Kind::Page => decode_answer(bytes, root),
        Kind::Queued | Kind::Settled => decode_queued(bytes, root),
        Kind::ChatRequest
        | Kind::StatusRequest
        | Kind::ChatsRequest
        | Kind::ChatsProbe
        | Kind::ChatsPart
        | Kind::AccountRequest
        | Kind::Answer => decode_question(bytes, root),
        Kind::Push | Kind::Notify | Kind::Nudge | Kind::GapAll | Kind::GapUsers | Kind::GapSessions => {
            decode_to_router(bytes, root)
        }
        Kind::Register | Kind::Unregister | Kind::Registered | Kind::Superseded => decode_registration(root),
        Kind::Deliver | Kind::DeliverNotice | Kind::DeliverNudge => decode_delivery(bytes, root),
        Kind::Owners | Kind::Move => decode_holding(root),
        other => Err(EnvelopeError::UnknownKind(other.0)),
    }
}

fn share(bytes: &Bytes, part: Vector<'_, u8>) -> Bytes {
    bytes.slice_ref(part.bytes())
}

fn decode_to_owner(bytes: &Bytes, root: &link::Envelope<'_>) -> Result<Body, EnvelopeError> {
    Ok(match root.body_type() {
        link::Body::Send => {
            let b = member!(root, body_as_send);
            Body::Send {
                frame: VerifiedFrame::verify(share(bytes, b.frame()))?,
                user: user(b.user())?,
                device: DeviceId(b.device()),
                chat: ChatId(b.chat().0),
                to: UserId::new(b.to()),
                retry: b.retry(),
            }
        }
        link::Body::ForgetRefusals => {
            Body::ForgetRefusals { chat: ChatId(member!(root, body_as_forget_refusals).chat().0) }
        }
        link::Body::Mark => {
            let b = member!(root, body_as_mark);
            let status = MarkStatus(b.status());
            status.variant_name().ok_or(EnvelopeError::OutOfRange("status"))?;
            Body::Mark {
                chat: ChatId(b.chat().0),
                user: user(b.user())?,
                device: DeviceId(b.device()),
                seq: b.seq(),
                message: b.message().map(|message| MessageId(message.0)),
                status,
                secret: b.secret(),
            }
        }
        _ => {
            let b = member!(root, body_as_page_request);
            Body::PageRequest {
                chat: ChatId(b.chat().0),
                user: user(b.user())?,
                after_seq: b.after_seq(),
                before_seq: b.before_seq(),
                newest: b.newest(),
                limit_entries: b.limit_entries(),
                limit_bytes: b.limit_bytes(),
                ticks: b.ticks(),
                blind: b.blind(),
            }
        }
    })
}

fn decode_sync(root: &link::Envelope<'_>) -> Result<Body, EnvelopeError> {
    Ok(match root.body_type() {
        link::Body::SyncRequest => {
            let b = member!(root, body_as_sync_request);
            let before = b.before().map(decode_cursor);
            let (device, since_ms) = (DeviceId(b.device()), b.since_ms());
            Body::SyncRequest { user: user(b.user())?, device, before, since_ms }
        }
        link::Body::SyncProbe => {
            let b = member!(root, body_as_sync_probe);
            let before = b.before().map(decode_cursor);
            let (device, since_ms, partition) = (DeviceId(b.device()), b.since_ms(), b.partition());
            Body::SyncProbe { user: user(b.user())?, device, before, since_ms, partition }
        }
        link::Body::SyncPart => {
            let b = member!(root, body_as_sync_part);
            Body::SyncPart { chats: decode_chats(b.chats()), more: b.more(), partition: b.partition() }
        }
        _ => {
            let b = member!(root, body_as_sync_page);
            let (chats, next) = (decode_chats(b.chats()), b.next().map(decode_cursor));
            Body::SyncPage { chats, next, account: decode_facts(b.account()) }
        }
    })
}

fn decode_answer(bytes: &Bytes, root: &link::Envelope<'_>) -> Result<Body, EnvelopeError> {
    Ok(match root.body_type() {
        link::Body::Sent => {
            let b = member!(root, body_as_sent);
            Body::Sent {
                client_msg_id: share(bytes, b.client_msg_id()),
                chat: ChatId(b.chat().0),
                message: MessageId(b.message().0),
                seq: b.seq(),
                timestamp_ms: b.timestamp_ms(),
            }
        }
        link::Body::Refused => {
            let b = member!(root, body_as_refused);
            Body::Refused {
                client_msg_id: b.client_msg_id().map(|part| share(bytes, part)).unwrap_or_default(),
                chat: ChatId(b.chat().0),
                code: ErrorCode::from_code(b.code()).ok_or(EnvelopeError::OutOfRange("code"))?,
                retry_after_ms: b.retry_after_ms(),
            }
        }
        _ => {
            let b = member!(root, body_as_page);
            let entry = |entry: link::PageEntry<'_>| (entry.seq(), share(bytes, entry.frame()));
            Body::Page {
                chat: ChatId(b.chat().0),
                covers_first: b.covers_first(),
                covers_last: b.covers_last(),
                head_seq: b.head_seq(),
                entries: b.entries().map(|list| list.iter().map(entry).collect()).unwrap_or_default(),
                ticks: b.ticks().map(|ticks| share(bytes, ticks)),
            }
        }
    })
}

fn decode_to_router(bytes: &Bytes, root: &link::Envelope<'_>) -> Result<Body, EnvelopeError> {
    Ok(match root.body_type() {
        link::Body::Push => {
            let b = member!(root, body_as_push);
            Body::Push {
                chat: ChatId(b.chat().0),
                seq: b.seq(),
                frame: share(bytes, b.frame()),
                recipients: decode_recipients(b.recipients())?,
            }
        }
        link::Body::Notify => {
            let b = member!(root, body_as_notify);
            Body::Notify { frame: share(bytes, b.frame()), users: users(b.users())? }
        }
        link::Body::Nudge => {
            let b = member!(root, body_as_nudge);
            let recipients = decode_recipients(b.recipients())?;
            Body::Nudge { chat: ChatId(b.chat().0), head_seq: b.head_seq(), recipients }
        }
        link::Body::GapAll => Body::Gap(GapScope::All),
        link::Body::GapUsers => Body::Gap(GapScope::Users(users(member!(root, body_as_gap_users).users())?)),
        _ => Body::Gap(GapScope::Sessions(decode_sessions(member!(root, body_as_gap_sessions).sessions()))),
    })
}

fn decode_registration(root: &link::Envelope<'_>) -> Result<Body, EnvelopeError> {
    Ok(match root.body_type() {
        link::Body::Register => {
            let b = member!(root, body_as_register);
            Body::Register { user: user(b.user())?, device: DeviceId(b.device()), epoch: b.epoch() }
        }
        link::Body::Unregister => {
            let b = member!(root, body_as_unregister);
            Body::Unregister { user: user(b.user())?, device: DeviceId(b.device()), epoch: b.epoch() }
        }
        link::Body::Registered => Body::Registered { epoch: member!(root, body_as_registered).epoch() },
        _ => Body::Superseded { epoch: member!(root, body_as_superseded).epoch() },
    })
}

fn decode_delivery(bytes: &Bytes, root: &link::Envelope<'_>) -> Result<Body, EnvelopeError> {
    Ok(match root.body_type() {
        link::Body::Deliver => {
            let b = member!(root, body_as_deliver);
            Body::Deliver {
                chat: ChatId(b.chat().0),
                seq: b.seq(),
                frame: share(bytes, b.frame()),
                targets: decode_targets(b.targets()),
            }
        }
        link::Body::DeliverNotice => {
            let b = member!(root, body_as_deliver_notice);
            Body::DeliverNotice { frame: share(bytes, b.frame()), targets: decode_sessions(b.targets()) }
        }
        _ => {
            let b = member!(root, body_as_deliver_nudge);
            Body::DeliverNudge {
                chat: ChatId(b.chat().0),
                head_seq: b.head_seq(),
                targets: decode_targets(b.targets()),
            }
        }
    })
}
