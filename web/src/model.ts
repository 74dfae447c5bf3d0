/** What the page shows, kept in step with the client and with what this device has stored. */

import { Client, type ClientEvent, directChat, type Entry, type Failure, IndexedDbStore, newClientMsgId } from "./shardwire/index.js";
import { type Chat, History, type Message, type Unsent } from "./history.js";

/** How far an own message is. */
export type Progress = "waiting" | "sent" | "delivered" | "read" | "failed";

/** How the connection is. */
export type Status =
  | { readonly state: "connecting" }
  | { readonly state: "online" }
  | { readonly state: "waiting"; readonly untilMs: number }
  | { readonly state: "ended"; readonly text: string; readonly again: boolean };

/** Who signs in, and how tokens are had. */
export interface Account {
  readonly user: string;
  readonly device: number;
  readonly wsUrl: string;
  readonly token: () => Promise<string>;
}

const PAGE = 60;

/** One device's chats. `changed` is called after every change, with the chat concerned. */
export class Model {
  readonly chats = new Map<string, Chat>();
  readonly unsent = new Map<string, Unsent>();
  status: Status = { state: "connecting" };
  /** The open chat's messages, ascending without holes. */
  shown: Message[] = [];
  open: string | null = null;
  private client!: Client;

  private constructor(
    readonly account: Account,
    private readonly history: History,
    private readonly changed: (chat: string | null) => void,
  ) {}

  static async start(account: Account, changed: (chat: string | null) => void): Promise<Model> {
    const { user, device } = account;
    const model = new Model(account, await History.open(user, device), changed);
    for (const chat of await model.history.chats()) model.chats.set(chat.chat, chat);
    for (const unsent of await model.history.unsent()) model.unsent.set(unsent.clientMsgId, unsent);
    model.client = await Client.start({
      url: account.wsUrl,
      token: account.token,
      identity: { user, device },
      store: new IndexedDbStore(`shardwire client ${user} ${device}`),
      handler: (event) => model.hear(event),
      agent: "shardwire-web/0.1.0",
      backoffMs: [250, 8_000],
    });
    // A text that was kept but not handed to the client, because the tab went away in between, goes now.
    const waiting = [...model.unsent.values()].filter((unsent) => unsent.problem === null);
    for (const unsent of waiting.sort((a, b) => a.createdMs - b.createdMs)) model.hand(unsent);
    return model;
  }

  /** Chats, the one that moved last first. */
  list(): Chat[] {
    const at = (chat: Chat): number => {
      let latest = chat.last?.timestampMs ?? 0;
      for (const unsent of this.unsent.values()) if (unsent.chat === chat.chat) latest = Math.max(latest, unsent.createdMs);
      return latest;
    };
    return [...this.chats.values()].sort((a, b) => at(b) - at(a));
  }

  /** The open chat's texts that have no seq yet, oldest first. */
  pending(): Unsent[] {
    const own = [...this.unsent.values()].filter((unsent) => unsent.chat === this.open);
    return own.sort((a, b) => a.createdMs - b.createdMs);
  }

  progress(message: Message): Progress {
    const chat = this.chats.get(message.chat);
    if (!chat) return "sent";
    return message.seq <= chat.read ? "read" : message.seq <= chat.delivered ? "delivered" : "sent";
  }

  /** Opens the chat with a user; it need not exist. */
  openWith(peer: string): Promise<void> {
    const id = directChat(this.account.user, peer);
    const chat = this.chat(id);
    chat.peer ??= peer;
    return this.openChat(id);
  }

  async openChat(id: string): Promise<void> {
    this.open = id;
    this.shown = [];
    this.changed(id);
    const found = await this.history.below(id, Infinity, PAGE);
    if (this.open !== id) return;
    const newer = this.shown.filter((message) => message.seq > (found.at(-1)?.seq ?? 0));
    this.shown = [...found, ...newer];
    this.changed(id);
  }

