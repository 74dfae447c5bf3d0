/** The client: a core with a WebSocket, timers and a store around it. */

import { Acts } from "./acts.js";
import { isSeq, isUser, isUuid, utf8 } from "./bytes.js";
import type { Answer, Ask } from "./core/asks.js";
import { Core } from "./core/core.js";
import { Outcomes } from "./core/outcomes.js";
import { type ClientEvent, type Config, DEFAULTS, type End, type Env, type Output, type Sent } from "./core/types.js";
import { newClientMsgId } from "./ids.js";
import { json } from "./json/index.js";
import { MemoryStore } from "./store/memory.js";
import type { Change, Identity, Store } from "./store/store.js";
import type {
  AccountState,
  Act,
  ChatInfo,
  ChatsBefore,
  ChatsPage,
  Codec,
  Entry,
  Extras,
  HistoryPage,
  MessageStatus,
  Question,
  Target,
} from "./wire.js";

/** What a client needs of a WebSocket; browsers' and the `ws` package's both have it. */
export interface Socket {
  binaryType: string;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

/** Settings of a client. */
export interface Options extends Partial<Config> {
  /** Where the server is: `ws://host:port/ws` or `wss://…`. */
  readonly url: string;
  /** The JWT, or how to get a fresh one; asked for at each connect. */
  readonly token: string | (() => string | Promise<string>);
  /**
   * Hears everything, one event after the other. What it returns is waited for: entries count as handled, and are
   * acknowledged, when it has. If it throws, the client ends, for what it did not take must not be acknowledged.
   */
  readonly handler: (event: ClientEvent) => void | Promise<void>;
  /** Where outbox and positions are kept; memory by default. */
  readonly store?: Store;
  /** User and device of the token, if known: lets sends to users be taken before the first connection. */
  readonly identity?: Identity;
  /** `json` by default; the flatbuffers codec is in `shardwire/flatbuffers`. */
  readonly codec?: Codec;
  /** How sockets are made; `new WebSocket(url, protocols)` by default. */
  readonly open?: (url: string, protocols: string[]) => Socket;
  /** Clock and dice, for tests. */
  readonly env?: Env;
}

const SYSTEM: Env = {
  mono: () => performance.now(),
  wall: () => Date.now(),
  random: () => Math.random(),
};
/** The longest wait of setTimeout, ms. */
const TIMER_MAX_MS = 0x7fff_ffff;

/** One device's client. Every method may be called at any time; see {@link Options.handler} for what comes back. */
export class Client extends Acts {
  private readonly core: Core;
  private readonly queue: Output[] = [];
  private readonly outcomes = new Outcomes();
  /** What {@link drain} is at; null when nothing is queued. */
  private draining: Promise<void> | null = null;
  private socket: Socket | null = null;
  private socketOf = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private connecting: ReturnType<typeof setTimeout> | undefined;
  private waiting = false;
  private readonly over: Promise<End>;
  private ended: (end: End) => void = () => {};

  private constructor(
    private readonly options: Options,
    private readonly store: Store,
    core: Core,
  ) {
    super();
    this.core = core;
    this.over = new Promise((resolve) => (this.ended = resolve));
  }

  /** Opens the store and begins to connect. Rejects when the store cannot be read. */
  static async start(options: Options): Promise<Client> {
    const store = options.store ?? new MemoryStore();
    const image = await store.load();
    const config: Config = { ...DEFAULTS, ...options };
    const core = new Core(config, options.codec ?? json, options.env ?? SYSTEM, image, options.identity ?? null);
    const client = new Client(options, store, core);
    core.start();
    client.run();
    return client;
  }

  /** User and device, once known. */
  get identity(): Identity | null {
    return this.core.identity;
  }

  /** Sends without outcome. */
  get outboxSize(): number {
    return this.core.outboxSize;
  }

