/**
 * What client and server say to each other, whatever the encoding. Both codecs speak in these events, so everything above
 * a codec is the same for JSON and FlatBuffers.
 */

/** How a session's frames are written and read. */
export interface Codec {
  /** The WebSocket subprotocol. */
  readonly subprotocol: string;
  /** Writes one event. */
  encode(event: ClientFrame): string | Uint8Array<ArrayBuffer>;
  /**
   * Reads one message. Throws {@link BadFrame} when it is not the protocol.
   * @param data Text, or the bytes of a binary message.
   */
  decode(data: string | Uint8Array): ServerFrame;
}

/** What came is not the protocol. */
export class BadFrame extends Error {
  /** `length`, `identifier` or `tables` as in the conformance vectors' manifest; `fields` for what cannot be meant. */
  readonly reason: string;
  constructor(reason: string, detail: string) {
    super(`${reason}: ${detail}`);
    this.name = "BadFrame";
    this.reason = reason;
  }
}

/** What a member of a group may do: admins change it. */
export type Role = "member" | "admin";

/** A watermark's kind. `read` implies `delivered`. */
export type MarkStatus = "delivered" | "read";

/** One entry of a chat's log. */
export interface Entry {
  /** The chat's id, a hyphenated UUID. */
  readonly chat: string;
  /** The message's id, a hyphenated UUID (version 1). */
  readonly message: string;
  /** Its place in the chat: 1, 2, 3… without holes. */
  readonly seq: number;
  /** Who sent it: a user id, a decimal string. */
  readonly sender: string;
  /** `message`, or the name of another kind (`kind_` and a number where there is no name). */
  readonly kind: string;
  /** The payload as text; null when it is not UTF-8. */
  readonly text: string | null;
  /** The payload. */
  readonly body: Uint8Array;
  /** The sender's id for it; null when it is not UTF-8. */
  readonly clientMsgId: string | null;
  /** The message it amends or answers. */
  readonly refersTo: string | null;
  /** Whom a group's change concerns; empty for everything else. A group's name, new or changed, is the entry's text. */
  readonly users: readonly string[];
  /** Whom a message, or what it was edited to, mentions. */
  readonly mentions: readonly string[];
  /** What `users` are from now on; null but for kind `role`. */
  readonly role: Role | null;
  /** The highest seq of the chat that the sender had seen; 0 = unsaid. */
  readonly afterSeq: number;
  /** How often a message was passed on. */
  readonly forwarded: number;
  /** Of a message: it disappears so long after it was sent, s; of kind `timer`: messages from now on do. 0 = they stay. */
  readonly ttlS: number;
  /** The seq of `refersTo`, of what amends it; else 0. */
  readonly refersSeq: number;
  /** The edit that this one took the place of, whose body is gone; 0 = none. */
  readonly replacesSeq: number;
  /** On a page: the body is that of the edit with this seq; 0 = as it was sent. */
  readonly editedSeq: number;
  /** When that edit was made, ms since 1970. */
  readonly editedMs: number;
  /** On a page: when the body was blanked, ms since 1970; 0 = it was not. Of an edit: another took its place. */
  readonly deletedMs: number;
  /** Of the own account log: which chat it is about. */
  readonly subject: string | null;
  /** Which setting. */
  readonly key: string | null;
  /** Which device was named or revoked; else 0. */
  readonly device: number;
  /** Wall time of the server, ms since 1970. */
  readonly timestampMs: number;
}

/** A page of a chat's log. */
export interface HistoryPage {
  readonly chat: string;
  /** First and last seq this page speaks for; a seq inside without an entry has expired. */
  readonly covers: readonly [number, number];
  /** The chat's last seq. */
  readonly headSeq: number;
  /** Ascending. */
  readonly entries: readonly Entry[];
}

/** A change of a group, as it is asked for. The entry it becomes names only those for whom something changes. */
export type GroupChange =
  /** The sender is a member and its admin. */
  | { readonly kind: "created"; readonly name: string; readonly users: readonly string[] }
  | { readonly kind: "added"; readonly users: readonly string[] }
  | { readonly kind: "removed"; readonly users: readonly string[] }
  | { readonly kind: "left" }
  | { readonly kind: "role"; readonly users: readonly string[]; readonly role: Role }
  | { readonly kind: "renamed"; readonly name: string };

