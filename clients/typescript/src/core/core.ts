/**
 * The client without its I/O: one device's session over any number of connections.
 *
 * It is told what happens and says what to do ({@link Core.take}). It reads no clock and opens nothing itself, so a test
 * drives it step by step.
 */

import { type Change, type Identity, type Image, same } from "../store/store.js";
import { BadFrame, type ClientFrame, type Codec, type Entry, type Grant, type Question, type Refusal, type ServerFrame } from "../wire.js";
import { accountChangeOf, sendOf } from "./acts.js";
import { type Answer, type Ask, Asks } from "./asks.js";
import { Chats } from "./chats.js";
import { expired, refusalOfClose } from "./closes.js";
import type { Place } from "./position.js";
import { Sends } from "./sends.js";
import {
  type Cause,
  type ClientEvent,
  type Config,
  type End,
  type Env,
  type NewAct,
  type NewSend,
  type Output,
  RequestError,
  SendError,
} from "./types.js";

/** What a session is granted where the protocol does not say (JSON). */
const GRANT: Grant = { window: 256, sendsPerSecond: 0, burst: 0, frameLimitBytes: 65_536, pingIntervalMs: 20_000 };

type Phase = "idle" | "connecting" | "greeting" | "ready" | "ended";

/** One device's client. One owner calls it; every call may leave outputs to {@link take}. */
export class Core {
  /** Which connection; rises with each. */
  connection = 0;
  private phase: Phase = "idle";
  private me: Identity | null;
  private out: Output[] = [];
  private readonly chats: Chats;
  private readonly sends: Sends;
  private readonly asks = new Asks();
  private grant = GRANT;
  /** Connections in a row that came to nothing. */
  private attempt = 0;
  private token = "";
  /** The server's time of the last `synced`. */
  private syncedMs: number;
  /** The token of the last session that ended because it had expired. */
  private expiredToken: string | null = null;
  private pingAt = 0;
  private lastIn = 0;

  constructor(
    private readonly config: Config,
    private readonly codec: Codec,
    private readonly env: Env,
    image: Image,
    identity: Identity | null,
  ) {
    this.me = image.identity ?? identity;
    this.syncedMs = image.syncedMs;
    this.chats = new Chats(
      {
        isOwnPending: (entry) => this.sends.isOwnPending(entry, this.me),
        deliver: (entry) => this.deliver(entry),
        fill: (chat, afterSeq, limit) => this.fill(chat, afterSeq, limit),
        persist: (chat) => this.persist({ type: "chat", chat }),
      },
      config.heldEntries,
      image.chats,
    );
    const sender = {
      tell: (event: ClientEvent) => this.tell(event),
      persist: (change: Change) => this.persist(change),
      write: (data: string | Uint8Array<ArrayBuffer>) => this.out.push({ do: "write", data, connection: this.connection }),
      own: (chat: string, seq: number) => this.own(chat, seq),
      backoff: (attempt: number, askedMs: number) => this.backoff(attempt, askedMs),
    };
    this.sends = new Sends(sender, config, codec, env, image.outbox);
    if (image.identity && identity && !same(image.identity, identity)) {
      this.end({ why: "wrong_identity", own: image.identity, token: identity });
    }
  }

  /** What is to be done, in order; each is given once. */
  take(): Output[] {
    const out = this.out;
    this.out = [];
    return out;
  }

  /** User and device, once known. */
  get identity(): Identity | null {
    return this.me;
  }

  get isReady(): boolean {
    return this.phase === "ready";
  }

  get hasEnded(): boolean {
    return this.phase === "ended";
  }

  /** Sends without outcome. */
  get outboxSize(): number {
    return this.sends.size;
  }

  /** Begins: asks for the first connection. */
  start(): void {
    if (this.phase === "idle") this.connect(0);
  }

  /** The application or the system thinks that a connection can be made now: a wait for the next attempt is cut short. */
  hurry(): void {
    if (this.phase === "connecting") this.connect(0);
  }

  /** The connection asked for stands. `token`: fresh each time. */
  connected(connection: number, token: string): void {
    if (this.phase !== "connecting" || connection !== this.connection) return;
    if (token === this.expiredToken) return this.end({ why: "server", refusal: expired() });
    this.phase = "greeting";
    this.token = token;
    this.lastIn = this.env.mono();
    this.pingAt = this.lastIn + this.config.answerTimeoutMs;
    const marks: ClientFrame[] = [];
    if (this.me) this.chats.sayAgain(this.sends.chats(), (mark) => marks.push(mark));
    this.write({ type: "hello", token, agent: this.config.agent, syncedMs: this.syncedMs, me: this.me, marks: marks.length });
    for (const mark of marks) this.write(mark);
  }

  /** It could not be made, or is gone. `closeCode`: the WebSocket's, where there is one. */
  disconnected(connection: number, closeCode?: number): void {
    if (connection !== this.connection || this.phase === "idle" || this.phase === "ended") return;
    if (this.phase === "connecting") return this.lost({ why: "connect_failed" }, 0);
    const refusal = refusalOfClose(closeCode);
    if (refusal) this.dismissed(refusal, false);
    else this.lost({ why: "lost" }, 0);
  }

