/** Entries of a chat's log, as JSON. */
import { textOf } from "../bytes.js";
import { count, octets, role, seq, sometime, text, time, user, users, uuid, wrong } from "./fields.js";
/** Where the body of a kind is; of others it is `body`. */
const BODIES = {
    message: "content",
    edited: "content",
    reacted: "reaction",
    created: "name",
    renamed: "name",
    setting: "value",
    device: "name",
};
/** A `message` or an `entry`. */
export function entry(fields) {
    const kind = fields["type"] === "message" ? "message" : text(fields, "kind");
    const name = Object.hasOwn(BODIES, kind) ? BODIES[kind] : "body";
    if (kind === "message" && fields["content"] === undefined && fields["content_base64"] === undefined)
        wrong("content");
    const body = octets(fields, name);
    const id = fields["client_msg_id"];
    const optional = (field) => (fields[field] === undefined ? null : uuid(fields, field));
    return {
        chat: uuid(fields, "chat_id"),
        message: uuid(fields, "message_id"),
        seq: seq(fields, "seq"),
        sender: user(fields, "sender_id"),
        kind,
        text: textOf(body),
        body,
        clientMsgId: typeof id === "string" ? id : null,
        refersTo: optional("refers_to"),
        users: users(fields, "users"),
        mentions: users(fields, "mentions"),
        role: fields["role"] === undefined ? null : role(fields),
        afterSeq: count(fields, "after_seq"),
        forwarded: count(fields, "forwarded"),
        ttlS: count(fields, "ttl_s"),
        refersSeq: count(fields, "refers_seq"),
        replacesSeq: count(fields, "replaces_seq"),
        editedSeq: count(fields, "edited_seq"),
        editedMs: sometime(fields, "edited_at"),
        deletedMs: sometime(fields, "deleted_at"),
        subject: optional("subject"),
        key: typeof fields["key"] === "string" ? fields["key"] : null,
        device: count(fields, "device_id"),
        timestampMs: time(fields, "timestamp"),
    };
}
