/** The open conversation: what is loaded of it, folded; what is missing between. */

import type { Message } from "./history.js";
import { expiryOf, Fold, type Folded } from "./shardwire/index.js";

/** One thing to show: a message as it is now, or a change (`now` null). */
export interface Shown {
  readonly message: Message;
  readonly now: Folded<Message> | null;
}

/** Seqs that are not loaded, though their neighbours are. */
export interface Gap {
  readonly first: number;
  readonly last: number;
}

/** One chat's loaded entries. */
export class Talk {
  /** Ascending by seq. */
  entries: Message[] = [];
  private readonly fold = new Fold<Message>();
  private readonly bySeq = new Map<number, Message>();
  private readonly byId = new Map<string, Message>();
  /** Seqs of which the server says that there is nothing to show. */
  private readonly empty = new Set<number>();

  constructor(
    readonly chat: string,
    hidden: readonly string[],
  ) {
    this.fold.hide(hidden);
  }

  /** Takes entries, in any order, some of them again. */
  add(messages: readonly Message[]): void {
    for (const message of messages) {
      if (expiryOf(message) <= Date.now()) {
        this.empty.add(message.seq);
        continue;
      }
      this.fold.add(message);
      this.bySeq.set(message.seq, message);
      this.byId.set(message.message, message);
    }
    this.entries = [...this.bySeq.values()].sort((a, b) => a.seq - b.seq);
  }

  /** A page speaks for these seqs. */
  cover(first: number, last: number): void {
    for (let seq = first; seq <= last; seq++) this.empty.add(seq);
  }

  hide(message: string): void {
    this.fold.hide([message]);
  }

  /** A loaded entry. */
  find(message: string): Message | undefined {
    return this.byId.get(message);
  }

  /** A message as it is now; null where there is none to show. */
  now(message: string): Folded<Message> | null {
    return this.fold.get(message, Date.now());
  }

  /** Messages as they are now, and changes between them. */
  shown(): Shown[] {
    const changes = this.entries.filter((entry) => entry.change || entry.kind === "timer").map((message) => ({ message, now: null }));
    const messages = this.fold.messages(Date.now()).map((now) => ({ message: now.entry, now }));
    return [...messages, ...changes].sort((a, b) => a.message.seq - b.message.seq);
  }

  /** What is missing between what is loaded. */
  gaps(): Gap[] {
    const gaps: Gap[] = [];
    this.entries.forEach(({ seq }, n) => {
      let first = (this.entries[n - 1]?.seq ?? seq) + 1;
      while (first < seq && this.empty.has(first)) first += 1;
      if (first < seq) gaps.push({ first, last: seq - 1 });
    });
    return gaps;
  }

  /** When the next message disappears, ms since 1970; Infinity when none will. */
  nextExpiry(): number {
    return this.fold.nextExpiry(Date.now());
  }

  /** Forgets what has disappeared; returns the seqs. */
  expire(): number[] {
    const seqs = this.fold.expire(Date.now()).map(({ seq }) => seq);
    for (const seq of seqs) {
      this.bySeq.delete(seq);
      this.empty.add(seq);
    }
    this.entries = this.entries.filter(({ seq }) => this.bySeq.has(seq));
    return seqs;
  }
}