  /** A message came. */
  message(connection: number, data: string | Uint8Array): void {
    if (connection !== this.connection || (this.phase !== "greeting" && this.phase !== "ready")) return;
    this.lastIn = this.env.mono();
    try {
      this.frame(this.codec.decode(data));
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error;
      this.abandon({ why: "bad_frame" }, 0);
    }
    this.settle();
  }

  /** {@link nextDeadline} has passed. Early or extra ticks are harmless. */
  tick(): void {
    const now = this.env.mono();
    if ((this.phase === "greeting" || this.phase === "ready") && now >= this.pingAt) this.heartbeat(now);
    if (this.phase === "ready") {
      this.sends.tick(now);
      this.asks.expire(now);
    }
    this.settle();
  }

  /** When {@link tick} is due, ms of the monotonic clock; Infinity when it is not. */
  nextDeadline(): number {
    if (this.phase !== "greeting" && this.phase !== "ready") return Infinity;
    if (this.phase === "greeting") return this.pingAt;
    return Math.min(this.pingAt, this.sends.due(this.grant), this.asks.due());
  }

  /** Takes a send: it gets exactly one outcome, `sent` or `failed`. Returns its chat. Throws {@link SendError}. */
  send(send: NewSend): string {
    if (this.phase === "ended") throw new SendError("ended", "the client has ended");
    const chat = this.sends.take(send, this.me, this.grant, (of) => this.chats.find(of)?.cursor ?? 0);
    this.settle();
    return chat;
  }

  /** Takes what is no message; it has an outcome as a send has. Returns its chat. Throws {@link SendError}. */
  change(act: NewAct): string {
    return this.send(sendOf(act, this.me));
  }

  /** The application has handled everything of the chat up to `seq`. */
  handled(chat: string, seq: number): void {
    this.chats.handled(chat, seq);
    this.settle();
  }

  /** The user has read everything of the chat up to this received entry. */
  markRead(chat: string, place: Place): void {
    this.chats.read(chat, place);
    this.settle();
  }

  /** Asks; rejects with {@link RequestError}. */
  ask<T extends Question["type"]>(ask: Ask<T>): Promise<Answer<T>> {
    return new Promise((done, failed) => {
      if (this.phase === "ended") return failed(new RequestError("ended", "the client has ended"));
      this.asks.add(ask, done, failed);
      this.settle();
    });
  }

  /** Ends. Sends without outcome stay stored. */
  close(end: End = { why: "closed" }): void {
    if (this.phase === "ended") return;
    this.settle();
    this.end(end);
  }

  private frame(frame: ServerFrame): void {
    if (frame.type === "error") return this.error(frame.refusal, frame.clientMsgId, frame.ends);
    if (frame.type === "ready") return this.ready(frame.user, frame.device, frame.grant);
    // Nothing else makes sense before the session stands.
    if (this.phase !== "ready") return;
    switch (frame.type) {
      case "entry":
        return this.chats.entry(frame.entry);
      case "sent":
        return this.sends.sent(frame);
      case "queued":
        return this.sends.spooled(frame.clientMsgId);
      case "receipt":
        if (this.chats.receipt(frame.chat, frame.user, frame.seq, frame.status)) this.tell(frame);
        return;
      case "covered":
        this.chats.covered(frame.chat, frame.first, frame.last);
        return this.tell(frame);
      case "history":
        return this.asks.page(frame.request, frame.page);
      case "chat":
      case "chats":
      case "status":
      case "account":
        return this.asks.answer(frame);
      case "ticks": {
        const members = this.chats.ticks(frame.chat, frame.members);
        if (members.length > 0) this.tell({ type: "ticks", chat: frame.chat, members });
        return;
      }
      case "synced":
        return this.synced(frame.timeMs);
      case "ping":
        return this.write({ type: "pong", nonce: frame.nonce });
      case "pong":
        this.attempt = 0;
        return this.chats.pong();
      case "window":
        this.grant = { ...this.grant, window: frame.window };
        return;
      case "unknown":
        return;
    }
  }

  private ready(user: string, device: number, grant: Grant | null): void {
    if (this.phase !== "greeting") return;
    const token = { user, device };
    const was = this.me;
    if (was && !same(was, token)) return this.end({ why: "wrong_identity", own: was, token });
    this.me = token;
    this.persist({ type: "identity", identity: token });
    this.phase = "ready";
    this.expiredToken = null;
    this.grant = grant ?? GRANT;
    // 0 in the server's settings means unlimited; a later window of 0 means: stop.
    if (this.grant.window === 0) this.grant = { ...this.grant, window: Infinity };
    // The first ping comes at a random time, so that clients that came together do not ping together.
    this.pingAt = this.env.mono() + this.grant.pingIntervalMs * (0.5 + 0.5 * this.env.random());
    this.tell({ type: "connected", user, device });
    if (!was) this.chats.sayAgain(this.sends.chats(), (mark) => this.write(mark));
    this.sends.resume(this.grant);
  }

