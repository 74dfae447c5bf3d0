/** What the page shows, kept in step with the client and with what this device has stored. */

import { nameOf } from "./dom.js";
import { endOf, failureText } from "./ends.js";
import { advance, apply, everyPage, isShown, learn, messageOf, newGroup, progressIn, sentence } from "./groups.js";
import { type Chat, type Group, History, type Message, type Unsent } from "./history.js";
import {
  Client,
  type ClientEvent,
  directChat,
  type Entry,
  type GroupChange,
  IndexedDbStore,
  type MessageStatus,
  newClientMsgId,
  type Sent,
} from "./shardwire/index.js";

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
/** Receipts come in bursts: who has read a message is asked for once after them, ms. */
const STATUS_WAIT_MS = 250;

/** One device's chats. `changed` is called after every change, with the chat concerned. */
export class Model {
  readonly chats = new Map<string, Chat>();
  readonly unsent = new Map<string, Unsent>();
  status: Status = { state: "connecting" };
  /** The open chat's messages, ascending without holes. */
  shown: Message[] = [];
  open: string | null = null;
  /** Who has which message of the open group, as far as it was asked for, by message id. */
  readonly statuses = new Map<string, MessageStatus>();
  private client!: Client;
  /** Chats whose beginning for this user has been reached. */
  private readonly begun = new Set<string>();
  private readonly refreshing = new Set<string>();
  private statusTimer: ReturnType<typeof setTimeout> | undefined;

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

  /** How far an own message is. */
  progress({ chat: id, seq }: { readonly chat: string; readonly seq: number }): Progress {
    const chat = this.chats.get(id);
    if (!chat) return "sent";
    if (chat.group) return progressIn(chat.group, seq, this.account.user);
    return seq <= chat.read ? "read" : seq <= chat.delivered ? "delivered" : "sent";
  }

  /** The open group; null when a direct chat or none is open. */
  get group(): Group | null {
    return (this.open === null ? undefined : this.chats.get(this.open)?.group) ?? null;
  }

  /** Makes a group and opens it. Rejects with what the user can read. */
  async createGroup(name: string, users: readonly string[]): Promise<void> {
    const { chat } = await this.client.createGroup(name, users);
    this.chat(chat).group ??= newGroup();
    await this.openChat(chat);
  }

  /** Changes the open group. Rejects with what the user can read. */
  async change(change: GroupChange): Promise<void> {
    if (this.open !== null) await this.client.change(this.open, change);
  }

  /** Asks who has an own message of the open group. */
  async askStatus(message: string): Promise<void> {
    const chat = this.open;
    if (chat === null) return;
    const status = await this.client.status(chat, message).catch(() => null);
    if (!status || this.open !== chat) return;
    this.statuses.set(message, status);
    this.changed(chat);
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
    this.statuses.clear();
    this.changed(id);
    void this.refresh(id);
    const found = await this.history.below(id, Infinity, PAGE);
    if (this.open !== id) return;
    const newer = this.shown.filter((message) => message.seq > (found.at(-1)?.seq ?? 0));
    this.shown = [...found, ...newer];
    this.changed(id);
    this.watch(id);
  }

  closeChat(): void {
    this.open = null;
    this.shown = [];
    this.changed(null);
  }

