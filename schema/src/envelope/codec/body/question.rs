//! What clients ask of owners besides pages, what owners ask each other for it, and the answer.

use super::*;
use crate::envelope::ListedChat;

pub(super) fn encode_question(fbb: &mut Builder, body: &Body) -> Union {
    match body {
        &Body::ChatRequest { chat, user, client_request, after_user, limit, blind } => {
            let (chat, user) = (id(chat.0), user.get());
            let chat = Some(&chat);
            union!(
                fbb,
                ChatRequest,
                ChatRequestArgs {
                    chat: chat,
                    user: user,
                    client_request: client_request,
                    after_user: after_user,
                    limit: limit,
                    blind: blind,
                }
            )
        }
        &Body::StatusRequest { chat, user, client_request, message, blind } => {
            let (chat, user, message) = (id(chat.0), user.get(), id(message.0));
            let (chat, message) = (Some(&chat), Some(&message));
            union!(
                fbb,
                StatusRequest,
                StatusRequestArgs {
                    chat: chat,
                    user: user,
                    client_request: client_request,
                    message: message,
                    blind: blind,
                }
            )
        }
        &Body::AccountRequest { user, client_request, chat } => {
            let (user, chat) = (user.get(), chat.map(|chat| id(chat.0)));
            union!(
                fbb,
                AccountRequest,
                AccountRequestArgs { user: user, client_request: client_request, chat: chat.as_ref() }
            )
        }
        &Body::ChatsRequest { user, client_request, before, limit } => {
            let before = before.map(encode_cursor);
            union!(
                fbb,
                ChatsRequest,
                ChatsRequestArgs {
                    user: user.get(),
                    client_request: client_request,
                    before: before.as_ref(),
                    limit: limit,
                }
            )
        }
        &Body::ChatsProbe { user, before, limit, partition, blind } => {
            let before = before.map(encode_cursor);
            union!(
                fbb,
                ChatsProbe,
                ChatsProbeArgs {
                    user: user.get(),
                    before: before.as_ref(),
                    limit: limit,
                    partition: partition,
                    blind: blind
                }
            )
        }
        Body::ChatsPart { chats, more, partition } => {
            let mut offsets = Vec::with_capacity(chats.len());
            for ListedChat { at, frame } in chats {
                let frame = Some(fbb.create_vector(frame));
                let at = encode_cursor(*at);
                offsets.push(link::ListedChat::create(fbb, &link::ListedChatArgs { at: Some(&at), frame }));
            }
            let chats = Some(fbb.create_vector(&offsets));
            union!(fbb, ChatsPart, ChatsPartArgs { chats: chats, more: *more, partition: *partition })
        }
        Body::Answer { frame } => {
            let frame = Some(fbb.create_vector(frame));
            union!(fbb, Answer, AnswerArgs { frame: frame })
        }
        _ => unreachable!("encode_body sends no other kind here"),
    }
}

pub(super) fn decode_question(bytes: &Bytes, root: &link::Envelope<'_>) -> Result<Body, EnvelopeError> {
    Ok(match root.body_type() {
        link::Body::ChatRequest => {
            let b = member!(root, body_as_chat_request);
            Body::ChatRequest {
                chat: ChatId(b.chat().0),
                user: user(b.user())?,
                client_request: b.client_request(),
                after_user: b.after_user(),
                limit: b.limit(),
                blind: b.blind(),
            }
        }
        link::Body::AccountRequest => {
            let b = member!(root, body_as_account_request);
            let chat = b.chat().map(|chat| ChatId(chat.0));
            Body::AccountRequest { user: user(b.user())?, client_request: b.client_request(), chat }
        }
        link::Body::StatusRequest => {
            let b = member!(root, body_as_status_request);
            Body::StatusRequest {
                chat: ChatId(b.chat().0),
                user: user(b.user())?,
                client_request: b.client_request(),
                message: MessageId(b.message().0),
                blind: b.blind(),
            }
        }
        link::Body::ChatsRequest => {
            let b = member!(root, body_as_chats_request);
            let before = b.before().map(decode_cursor);
            let (client_request, limit) = (b.client_request(), b.limit());
            Body::ChatsRequest { user: user(b.user())?, client_request, before, limit }
        }
        link::Body::ChatsProbe => {
            let b = member!(root, body_as_chats_probe);
            let before = b.before().map(decode_cursor);
            let (limit, partition, blind) = (b.limit(), b.partition(), b.blind());
            Body::ChatsProbe { user: user(b.user())?, before, limit, partition, blind }
        }
        link::Body::ChatsPart => {
            let b = member!(root, body_as_chats_part);
            let chat =
                |c: link::ListedChat<'_>| ListedChat { at: decode_cursor(c.at()), frame: share(bytes, c.frame()) };
            let chats = b.chats().map(|list| list.iter().map(chat).collect()).unwrap_or_default();
            Body::ChatsPart { chats, more: b.more(), partition: b.partition() }
        }
        _ => Body::Answer { frame: share(bytes, member!(root, body_as_answer).frame()) },
    })
}