  closeChat(): void {
    this.open = null;
    this.shown = [];
    this.changed(null);
  }

  /** Shows older messages of the open chat: kept ones, else the server's. Returns whether there were any. */
  async older(): Promise<boolean> {
    const [chat, first] = [this.open, this.shown[0]];
    if (chat === null || !first || first.seq === 1) return false;
    let found = await this.history.below(chat, first.seq, PAGE);
    const whole = found.at(-1)?.seq === first.seq - 1;
    if (!whole) {
      const after = Math.max(first.seq - 1 - PAGE, 0);
      const page = await this.client.history(chat, after, first.seq - 1 - after).catch(() => null);
      if (!page) return false;
      found = page.entries.filter((entry) => entry.seq < first.seq && entry.kind === "message").map(messageOf);
      await this.history.keep({ messages: found });
    }
    if (this.open !== chat || found.length === 0) return false;
    this.shown = [...found, ...this.shown];
    this.changed(chat);
    return true;
  }

  /** Sends a text to the open chat. */
  async send(text: string): Promise<void> {
    const chat = this.open;
    if (chat === null) return;
    const { peer } = this.chat(chat);
    await this.post({ clientMsgId: newClientMsgId(), chat, peer, text, createdMs: Date.now(), problem: null });
  }

  /** Sends a failed text once more, as a new message. */
  async again(clientMsgId: string): Promise<void> {
    const failed = this.unsent.get(clientMsgId);
    if (!failed) return;
    await this.discard(clientMsgId);
    await this.post({ ...failed, clientMsgId: newClientMsgId(), createdMs: Date.now(), problem: null });
  }

  /** Forgets a failed text. */
  async discard(clientMsgId: string): Promise<void> {
    const failed = this.unsent.get(clientMsgId);
    this.unsent.delete(clientMsgId);
    await this.history.keep({ settled: [clientMsgId] });
    this.changed(failed?.chat ?? null);
  }

  /** The open chat is in front of the user's eyes. */
  seen(): void {
    const chat = this.open === null ? undefined : this.chats.get(this.open);
    const last = this.shown.findLast((message) => message.sender !== this.account.user);
    if (!chat || !last) return;
    this.client.markRead(last);
    if (chat.unread === 0) return;
    chat.unread = 0;
    void this.history.keep({ chats: [chat] });
    this.changed(chat.chat);
  }

  /** The network is probably back. */
  hurry(): void {
    this.client.hurry();
  }

  close(): Promise<void> {
    return this.client.close();
  }

  private async post(unsent: Unsent): Promise<void> {
    this.unsent.set(unsent.clientMsgId, unsent);
    this.changed(unsent.chat);
    // Kept first: a text is never lost, whatever happens to this tab.
    await this.history.keep({ unsent: [unsent], chats: [this.chat(unsent.chat)] });
    this.hand(unsent);
  }

  private hand(unsent: Unsent): void {
    try {
      const target = unsent.peer === null ? { chat: unsent.chat } : { to: unsent.peer };
      this.client.send(target, unsent.text, unsent.clientMsgId);
    } catch (error) {
      const { code, message } = error as { code?: string; message?: string };
      if (code !== "duplicate_id") void this.failed(unsent.clientMsgId, message ?? "it was not taken");
    }
  }

  private async hear(event: ClientEvent): Promise<void> {
    switch (event.type) {
      case "connected":
        return this.say({ state: "online" });
      case "disconnected":
        return this.say({ state: "waiting", untilMs: Date.now() + event.retryInMs });
      case "ended":
        return this.say(endOf(event.end));
      case "entries":
        return this.entries(event.entries);
      case "sent":
        return this.sent(event);
      case "failed":
        return this.failed(event.clientMsgId, failureText(event.failure));
      case "receipt":
        return this.receipt(event);
      default:
        return;
    }
  }

  private say(status: Status): void {
    this.status = status;
    this.changed(null);
  }

