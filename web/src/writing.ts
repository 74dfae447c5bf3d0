/** The field in which messages are written: answers, edits, mentions. */

import { by, make, nameOf } from "./dom.js";
import type { Message } from "./history.js";
import type { Model } from "./model.js";
import { wordsOf } from "./starting.js";

/** Beyond these no names are proposed. */
const PROPOSED = 6;

/** What is being written. */
export class Writing {
  private readonly text = by("text", HTMLTextAreaElement);
  private readonly form = by("compose", HTMLFormElement);
  private readonly about = by("about", HTMLElement);
  private readonly names = by("names", HTMLUListElement);
  private readonly problem = by("talk-problem", HTMLElement);
  private replying: Message | null = null;
  private editing: Message | null = null;
  private chat: string | null = null;

  constructor(private readonly model: Model) {
    this.text.addEventListener("input", () => {
      this.fit();
      this.propose();
    });
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    by("about-close", HTMLButtonElement).addEventListener("click", () => this.drop());
  }

  /** Another chat is open: what was begun is dropped. */
  draw(): void {
    if (this.chat === this.model.open) return;
    this.chat = this.model.open;
    this.problem.textContent = "";
    this.drop(false);
  }

  /** The next message answers this one. */
  reply(message: Message): void {
    this.editing = null;
    this.replying = message;
    const who = message.sender === this.model.account.user ? "yourself" : nameOf(message.sender);
    this.show(`Reply to ${who}`, message);
  }

  /** The next text takes the place of this message's. */
  edit(message: Message): void {
    this.replying = null;
    this.editing = message;
    this.show("Edit message", message);
    this.text.value = this.model.talk?.now(message.message)?.text ?? "";
    this.fit();
  }

  private show(words: string, { message }: Message): void {
    by("about-words", HTMLElement).textContent = words;
    by("about-text", HTMLElement).textContent = this.model.talk?.now(message)?.text ?? "";
    this.about.hidden = false;
    this.text.focus();
  }

  private drop(focus = true): void {
    if (this.editing) this.text.value = "";
    this.replying = null;
    this.editing = null;
    this.about.hidden = true;
    this.names.hidden = true;
    this.fit();
    if (focus) this.text.focus();
  }

  private submit(): void {
    const value = this.text.value.trim();
    if (value === "") return;
    this.problem.textContent = "";
    const { editing, replying } = this;
    const mentions = this.mentioned(value);
    this.text.value = "";
    this.editing = null;
    this.drop();
    if (!editing) return void this.model.send(value, { ...(replying && { replyTo: replying.message }), ...(mentions.length > 0 && { mentions }) });
    const change = { kind: "edited", refersTo: editing.message, mentions } as const;
    this.model.change(change, value).catch((error: unknown) => (this.problem.textContent = wordsOf(error)));
  }

  /** Members whose number stands behind an @. */
  private mentioned(text: string): string[] {
    const known = new Set(this.people());
    return [...new Set([...text.matchAll(/@([0-9]+)/g)].map(([, user]) => user ?? ""))].filter((user) => known.has(user));
  }

  private people(): string[] {
    const { group, open, account } = this.model;
    if (group) return group.members.map(({ user }) => user).filter((user) => user !== account.user);
    const peer = open === null ? null : this.model.chats.get(open)?.peer;
    return peer ? [peer] : [];
  }

  /** Names that fit what stands behind the @ before the cursor. */
  private propose(): void {
    const begun = /(?:^|\s)@([0-9]*)$/.exec(this.text.value.slice(0, this.text.selectionStart))?.[1];
    const fitting = begun === undefined || !this.model.group ? [] : this.people().filter((user) => user.startsWith(begun) && user !== begun);
    this.names.hidden = fitting.length === 0;
    this.text.setAttribute("aria-expanded", String(fitting.length > 0));
    const items = fitting.slice(0, PROPOSED).map((user, n) => {
      const item = make("li", "", `@${user}`, make("span", "", nameOf(user)));
      item.id = `name-${n}`;
      item.dataset["user"] = user;
      item.setAttribute("role", "option");
      // Before the field loses the focus.
      item.addEventListener("mousedown", (event) => {
        event.preventDefault();
        this.insert(user);
      });
      return item;
    });
    this.names.replaceChildren(...items);
    this.choose(0);
  }

  private choose(at: number): void {
    const items = [...this.names.children];
    items.forEach((item, n) => item.setAttribute("aria-selected", String(n === at)));
    if (items[at]) this.text.setAttribute("aria-activedescendant", items[at].id);
    else this.text.removeAttribute("aria-activedescendant");
  }

  private insert(user: string): void {
    const at = this.text.selectionStart;
    const before = this.text.value.slice(0, at).replace(/@[0-9]*$/, `@${user} `);
    this.text.value = before + this.text.value.slice(at);
    this.text.setSelectionRange(before.length, before.length);
    this.names.hidden = true;
    this.text.setAttribute("aria-expanded", "false");
  }

  private key(event: KeyboardEvent): void {
    if (!this.names.hidden && this.choosing(event)) return;
    if (event.key === "Escape" && !this.about.hidden) {
      event.stopPropagation();
      return this.drop();
    }
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.form.requestSubmit();
  }

  /** Whether the key was for the names. */
  private choosing(event: KeyboardEvent): boolean {
    const items = [...this.names.querySelectorAll<HTMLElement>("li")];
    const at = items.findIndex((item) => item.getAttribute("aria-selected") === "true");
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) this.choose((at + step + items.length) % items.length);
    else if (event.key === "Enter" || event.key === "Tab") this.insert(items[at]?.dataset["user"] ?? "");
    else if (event.key === "Escape") this.names.hidden = true;
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  private fit(): void {
    this.text.style.setProperty("height", "auto");
    this.text.style.setProperty("height", `${this.text.scrollHeight + 2}px`);
  }
}
