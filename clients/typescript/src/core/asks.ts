/** Requests: one runs at a time, they survive reconnects. A page is an answer, whoever wants more asks on. */

import type { HistoryPage, Question, Refusal, ServerFrame } from "../wire.js";
import { RequestError } from "./types.js";

type Type = Question["type"];
/** What answers a request of this type. */
export type Answer<T extends Type> = Extract<ServerFrame, { type: T }>;
/** A request, but for its number. */
export type Ask<T extends Type> = Omit<Extract<Question, { type: T }>, "request">;

interface Waiting {
  readonly question: Question;
  readonly done: (answer: ServerFrame) => void;
  readonly failed: (error: RequestError) => void;
}

/** All requests that wait, the running one first. */
export class Asks {
  private readonly queue: Waiting[] = [];
  private nextRequest = 1;
  private running = false;
  private dueAt = Infinity;

  add<T extends Type>(ask: Ask<T>, done: (answer: Answer<T>) => void, failed: Waiting["failed"]): void {
    const question = { ...ask, request: this.nextRequest++ } as unknown as Question;
    this.queue.push({ question, done: done as Waiting["done"], failed });
  }

  /** The next request to write, if none runs. */
  start(dueAt: number): Question | null {
    const first = this.queue[0];
    if (this.running || !first) return null;
    this.running = true;
    this.dueAt = dueAt;
    return first.question;
  }

  /** When the running one fails. */
  due(): number {
    return this.running ? this.dueAt : Infinity;
  }

  /** An answer came, to the running request or to none. */
  answer(answer: Answer<"chat" | "chats" | "status" | "account">): void {
    const first = this.queue[0];
    if (!this.running || !first || first.question.type !== answer.type || first.question.request !== answer.request) return;
    this.drop();
    first.done(answer);
  }

  /** A page came: it answers the running request if it is that request's, or speaks for what that request asks. */
  page(request: number, page: HistoryPage): void {
    const first = this.queue[0];
    if (!this.running || first?.question.type !== "history" || first.question.chat !== page.chat) return;
    const { afterSeq } = first.question;
    // A long answer comes as several pages: the later ones answer the requests that ask on.
    const fits = page.covers[0] <= afterSeq + 1 && page.covers[1] > afterSeq;
    if (first.question.request !== request && !fits) return;
    this.drop();
    if (!fits) return first.done({ type: "history", request, page });
    const entries = page.entries.filter((entry) => entry.seq > afterSeq);
    first.done({ type: "history", request, page: { ...page, covers: [afterSeq + 1, page.covers[1]], entries } });
  }

  /** No answer came in time. */
  expire(now: number): void {
    const first = this.queue[0];
    if (!this.running || !first || now < this.dueAt) return;
    this.drop();
    first.failed(new RequestError("timeout", `no answer to the ${first.question.type} request came in time`));
  }

  /** An error without an address is taken for the running request's. Returns whether one ran. */
  refuse(refusal: Refusal): boolean {
    const first = this.queue[0];
    if (!this.running || !first) return false;
    this.drop();
    first.failed(new RequestError("refused", `${refusal.code}: ${refusal.text}`, refusal));
    return true;
  }

  /** The connection is gone: the running one is written again on the next. */
  pause(): void {
    this.running = false;
  }

  /** Nothing will be answered any more. */
  end(): void {
    this.running = false;
    for (const waiting of this.queue.splice(0)) waiting.failed(new RequestError("ended", "the client has ended"));
  }

  private drop(): void {
    this.queue.shift();
    this.running = false;
  }
}