  /**
   * Takes a message: it is stored, sent, and sent again until it has its one outcome, `sent` or `failed`.
   * @param extras What it answers, whom it mentions, how often it was passed on.
   * @returns Its chat and id. Throws {@link SendError} when it is not taken.
   */
  send(target: Target, body: string | Uint8Array, clientMsgId = newClientMsgId(), extras?: Extras): { chat: string; clientMsgId: string } {
    const bytes = typeof body === "string" ? utf8(body) : body;
    const chat = this.core.send({ clientMsgId, target, body: bytes, ...(extras && { extras }) });
    this.run();
    return { chat, clientMsgId };
  }

  /** The user has read everything of the chat up to this received entry. */
  markRead(entry: Pick<Entry, "chat" | "seq" | "message">): void {
    if (!isSeq(entry.seq)) throw new TypeError(`seq ${entry.seq} is no place in a chat`);
    this.core.markRead(entry.chat, { seq: entry.seq, message: entry.message });
    this.run();
  }

  /**
   * A page of a chat after a seq (0: from its beginning), at most `limit` entries (1 to 1,000). It may be shorter: ask on from
   * `covers[1]` while that is below `headSeq`. Rejects with RequestError.
   */
  async history(chat: string, afterSeq: number, limit = 100): Promise<HistoryPage> {
    return (await this.ask<"history">({ type: "history", chat: checkedChat(chat), afterSeq, limit: within(limit, 1000) })).page;
  }

  override change(chat: string | null, change: Act, clientMsgId = newClientMsgId(), body?: Uint8Array): Promise<Sent> {
    this.core.change({ clientMsgId, chat, change, ...(body && { body }) });
    const outcome = this.outcomes.of(clientMsgId);
    this.run();
    return outcome;
  }

  /** What a chat is, with a page of its members above a user (null: from the first). Rejects with RequestError. */
  async chat(chat: string, afterUser: string | null = null, limit = 1000): Promise<ChatInfo> {
    if (afterUser !== null && !isUser(afterUser)) throw new TypeError(`"${afterUser}" is no user id`);
    return (await this.ask<"chat">({ type: "chat", chat: checkedChat(chat), afterUser, limit: within(limit, 1000) })).info;
  }

  /** The user's chats, newest first: those older than the last one of the page before. Rejects with RequestError. */
  async chats(before: ChatsBefore | null = null, limit = 50): Promise<ChatsPage> {
    return (await this.ask<"chats">({ type: "chats", before, limit: within(limit, 100) })).page;
  }

  /** Who has a message. Rejects with RequestError. */
  async status(chat: string, message: string): Promise<MessageStatus> {
    if (!isUuid(message)) throw new TypeError(`"${message}" is no message id`);
    return (await this.ask<"status">({ type: "status", chat: checkedChat(chat), message })).status;
  }

  /** The user's settings and devices; with a chat, also which of its messages the user has hidden. Rejects with RequestError. */
  async account(chat: string | null = null): Promise<AccountState> {
    return (await this.ask<"account">({ type: "account", chat: chat === null ? null : checkedChat(chat) })).account;
  }

  /** A connection can probably be made now (the network is back): a wait for the next attempt is cut short. */
  hurry(): void {
    if (!this.waiting) return;
    this.core.hurry();
    this.run();
  }

  /**
   * Ends and lets go of the store. Sends without outcome stay in it; what the handler was given is acknowledged first.
   * Resolves when all is written. Not to be awaited inside the handler, which it waits for.
   */
  async close(): Promise<void> {
    if (this.socket) this.socket.onmessage = null;
    while (this.draining) await this.draining;
    this.core.close();
    this.run();
    await this.over;
  }

  /** Resolves when the client has ended for good, with why. */
  finished(): Promise<End> {
    return this.over;
  }

  private ask<T extends Question["type"]>(ask: Ask<T>): Promise<Answer<T>> {
    const answer = this.core.ask(ask);
    this.run();
    return answer;
  }

  /** After everything that happened: takes what is to be done, and sets the clock. */
  private run(): void {
    for (const output of this.core.take()) {
      this.queue.push(output);
      // Not behind the handler, which may wait for it.
      if (output.do === "tell") this.outcomes.hear(output.event);
    }
    clearTimeout(this.timer);
    const due = this.core.nextDeadline();
    if (due < Infinity) {
      const wait = Math.min(Math.max(due - (this.options.env ?? SYSTEM).mono(), 0), TIMER_MAX_MS);
      this.timer = setTimeout(() => {
        this.core.tick();
        this.run();
      }, Math.ceil(wait));
    }
    if (this.queue.length > 0 && !this.draining) this.draining = Promise.resolve().then(() => this.drain());
  }

