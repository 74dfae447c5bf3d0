/** What a server answers to questions, as JSON. */
import { entry } from "./entry.js";
import { isNobody, list, number, role, seq, sometime, text, time, user, uuid, uuids, wrong } from "./fields.js";
/** The time that stands for ever: 9999-12-31T23:59:59.999Z. */
const FOR_GOOD = 253_402_300_799_999;
/** A page of a chat's log. */
export function history(fields) {
    const covers = [number(fields, "covers_first_seq"), number(fields, "covers_last_seq")];
    const page = {
        chat: uuid(fields, "chat_id"),
        covers,
        headSeq: number(fields, "head_seq"),
        entries: list(fields, "entries").map(entry),
    };
    return { type: "history", request: number(fields, "request_id"), page };
}
/** A chat as the asker sees it. */
export function chat(fields) {
    const kind = fields["kind"];
    if (kind !== "direct" && kind !== "account" && kind !== "group")
        return wrong("kind");
    const [creator, next, last] = [fields["created_by"], fields["next_user"], fields["last_entry"]];
    return {
        chat: uuid(fields, "chat_id"),
        kind,
        name: fields["name"] === undefined ? "" : text(fields, "name"),
        createdBy: isNobody(creator) ? null : user(fields, "created_by"),
        members: members(fields),
        memberCount: number(fields, "member_count"),
        nextUser: isNobody(next) ? null : user(fields, "next_user"),
        headSeq: number(fields, "head_seq"),
        lastMs: time(fields, "last"),
        readSeq: number(fields, "read_seq"),
        unread: number(fields, "unread"),
        present: fields["present"] === true,
        lastEntry: typeof last === "object" && last !== null ? entry(last) : null,
        settings: null,
    };
}
/** A chat of a list: with what the asker has set for it. */
export function listed(fields) {
    const until = sometime(fields, "muted_until");
    const mutedUntilMs = until >= FOR_GOOD ? Infinity : until;
    return { ...chat(fields), settings: { pinned: fields["pinned"] === true, archived: fields["archived"] === true, mutedUntilMs } };
}
/** Members of a chat, and how far they are; ticks say no roles. */
export function members(fields) {
    return list(fields, "members").map((each) => {
        const [deliveredSeq, readSeq] = [number(each, "delivered_seq"), number(each, "read_seq")];
        return { user: user(each, "user_id"), role: each["role"] === undefined ? "member" : role(each), deliveredSeq, readSeq };
    });
}
/** A user's settings and devices. */
export function account(fields) {
    const settings = list(fields, "settings").filter((each) => typeof each["key"] === "string" && typeof each["value"] === "string");
    const devices = list(fields, "devices").map((each) => {
        const name = typeof each["name"] === "string" ? each["name"] : "";
        return { device: number(each, "device_id"), name, namedMs: sometime(each, "named_at"), revokedMs: sometime(each, "revoked_at") };
    });
    return { settings: new Map(settings.map((each) => [text(each, "key"), text(each, "value")])), devices, hidden: uuids(fields, "hidden") };
}
/** Who has a message. */
export function messageStatus(fields) {
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
