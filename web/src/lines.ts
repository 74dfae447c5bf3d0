/** What the conversation shows, line by line. */

import { readers, sentence } from "./groups.js";
import type { Message, Unsent } from "./history.js";
import type { Model } from "./model.js";
import type { Progress } from "./states.js";
import type { Shown } from "./talk.js";

/** One line of the conversation. */
export interface Line {
  readonly key: string;
  readonly text: string;
  readonly mine: boolean;
  readonly sender: string | null;
  readonly timestampMs: number;
  readonly progress: Progress;
  readonly unsent: Unsent | null;
  /** Its entry; null while it has none. */
  readonly message: Message | null;
  /** A change of the group or of the timer, in words; the rest of the line is not drawn then. */
  readonly change: string | null;
  /** Who has an own message of a group, in words. */
  readonly readers: string | null;
  /** The message that it answers. */
  readonly replyTo: string | null;
  readonly mentions: readonly string[];
  readonly forwarded: number;
  readonly edited: boolean;
  readonly deleted: boolean;
  /** Reactions, and who they are of. */
  readonly reactions: readonly (readonly [string, readonly string[]])[];
  /** It was written before its sender saw the last own message before it. */
  readonly crossed: boolean;
}

const PLAIN = { unsent: null, change: null, readers: null, replyTo: null, mentions: [], forwarded: 0, edited: false, deleted: false, reactions: [], crossed: false };

/** The open conversation's lines. `named`: own messages whose readers are named. */
export function linesOf(model: Model, named: ReadonlySet<string>): Line[] {
  const { user } = model.account;
  let ownSeq = 0;
  const line = (shown: Shown): Line => {
    const { message, now } = shown;
    const mine = message.sender === user;
    const crossed = !mine && (message.afterSeq ?? 0) > 0 && (message.afterSeq ?? 0) < ownSeq;
    if (mine && now) ownSeq = message.seq;
    const status = model.group && mine ? model.statuses.get(message.message) : undefined;
    return {
      ...PLAIN,
      key: message.clientMsgId ?? message.message,
      text: now?.text ?? message.text,
      mine,
      sender: message.sender,
      timestampMs: message.timestampMs,
      progress: model.progress(message),
      message,
      change: now ? null : sentence(message, user),
      readers: status ? readers(status, named.has(message.message)) : null,
      replyTo: message.refersTo ?? null,
      mentions: now?.mentions ?? [],
      forwarded: message.forwarded ?? 0,
      edited: (now?.editedMs ?? 0) > 0,
      deleted: (now?.deletedMs ?? 0) > 0,
      reactions: grouped(now?.reactions ?? new Map()),
      crossed,
    };
  };
  const waiting = (unsent: Unsent): Line => ({
    ...PLAIN,
    key: unsent.clientMsgId,
    text: unsent.text,
    mine: true,
    sender: user,
    timestampMs: unsent.createdMs,
    progress: unsent.problem === null ? "waiting" : "failed",
    unsent,
    message: null,
    replyTo: unsent.extras?.replyTo ?? null,
    mentions: unsent.extras?.mentions ?? [],
    forwarded: unsent.extras?.forwarded ?? 0,
  });
  return [...model.shown().map(line), ...model.pending().map(waiting)];
}

function grouped(reactions: ReadonlyMap<string, string>): (readonly [string, readonly string[]])[] {
  const users = new Map<string, string[]>();
  for (const [user, reaction] of reactions) users.set(reaction, [...(users.get(reaction) ?? []), user]);
  return [...users].sort(([a], [b]) => (a < b ? -1 : 1));
}
