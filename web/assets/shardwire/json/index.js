/** JSON text messages, subprotocol `json`. */
import { textOf, toBase64 } from "../bytes.js";
import { isOwn } from "../core/acts.js";
import { ERRORS } from "../generated/errors.js";
import { BadFrame } from "../wire.js";
import { account, chat, history, listed, members, messageStatus } from "./answers.js";
import { entry } from "./entry.js";
import { list, number, range, seq, sometime, text, time, user, uuid } from "./fields.js";
/** The codec that needs no library. */
export const json = { subprotocol: "json", encode, decode };
function encode(event) {
    switch (event.type) {
        case "hello": {
            const { token, syncedMs, me, marks } = event;
            const who = me && { user_id: me.user, device_id: me.device, ...(marks > 0 && { marks }) };
            return JSON.stringify({ type: "auth", token, ...(syncedMs > 0 && { synced: iso(syncedMs) }), ...who });
        }
        case "send":
            return JSON.stringify({ ...said(event), ...besides(event) });
        case "mark": {
            const { chat, message, seq, status } = event;
            return JSON.stringify({ type: "ack", chat_id: chat, ...(message !== null && { message_id: message }), seq, status });
        }
        case "ping":
        case "pong":
            return JSON.stringify(event.nonce === 0 ? { type: event.type } : { type: event.type, nonce: event.nonce });
        case "history": {
            const { request, chat, afterSeq, limit } = event;
            return JSON.stringify({ type: "history", request_id: request, chat_id: chat, after_seq: afterSeq, limit });
        }
        case "chat": {
            const { request, chat, afterUser, limit } = event;
            return JSON.stringify({ type: "chat", request_id: request, chat_id: chat, after_user: afterUser ?? "0", limit });
        }
        case "chats": {
            const { request, before, limit } = event;
            const from = before && { before: { last: iso(before.lastMs), chat_id: before.chat } };
            return JSON.stringify({ type: "chats", request_id: request, ...from, limit });
        }
        case "status":
            return JSON.stringify({ type: "status", request_id: event.request, chat_id: event.chat, message_id: event.message });
        case "account": {
            const of = event.chat === null ? {} : { chat_id: event.chat };
            return JSON.stringify({ type: "account", request_id: event.request, ...of });
        }
    }
}
/** What a send says; the kind of what is no message is its type. */
function said({ target, body, change, extras }) {
    const chat = "chat" in target ? { chat_id: target.chat } : { to: target.to };
    if (change)
        return { type: change.kind, ...(change.kind === "created" || isOwn(change) ? {} : chat), ...act(change, body) };
    const { replyTo, mentions, forwarded } = extras ?? {};
    const answers = replyTo === undefined ? {} : { refers_to: replyTo };
    return { type: "message", ...chat, ...content(body), ...answers, ...(mentions?.length && { mentions }), ...(forwarded && { forwarded }) };
}
function act(change, body) {
    switch (change.kind) {
        case "edited": {
            const { refersTo, mentions } = change;
            return { refers_to: refersTo, ...content(body), ...(mentions?.length && { mentions }) };
        }
        case "deleted":
            return { refers_to: change.refersTo };
        case "reacted":
            return { refers_to: change.refersTo, reaction: change.reaction };
        case "timer":
            return { ttl_s: change.ttlS };
        case "setting":
            return { key: change.key, value: change.value, ...(change.subject !== null && { subject: change.subject }) };
        case "hidden":
            return { subject: change.subject, refers_to: change.refersTo };
        case "device":
            return { device_id: change.device, name: change.name };
        case "revoked":
            return { device_id: change.device };
        default: {
            const { kind, ...fields } = change;
            return fields;
        }
    }
}
function content(body) {
    const text = textOf(body);
    return text === null ? { content_base64: toBase64(body) } : { content: text };
}
/** What every send says. */
function besides({ clientMsgId, afterSeq, retry }) {
    return { ...(afterSeq > 0 && { after_seq: afterSeq }), client_msg_id: clientMsgId, ...(retry && { retry }) };
}
function iso(ms) {
    return new Date(ms).toISOString();
}
function decode(data) {
    if (typeof data !== "string")
        throw new BadFrame("length", "a binary message in a JSON session");
    let value;
    try {
        value = JSON.parse(data);
    }
    catch {
        throw new BadFrame("tables", "not JSON");
    }
    if (typeof value !== "object" || value === null)
        throw new BadFrame("tables", "an event is a JSON object");
    return event(value);
}
function event(fields) {
    switch (fields["type"]) {
        case "ready":
            return { type: "ready", user: user(fields, "user_id"), device: number(fields, "device_id"), grant: null };
        case "message":
        case "entry":
            return { type: "entry", entry: entry(fields) };
        case "ack":
            return ack(fields);
        case "synced":
            return { type: "synced", timeMs: sometime(fields, "server_time") };
        case "ticks":
            return { type: "ticks", chat: uuid(fields, "chat_id"), members: members(fields) };
        case "account":
            return { type: "account", request: number(fields, "request_id"), account: account(fields) };
        case "covered":
            return { type: "covered", chat: uuid(fields, "chat_id"), ...range(seq(fields, "first_seq"), seq(fields, "last_seq")) };
        case "ping":
        case "pong":
            return { type: fields["type"], nonce: fields["nonce"] === undefined ? 0 : number(fields, "nonce") };
        case "window":
            return { type: "window", window: number(fields, "window") };
        case "history":
            return history(fields);
        case "chat":
            return { type: "chat", request: number(fields, "request_id"), info: chat(fields) };
        case "chats": {
            const page = { chats: list(fields, "chats").map(listed), hasMore: fields["has_more"] === true };
            return { type: "chats", request: number(fields, "request_id"), page };
        }
        case "status":
            return { type: "status", request: number(fields, "request_id"), status: messageStatus(fields) };
        case "error":
            return error(fields);
        default:
            return { type: "unknown" };
    }
}
function ack(fields) {
    const status = fields["status"];
    if (status === "delivered" || status === "read") {
        const [chat, who] = [uuid(fields, "chat_id"), user(fields, "user_id")];
        return { type: "receipt", chat, user: who, seq: seq(fields, "seq"), status };
    }
    const clientMsgId = text(fields, "client_msg_id");
    if (status === "queued")
        return { type: "queued", clientMsgId };
    if (status !== "sent")
        return { type: "unknown" };
    const [chat, message] = [uuid(fields, "chat_id"), uuid(fields, "message_id")];
    return { type: "sent", clientMsgId, chat, message, seq: seq(fields, "seq"), timestampMs: time(fields, "timestamp") };
}
function error(fields) {
    const code = text(fields, "code");
    const row = ERRORS.find((known) => known.name === code);
    const wait = fields["retry_after_ms"];
    const refusal = {
        code,
        // A code of a later version: try again later, here.
        retry: row?.retry ?? "backoff",
        retryAfterMs: typeof wait === "number" && wait >= 0 ? wait : (row?.retryAfterMs ?? 0),
        text: typeof fields["text"] === "string" ? fields["text"] : (row?.text ?? code),
    };
    const id = fields["client_msg_id"];
    return { type: "error", refusal, clientMsgId: typeof id === "string" ? id : null, ends: row?.scope === "session" };
}