  /** Shows older messages of the open chat: kept ones, else the server's. Returns whether there were any. */
  async older(): Promise<boolean> {
    const [chat, first] = [this.open, this.shown[0]];
    if (chat === null || !first || first.seq === 1 || this.begun.has(chat)) return false;
    let found = await this.history.below(chat, first.seq, PAGE);
    const whole = found.at(-1)?.seq === first.seq - 1;
    if (!whole) {
      const after = Math.max(first.seq - 1 - PAGE, 0);
      const page = await this.client.history(chat, after, first.seq - 1 - after).catch(() => null);
      if (!page) return false;
      found = page.entries.filter((entry) => entry.seq < first.seq && isShown(entry)).map(messageOf);
      // Nothing from the chat's beginning on: this user joined later.
      if (found.length === 0 && after === 0) this.begun.add(chat);
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
      case "synced":
        for (const { chat, group } of this.chats.values()) if (group && !group.known) this.look(chat);
        return this.open === null ? undefined : this.watch(this.open);
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
    await this.take(entries.filter(isShown).map(messageOf));
  }

  /** Messages and changes have their place: keeps and shows them. */
  private async take(messages: readonly Message[], settled: readonly string[] = []): Promise<void> {
    const touched = new Set<Chat>();
    for (const message of messages) {
      const chat = this.chat(message.chat);
      const mine = message.sender === this.account.user;
      if (message.change) apply((chat.group ??= newGroup()), message, this.account.user);
      else if (!mine) {
        this.meet(chat, message.sender);
        if (message.seq > (chat.last?.seq ?? 0)) chat.unread += 1;
      }
      this.note(chat, message, mine);
      touched.add(chat);
    }
    await this.history.keep({ messages, chats: [...touched], settled });
    for (const id of settled) this.unsent.delete(id);
    for (const message of messages) this.show(message);
    for (const chat of touched) {
      this.changed(chat.chat);
      if (chat.group && !chat.group.known) this.look(chat.chat);
    }
  }

  /** Somebody was heard of in a chat: the other user of a direct one, a member of a group. */
  private meet(chat: Chat, user: string): void {
    if (chat.group || chat.peer !== null) return;
    if (directChat(this.account.user, user) === chat.chat) chat.peer = user;
    else chat.group = newGroup();
  }

  /** What is known of a group is old: it is asked for if that is in sight. */
  private look(chat: string): void {
    if (chat === this.open || this.chats.get(chat)?.group?.name === "") void this.refresh(chat);
  }

  /** Asks what a group is and who is in it, again when it changed meanwhile. */
  private async refresh(id: string): Promise<void> {
    const group = this.chats.get(id)?.group;
    if (!group || this.refreshing.has(id)) return;
    this.refreshing.add(id);
    try {
      do {
        group.known = true;
        learn(group, await everyPage((after) => this.client.chat(id, after)));
      } while (!group.known);
      await this.history.keep({ chats: [this.chat(id)] });
    } catch {
      // Asked again when it is opened, and after the next connection.
      group.known = false;
    }
    this.refreshing.delete(id);
    this.changed(id);
  }

  /** Who has the last own message of the open group is always shown. */
  private watch(chat: string): void {
    if (chat !== this.open || !this.group) return;
    clearTimeout(this.statusTimer);
    this.statusTimer = setTimeout(() => {
      const last = this.shown.findLast((message) => message.sender === this.account.user && !message.change);
      if (chat === this.open && last) void this.askStatus(last.message);
    }, STATUS_WAIT_MS);
  }

  private async sent({ chat, seq, message, timestampMs, clientMsgId, change }: Sent): Promise<void> {
    const place = { chat, seq, message, timestampMs, clientMsgId, sender: this.account.user };
    if (change) {
      const { kind, name = "", users = [], role = null } = { name: undefined, users: undefined, role: undefined, ...change };
      return this.take([{ ...place, text: name, change: { kind, users, role } }]);
    }
    const unsent = this.unsent.get(clientMsgId);
    if (!unsent) return;
    await this.take([{ ...place, text: unsent.text }], [clientMsgId]);
    this.watch(chat);
  }

  private async failed(clientMsgId: string, problem: string): Promise<void> {
    const unsent = this.unsent.get(clientMsgId);
    if (!unsent) return;
    const failed = { ...unsent, problem };
    this.unsent.set(clientMsgId, failed);
    await this.history.keep({ unsent: [failed] });
    this.changed(unsent.chat);
  }

  private async receipt({ chat: id, user, seq, status }: Extract<ClientEvent, { type: "receipt" }>): Promise<void> {
    const read = status === "read" ? seq : 0;
    const own = user === this.account.user;
    if (own && !this.chats.has(id)) return;
    const chat = this.chat(id);
    if (!own) {
      this.meet(chat, user);
      advance(chat, user, seq, read);
    } else if (read >= (chat.last?.seq ?? 1)) chat.unread = 0; // Another device of this user has read it.
    await this.history.keep({ chats: [chat] });
    this.changed(id);
    this.watch(id);
  }

  private chat(id: string): Chat {
    let chat = this.chats.get(id);
    if (!chat) this.chats.set(id, (chat = { chat: id, peer: null, last: null, unread: 0, delivered: 0, read: 0 }));
    return chat;
  }

  private note(chat: Chat, message: Message, mine: boolean): void {
    if (message.seq <= (chat.last?.seq ?? 0)) return;
    const { seq, timestampMs, sender } = message;
    if (message.change) chat.last = { text: sentence(message, this.account.user), mine: false, seq, timestampMs };
    else chat.last = { text: chat.group && !mine ? `${nameOf(sender)}: ${message.text}` : message.text, mine, seq, timestampMs };
  }

  private show(message: Message): void {
    if (message.chat !== this.open) return;
    const at = this.shown.findLastIndex((shown) => shown.seq <= message.seq);
    if (this.shown[at]?.seq !== message.seq) this.shown.splice(at + 1, 0, message);
  }
}