  private deliver(entry: Entry): void {
    this.tell({ type: "entries", entries: [entry] });
    const change = accountChangeOf(entry);
    if (change) this.tell({ type: "account", change, seq: entry.seq, timestampMs: entry.timestampMs });
  }

  /** What was missed has come. Remembered behind the events of it: ticks that were not heard come again. */
  private synced(timeMs: number): void {
    this.attempt = 0;
    this.tell({ type: "synced" });
    if (timeMs <= this.syncedMs) return;
    this.syncedMs = timeMs;
    this.persist({ type: "synced", timeMs });
  }

  /** An own send has its place: the server counts it as had, as this does. */
  private own(chat: string, seq: number): void {
    this.chats.own(chat, seq);
    this.persist({ type: "chat", chat: this.chats.at(chat).stored() });
  }

  private error(refusal: Refusal, clientMsgId: string | null, ends: boolean): void {
    if (ends) return this.dismissed(refusal, true);
    if (clientMsgId !== null) {
      this.sends.refused(refusal, clientMsgId);
      if (refusal.retry === "after_reconnect") this.abandon({ why: "server", refusal }, refusal.retryAfterMs);
      return;
    }
    if (!this.asks.refuse(refusal)) this.tell({ type: "complaint", refusal });
  }

  private fill(chat: string, afterSeq: number, limit: number): void {
    // A refused or lost fill is asked for again by the next entry above the gap of the next session.
    const failed = (): void => this.abandon({ why: "lost" }, 0);
    this.asks.add<"history">({ type: "history", chat, afterSeq, limit }, ({ page }) => this.chats.filled(page), failed);
  }

  /** The end of every call: marks, sends and requests that are due go out. */
  private settle(): void {
    if (this.phase === "ended") return;
    // Behind a Hello that says who this is, marks may follow at once: what the server hears first it need not send.
    const marks = this.phase === "ready" || (this.phase === "greeting" && this.me !== null);
    this.chats.flush(marks ? (mark) => this.write(mark) : null);
    if (this.phase !== "ready") return;
    this.sends.pump(this.grant);
    const question = this.asks.start(this.env.mono() + this.config.answerTimeoutMs);
    if (question) this.write(question);
  }

  private heartbeat(now: number): void {
    // A silent server is dead; so is one that lives but has owed an answer to a send for several timeouts.
    const silent = now > this.lastIn + this.grant.pingIntervalMs + this.config.answerTimeoutMs;
    const stalled = this.sends.isOwed(now, 3 * this.config.answerTimeoutMs);
    if (this.phase === "greeting" || silent || stalled) return this.abandon({ why: "silent" }, 0);
    this.pingAt = now + this.grant.pingIntervalMs;
    this.write({ type: "ping", nonce: 0 });
  }

  /** The server ends the session. */
  private dismissed(refusal: Refusal, open: boolean): void {
    if (refusal.code === "token_expired") this.expiredToken = this.token;
    if (refusal.code === "wrong_identity" && this.me) return this.end({ why: "wrong_identity", own: this.me, token: null });
    if (refusal.retry === "never") return this.end({ why: "server", refusal });
    const cause: Cause = { why: "server", refusal };
    if (open) this.abandon(cause, refusal.retryAfterMs);
    else this.lost(cause, refusal.retryAfterMs);
  }

  /** Closes a connection that is no good and plans the next. */
  private abandon(cause: Cause, askedMs: number): void {
    if (this.phase !== "greeting" && this.phase !== "ready") return;
    this.out.push({ do: "close", connection: this.connection });
    this.lost(cause, askedMs);
  }

  /** The connection is gone: what was in flight waits again, what was held will be pushed again. */
  private lost(cause: Cause, askedMs: number): void {
    this.sends.lost();
    this.chats.lost();
    this.asks.pause();
    const retryInMs = Math.round(this.backoff(this.attempt, askedMs));
    this.attempt += 1;
    this.tell({ type: "disconnected", cause, retryInMs });
    this.connect(retryInMs);
  }

  private connect(afterMs: number): void {
    this.phase = "connecting";
    this.connection += 1;
    this.out.push({ do: "connect", afterMs, connection: this.connection });
  }

  private end(end: End): void {
    if (this.phase === "greeting" || this.phase === "ready") this.out.push({ do: "close", connection: this.connection });
    this.phase = "ended";
    this.asks.end();
    this.tell({ type: "ended", end });
  }

  /** Doubling, capped, half of it random, never less than asked for; what is asked for is spread too. */
  private backoff(attempt: number, askedMs: number): number {
    const [first, longest] = this.config.backoffMs;
    const full = Math.min(first * 2 ** Math.min(attempt, 20), longest);
    const wait = full / 2 + this.env.random() * (full / 2);
    return Math.max(wait, askedMs === 0 ? 0 : askedMs * (1 + this.env.random() / 2));
  }

  private write(event: ClientFrame): void {
    this.out.push({ do: "write", data: this.codec.encode(event), connection: this.connection });
  }

  private persist(change: Change): void {
    this.out.push({ do: "persist", change });
  }

  private tell(event: ClientEvent): void {
    this.out.push({ do: "tell", event });
  }
}

