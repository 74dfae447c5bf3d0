/** The field in which messages are written: answers, edits, mentions. */
import { by, make, nameOf } from "./dom.js";
import { wordsOf } from "./starting.js";
/** Beyond these no names are proposed. */
const PROPOSED = 6;
/** What is being written. */
export class Writing {
    model;
    text = by("text", HTMLTextAreaElement);
    form = by("compose", HTMLFormElement);
    about = by("about", HTMLElement);
    names = by("names", HTMLUListElement);
    problem = by("talk-problem", HTMLElement);
    replying = null;
    editing = null;
    chat = null;
    constructor(model) {
        this.model = model;
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
    draw() {
        if (this.chat === this.model.open)
            return;
        this.chat = this.model.open;
        this.problem.textContent = "";
        this.drop(false);
    }
    /** The next message answers this one. */
    reply(message) {
        this.editing = null;
        this.replying = message;
        const who = message.sender === this.model.account.user ? "yourself" : nameOf(message.sender);
        this.show(`Reply to ${who}`, message);
    }
    /** The next text takes the place of this message's. */
    edit(message) {
        this.replying = null;
        this.editing = message;
        this.show("Edit message", message);
        this.text.value = this.model.talk?.now(message.message)?.text ?? "";
        this.fit();
    }
    show(words, { message }) {
        by("about-words", HTMLElement).textContent = words;
        by("about-text", HTMLElement).textContent = this.model.talk?.now(message)?.text ?? "";
        this.about.hidden = false;
        this.text.focus();
    }
    drop(focus = true) {
        if (this.editing)
            this.text.value = "";
        this.replying = null;
        this.editing = null;
        this.about.hidden = true;
        this.names.hidden = true;
        this.fit();
        if (focus)
            this.text.focus();
    }
    submit() {
        const value = this.text.value.trim();
        if (value === "")
            return;
        this.problem.textContent = "";
        const { editing, replying } = this;
        const mentions = this.mentioned(value);
        this.text.value = "";
        this.editing = null;
        this.drop();
        if (!editing)
            return void this.model.send(value, { ...(replying && { replyTo: replying.message }), ...(mentions.length > 0 && { mentions }) });
        const change = { kind: "edited", refersTo: editing.message, mentions };
        this.model.change(change, value).catch((error) => (this.problem.textContent = wordsOf(error)));
    }
    /** Members whose number stands behind an @. */
    mentioned(text) {
        const known = new Set(this.people());
        return [...new Set([...text.matchAll(/@([0-9]+)/g)].map(([, user]) => user ?? ""))].filter((user) => known.has(user));
    }
    people() {
        const { group, open, account } = this.model;
        if (group)
            return group.members.map(({ user }) => user).filter((user) => user !== account.user);
        const peer = open === null ? null : this.model.chats.get(open)?.peer;
        return peer ? [peer] : [];
    }
    /** Names that fit what stands behind the @ before the cursor. */
    propose() {
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
    choose(at) {
        const items = [...this.names.children];
        items.forEach((item, n) => item.setAttribute("aria-selected", String(n === at)));
        if (items[at])
            this.text.setAttribute("aria-activedescendant", items[at].id);
        else
            this.text.removeAttribute("aria-activedescendant");
    }
    insert(user) {
        const at = this.text.selectionStart;
        const before = this.text.value.slice(0, at).replace(/@[0-9]*$/, `@${user} `);
        this.text.value = before + this.text.value.slice(at);
        this.text.setSelectionRange(before.length, before.length);
        this.names.hidden = true;
        this.text.setAttribute("aria-expanded", "false");
    }
    key(event) {
        if (!this.names.hidden && this.choosing(event))
            return;
        if (event.key === "Escape" && !this.about.hidden) {
            event.stopPropagation();
            return this.drop();
        }
        if (event.key !== "Enter" || event.shiftKey || event.isComposing)
            return;
        event.preventDefault();
        this.form.requestSubmit();
    }
    /** Whether the key was for the names. */
    choosing(event) {
        const items = [...this.names.querySelectorAll("li")];
        const at = items.findIndex((item) => item.getAttribute("aria-selected") === "true");
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (step !== undefined)
            this.choose((at + step + items.length) % items.length);
        else if (event.key === "Enter" || event.key === "Tab")
            this.insert(items[at]?.dataset["user"] ?? "");
        else if (event.key === "Escape")
            this.names.hidden = true;
        else
            return false;
        event.preventDefault();
        event.stopPropagation();
        return true;
    }
    fit() {
        this.text.style.setProperty("height", "auto");
        this.text.style.setProperty("height", `${this.text.scrollHeight + 2}px`);
    }
}