  private async entries(entries: readonly Entry[]): Promise<void> {
    const messages = entries.filter((entry) => entry.kind === "message").map(messageOf);
    const touched = new Set<Chat>();
    for (const message of messages) {
      const chat = this.chat(message.chat);
      const mine = message.sender === this.account.user;
      if (!mine) chat.peer ??= message.sender;
      if (!mine && message.seq > (chat.last?.seq ?? 0)) chat.unread += 1;
      this.note(chat, message, mine);
      touched.add(chat);
    }
    await this.history.keep({ messages, chats: [...touched] });
    for (const message of messages) this.show(message);
    for (const chat of touched) this.changed(chat.chat);
  }

  private async sent(event: Extract<ClientEvent, { type: "sent" }>): Promise<void> {
    const unsent = this.unsent.get(event.clientMsgId);
    if (!unsent) return;
    const { chat: id, seq, message: messageId, timestampMs, clientMsgId } = event;
    const message: Message = { chat: id, seq, message: messageId, sender: this.account.user, text: unsent.text, timestampMs, clientMsgId };
    const chat = this.chat(id);
    this.note(chat, message, true);
    await this.history.keep({ messages: [message], chats: [chat], settled: [clientMsgId] });
    this.unsent.delete(clientMsgId);
    this.show(message);
    this.changed(id);
  }

  private async failed(clientMsgId: string, problem: string): Promise<void> {
    const unsent = this.unsent.get(clientMsgId);
    if (!unsent) return;
    const failed = { ...unsent, problem };
    this.unsent.set(clientMsgId, failed);
    await this.history.keep({ unsent: [failed] });
    this.changed(unsent.chat);
  }

  private async receipt(event: Extract<ClientEvent, { type: "receipt" }>): Promise<void> {
    if (event.user === this.account.user) return;
    const chat = this.chat(event.chat);
    chat.peer ??= event.user;
    chat.delivered = Math.max(chat.delivered, event.seq);
    if (event.status === "read") chat.read = Math.max(chat.read, event.seq);
    await this.history.keep({ chats: [chat] });
    this.changed(event.chat);
  }

  private chat(id: string): Chat {
    let chat = this.chats.get(id);
    if (!chat) this.chats.set(id, (chat = { chat: id, peer: null, last: null, unread: 0, delivered: 0, read: 0 }));
    return chat;
  }

  private note(chat: Chat, message: Message, mine: boolean): void {
    if (message.seq <= (chat.last?.seq ?? 0)) return;
    chat.last = { text: message.text, mine, seq: message.seq, timestampMs: message.timestampMs };
  }

  private show(message: Message): void {
    if (message.chat !== this.open) return;
    const at = this.shown.findLastIndex((shown) => shown.seq <= message.seq);
    if (this.shown[at]?.seq !== message.seq) this.shown.splice(at + 1, 0, message);
  }
}

function messageOf(entry: Entry): Message {
  const { chat, seq, message, sender, timestampMs, clientMsgId } = entry;
  return { chat, seq, message, sender, timestampMs, clientMsgId, text: entry.text ?? `(${entry.body.length} bytes that are no text)` };
}

function failureText(failure: Failure): string {
  if (failure.why === "refused") return failure.refusal.text;
  return failure.why === "too_large" ? "it is too long" : "it waited too long to be sent safely";
}

function endOf(end: Extract<ClientEvent, { type: "ended" }>["end"]): Status {
  if (end.why === "server" && end.refusal.code === "session_replaced") {
    return { state: "ended", text: "This chat is open in another place.", again: true };
  }
  if (end.why === "server") return { state: "ended", text: `The server ended the session: ${end.refusal.text}.`, again: false };
  if (end.why === "wrong_identity") return { state: "ended", text: "The token is another user's.", again: false };
  if (end.why === "application") return { state: "ended", text: "This browser could not store messages.", again: true };
  return { state: "ended", text: "Signed out.", again: false };
}
