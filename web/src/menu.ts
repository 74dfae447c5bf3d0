/** What can be done with a message: a menu beside it, who has it, where it is passed on to. */

import { by, make, nameOf } from "./dom.js";
import { isAdmin, readers, titleOf } from "./groups.js";
import type { Message } from "./history.js";
import type { Model } from "./model.js";
import type { Act } from "./shardwire/index.js";
import { wordsOf } from "./starting.js";
import type { Writing } from "./writing.js";

const REACTIONS = ["👍", "❤️", "😂", "😮", "😢", "🙏"];
/** As the server has it by default; a later edit is refused, and said. */
const EDIT_MS = 15 * 60_000;
const DELETE_MS = 2 * 86_400_000;

/** The menu of one message at a time. */
export class Menu {
  private readonly menu = by("message-menu", HTMLElement);
  private readonly problem = by("talk-problem", HTMLElement);
  private opener: HTMLElement | null = null;

  constructor(
    private readonly model: Model,
    private readonly writing: Writing,
  ) {
    this.menu.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("click", (event) => {
      const inside = event.target instanceof Node && (this.menu.contains(event.target) || this.opener?.contains(event.target));
      if (!inside) this.close(false);
    });
    by("scroll", HTMLElement).addEventListener("scroll", () => this.close(false));
  }

  /** Opens it for a message. */
  open(message: Message, opener: HTMLElement): void {
    if (this.opener === opener) return this.close(true);
    this.close(false);
    this.opener = opener;
    opener.setAttribute("aria-expanded", "true");
    const own = this.model.talk?.now(message.message)?.reactions.get(this.model.account.user);
    const reactions = REACTIONS.map((reaction) => {
      const item = this.item(reaction, () => this.react(message.message, own === reaction ? "" : reaction));
      item.setAttribute("aria-label", own === reaction ? `Take ${reaction} back` : `React with ${reaction}`);
      item.classList.toggle("own", own === reaction);
      return item;
    });
    this.menu.replaceChildren(make("div", "reacting", ...reactions), ...this.items(message));
    this.menu.hidden = false;
    this.place(opener);
    this.menu.querySelector("button")?.focus();
  }

  /** Reacts to a message, or with an empty text takes the reaction back. */
  react(message: string, reaction: string): void {
    this.do({ kind: "reacted", refersTo: message, reaction });
  }

  private items(message: Message): HTMLElement[] {
    const { user } = this.model.account;
    const { message: refersTo, chat, timestampMs, sender } = message;
    const [mine, age] = [sender === user, Date.now() - timestampMs];
    const everyone = (mine && age < DELETE_MS) || (this.model.group !== null && isAdmin(this.model.group, user));
    const items = [
      this.item("Reply", () => this.writing.reply(message)),
      this.item("Forward", () => this.forward(message)),
    ];
    if (mine && age < EDIT_MS) items.push(this.item("Edit", () => this.writing.edit(message)));
    items.push(this.item("Info", () => void this.info(message)));
    items.push(this.item("Delete for me", () => this.say(this.model.set({ kind: "hidden", subject: chat, refersTo })), true));
    if (everyone) items.push(this.item("Delete for everyone", () => this.do({ kind: "deleted", refersTo }), true));
    return items;
  }

  private item(words: string, act: () => void, danger = false): HTMLButtonElement {
    const item = make("button", danger ? "danger" : "", words);
    item.type = "button";
    item.setAttribute("role", "menuitem");
    item.tabIndex = -1;
    item.addEventListener("click", () => {
      this.close(true);
      act();
    });
    return item;
  }

  private key(event: KeyboardEvent): void {
    const items = [...this.menu.querySelectorAll("button")];
    const at = items.findIndex((item) => item === document.activeElement);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (event.key === "Tab") return this.close(false);
    if (event.key === "Escape") this.close(true);
    else if (step !== undefined) items[(at + step + items.length) % items.length]?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private close(focus: boolean): void {
    if (!this.opener) return;
    this.menu.hidden = true;
    this.opener.setAttribute("aria-expanded", "false");
    if (focus) this.opener.focus();
    this.opener = null;
  }

  /** Beside its opener, inside the page. */
  private place(opener: HTMLElement): void {
    const [at, size, edge] = [opener.getBoundingClientRect(), this.menu.getBoundingClientRect(), 8];
    const left = Math.min(Math.max(at.left, edge), innerWidth - size.width - edge);
    const top = at.bottom + size.height + edge > innerHeight ? at.top - size.height : at.bottom;
    this.menu.style.setProperty("left", `${left}px`);
    this.menu.style.setProperty("top", `${Math.max(top, edge)}px`);
  }

  private forward(message: Message): void {
    const [dialog, list] = [by("forward", HTMLDialogElement), by("forward-list", HTMLUListElement)];
    const text = this.model.talk?.now(message.message)?.text ?? "";
    const chats = this.model.list().filter((chat) => chat.group?.present !== false);
    const items = chats.map((chat) => {
      const button = make("button", "", titleOf(chat));
      button.type = "button";
      button.addEventListener("click", () => {
        dialog.close();
        void this.model.forward(message, text, chat.chat);
      });
      return make("li", "", button);
    });
    list.replaceChildren(...items);
    dialog.showModal();
  }

  private async info({ message }: Message): Promise<void> {
    await this.model.askStatus(message);
    const status = this.model.statuses.get(message);
    const lines = status ? readers(status, true).split(". ") : ["Nothing is known of it now."];
    const sent = this.model.talk?.find(message);
    if (sent) lines.unshift(`Sent by ${sent.sender === this.model.account.user ? "you" : nameOf(sent.sender)}, ${new Date(sent.timestampMs).toLocaleString()}`);
    by("info-lines", HTMLElement).replaceChildren(...lines.map((line) => make("p", "", line)));
    by("info", HTMLDialogElement).showModal();
  }

  private do(change: Act): void {
    this.say(this.model.change(change));
  }

  /** What is refused is said. */
  private say(doing: Promise<void>): void {
    this.problem.textContent = "";
    doing.catch((error: unknown) => (this.problem.textContent = wordsOf(error)));
  }
}
