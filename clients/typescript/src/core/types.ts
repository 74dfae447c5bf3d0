/** What a core is told, what it wants done, and what the application hears. */

import type { Change, Identity } from "../store/store.js";
import type { AccountChange, Act, Entry, Extras, MarkStatus, Member, Refusal, Target } from "../wire.js";

/** Settings; all have working defaults. */
export interface Config {
  /** Name and version of the software, for the operator's eyes. */
  readonly agent: string;
  /** Sends that may wait for their outcome; more are refused. */
  readonly outboxSends: number;
  /** Bytes of bodies that may wait for their outcome. */
  readonly outboxBytes: number;
  /** A send that may have been written and is older fails with `expired`: the server forgets a client_msg_id after 24 h. ms. */
  readonly sendExpiryMs: number;
  /** First and longest wait before a reconnect or a resend, ms; doubles between them, jittered. */
  readonly backoffMs: readonly [number, number];
  /** A request or a handshake without an answer fails after this, ms. */
  readonly answerTimeoutMs: number;
  /** Entries above a gap that are kept until it is filled; more are dropped and fetched again. */
  readonly heldEntries: number;
}

export const DEFAULTS: Config = {
  agent: "shardwire-typescript/0.1.0",
  outboxSends: 10_000,
  outboxBytes: 16 << 20,
  sendExpiryMs: 23 * 60 * 60 * 1000,
  backoffMs: [200, 30_000],
  answerTimeoutMs: 10_000,
  heldEntries: 64,
};

/** Clock and dice: a core reads none itself. */
export interface Env {
  /** ms, never going back. */
  mono(): number;
  /** ms since 1970. */
  wall(): number;
  /** From 0 to below 1. */
  random(): number;
}

/** Why a session ended. */
export type Cause =
  | { readonly why: "connect_failed" | "lost" | "silent" | "bad_frame" }
  | { readonly why: "server"; readonly refusal: Refusal };

/** Why a client ended for good. */
export type End =
  | { readonly why: "closed" }
  /** The server said never to come back. */
  | { readonly why: "server"; readonly refusal: Refusal }
  /** The store, or the identity given, belongs to another user or device than the token. `token`: null where only the server knows whose. */
  | { readonly why: "wrong_identity"; readonly own: Identity; readonly token: Identity | null }
  /** The store or a handler failed: nothing more may be acknowledged. */
  | { readonly why: "application"; readonly error: unknown };

/** Why a send failed for good. */
export type Failure =
  | { readonly why: "refused"; readonly refusal: Refusal }
  | { readonly why: "too_large"; readonly limitBytes: number }
  /** It waited too long to be sent again safely; it may or may not have been stored. */
  | { readonly why: "expired" };

/** A send's place in its chat. */
export interface Sent {
  readonly clientMsgId: string;
  readonly chat: string;
  readonly message: string;
  readonly seq: number;
  readonly timestampMs: number;
  /** What was done, if it was no message: the entry may name fewer users. */
  readonly change: Act | null;
  /** What was said; of an act that of `edited`. */
  readonly body: Uint8Array;
  readonly extras: Extras | null;
  /** What this device had seen of the chat. */
  readonly afterSeq: number;
}

/** What the application hears. */
export type ClientEvent =
  /** A session stands; waiting sends go out now and what was missed is on its way. */
  | { readonly type: "connected"; readonly user: string; readonly device: number }
  /** What was missed has been delivered. */
  | { readonly type: "synced" }
  /** The session ended; the client comes back by itself. */
  | { readonly type: "disconnected"; readonly cause: Cause; readonly retryInMs: number }
  /** Entries, per chat in order of seq, each once. They count as handled when the handler has returned. */
  | { readonly type: "entries"; readonly entries: readonly Entry[] }
  /** A send is durable at the server: its one outcome. */
  | ({ readonly type: "sent" } & Sent)
  /** A send will never be stored: its one outcome. */
  | { readonly type: "failed"; readonly clientMsgId: string; readonly chat: string; readonly failure: Failure }
  /** A send was refused for now and goes again by itself. */
  | { readonly type: "postponed"; readonly clientMsgId: string; readonly refusal: Refusal }
  /** The server keeps a send in a spool; `sent` follows. */
  | { readonly type: "spooled"; readonly clientMsgId: string }
  /** `user` has everything of the chat up to `seq`. Per chat, user and status it only rises. */
  | {
      readonly type: "receipt";
      readonly chat: string;
      readonly user: string;
      readonly seq: number;
      readonly status: MarkStatus;
    }
  /** Members who got or read something while this device was away. What is told rises, as receipts do. */
  | { readonly type: "ticks"; readonly chat: string; readonly members: readonly Member[] }
  /** The user has set something, here or on another device; its entry or outcome was told before. */
  | { readonly type: "account"; readonly change: AccountChange; readonly seq: number; readonly timestampMs: number }
  /** These seqs have expired: there is nothing to wait for. */
  | { readonly type: "covered"; readonly chat: string; readonly first: number; readonly last: number }
  /** The server complains about something that was neither a send nor a request. */
  | { readonly type: "complaint"; readonly refusal: Refusal }
  /** Over for good. Sends without outcome stay in the store. */
  | { readonly type: "ended"; readonly end: End };

/** What a core wants done, in order. `connection` says on which: outputs for an older one are dropped. */
export type Output =
  | { readonly do: "connect"; readonly afterMs: number; readonly connection: number }
  | { readonly do: "write"; readonly data: string | Uint8Array<ArrayBuffer>; readonly connection: number }
  | { readonly do: "close"; readonly connection: number }
  /** Must be durable before any later `write` is done. */
  | { readonly do: "persist"; readonly change: Change }
  | { readonly do: "tell"; readonly event: ClientEvent };

/** A send was not taken. */
export class SendError extends Error {
  /**
   * `outbox_full`, `invalid_id`, `duplicate_id`, `too_large`, `no_identity`, `invalid_target`, `invalid_user`, `invalid_name`,
   * `invalid_message`, `invalid_reaction`, `invalid_timer`, `invalid_setting`, `invalid_device` or `ended`.
   */
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = "SendError";
    this.code = code;
  }
}

/** A request failed. */
export class RequestError extends Error {
  /** `refused`, `timeout` or `ended`. */
  readonly code: string;
  /** The server's answer, if it was `refused`. */
  readonly refusal: Refusal | null;
  constructor(code: string, message: string, refusal: Refusal | null = null) {
    super(message);
    this.name = "RequestError";
    this.code = code;
    this.refusal = refusal;
  }
}

/** What was to be done will never be; or, with `ended`, the client ended before it knew: it stays in its store. */
export class ChangeError extends Error {
  /** The refusal's code, `too_large`, `expired` or `ended`. */
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = "ChangeError";
    this.code = code;
  }
}

/** What to send. */
export interface NewSend {
  readonly clientMsgId: string;
  readonly target: Target;
  readonly body: Uint8Array;
  /** What is done instead of a message; {@link NewAct} makes one. */
  readonly change?: Act;
  /** What a message says beside its body. */
  readonly extras?: Extras;
}

/** What to do: in a chat, with `created` a new one, whose id follows from the client_msg_id, or in the own account log. */
export interface NewAct {
  readonly clientMsgId: string;
  /** The chat; null for `created` and for what is the user's own. */
  readonly chat: string | null;
  readonly change: Act;
  /** What `edited` makes of the message. */
  readonly body?: Uint8Array;
}
