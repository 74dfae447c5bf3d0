/** Draws a {@link Model}: the list of chats, the open conversation, the connection. */

import { Bubbles, type MessageActions, tickOf } from "./bubbles.js";
import { by, make, nameOf, paint, paintGroup, symbol } from "./dom.js";
import { titleOf } from "./groups.js";
import type { Chat } from "./history.js";
import { type Line, linesOf } from "./lines.js";
import type { Model } from "./model.js";
import { isMuted } from "./own.js";
import type { Status } from "./states.js";
import { clock, duration } from "./words.js";

const STATUS: Record<Status["state"], string> = {
  connecting: "Connecting…",
  online: "Connected",
  waiting: "Reconnecting…",
  ended: "Not connected",
};
/** Messages further apart do not look like one utterance, ms. */
const TOGETHER_MS = 5 * 60_000;
/** This close to the end the view follows new messages, px. */
const FOLLOW_PX = 80;

/** How long a message that was jumped to stays marked, ms. */
const POINTED_MS = 1_500;
/** Higher counts are not told apart. */
const UNREAD_SHOWN = 999;

const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const short = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** The page's drawing of one model. */
export class View {
  private readonly app = by("app", HTMLElement);
  private readonly chats = by("chats", HTMLUListElement);
  private readonly scroll = by("scroll", HTMLElement);
  private readonly messages = by("messages", HTMLOListElement);
  private readonly latest = by("latest", HTMLButtonElement);
  private readonly drawn = new Map<string, HTMLLIElement>();
  private openChat: string | null = null;
  private atEnd = true;
  private readonly bubbles: Bubbles;
  private archivedShown = false;

  constructor(
    private readonly model: Model,
    actions: MessageActions,
  ) {
    this.bubbles = new Bubbles(model, actions);
    by("archived-open", HTMLButtonElement).addEventListener("click", () => {
      this.archivedShown = !this.archivedShown;
      this.drawList();
    });
    const { user } = model.account;
    by("me-name", HTMLElement).textContent = nameOf(user);
    paint(by("me-avatar", HTMLElement), user);
    this.latest.addEventListener("click", () => this.toEnd());
    // A keyboard that opens, a window that shrinks: who was at the end stays there.
    new ResizeObserver(() => this.atEnd && this.toEnd()).observe(this.scroll);
    this.scroll.addEventListener("scroll", () => {
      this.atEnd = this.follows();
      if (this.atEnd) this.latest.hidden = true;
    });
  }

  /** Draws everything that concerns a chat, or with null what concerns none. */
  draw(chat: string | null): void {
    this.drawStatus();
    this.drawList();
    if (chat === null || chat === this.model.open) this.drawTalk();
  }

  /** Whether the newest message is in sight. */
  follows(): boolean {
    const { scrollHeight, scrollTop, clientHeight } = this.scroll;
    return scrollHeight - scrollTop - clientHeight < FOLLOW_PX;
  }

  /** Shows the newest message. */
  toEnd(): void {
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.atEnd = true;
    this.latest.hidden = true;
  }

  /** How the connection is; the wait for the next attempt counts down. */
  drawStatus(): void {
    const { status } = this.model;
    const line = by("status", HTMLElement);
    line.dataset["state"] = status.state;
    const [words, wait] = [by("status-text", HTMLElement), by("status-wait", HTMLElement)];
    const text = STATUS[status.state];
    // Only changes are announced, and the seconds that count down to the next attempt are not.
    if (words.textContent !== text) words.textContent = text;
    const left = status.state === "waiting" ? Math.ceil((status.untilMs - Date.now()) / 1000) : 0;
    wait.textContent = left > 1 ? `${left} s` : "";
    const over = by("over", HTMLElement);
    if (status.state !== "ended" || !over.hidden) return;
    by("over-text", HTMLElement).textContent = status.text;
    by("over-again", HTMLButtonElement).textContent = status.again ? "Use it here" : "Sign in again";
    over.hidden = false;
  }

