/** What a user does beside writing: each is a send like a message, with one outcome. */

import { utf8 } from "./bytes.js";
import type { Sent } from "./core/types.js";
import type { Act, Role } from "./wire.js";

/** The acts of a {@link Client}, by name. */
export abstract class Acts {
  /**
   * Does what is no message: changes a group or makes one (`created`, with `chat` null), amends a message, sets what is the user's
   * own (`chat` null). Stored, sent, and sent again until it has its one outcome, like a message and in order with the chat's
   * messages. The promise has the outcome too: resolved with the ack, rejected with ChangeError. Throws SendError when it is not
   * taken. All that follow are this. `body`: of `edited`.
   */
  abstract change(chat: string | null, change: Act, clientMsgId?: string, body?: Uint8Array): Promise<Sent>;

  /** A new group; the caller is its admin. Resolves with its chat among the rest. */
  createGroup(name: string, users: readonly string[], clientMsgId?: string): Promise<Sent> {
    return this.change(null, { kind: "created", name, users }, clientMsgId);
  }

  /** Admins only. */
  addMembers(chat: string, users: readonly string[], clientMsgId?: string): Promise<Sent> {
    return this.change(chat, { kind: "added", users }, clientMsgId);
  }

  /** Admins only, and not themselves. */
  removeMembers(chat: string, users: readonly string[], clientMsgId?: string): Promise<Sent> {
    return this.change(chat, { kind: "removed", users }, clientMsgId);
  }

  /** What was said before stays readable. */
  leave(chat: string, clientMsgId?: string): Promise<Sent> {
    return this.change(chat, { kind: "left" }, clientMsgId);
  }

  /** Admins only. */
  setRole(chat: string, users: readonly string[], role: Role, clientMsgId?: string): Promise<Sent> {
    return this.change(chat, { kind: "role", users, role }, clientMsgId);
  }

  /** Admins only. A name has 1 to 256 bytes. */
  rename(chat: string, name: string, clientMsgId?: string): Promise<Sent> {
    return this.change(chat, { kind: "renamed", name }, clientMsgId);
  }

  /** What an own message says from now on; within 15 minutes, if the server allows no other time. */
  edit(chat: string, message: string, body: string | Uint8Array, mentions: readonly string[] = [], clientMsgId?: string): Promise<Sent> {
    const bytes = typeof body === "string" ? utf8(body) : body;
    return this.change(chat, { kind: "edited", refersTo: message, mentions }, clientMsgId, bytes);
  }

  /** An own message, or as a group's admin any, is gone for everyone. */
  deleteForEveryone(chat: string, message: string, clientMsgId?: string): Promise<Sent> {
    return this.change(chat, { kind: "deleted", refersTo: message }, clientMsgId);
  }

  /** A message is not shown to this user any more, on any of their devices. */
  deleteForMe(chat: string, message: string, clientMsgId?: string): Promise<Sent> {
    return this.change(null, { kind: "hidden", subject: chat, refersTo: message }, clientMsgId);
  }

  /** The user's one reaction to a message, 1 to 64 bytes; empty takes it back. */
  react(chat: string, message: string, reaction: string, clientMsgId?: string): Promise<Sent> {
    return this.change(chat, { kind: "reacted", refersTo: message, reaction }, clientMsgId);
  }

  /** Messages from now on disappear so long after they were sent, 5 s to 365 days; 0 = they stay. In groups admins only. */
  setTimer(chat: string, ttlS: number, clientMsgId?: string): Promise<Sent> {
    return this.change(chat, { kind: "timer", ttlS }, clientMsgId);
  }

  /** A setting of the user, or with `subject` for a chat: the same on all devices. Empty = the default again. */
  set(key: string, value: string, subject: string | null = null, clientMsgId?: string): Promise<Sent> {
    return this.change(null, { kind: "setting", key, value, subject }, clientMsgId);
  }

  /** Off: nobody is told what this user reads, and the user is not told what others read. */
  setReadReceipts(on: boolean): Promise<Sent> {
    return this.set("read_receipts", on ? "on" : "off");
  }

  /** A chat stays on top. */
  pin(chat: string, on = true): Promise<Sent> {
    return this.set("pinned", on ? "on" : "off", chat);
  }

  /** A chat is out of the way. */
  archive(chat: string, on = true): Promise<Sent> {
    return this.set("archived", on ? "on" : "off", chat);
  }

  /** A chat is quiet until then, ms since 1970; Infinity = for good, 0 = not any more. */
  mute(chat: string, untilMs: number): Promise<Sent> {
    return this.set("muted_until", untilMs === Infinity ? FOR_GOOD : String(Math.trunc(untilMs)), chat);
  }

  /** What a device of the user is called, 1 to 128 bytes. */
  nameDevice(device: number, name: string, clientMsgId?: string): Promise<Sent> {
    return this.change(null, { kind: "device", device, name }, clientMsgId);
  }

  /** A device's session ends, and the tokens it has do not let it in again. Not this device. */
  revokeDevice(device: number, clientMsgId?: string): Promise<Sent> {
    return this.change(null, { kind: "revoked", device }, clientMsgId);
  }
}

const FOR_GOOD = "18446744073709551615";
