/** JSON text messages, subprotocol `json`. */
import { fromBase64, isSeq, isUser, isUuid, textOf, toBase64, utf8 } from "./bytes.js";
import { ERRORS } from "./generated/errors.js";
import { BadFrame, } from "./wire.js";
/** The codec that needs no library. */
export const json = { subprotocol: "json", encode, decode };
function encode(event) {
    switch (event.type) {
        case "hello":
            return JSON.stringify({ type: "auth", token: event.token });
        case "send": {
            if (event.change)
                return JSON.stringify(changeOf(event, event.change));
            const text = textOf(event.body);
            const body = text === null ? { content_base64: toBase64(event.body) } : { content: text };
            const target = "chat" in event.target ? { chat_id: event.target.chat } : { to: event.target.to };
            const retry = event.retry ? { retry: true } : {};
            return JSON.stringify({ type: "message", ...target, ...body, client_msg_id: event.clientMsgId, ...retry });
        }
        case "mark":
            return JSON.stringify({ type: "ack", chat_id: event.chat, message_id: event.message, status: event.status });
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
            const from = before && { before: { last: new Date(before.lastMs).toISOString(), chat_id: before.chat } };
            return JSON.stringify({ type: "chats", request_id: request, ...from, limit });
        }
        case "status":
            return JSON.stringify({ type: "status", request_id: event.request, chat_id: event.chat, message_id: event.message });
    }
}
/** The event of a change: its kind is its type. */
function changeOf({ clientMsgId, target, retry }, { kind, ...fields }) {
    const chat = kind === "created" || !("chat" in target) ? {} : { chat_id: target.chat };
    return { type: kind, ...chat, ...fields, client_msg_id: clientMsgId, ...(retry ? { retry } : {}) };
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
            return { type: "synced" };
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
            const page = { chats: list(fields, "chats").map(chat), hasMore: fields["has_more"] === true };
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
function entry(fields) {
    // The name of a group is what its entry's body is natively.
    const name = fields["type"] === "message" ? "content" : fields["name"] === undefined ? "body" : "name";
    const id = fields["client_msg_id"];
    const body = octets(fields, name);
    return {
        chat: uuid(fields, "chat_id"),
        message: uuid(fields, "message_id"),
        seq: seq(fields, "seq"),
        sender: user(fields, "sender_id"),
        kind: fields["type"] === "message" ? "message" : text(fields, "kind"),
        text: textOf(body),
        body,
        clientMsgId: typeof id === "string" ? id : null,
        refersTo: fields["refers_to"] === undefined ? null : uuid(fields, "refers_to"),
        users: users(fields),
        role: fields["role"] === undefined ? null : role(fields),
        timestampMs: time(fields, "timestamp"),
    };
}
function history(fields) {
    const covers = [number(fields, "covers_first_seq"), number(fields, "covers_last_seq")];
    const page = {
        chat: uuid(fields, "chat_id"),
        covers,
        headSeq: number(fields, "head_seq"),
        entries: list(fields, "entries").map(entry),
    };
    return { type: "history", request: number(fields, "request_id"), page };
}
function chat(fields) {
    const kind = fields["kind"];
    if (kind !== "direct" && kind !== "account" && kind !== "group")
        return wrong("kind");
    const [creator, next, last] = [fields["created_by"], fields["next_user"], fields["last_entry"]];
    return {
        chat: uuid(fields, "chat_id"),
        kind,
        name: fields["name"] === undefined ? "" : text(fields, "name"),
        createdBy: isNobody(creator) ? null : user(fields, "created_by"),
        members: list(fields, "members").map((each) => {
            const [deliveredSeq, readSeq] = [number(each, "delivered_seq"), number(each, "read_seq")];
            return { user: user(each, "user_id"), role: role(each), deliveredSeq, readSeq };
        }),
        memberCount: number(fields, "member_count"),
        nextUser: isNobody(next) ? null : user(fields, "next_user"),
        headSeq: number(fields, "head_seq"),
        lastMs: time(fields, "last"),
        readSeq: number(fields, "read_seq"),
        unread: number(fields, "unread"),
        present: fields["present"] === true,
        lastEntry: typeof last === "object" && last !== null ? entry(last) : null,
    };
}
function messageStatus(fields) {
    const members = list(fields, "members").map((each) => {
        const status = each["status"];
        if (status !== "pending" && status !== "delivered" && status !== "read")
            return wrong("status");
        return { user: user(each, "user_id"), status };
    });
    const [total, delivered, read] = [number(fields, "total"), number(fields, "delivered"), number(fields, "read")];
    const [chat, message] = [uuid(fields, "chat_id"), uuid(fields, "message_id")];
    return { chat, message, seq: seq(fields, "seq"), total, delivered, read, members };
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
function wrong(name) {
    throw new BadFrame("fields", `${name} is missing or of the wrong type`);
}
function text(fields, name) {
    const value = fields[name];
    return typeof value === "string" ? value : wrong(name);
}
function uuid(fields, name) {
    const value = fields[name];
    return isUuid(value) ? value : wrong(name);
}
function user(fields, name) {
    const value = fields[name];
    return isUser(value) ? value : wrong(name);
}
/** Whether this stands for nobody: nothing, or the user 0. */
function isNobody(value) {
    return value === undefined || value === null || value === "0";
}
function role(fields) {
    const value = fields["role"];
    return value === "member" || value === "admin" ? value : wrong("role");
}
/** A list of objects. */
function list(fields, name) {
    const value = fields[name];
    const objects = Array.isArray(value) && value.every((each) => typeof each === "object" && each !== null);
    return objects ? value : wrong(name);
}
function users(fields) {
    const value = fields["users"] ?? [];
    return Array.isArray(value) && value.every(isUser) ? value : wrong("users");
}
function number(fields, name) {
    const value = fields[name];
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : wrong(name);
}
function seq(fields, name) {
    const value = fields[name];
    return isSeq(value) ? value : wrong(name);
}
function range(first, last) {
    return first <= last ? { first, last } : wrong("last_seq");
}
function octets(fields, name) {
    const base64 = fields[`${name}_base64`];
    if (typeof base64 === "string")
        return fromBase64(base64);
    // An entry that is no message may have no body.
    return fields[name] === undefined && name === "body" ? new Uint8Array() : utf8(text(fields, name));
}
function time(fields, name) {
    const ms = Date.parse(text(fields, name));
    return Number.isNaN(ms) ? wrong(name) : ms;
}
