/** Entries as the page keeps them, and what it says of them. */
import { nameOf } from "./dom.js";
import { sentence } from "./groups.js";
import { expiryOf } from "./shardwire/index.js";
/** Kinds of entries that change a group and are told in the conversation. */
const CHANGES = new Set(["created", "added", "removed", "left", "role", "renamed"]);
const SHOWN = new Set([...CHANGES, "message", "edited", "deleted", "reacted", "timer"]);
/** Whether the conversation needs this entry. */
export function isShown({ kind }) {
    return SHOWN.has(kind);
}
/** An entry as it is kept; what is 0 or empty is left out. */
export function messageOf(entry) {
    const { chat, seq, message, sender, timestampMs, clientMsgId, kind, users, role, refersTo } = entry;
    const text = entry.text ?? `(${entry.body.length} bytes that are no text)`;
    const { refersSeq, replacesSeq, mentions, forwarded, afterSeq, ttlS, editedSeq, editedMs, deletedMs } = entry;
    const place = { chat, seq, message, sender, timestampMs, clientMsgId, text, kind };
    const more = filled({ refersSeq, replacesSeq, forwarded, afterSeq, ttlS, editedSeq, editedMs, deletedMs });
    const answers = { ...(refersTo !== null && { refersTo }), ...(mentions.length > 0 && { mentions }) };
    return { ...place, ...more, ...answers, ...(CHANGES.has(kind) && { change: { kind, users, role } }) };
}
/** An own send that is durable, as its entry will be. `find`: the seq of a message. */
export function messageOfSent(sent, me, chat, find) {
    const { seq, message, timestampMs, clientMsgId, change, extras, afterSeq } = sent;
    const place = { chat: chat.chat, seq, message, sender: me, timestampMs, clientMsgId, ...filled({ afterSeq }) };
    const body = new TextDecoder().decode(sent.body);
    if (!change) {
        const { replyTo, mentions, forwarded } = extras ?? {};
        const answers = { ...(replyTo !== undefined && { refersTo: replyTo }), ...(mentions && { mentions }) };
        return { ...place, kind: "message", text: body, ...answers, ...filled({ forwarded, ttlS: chat.timer?.ttlS }) };
    }
    const { kind } = change;
    if (kind === "timer")
        return { ...place, kind, text: "", ttlS: change.ttlS };
    if ("refersTo" in change) {
        const text = kind === "reacted" ? change.reaction : body;
        const mentions = kind === "edited" ? change.mentions : undefined;
        return { ...place, kind, text, refersTo: change.refersTo, ...filled({ refersSeq: find(change.refersTo) }), ...(mentions && { mentions }) };
    }
    const { name = "", users = [], role = null } = { name: undefined, users: undefined, role: undefined, ...change };
    return { ...place, kind, text: name, change: { kind, users, role } };
}
/** The fields that are not 0. */
function filled(fields) {
    return Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
}
/** What is shown of what is gone. */
export const DELETED = "This message was deleted";
/** Brings what the list says of a chat in step with an entry. */
export function note(chat, message, me) {
    const { kind, seq, timestampMs, sender, refersTo, text, ttlS = 0 } = message;
    const mine = sender === me;
    if (kind === "timer" && seq > (chat.timer?.seq ?? 0))
        chat.timer = { seq, ttlS };
    const named = (said) => (chat.group && !mine ? `${nameOf(sender)}: ${said}` : said);
    if ((kind === "edited" || kind === "deleted") && chat.last?.message === refersTo && !message.deletedMs && chat.last) {
        chat.last.text = named(kind === "deleted" ? DELETED : text);
    }
    if (seq <= (chat.last?.seq ?? 0) || kind === "edited" || kind === "deleted" || kind === "reacted")
        return;
    if (kind !== "message")
        chat.last = { text: sentence(message, me), mine: false, seq, timestampMs };
    else {
        const expiresMs = expiryOf(message);
        const last = { text: named(message.deletedMs ? DELETED : text), mine, seq, timestampMs, message: message.message };
        chat.last = expiresMs < Infinity ? { ...last, expiresMs } : last;
    }
}
/** Chats that there is something to show of: pinned ones first, then the one that moved last. */
export function inOrder(chats, unsent) {
    const at = (chat) => {
        const waiting = unsent.filter((each) => each.chat === chat.chat).map(({ createdMs }) => createdMs);
        return Math.max(chat.last?.timestampMs ?? 0, ...waiting);
    };
    const known = chats.filter((chat) => chat.peer !== null || chat.group || chat.last);
    return known.sort((a, b) => Number(b.pinned ?? false) - Number(a.pinned ?? false) || at(b) - at(a));
}
