/** What a user does beside writing: each is a send like a message, with one outcome. */
import { utf8 } from "./bytes.js";
/** The acts of a {@link Client}, by name. */
export class Acts {
    /** A new group; the caller is its admin. Resolves with its chat among the rest. */
    createGroup(name, users, clientMsgId) {
        return this.change(null, { kind: "created", name, users }, clientMsgId);
    }
    /** Admins only. */
    addMembers(chat, users, clientMsgId) {
        return this.change(chat, { kind: "added", users }, clientMsgId);
    }
    /** Admins only, and not themselves. */
    removeMembers(chat, users, clientMsgId) {
        return this.change(chat, { kind: "removed", users }, clientMsgId);
    }
    /** What was said before stays readable. */
    leave(chat, clientMsgId) {
        return this.change(chat, { kind: "left" }, clientMsgId);
    }
    /** Admins only. */
    setRole(chat, users, role, clientMsgId) {
        return this.change(chat, { kind: "role", users, role }, clientMsgId);
    }
    /** Admins only. A name has 1 to 256 bytes. */
    rename(chat, name, clientMsgId) {
        return this.change(chat, { kind: "renamed", name }, clientMsgId);
    }
    /** What an own message says from now on; within 15 minutes, if the server allows no other time. */
    edit(chat, message, body, mentions = [], clientMsgId) {
        const bytes = typeof body === "string" ? utf8(body) : body;
        return this.change(chat, { kind: "edited", refersTo: message, mentions }, clientMsgId, bytes);
    }
    /** An own message, or as a group's admin any, is gone for everyone. */
    deleteForEveryone(chat, message, clientMsgId) {
        return this.change(chat, { kind: "deleted", refersTo: message }, clientMsgId);
    }
    /** A message is not shown to this user any more, on any of their devices. */
    deleteForMe(chat, message, clientMsgId) {
        return this.change(null, { kind: "hidden", subject: chat, refersTo: message }, clientMsgId);
    }
    /** The user's one reaction to a message, 1 to 64 bytes; empty takes it back. */
    react(chat, message, reaction, clientMsgId) {
        return this.change(chat, { kind: "reacted", refersTo: message, reaction }, clientMsgId);
    }
    /** Messages from now on disappear so long after they were sent, 5 s to 365 days; 0 = they stay. In groups admins only. */
    setTimer(chat, ttlS, clientMsgId) {
        return this.change(chat, { kind: "timer", ttlS }, clientMsgId);
    }
    /** A setting of the user, or with `subject` for a chat: the same on all devices. Empty = the default again. */
    set(key, value, subject = null, clientMsgId) {
        return this.change(null, { kind: "setting", key, value, subject }, clientMsgId);
    }
    /** Off: nobody is told what this user reads, and the user is not told what others read. */
    setReadReceipts(on) {
        return this.set("read_receipts", on ? "on" : "off");
    }
    /** A chat stays on top. */
    pin(chat, on = true) {
        return this.set("pinned", on ? "on" : "off", chat);
    }
    /** A chat is out of the way. */
    archive(chat, on = true) {
        return this.set("archived", on ? "on" : "off", chat);
    }
    /** A chat is quiet until then, ms since 1970; Infinity = for good, 0 = not any more. */
    mute(chat, untilMs) {
        return this.set("muted_until", untilMs === Infinity ? FOR_GOOD : String(Math.trunc(untilMs)), chat);
    }
    /** What a device of the user is called, 1 to 128 bytes. */
    nameDevice(device, name, clientMsgId) {
        return this.change(null, { kind: "device", device, name }, clientMsgId);
    }
    /** A device's session ends, and the tokens it has do not let it in again. Not this device. */
    revokeDevice(device, clientMsgId) {
        return this.change(null, { kind: "revoked", device }, clientMsgId);
    }
}
const FOR_GOOD = "18446744073709551615";