/** What is done to a message of a chat, or with `timer` to those that follow. What `edited` makes of it is the send's body. */
export type Amendment =
  | { readonly kind: "edited"; readonly refersTo: string; readonly mentions?: readonly string[] }
  | { readonly kind: "deleted"; readonly refersTo: string }
  /** The sender's one reaction to it; empty takes it back. */
  | { readonly kind: "reacted"; readonly refersTo: string; readonly reaction: string }
  /** 0 = messages stay. */
  | { readonly kind: "timer"; readonly ttlS: number };

/** What a user sets, in their own account log: the same on all their devices. */
export type AccountChange =
  /** An empty value is the default again. `subject`: the chat that it is about, if it is about one. */
  | { readonly kind: "setting"; readonly key: string; readonly value: string; readonly subject: string | null }
  /** This message is not shown to this user any more. */
  | { readonly kind: "hidden"; readonly subject: string; readonly refersTo: string }
  | { readonly kind: "device"; readonly device: number; readonly name: string }
  | { readonly kind: "revoked"; readonly device: number };

/** Everything that is sent and is no message. */
export type Act = GroupChange | Amendment | AccountChange;

/** What a message says beside its body. */
export interface Extras {
  /** The message that it answers. */
  readonly replyTo?: string;
  /** Who is mentioned: members of the chat, at most 256. */
  readonly mentions?: readonly string[];
  /** How often it has been passed on: the original's number plus one, up to 255. */
  readonly forwarded?: number;
}

/** What a user has set for a chat. */
export interface ChatSettings {
  readonly pinned: boolean;
  readonly archived: boolean;
  /** ms since 1970; 0 = not muted, Infinity = for good. */
  readonly mutedUntilMs: number;
}

/** A device of the user that has named itself or was revoked. */
export interface Device {
  readonly device: number;
  /** Empty if it never named itself. */
  readonly name: string;
  /** ms since 1970; 0 = never. */
  readonly namedMs: number;
  /** ms since 1970; 0 = never. */
  readonly revokedMs: number;
}

/** A user's settings and devices as they are now. */
export interface AccountState {
  /** Those that are about no chat. A value that is not UTF-8 is left out. */
  readonly settings: ReadonlyMap<string, string>;
  readonly devices: readonly Device[];
  /** Messages of the chat that was asked about that the user has hidden. */
  readonly hidden: readonly string[];
}

/** A member of a chat, and how far they are. */
export interface Member {
  readonly user: string;
  readonly role: Role;
  readonly deliveredSeq: number;
  readonly readSeq: number;
}

/** A chat as the asker sees it. */
export interface ChatInfo {
  readonly chat: string;
  readonly kind: "direct" | "account" | "group";
  /** A group's; empty for others. */
  readonly name: string;
  /** Who made a group; null for others. */
  readonly createdBy: string | null;
  /** Present members, ascending by user: a page of them. */
  readonly members: readonly Member[];
  /** Of all pages. */
  readonly memberCount: number;
  /** Ask on after this one; null when that was all. */
  readonly nextUser: string | null;
  /** The last seq that the asker may see. */
  readonly headSeq: number;
  /** Wall time of that entry, ms since 1970. */
  readonly lastMs: number;
  /** What the asker has read up to. */
  readonly readSeq: number;
  /** Messages of others above it. */
  readonly unread: number;
  /** Whether the asker is a member now. */
  readonly present: boolean;
  /** In a list: its last entry. */
  readonly lastEntry: Entry | null;
  /** In a list: what the asker has set for it. */
  readonly settings: ChatSettings | null;
}

/** Where a page of chats ends: the next one is of those older than this. */
export interface ChatsBefore {
  readonly lastMs: number;
  readonly chat: string;
}

/** A page of the user's chats, newest first. */
export interface ChatsPage {
  readonly chats: readonly ChatInfo[];
  /** Ask on before the last of them. */
  readonly hasMore: boolean;
}

/** Who has a message. Its sender is not counted. */
export interface MessageStatus {
  readonly chat: string;
  readonly message: string;
  readonly seq: number;
  readonly total: number;
  /** Those who have it and have not read it. */
  readonly delivered: number;
  readonly read: number;
  /** Who was a member when it was sent, ascending by user; the first thousand. */
  readonly members: readonly { readonly user: string; readonly status: "pending" | MarkStatus }[];
}