  private drawList(): void {
    const list = this.model.list();
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["chat"] : undefined;
    const away = list.filter((chat) => chat.archived);
    this.chats.replaceChildren(...list.filter((chat) => !chat.archived).map((chat) => this.chatItem(chat)));
    const archived = by("archived", HTMLUListElement);
    archived.hidden = !this.archivedShown || away.length === 0;
    archived.replaceChildren(...away.map((chat) => this.chatItem(chat)));
    const opener = by("archived-open", HTMLButtonElement);
    opener.hidden = away.length === 0;
    opener.setAttribute("aria-expanded", String(this.archivedShown));
    by("archived-count", HTMLElement).textContent = String(away.length);
    if (focused) document.querySelector<HTMLElement>(`.side [data-chat="${focused}"]`)?.focus();
    by("no-chats", HTMLElement).hidden = list.length > 0;
    const unread = list.filter((chat) => !isMuted(chat) && !chat.archived).reduce((sum, chat) => sum + chat.unread, 0);
    document.title = unread > 0 ? `(${unread}) Shardwire` : "Shardwire";
  }

  private chatItem(chat: Chat): HTMLLIElement {
    const unsent = [...this.model.unsent.values()].filter((each) => each.chat === chat.chat).sort((a, b) => b.createdMs - a.createdMs)[0];
    const button = make("button", "chat");
    button.type = "button";
    button.dataset["chat"] = chat.chat;
    button.setAttribute("aria-current", String(chat.chat === this.model.open));
    const avatar = make("span", "avatar");
    avatar.setAttribute("aria-hidden", "true");
    this.portrait(avatar, chat);
    const at = unsent?.createdMs ?? chat.last?.timestampMs;
    const last = make("span", "last");
    if (unsent) last.append(tickOf(unsent.problem === null ? "waiting" : "failed"), make("span", "", unsent.text));
    else if (chat.last && (chat.last.expiresMs ?? Infinity) > Date.now()) {
      if (chat.last.mine) last.append(tickOf(this.model.progress({ chat: chat.chat, seq: chat.last.seq })));
      last.append(make("span", "", chat.last.text));
    }
    const first = make("span", "row", make("span", "name", titleOf(chat)), make("span", "time", at === undefined ? "" : when(at)));
    const second = make("span", "row", last);
    if (chat.pinned) second.append(this.sign("i-pin", "Pinned"));
    if (isMuted(chat)) second.append(this.sign("i-mute", "Muted"));
    if (chat.unread > 0) {
      const count = chat.unread > UNREAD_SHOWN ? `${UNREAD_SHOWN}+` : String(chat.unread);
      second.append(make("span", isMuted(chat) ? "unread quietly" : "unread", count, make("span", "visually-hidden", " unread")));
    }
    button.append(avatar, make("span", "rows", first, second));
    return make("li", "", button);
  }

  private sign(id: string, words: string): HTMLElement {
    return make("span", "sign", symbol(id, "small"), make("span", "visually-hidden", words));
  }

  private drawTalk(): void {
    const chat = this.model.open === null ? undefined : this.model.chats.get(this.model.open);
    this.app.dataset["pane"] = chat ? "talk" : "list";
    by("open", HTMLElement).hidden = !chat;
    by("nothing", HTMLElement).hidden = Boolean(chat);
    if (!chat) {
      this.openChat = null;
      return;
    }
    by("peer-name", HTMLElement).textContent = titleOf(chat);
    this.portrait(by("peer-avatar", HTMLElement), chat);
    const note = by("peer-note", HTMLElement);
    note.hidden = !chat.group || chat.group.members.length === 0;
    const count = chat.group?.members.length ?? 0;
    note.textContent = count === 1 ? "1 member" : `${count} members`;
    by("members-open", HTMLElement).hidden = !chat.group;
    by("gone", HTMLElement).hidden = chat.group?.present !== false;
    by("compose", HTMLElement).hidden = chat.group?.present === false;
    const ttl = chat.timer?.ttlS ?? 0;
    by("timer-note", HTMLElement).hidden = ttl === 0;
    by("timer-text", HTMLElement).textContent = `Messages disappear after ${duration(ttl || 1)}`;
    const opened = this.openChat !== chat.chat;
    if (opened) {
      this.openChat = chat.chat;
      this.drawn.clear();
      this.bubbles.named.clear();
      this.messages.replaceChildren();
    }
    this.drawLines(linesOf(this.model, this.bubbles.named), opened);
  }

