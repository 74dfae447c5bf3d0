/** Everything that is sent and is no message: group changes, amendments, account changes, before they are sends like any other. */

import { isUser, isUuid, utf8 } from "../bytes.js";
import { accountChat, groupChat } from "../ids.js";
import type { Identity } from "../store/store.js";
import type { AccountChange, Act, Amendment, Entry, Extras, GroupChange } from "../wire.js";
import { type NewAct, type NewSend, SendError } from "./types.js";

const NAME_BYTES = 256;
const DEVICE_NAME_BYTES = 128;
const REACTION_BYTES = 64;
const MENTIONS = 256;
/** The shortest and longest time that messages stay, s. */
const TTL_S = [5, 365 * 86_400] as const;
/** A user id in JSON, at most, bytes. */
const USER_BYTES = 24;
/** An id, with its name, in JSON, bytes. */
const ID_BYTES = 56;

const OWN: ReadonlySet<string> = new Set<AccountChange["kind"]>(["setting", "hidden", "device", "revoked"]);

/** Whether this goes to the own account log. */
export function isOwn(change: Act): change is AccountChange {
  return OWN.has(change.kind);
}

/** The send that does it. Throws {@link SendError} when it cannot be meant. */
export function sendOf({ clientMsgId, chat, change, body }: NewAct, me: Identity | null): NewSend {
  check(change);
  const nowhere = isOwn(change) || change.kind === "created";
  if ((chat === null) !== nowhere) {
    throw new SendError("invalid_target", `${change.kind} ${nowhere ? "names no chat" : "needs the chat that it is about"}`);
  }
  if (chat === null && !me) {
    throw new SendError("no_identity", "the own user id is not known before the first session: give `identity`");
  }
  const { user } = me ?? { user: "" };
  const where = chat ?? (isOwn(change) ? accountChat(user) : groupChat(user, clientMsgId));
  return { clientMsgId, target: { chat: where }, body: body ?? new Uint8Array(), change };
}

/** The change that an entry made to its group; null when it made none that this build knows. */
export function changeOf({ kind, users, role, text }: Pick<Entry, "kind" | "users" | "role" | "text">): GroupChange | null {
  switch (kind) {
    case "created":
      return { kind, users, name: text ?? "" };
    case "added":
    case "removed":
      return { kind, users };
    case "left":
      return { kind };
    case "role":
      return { kind, users, role: role ?? "member" };
    case "renamed":
      return { kind, name: text ?? "" };
    default:
      return null;
  }
}

/** What an entry did to a message, or to the chat's timer; null when it did nothing of the kind. The body of an edit is the entry's. */
export function amendmentOf({ kind, refersTo, mentions, text, ttlS }: Entry): Amendment | null {
  if (kind === "timer") return { kind, ttlS };
  if (refersTo === null) return null;
  if (kind === "edited") return { kind, refersTo, mentions };
  if (kind === "deleted") return { kind, refersTo };
  return kind === "reacted" ? { kind, refersTo, reaction: text ?? "" } : null;
}

/** What an entry of the own account log set; null when it set nothing that this build knows. */
export function accountChangeOf({ kind, key, text, subject, refersTo, device }: Entry): AccountChange | null {
  if (kind === "setting") return key === null || text === null ? null : { kind, key, value: text, subject };
  if (kind === "hidden") return subject === null || refersTo === null ? null : { kind, subject, refersTo };
  if (kind === "device") return { kind, device, name: text ?? "" };
  return kind === "revoked" ? { kind, device } : null;
}

/** What a send takes in a frame beside its ids and its body, at most, bytes. */
export function bytesBeside(change: Act | undefined, extras: Extras | undefined): number {
  const users = (change && "users" in change ? change.users.length : 0) + (extras?.mentions?.length ?? 0);
  const mentions = change?.kind === "edited" ? (change.mentions?.length ?? 0) : 0;
  const texts = change === undefined ? [] : [change].flatMap((of) => ["name", "reaction", "key", "value"].map((name) => textIn(of, name)));
  const ids = (extras?.replyTo ? 1 : 0) + (change && "refersTo" in change ? 1 : 0) + (change && "subject" in change ? 1 : 0);
  return (users + mentions) * USER_BYTES + ids * ID_BYTES + texts.reduce((sum, text) => sum + utf8(text).length, 0);
}

/** Throws {@link SendError} when a message cannot say this. */
export function checkExtras({ replyTo, mentions, forwarded }: Extras): void {
  if (replyTo !== undefined) message(replyTo);
  if (mentions) mentioned(mentions);
  if (forwarded !== undefined && !within(forwarded, 0, 255)) throw new SendError("invalid_message", `forwarded ${forwarded}: it is 0 to 255`);
}

function check(change: Act): void {
  switch (change.kind) {
    case "edited":
      message(change.refersTo);
      return mentioned(change.mentions ?? []);
    case "deleted":
      return message(change.refersTo);
    case "reacted":
      message(change.refersTo);
      if (sizeOf(change.reaction) <= REACTION_BYTES) return;
      throw new SendError("invalid_reaction", `a reaction has at most ${REACTION_BYTES} bytes, not ${sizeOf(change.reaction)}`);
    case "timer":
      if (change.ttlS === 0 || within(change.ttlS, ...TTL_S)) return;
      throw new SendError("invalid_timer", `messages stay ${TTL_S[0]} to ${TTL_S[1]} s, or with 0 for good, not ${change.ttlS} s`);
    case "setting":
      if (change.key === "") throw new SendError("invalid_setting", "a setting needs its key");
      return change.subject === null ? undefined : chatId(change.subject);
    case "hidden":
      chatId(change.subject);
      return message(change.refersTo);
    case "device":
      named(change.name, "a device's name", DEVICE_NAME_BYTES);
      return device(change.device);
    case "revoked":
      return device(change.device);
    default:
      if ("name" in change) named(change.name, "a group's name", NAME_BYTES);
      if (!("users" in change)) return;
      if (change.users.length === 0 && change.kind !== "created") throw new SendError("invalid_user", "name at least one user");
      return known(change.users);
  }
}

function message(id: string): void {
  if (!isUuid(id)) throw new SendError("invalid_message", `"${id}" is no message id: a hyphenated UUID in lower case`);
}

function chatId(id: string): void {
  if (!isUuid(id)) throw new SendError("invalid_target", `"${id}" is no chat id: a hyphenated UUID in lower case`);
}

function device(id: number): void {
  if (!within(id, 0, 0xffff_ffff)) throw new SendError("invalid_device", `${id} is no device id: a whole number below 2^32`);
}

function named(name: string, what: string, most: number): void {
  const bytes = sizeOf(name);
  if (bytes < 1 || bytes > most) throw new SendError("invalid_name", `${what} has 1 to ${most} bytes, not ${bytes}`);
}

function mentioned(users: readonly string[]): void {
  if (users.length > MENTIONS) throw new SendError("invalid_user", `at most ${MENTIONS} can be mentioned, not ${users.length}`);
  known(users);
}

function known(users: readonly string[]): void {
  const wrong = users.find((user) => !isUser(user));
  if (wrong !== undefined) throw new SendError("invalid_user", `"${wrong}" is no user id: a decimal number above 0, as text`);
}

function within(number: number, least: number, most: number): boolean {
  return Number.isInteger(number) && number >= least && number <= most;
}

function sizeOf(text: string): number {
  return utf8(text).length;
}

function textIn(change: Act, name: string): string {
  const found = (change as unknown as Readonly<Record<string, unknown>>)[name];
  return typeof found === "string" ? found : "";
}
