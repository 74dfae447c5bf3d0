/**
 * What a client keeps so that a crash of it loses and doubles nothing.
 *
 * The one rule: when {@link Store.apply} resolves, its changes survive. The client writes nothing to the server that
 * depends on a change before that.
 */

import type { Place } from "../core/position.js";
import type { Act, Extras, Target } from "../wire.js";

/** One chat's position. */
export interface StoredChat {
  readonly chat: string;
  /** Everything up to here was handled; null while the chat's beginning is not known. */
  readonly handled: number | null;
  readonly delivered: Place | null;
  readonly read: Place | null;
  /** Seqs above `handled` that need no handling. */
  readonly had: readonly (readonly [number, number])[];
}

/** A send without outcome. */
export interface StoredSend {
  readonly clientMsgId: string;
  readonly chat: string;
  readonly target: Target;
  readonly body: Uint8Array;
  /** What is done; absent for a message. */
  readonly change?: Act;
  /** What a message says beside its body. */
  readonly extras?: Extras;
  readonly afterSeq: number;
  /** Wall time, ms since 1970. */
  readonly createdMs: number;
  /** Rises with every send: the order they are written in. */
  readonly order: number;
}

/** Whose store it is. */
export interface Identity {
  readonly user: string;
  readonly device: number;
}

/** Whether both are the same device of the same user. */
export function same(a: Identity, b: Identity): boolean {
  return a.user === b.user && a.device === b.device;
}

/** One change. */
export type Change =
  | { readonly type: "identity"; readonly identity: Identity }
  | { readonly type: "chat"; readonly chat: StoredChat }
  | { readonly type: "queued"; readonly send: StoredSend }
  /** The send has its outcome. */
  | { readonly type: "settled"; readonly clientMsgId: string }
  /** Everything up to this time of the server, ms since 1970, was heard. */
  | { readonly type: "synced"; readonly timeMs: number };

/** All that is kept. */
export interface Image {
  readonly identity: Identity | null;
  readonly chats: readonly StoredChat[];
  /** In the order of {@link StoredSend.order}. */
  readonly outbox: readonly StoredSend[];
  /** Of the last `synced`; 0 = none. */
  readonly syncedMs: number;
}

/** A place that keeps it. One client at a time uses one. */
export interface Store {
  /** Reads everything. Called once, first. */
  load(): Promise<Image>;
  /** Keeps changes, all or none, in their order. Never called again before it has resolved. Rejecting ends the client. */
  apply(changes: readonly Change[]): Promise<void>;
  /** Lets go of what it holds. Nothing is called after it. */
  close(): Promise<void>;
}
