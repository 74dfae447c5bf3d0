/**
 * How far a device is in one chat.
 *
 * Must stay true: `handled <= cursor`; neither ever falls; a seq in `had` is never handed to the application.
 */

import type { StoredChat } from "../store/store.js";

/** What to do with an entry. */
export type Verdict =
  /** It is the next one. */
  | "next"
  /** It was handed over before, or needs no handing over. */
  | "old"
  /** Something before it is missing. */
  | "above";

/** A received entry that is named in marks. */
export interface Place {
  readonly seq: number;
  readonly message: string;
}

/** One chat's position. */
export class Position {
  /** Everything up to here was handed over or needs no handling. Meaningless until `known`. */
  cursor = 0;
  /** Everything up to here was handled by the application. */
  handled = 0;
  /** The highest received entry that was handled: what a `delivered` mark names. */
  delivered: Place | null = null;
  /** What a `read` mark names. */
  read: Place | null = null;
  /** Whether `cursor` means anything: the first entry says where this device left off. */
  known = false;
  /** 2: marked since the last pong; 1: before it; 0: long ago, surely durable. Above 0 is marked again on reconnect. */
  age = 0;
  /** It is to be stored. */
  save = false;
  /** A delivered mark, a read mark is to be written. */
  markDelivered = false;
  markRead = false;
  /** Seqs above `handled` that need no handling: own sends and expired ones. Ascending, apart. */
  private had: [number, number][] = [];
  /** Handed over, not handled yet; ascending. */
  private open: Place[] = [];

  constructor(
    readonly chat: string,
    stored?: StoredChat,
  ) {
    if (!stored) return;
    this.known = stored.handled !== null;
    this.handled = stored.handled ?? 0;
    this.cursor = this.handled;
    this.delivered = stored.delivered;
    this.read = stored.read;
    this.had = stored.had.map(([first, last]) => [first, last]);
    this.age = this.known ? 1 : 0;
    this.absorb();
  }

  /** What a store keeps of it. */
  stored(): StoredChat {
    const had = this.had.map(([first, last]): [number, number] => [first, last]);
    return { chat: this.chat, handled: this.known ? this.handled : null, delivered: this.delivered, read: this.read, had };
  }

  /** Judges an entry. `next` must be followed by {@link advance}. */
  judge(seq: number): Verdict {
    this.learn(seq);
    if (seq <= this.cursor || this.had.some(([first, last]) => first <= seq && seq <= last)) return "old";
    return seq === this.cursor + 1 ? "next" : "above";
  }

  /** The entry after the cursor was handed over. */
  advance(message: string): void {
    this.cursor += 1;
    this.open.push({ seq: this.cursor, message });
    this.absorb();
  }

  /** `first` to `last` need no handling. Returns whether `handled` rose. */
  skip(first: number, last: number): boolean {
    if (this.known && last <= this.handled) return false;
    this.had = merge(this.had, first, last);
    const before = this.handled;
    if (first === 1) this.learn(1);
    this.absorb();
    return this.handled > before;
  }

  /** As {@link skip} for what the server says has expired: also where the chat begins, if nothing was known. */
  expire(first: number, last: number): boolean {
    const was = this.known;
    this.learn(first);
    return this.skip(first, last) || !was;
  }

  /** Everything handed over up to `seq` was handled. Returns whether `handled` rose. */
  handle(seq: number): boolean {
    const before = this.handled;
    this.handled = Math.max(this.handled, Math.min(seq, this.cursor));
    while (this.open[0] && this.open[0].seq <= this.handled) this.delivered = this.open.shift() as Place;
    this.absorb();
    return this.handled > before;
  }

  /** Notes that the user has read up to an entry. Returns whether that is news. */
  readUpTo(place: Place): boolean {
    if (!this.known || place.seq > this.cursor || (this.read && place.seq <= this.read.seq)) return false;
    this.read = { seq: place.seq, message: place.message };
    return true;
  }

  /** The first thing heard of the chat says where this device left off: the server pushes from its acknowledged position. */
  private learn(firstSeq: number): void {
    if (this.known) return;
    this.known = true;
    this.cursor = firstSeq - 1;
    this.handled = firstSeq - 1;
    this.absorb();
  }

  private absorb(): void {
    if (!this.known) return;
    this.cursor = step(this.cursor, this.had);
    // Own sends above an entry that waits for its handling wait with it.
    if (this.open.length === 0 || (this.open[0] as Place).seq > step(this.handled, this.had)) {
      this.handled = step(this.handled, this.had);
    }
    this.had = this.had.filter(([, last]) => last > this.handled);
  }
}

/** The end of the run of ranges that begins right above `seq`. */
function step(seq: number, ranges: readonly (readonly [number, number])[]): number {
  for (const [first, last] of ranges) if (first <= seq + 1 && last > seq) seq = last;
  return seq;
}

/** Adds a range; touching ones become one. */
function merge(ranges: readonly [number, number][], first: number, last: number): [number, number][] {
  const apart = ranges.filter(([a, b]) => b + 1 < first || last + 1 < a);
  for (const [a, b] of ranges) {
    if (b + 1 < first || last + 1 < a) continue;
    first = Math.min(first, a);
    last = Math.max(last, b);
  }
  return [...apart, [first, last] as [number, number]].sort(([a], [b]) => a - b);
}
