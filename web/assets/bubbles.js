/** Draws one message of the conversation. */
import { hueOfUser, make, nameOf, symbol } from "./dom.js";
import { DELETED } from "./messages.js";
import { clock } from "./words.js";
const SYMBOLS = {
    waiting: "i-wait",
    sent: "i-sent",
    delivered: "i-both",
    read: "i-both",
    failed: "i-fail",
};
const WORDS = {
    waiting: "waiting to be sent",
    sent: "sent",
    delivered: "delivered",
    read: "read",
    failed: "not sent",
};
const CROSSED = "Sent before they saw your message above";
/** How far an own message is, as a symbol. */
export function tickOf(progress) {
    const tick = symbol(SYMBOLS[progress], "tick");
    tick.dataset["state"] = progress;
    return tick;
}
/** Fills the conversation's items. */
export class Bubbles {
    model;
    actions;
    /** Own messages whose readers are named, by message id. */
    named = new Set();
    constructor(model, actions) {
        this.model = model;
        this.actions = actions;
    }
    /** A message. */
    fill(item, line, className) {
        const quoted = line.replyTo === null ? null : this.quoted(line.replyTo);
        const { message: entry, unsent, ...drawn } = line;
        const state = JSON.stringify([className, drawn, unsent?.problem, entry?.message, quoted, this.model.group !== null]);
        if (item.dataset["state"] === state)
            return;
        const focused = item.contains(document.activeElement) ? document.activeElement?.className : null;
        item.dataset["state"] = state;
        item.dataset["progress"] = line.mine ? line.progress : "";
        if (entry)
            item.dataset["message"] = entry.message;
        item.className = `${className}${line.deleted ? " deleted" : ""}`;
        const parts = [this.who(line, className)];
        if (line.forwarded > 0 && !line.deleted)
            parts.push(make("span", "note", line.forwarded > 4 ? "Forwarded many times" : "Forwarded"));
        if (line.replyTo !== null && !line.deleted)
            parts.push(this.quote(line.replyTo, quoted));
        parts.push(this.body(line), this.meta(line));
        if (line.readers !== null)
            parts.push(make("span", "readers", line.readers));
        if (line.reactions.length > 0)
            parts.push(this.reactions(line));
        if (entry && !line.deleted)
            parts.push(this.opener(entry));
        if (line.unsent?.problem)
            parts.push(this.trouble(line.unsent));
        item.replaceChildren(...parts);
        if (focused !== null)
            (item.querySelector(`button[class="${focused}"]`) ?? item.querySelector("button"))?.focus();
    }
    /** A change of the group, in words. */
    fillChange(item, words) {
        if (item.dataset["state"] === words)
            return;
        item.dataset["state"] = words;
        item.className = "change";
        item.replaceChildren(words);
    }
    /** In a group the first message of a run says who speaks to everybody, the others to those who hear them. */
    who(line, className) {
        const named = this.model.group && !line.mine && className.includes(" first");
        const who = make("span", named ? "sender" : "visually-hidden", line.mine ? "You: " : nameOf(line.sender), named || line.mine ? "" : ": ");
        if (named)
            who.style.setProperty("--hue", String(hueOfUser(line.sender ?? "")));
        return who;
    }
    /** The text, its mentions marked. */
    body({ text, mentions, deleted }) {
        if (deleted)
            return make("span", "body", DELETED);
        const body = make("span", "body");
        for (const part of text.split(/(@[0-9]+)/)) {
            const user = part.slice(1);
            const mentioned = part.startsWith("@") && mentions.includes(user);
            body.append(mentioned ? make("mark", user === this.model.account.user ? "mention me" : "mention", part) : part);
        }
        return body;
    }
    meta(line) {
        const time = make("time", "", clock.format(line.timestampMs));
        const meta = make("span", "meta");
        if (line.edited && !line.deleted)
            meta.append(make("span", "edited", "edited"));
        meta.append(time);
        if (line.crossed) {
            time.title = CROSSED;
            time.classList.add("crossed");
            meta.append(make("span", "visually-hidden", `, ${CROSSED.toLowerCase()}`));
        }
        if (!line.mine || line.deleted)
            return meta;
        meta.append(this.model.group && line.message ? this.asking(line, line.message.message) : tickOf(line.progress));
        meta.append(make("span", "visually-hidden", `, ${WORDS[line.progress]}`));
        return meta;
    }
    /** What a message that is answered says, in short; null where it is not loaded. */
    quoted(message) {
        const now = this.model.talk?.now(message);
        if (!now)
            return null;
        const who = now.entry.sender === this.model.account.user ? "You" : nameOf(now.entry.sender);
        return { who, text: now.deletedMs > 0 ? DELETED : (now.text ?? "") };
    }
    quote(message, quoted) {
        if (!quoted)
            return make("span", "quote", make("span", "", "A message that is not here"));
        const button = make("button", "quote", make("strong", "", quoted.who), make("span", "", quoted.text));
        button.type = "button";
        button.setAttribute("aria-label", `Answers ${quoted.who}: ${quoted.text}`);
        button.addEventListener("click", () => this.actions.jump(message));
        return button;
    }
    reactions({ reactions, message }) {
        const { user: me } = this.model.account;
        const buttons = reactions.map(([reaction, users]) => {
            const own = users.includes(me);
            const button = make("button", own ? "reaction own" : "reaction", reaction, users.length > 1 ? ` ${users.length}` : "");
            button.type = "button";
            const names = users.map((user) => (user === me ? "you" : nameOf(user))).join(", ");
            button.title = names;
            button.setAttribute("aria-label", `${reaction} by ${names}`);
            button.setAttribute("aria-pressed", String(own));
            button.addEventListener("click", () => message && this.actions.react(message.message, own ? "" : reaction));
            return button;
        });
        return make("span", "reactions", ...buttons);
    }
    opener(message) {
        const opener = make("button", "more", symbol("i-more", "small"));
        opener.type = "button";
        opener.setAttribute("aria-label", "Message options");
        opener.setAttribute("aria-haspopup", "menu");
        opener.addEventListener("click", () => this.actions.menu(message, opener));
        return opener;
    }
    /** The tick of an own message in a group: who has it is asked for, and named. */
    asking(line, message) {
        const button = make("button", "asking", tickOf(line.progress));
        button.type = "button";
        button.setAttribute("aria-label", "Who has this message");
        button.addEventListener("click", () => {
            this.named.add(message);
            this.actions.who(message);
        });
        return button;
    }
    trouble({ clientMsgId, problem }) {
        const again = make("button", "", "Try again");
        const discard = make("button", "", "Delete");
        for (const button of [again, discard])
            button.type = "button";
        again.addEventListener("click", () => this.actions.again(clientMsgId));
        discard.addEventListener("click", () => this.actions.discard(clientMsgId));
        return make("div", "why", `Not sent: ${problem ?? ""}. `, again, discard);
    }
}
