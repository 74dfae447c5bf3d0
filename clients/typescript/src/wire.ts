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
  /** What `users` are from now on; null but for kind `role`. */
  readonly role: Role | null;
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
  | { readonly type: "synced" }
  | { readonly type: "covered"; readonly chat: string; readonly first: number; readonly last: number }
  | { readonly type: "ping"; readonly nonce: number }
  | { readonly type: "pong"; readonly nonce: number }
  | { readonly type: "window"; readonly window: number }
  | { readonly type: "history"; readonly request: number; readonly page: HistoryPage }
  | { readonly type: "chat"; readonly request: number; readonly info: ChatInfo }
  | { readonly type: "chats"; readonly request: number; readonly page: ChatsPage }
  | { readonly type: "status"; readonly request: number; readonly status: MessageStatus }
  /** `ends`: the session is over. */
  | { readonly type: "error"; readonly refusal: Refusal; readonly clientMsgId: string | null; readonly ends: boolean }
  /** Of a later version: to be ignored. */
  | { readonly type: "unknown" };

/** A request of a client, which has one answer. */
export type Question =
  | { readonly type: "history"; readonly request: number; readonly chat: string; readonly afterSeq: number; readonly limit: number }
  | { readonly type: "chat"; readonly request: number; readonly chat: string; readonly afterUser: string | null; readonly limit: number }
  | { readonly type: "chats"; readonly request: number; readonly before: ChatsBefore | null; readonly limit: number }
  | { readonly type: "status"; readonly request: number; readonly chat: string; readonly message: string };

/** Client to server. */
export type ClientFrame =
  | { readonly type: "hello"; readonly token: string; readonly agent: string }
  | {
      readonly type: "send";
      readonly clientMsgId: string;
      readonly target: Target;
      readonly body: Uint8Array;
      /** A group's change instead of a message: the body is not looked at. */
      readonly change?: GroupChange;
      readonly afterSeq: number;
      readonly retry: boolean;
    }
  | {
      readonly type: "mark";
      readonly chat: string;
      readonly message: string;
      readonly seq: number;
      readonly status: MarkStatus;
    }
  | { readonly type: "ping"; readonly nonce: number }
  | { readonly type: "pong"; readonly nonce: number }
  | Question;
