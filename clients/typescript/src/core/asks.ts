/** History requests: one runs at a time, they survive reconnects; a page is an answer, whoever wants more asks on. */

import type { HistoryPage, Refusal } from "../wire.js";
import { HistoryError } from "./types.js";

interface Ask {
  readonly request: number;
  readonly chat: string;
  readonly afterSeq: number;
  readonly limit: number;
  readonly done: (page: HistoryPage) => void;
  readonly failed: (error: HistoryError) => void;
}

/** What a request needs on the wire. */
export interface Question {
  readonly request: number;
  readonly chat: string;
  readonly afterSeq: number;
  readonly limit: number;
}

/** All requests that wait, the running one first. */
export class Asks {
  private readonly queue: Ask[] = [];
  private nextRequest = 1;
  private running = false;
  private dueAt = Infinity;

  add(chat: string, afterSeq: number, limit: number, done: Ask["done"], failed: Ask["failed"]): void {
    this.queue.push({ request: this.nextRequest++, chat, afterSeq, limit, done, failed });
  }

  /** The next request to write, if none runs. */
  start(dueAt: number): Question | null {
    const ask = this.queue[0];
    if (this.running || !ask) return null;
    this.running = true;
    this.dueAt = dueAt;
    return { request: ask.request, chat: ask.chat, afterSeq: ask.afterSeq, limit: ask.limit };
  }

  /** When the running one fails. */
  due(): number {
    return this.running ? this.dueAt : Infinity;
  }

  /** A page came: it answers the running request if it is that request's, or speaks for what that request asks. */
  page(request: number, page: HistoryPage): void {
    const ask = this.queue[0];
    if (!this.running || !ask || ask.chat !== page.chat) return;
    // A long answer comes as several pages: the later ones answer the requests that ask on.
    const fits = page.covers[0] <= ask.afterSeq + 1 && page.covers[1] > ask.afterSeq;
    if (ask.request !== request && !fits) return;
    this.drop();
    if (!fits) return ask.done(page);
    const entries = page.entries.filter((entry) => entry.seq > ask.afterSeq);
    ask.done({ ...page, covers: [ask.afterSeq + 1, page.covers[1]], entries });
  }

  /** No answer came in time. */
  expire(now: number): void {
    const ask = this.queue[0];
    if (!this.running || !ask || now < this.dueAt) return;
    this.drop();
    ask.failed(new HistoryError("timeout", "no answer to the history request came in time"));
  }

  /** An error without an address is taken for the running request's. Returns whether one ran. */
  refuse(refusal: Refusal): boolean {
    const ask = this.queue[0];
    if (!this.running || !ask) return false;
    this.drop();
    ask.failed(new HistoryError("refused", `${refusal.code}: ${refusal.text}`));
    return true;
  }

  /** The connection is gone: the running one is written again on the next. */
  pause(): void {
    this.running = false;
  }

  /** Nothing will be answered any more. */
  end(): void {
    this.running = false;
    for (const ask of this.queue.splice(0)) ask.failed(new HistoryError("ended", "the client has ended"));
  }

  private drop(): void {
    this.queue.shift();
    this.running = false;
  }
}