  /** Does what is queued, in order. */
  private async drain(): Promise<void> {
    try {
      while (this.queue.length > 0) await this.next();
    } catch (error) {
      this.fail(error);
    }
    this.draining = null;
  }

  private async next(): Promise<void> {
    const output = this.queue.shift() as Output;
    switch (output.do) {
      case "persist": {
        const changes: Change[] = [output.change];
        while (this.queue[0]?.do === "persist") changes.push((this.queue.shift() as { change: Change }).change);
        return this.store.apply(changes);
      }
      case "tell":
        return this.tell(output.event);
      case "write":
        if (output.connection === this.socketOf) this.socket?.send(output.data);
        return;
      case "close":
        if (output.connection === this.socketOf) this.drop();
        return;
      case "connect":
        this.drop();
        clearTimeout(this.connecting);
        this.waiting = true;
        this.connecting = setTimeout(() => void this.connect(output.connection), output.afterMs);
        return;
    }
  }

  private async tell(event: ClientEvent): Promise<void> {
    if (event.type !== "entries") {
      await this.options.handler(event);
      if (event.type === "ended") await this.finish(event.end);
      return;
    }
    const entries = [...event.entries];
    for (let more = this.queue[0]; more?.do === "tell" && more.event.type === "entries"; more = this.queue[0]) {
      entries.push(...more.event.entries);
      this.queue.shift();
    }
    await this.options.handler({ type: "entries", entries });
    const last = new Map(entries.map((entry) => [entry.chat, entry.seq]));
    for (const [chat, seq] of last) this.core.handled(chat, seq);
    this.run();
  }

  private async connect(connection: number): Promise<void> {
    this.waiting = false;
    const { options } = this;
    try {
      const token = typeof options.token === "string" ? options.token : await options.token();
      if (connection !== this.core.connection || this.core.hasEnded) return;
      const codec = options.codec ?? json;
      const open = options.open ?? ((url, protocols) => new WebSocket(url, protocols) as unknown as Socket);
      this.listen(open(options.url, [codec.subprotocol]), connection, token);
    } catch {
      this.core.disconnected(connection);
      this.run();
    }
  }

  private listen(socket: Socket, connection: number, token: string): void {
    this.socket = socket;
    this.socketOf = connection;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.core.connected(connection, token);
      this.run();
    };
    socket.onmessage = ({ data }) => {
      this.core.message(connection, typeof data === "string" ? data : new Uint8Array(data as ArrayBuffer));
      this.run();
    };
    socket.onclose = ({ code }) => {
      if (this.socket === socket) this.socket = null;
      this.core.disconnected(connection, code);
      this.run();
    };
    // A close event follows every error.
    socket.onerror = () => {};
  }

  private drop(): void {
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close(1000);
  }

  /** The store or the handler failed: what it did not take must not be acknowledged. */
  private fail(error: unknown): void {
    this.queue.length = 0;
    this.drop();
    const end: End = { why: "application", error };
    this.core.close(end);
    this.core.take();
    this.outcomes.hear({ type: "ended", end });
    clearTimeout(this.timer);
    clearTimeout(this.connecting);
    void Promise.resolve()
      .then(() => this.options.handler({ type: "ended", end }))
      .catch(() => {})
      .then(() => this.finish(end));
  }

  private async finish(end: End): Promise<void> {
    clearTimeout(this.timer);
    clearTimeout(this.connecting);
    this.drop();
    await this.store.close();
    this.ended(end);
  }
}

function checkedChat(chat: string): string {
  if (!isUuid(chat)) throw new TypeError(`"${chat}" is no chat id: a hyphenated UUID in lower case`);
  return chat;
}

function within(limit: number, most: number): number {
  return Math.min(Math.max(Math.trunc(limit), 1), most);
}
