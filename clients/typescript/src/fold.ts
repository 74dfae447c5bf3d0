/**
 * A chat's messages as they are now, from its entries in any order: pages, live entries, own outcomes, some of them twice.
 *
 * Must stay true: whoever was given the same entries, in whatever order, shows the same. So nothing here says "the last that came";
 * the highest seq decides, and what is deleted stays deleted.
 */

import type { Entry } from "./wire.js";

/** What a fold needs of an entry; what is absent counts as empty. */
export type Foldable = Pick<Entry, "message" | "seq" | "sender" | "kind" | "text" | "timestampMs"> &
  Partial<Pick<Entry, "refersTo" | "mentions" | "ttlS" | "editedSeq" | "editedMs" | "deletedMs">>;

/** A message as it is now. */
export interface Folded<E extends Foldable> {
  /** Its own entry: sender, place, time. */
  readonly entry: E;
  /** The entry that has its body: its own, or that of its last edit. */
  readonly source: E;
  /** What it says; null when that is no text. Empty when it is deleted. */
  readonly text: string | null;
  readonly mentions: readonly string[];
  /** When it was edited last, ms since 1970; 0 = never. */
  readonly editedMs: number;
  /** When it was deleted for everyone, ms since 1970; 0 = it was not. */
  readonly deletedMs: number;
  /** Each user's reaction. */
  readonly reactions: ReadonlyMap<string, string>;
}

/** A body, and the seq of what said it. */
interface Said<E> {
  readonly seq: number;
  readonly source: E;
  readonly editedMs: number;
}

/** What is known of one message, its own entry possibly not yet. */
interface Known<E> {
  entry: E | null;
  said: Said<E> | null;
  deletedMs: number;
  /** By user: what was said last, and at which seq. */
  readonly reactions: Map<string, { seq: number; text: string }>;
}

/** Folds one chat's entries. */
export class Fold<E extends Foldable = Entry> {
  private readonly known = new Map<string, Known<E>>();
  private readonly hidden = new Set<string>();
  private timer = { seq: 0, ttlS: 0 };

  /** How long messages that are sent now stay, s; 0 = for good. */
  get ttlS(): number {
    return this.timer.ttlS;
  }

  /** Takes an entry of the chat; kinds that are about no message are passed over. Returns whether anything may look different. */
  add(entry: E): boolean {
    const target = entry.refersTo ?? null;
    switch (entry.kind) {
      case "message":
        return this.message(entry);
      case "edited":
        // Its body is blank where another edit took its place, or its message was deleted.
        if (target === null || (entry.deletedMs ?? 0) > 0) return false;
        return say(this.at(target), { seq: entry.seq, source: entry, editedMs: entry.timestampMs });
      case "deleted":
        return target !== null && blank(this.at(target), entry.timestampMs);
      case "reacted":
        return target !== null && react(this.at(target), entry);
      case "timer":
        if (entry.seq <= this.timer.seq) return false;
        this.timer = { seq: entry.seq, ttlS: entry.ttlS ?? 0 };
        return true;
      default:
        return false;
    }
  }

  /** These messages are not shown to this user. Returns whether any was. */
  hide(messages: Iterable<string>): boolean {
    const before = this.hidden.size;
    for (const message of messages) this.hidden.add(message);
    return this.hidden.size > before;
  }

  /** A message as it is at this time, ms since 1970; null where there is none to show. */
  get(message: string, nowMs: number): Folded<E> | null {
    const known = this.known.get(message);
    return known ? this.folded(message, known, nowMs) : null;
  }

  /** All messages there are to show at this time, ms since 1970, ascending by seq. */
  messages(nowMs: number): Folded<E>[] {
    const shown = [...this.known].map(([message, known]) => this.folded(message, known, nowMs)).filter((folded) => folded !== null);
    return shown.sort((a, b) => a.entry.seq - b.entry.seq);
  }

  /** When the next message disappears after this time, ms since 1970; Infinity when none will. */
  nextExpiry(nowMs: number): number {
    let next = Infinity;
    for (const { entry } of this.known.values()) {
      const at = entry ? expiryOf(entry) : Infinity;
      if (at > nowMs) next = Math.min(next, at);
    }
    return next;
  }

  /** Forgets the bodies of messages that have disappeared, and returns their entries. */
  expire(nowMs: number): E[] {
    const gone: E[] = [];
    for (const [message, { entry }] of this.known) {
      if (!entry || expiryOf(entry) > nowMs) continue;
      gone.push(entry);
      this.known.delete(message);
      this.hidden.add(message);
    }
    return gone;
  }

  private message(entry: E): boolean {
    const known = this.at(entry.message);
    const [editedSeq, editedMs, deletedMs] = [entry.editedSeq ?? 0, entry.editedMs ?? 0, entry.deletedMs ?? 0];
    const isNew = known.entry === null;
    // Of its own entry only what never changes is looked at: any of them will do.
    known.entry ??= entry;
    const deleted = deletedMs > 0 && blank(known, deletedMs);
    const said = deletedMs === 0 && say(known, { seq: editedSeq || entry.seq, source: entry, editedMs });
    return isNew || deleted || said;
  }

  private at(message: string): Known<E> {
    let known = this.known.get(message);
    if (!known) this.known.set(message, (known = { entry: null, said: null, deletedMs: 0, reactions: new Map() }));
    return known;
  }

  private folded(message: string, { entry, said, deletedMs, reactions }: Known<E>, nowMs: number): Folded<E> | null {
    if (!entry || this.hidden.has(message) || expiryOf(entry) <= nowMs) return null;
    if (deletedMs > 0) return { entry, source: entry, text: "", mentions: [], editedMs: 0, deletedMs, reactions: new Map() };
    const source = said?.source ?? entry;
    const now = new Map([...reactions].filter(([, { text }]) => text !== "").map(([user, { text }]) => [user, text]));
    return { entry, source, text: source.text, mentions: source.mentions ?? [], editedMs: said?.editedMs ?? 0, deletedMs, reactions: now };
  }
}

/** When an entry disappears, ms since 1970; Infinity when it stays. Only messages do: a timer's entry says how long others stay. */
export function expiryOf({ kind, timestampMs, ttlS }: Pick<Foldable, "kind" | "timestampMs" | "ttlS">): number {
  return kind === "message" && ttlS ? timestampMs + 1000 * ttlS : Infinity;
}

function say<E extends Foldable>(known: Known<E>, said: Said<E>): boolean {
  if (known.said && said.seq <= known.said.seq) return false;
  known.said = said;
  return true;
}

function blank<E extends Foldable>(known: Known<E>, deletedMs: number): boolean {
  const first = known.deletedMs === 0 ? deletedMs : Math.min(known.deletedMs, deletedMs);
  if (first === known.deletedMs) return false;
  known.deletedMs = first;
  return true;
}

function react<E extends Foldable>({ reactions }: Known<E>, { sender, seq, text }: E): boolean {
  if (seq <= (reactions.get(sender)?.seq ?? 0)) return false;
  reactions.set(sender, { seq, text: text ?? "" });
  return true;
}