  private drawLines(lines: readonly Line[], opened: boolean): void {
    const followed = opened || this.follows();
    const [oldHeight, oldTop, oldFirst] = [this.scroll.scrollHeight, this.scroll.scrollTop, this.messages.firstElementChild];
    const items: HTMLElement[] = [];
    let arrived = false;
    lines.forEach((line, n) => {
      const [before, after] = [lines[n - 1], lines[n + 1]];
      if (!before || dayOf(before.timestampMs) !== dayOf(line.timestampMs)) items.push(this.day(line.timestampMs));
      const known = this.drawn.get(line.key);
      if (!known && n === lines.length - 1) arrived = true;
      const item = known ?? make("li");
      this.drawn.set(line.key, item);
      const first = !before || !together(before, line);
      const last = !after || !together(line, after);
      if (line.change !== null) this.bubbles.fillChange(item, line.change);
      else this.bubbles.fill(item, line, `message ${line.mine ? "mine" : "theirs"}${first ? " first" : ""}${last ? " last" : ""}`);
      items.push(item);
    });
    this.place(items);
    if (followed || (arrived && lines.at(-1)?.mine)) this.toEnd();
    else if (this.messages.firstElementChild !== oldFirst) this.scroll.scrollTop = oldTop + this.scroll.scrollHeight - oldHeight;
    else if (arrived) this.latest.hidden = false;
  }

  /** Shows a message of the conversation and points at it. Returns whether it is loaded. */
  jump(message: string): boolean {
    const item = this.messages.querySelector<HTMLElement>(`[data-message="${message}"]`);
    item?.scrollIntoView({ block: "center" });
    item?.classList.add("pointed");
    setTimeout(() => item?.classList.remove("pointed"), POINTED_MS);
    item?.querySelector<HTMLElement>("button")?.focus();
    return item !== null;
  }

  /** Brings the list's children in step without touching those that stay: a live region announces only what is new. */
  private place(items: readonly HTMLElement[]): void {
    const keep = new Set<Element>(items);
    for (const child of [...this.messages.children]) if (!keep.has(child)) child.remove();
    let at = this.messages.firstElementChild;
    for (const item of items) {
      if (item === at) at = at.nextElementSibling;
      else this.messages.insertBefore(item, at);
    }
  }

  private portrait(avatar: HTMLElement, chat: Chat): void {
    if (chat.group) paintGroup(avatar, chat.chat, chat.group.name);
    else paint(avatar, chat.peer);
  }

  private day(ms: number): HTMLElement {
    const key = `day ${dayOf(ms)}`;
    const known = this.drawn.get(key);
    const item = known ?? make("li", "day", dayName(ms));
    this.drawn.set(key, item);
    return item;
  }
}

function together(a: Line, b: Line): boolean {
  if (a.change !== null || b.change !== null) return false;
  return a.sender === b.sender && b.timestampMs - a.timestampMs < TOGETHER_MS && dayOf(a.timestampMs) === dayOf(b.timestampMs);
}

/** Days since 1970 where the user is. */
function dayOf(ms: number): number {
  return Math.floor((ms - new Date(ms).getTimezoneOffset() * 60_000) / 86_400_000);
}

function dayName(ms: number): string {
  const ago = dayOf(Date.now()) - dayOf(ms);
  if (ago <= 0) return "Today";
  if (ago === 1) return "Yesterday";
  return ago < 7 ? weekday.format(ms) : date.format(ms);
}

function when(ms: number): string {
  const ago = dayOf(Date.now()) - dayOf(ms);
  if (ago <= 0) return clock.format(ms);
  return ago === 1 ? "Yesterday" : short.format(ms);
}