/** What the session may do. */
export interface Grant {
  /** Sends that may be unanswered. */
  readonly window: number;
  /** 0 = unlimited. */
  readonly sendsPerSecond: number;
  /** 0 = unlimited. */
  readonly burst: number;
  readonly frameLimitBytes: number;
  readonly pingIntervalMs: number;
}

/** What to do with an error: whether it can be tried again, and how. */
export type Retry = "never" | "same" | "backoff" | "after_reconnect";

/** An answer of the server that is no success. */
export interface Refusal {
  /** The error table's name (docs/ERRORS.md), or `error_` and its number where this build has no name. */
  readonly code: string;
  readonly retry: Retry;
  /** How long to wait, ms; 0 = unsaid. */
  readonly retryAfterMs: number;
  /** For people. Never shown content. */
  readonly text: string;
}

/** Where a send goes: a chat by id, or the direct chat with a user. */
export type Target = { readonly chat: string } | { readonly to: string };

/** Server to client. */
export type ServerFrame =
  | { readonly type: "ready"; readonly user: string; readonly device: number; readonly grant: Grant | null }
  | { readonly type: "entry"; readonly entry: Entry }
  | {
      readonly type: "sent";
      readonly clientMsgId: string;
      readonly chat: string;
      readonly message: string;
      readonly seq: number;
      readonly timestampMs: number;
    }
  | { readonly type: "queued"; readonly clientMsgId: string }
  | {
      readonly type: "receipt";
      readonly chat: string;
      readonly user: string;
      readonly seq: number;
      readonly status: MarkStatus;
    }
  /** `timeMs`: of the server, ms since 1970; 0 = unsaid. */
  | { readonly type: "synced"; readonly timeMs: number }
  | { readonly type: "ticks"; readonly chat: string; readonly members: readonly Member[] }
  | { readonly type: "covered"; readonly chat: string; readonly first: number; readonly last: number }
  | { readonly type: "ping"; readonly nonce: number }
  | { readonly type: "pong"; readonly nonce: number }
  | { readonly type: "window"; readonly window: number }
  | { readonly type: "history"; readonly request: number; readonly page: HistoryPage }
  | { readonly type: "chat"; readonly request: number; readonly info: ChatInfo }
  | { readonly type: "chats"; readonly request: number; readonly page: ChatsPage }
  | { readonly type: "status"; readonly request: number; readonly status: MessageStatus }
  | { readonly type: "account"; readonly request: number; readonly account: AccountState }
  /** `ends`: the session is over. */
  | { readonly type: "error"; readonly refusal: Refusal; readonly clientMsgId: string | null; readonly ends: boolean }
  /** Of a later version: to be ignored. */
  | { readonly type: "unknown" };

/** A request of a client, which has one answer. */
export type Question =
  | { readonly type: "history"; readonly request: number; readonly chat: string; readonly afterSeq: number; readonly limit: number }
  | { readonly type: "chat"; readonly request: number; readonly chat: string; readonly afterUser: string | null; readonly limit: number }
  | { readonly type: "chats"; readonly request: number; readonly before: ChatsBefore | null; readonly limit: number }
  | { readonly type: "status"; readonly request: number; readonly chat: string; readonly message: string }
  | { readonly type: "account"; readonly request: number; readonly chat: string | null };

/** Client to server. */
export type ClientFrame =
  /** `syncedMs`: of the last `synced`; 0 = none. `me`: who this device believes to be, if it knows; `marks`: how many follow directly. */
  | {
      readonly type: "hello";
      readonly token: string;
      readonly agent: string;
      readonly syncedMs: number;
      readonly me: { readonly user: string; readonly device: number } | null;
      readonly marks: number;
    }
  | {
      readonly type: "send";
      readonly clientMsgId: string;
      readonly target: Target;
      readonly body: Uint8Array;
      /** What is done, if it is no message: the body is looked at for `edited` only. */
      readonly change?: Act;
      readonly extras?: Extras;
      readonly afterSeq: number;
      readonly retry: boolean;
    }
  | {
      readonly type: "mark";
      readonly chat: string;
      /** null: `seq` alone says it. */
      readonly message: string | null;
      readonly seq: number;
      readonly status: MarkStatus;
    }
  | { readonly type: "ping"; readonly nonce: number }
  | { readonly type: "pong"; readonly nonce: number }
  | Question;
