/**
 * Sends on their way: one lane a chat, in order.
 *
 * A lane's queue is a run of sends that were written on this connection (`sent` of them) and a run that were not. Must stay
 * true: a send is written only when everything before it in its lane was, and nothing of the lane was refused since.
 */

import type { StoredSend } from "../store/store.js";
import { bytesBeside } from "./acts.js";

/** One send. */
export interface Pending {
  readonly send: StoredSend;
  /** `waiting`: not written on this connection; `flying`: written, not answered; `answered`: refused for now, or spooled. */
  state: "waiting" | "flying" | "answered";
  /** It may have been written before. */
  retry: boolean;
}

/** What a send counts for in the outbox, bytes. */
export function bytesOf(send: Pick<StoredSend, "body" | "change" | "extras">): number {
  return send.body.length + bytesBeside(send.change, send.extras);
}

/** One chat's sends. */
interface Lane {
  readonly queue: Pending[];
  sent: number;
  flying: number;
  /** One was refused: nothing more is written until all are answered and the wait is over. */
  refused: boolean;
  /** The wait the refusals asked for, ms. */
  waitMs: number;
  /** When the wait is over; null while there is none. */
  until: number | null;
  /** Refusals in a row. */
  attempt: number;
}

/** All sends without outcome. */
export class Outbox {
  /** Bytes of bodies and changes. */
  bytes = 0;
  /** Written and unanswered. */
  flying = 0;
  private readonly lanes = new Map<string, Lane>();
  private readonly byId = new Map<string, Pending>();

  get size(): number {
    return this.byId.size;
  }

  get(clientMsgId: string): Pending | undefined {
    return this.byId.get(clientMsgId);
  }

  /** All, in no order. */
  all(): Iterable<Pending> {
    return this.byId.values();
  }

  add(send: StoredSend, retry: boolean): void {
    const pending: Pending = { send, state: "waiting", retry };
    this.byId.set(send.clientMsgId, pending);
    this.bytes += bytesOf(send);
    const lane = this.lanes.get(send.chat);
    if (lane) lane.queue.push(pending);
    else this.lanes.set(send.chat, { queue: [pending], sent: 0, flying: 0, refused: false, waitMs: 0, until: null, attempt: 0 });
  }

  /** The next send that may be written, chats in turn; null when none may. */
  next(): Pending | null {
    for (const [chat, lane] of this.lanes) {
      if (lane.refused || lane.sent >= lane.queue.length) continue;
      // To the end of the map's order: the next call serves another chat first.
      this.lanes.delete(chat);
      this.lanes.set(chat, lane);
      return lane.queue[lane.sent] as Pending;
    }
    return null;
  }

  /** What {@link next} gave was written. */
  written(pending: Pending): void {
    const lane = this.lane(pending);
    pending.state = "flying";
    pending.retry = true;
    lane.sent += 1;
    lane.flying += 1;
    this.flying += 1;
  }

  /** It has its outcome. */
  settle(pending: Pending, stored: boolean): void {
    const lane = this.lane(pending);
    this.land(lane, pending);
    const at = lane.queue.indexOf(pending);
    lane.queue.splice(at, 1);
    if (at < lane.sent) lane.sent -= 1;
    if (stored) lane.attempt = 0;
    this.byId.delete(pending.send.clientMsgId);
    this.bytes -= bytesOf(pending.send);
    if (lane.queue.length === 0) this.lanes.delete(pending.send.chat);
  }

  /** The server keeps it in a spool: its outcome follows. */
  spooled(pending: Pending): void {
    this.land(this.lane(pending), pending);
  }

  /** It was refused for now: its lane stops. */
  refuse(pending: Pending, waitMs: number, atOnce: boolean): void {
    const lane = this.lane(pending);
    this.land(lane, pending);
    lane.refused = true;
    lane.waitMs = Math.max(lane.waitMs, atOnce && lane.attempt === 0 ? 0 : Math.max(waitMs, 1));
  }

  /** After an answer: a refused lane whose sends are all answered starts its wait, as `wait` says. */
  plan(chat: string, now: number, wait: (attempt: number, askedMs: number) => number): void {
    const lane = this.lanes.get(chat);
    if (!lane || !lane.refused || lane.flying > 0 || lane.until !== null) return;
    lane.until = now + (lane.waitMs === 0 ? 0 : wait(lane.attempt, lane.waitMs));
    lane.attempt += 1;
  }

  /** Ends the waits that are over. */
  release(now: number): void {
    for (const lane of this.lanes.values()) if (lane.until !== null && lane.until <= now) this.rewind(lane);
  }

  /** When the next wait is over; Infinity when there is none. */
  due(): number {
    let due = Infinity;
    for (const lane of this.lanes.values()) due = Math.min(due, lane.until ?? Infinity);
    return due;
  }

  /** The connection is gone: nothing flies, nothing is blocked. */
  rewindAll(): void {
    for (const lane of this.lanes.values()) this.rewind(lane);
  }

  private rewind(lane: Lane): void {
    for (const pending of lane.queue.slice(0, lane.sent)) {
      this.land(lane, pending);
      pending.state = "waiting";
    }
    lane.sent = 0;
    lane.refused = false;
    lane.waitMs = 0;
    lane.until = null;
  }

  private land(lane: Lane, pending: Pending): void {
    if (pending.state !== "flying") return;
    pending.state = "answered";
    lane.flying -= 1;
    this.flying -= 1;
  }

  private lane(pending: Pending): Lane {
    const lane = this.lanes.get(pending.send.chat);
    if (!lane) throw new Error("a send without its lane");
    return lane;
  }
}

/** A generic cell rate limiter: at most a burst at once and a rate in the long run. */
export class Pace {
  private interval = 0;
  private slack = 0;
  private nextAt = 0;

  /** From what the session grants; 0 a second = unlimited. A tenth of the burst is left to the network's jitter. */
  grant(perSecond: number, burst: number): void {
    this.interval = perSecond === 0 ? 0 : 1000 / perSecond;
    this.slack = Math.max(Math.floor((burst || perSecond) * 0.9) - 1, 0) * this.interval;
  }

  /** When the next send may be written, ms. */
  readyAt(): number {
    return this.interval === 0 ? 0 : this.nextAt - this.slack;
  }

  /** One was written. */
  spend(now: number): void {
    if (this.interval > 0) this.nextAt = Math.max(this.nextAt, now) + this.interval;
  }
}
