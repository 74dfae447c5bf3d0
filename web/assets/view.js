/** Draws a {@link Model}: the list of chats, the open conversation, the connection. */
import { by, hueOfUser, make, nameOf, paint, paintGroup, symbol } from "./dom.js";
import { readers, sentence, titleOf } from "./groups.js";
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
const STATUS = {
    connecting: "Connecting…",
    online: "Connected",
    waiting: "Reconnecting…",
    ended: "Not connected",
};
/** Messages further apart do not look like one utterance, ms. */
const TOGETHER_MS = 5 * 60_000;
/** This close to the end the view follows new messages, px. */
const FOLLOW_PX = 80;
/** Higher counts are not told apart. */
const UNREAD_SHOWN = 999;
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const short = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
/** The page's drawing of one model. */
export class View {
    model;
    actions;
    app = by("app", HTMLElement);
    chats = by("chats", HTMLUListElement);
    scroll = by("scroll", HTMLElement);
    messages = by("messages", HTMLOListElement);
    latest = by("latest", HTMLButtonElement);
    drawn = new Map();
    openChat = null;
    atEnd = true;
    /** Own messages whose readers are named, by message id. */
    named = new Set();
    constructor(model, actions) {
        this.model = model;
        this.actions = actions;
        const { user } = model.account;
        by("me-name", HTMLElement).textContent = nameOf(user);
        paint(by("me-avatar", HTMLElement), user);
        this.latest.addEventListener("click", () => this.toEnd());
        // A keyboard that opens, a window that shrinks: who was at the end stays there.
        new ResizeObserver(() => this.atEnd && this.toEnd()).observe(this.scroll);
        this.scroll.addEventListener("scroll", () => {
            this.atEnd = this.follows();
            if (this.atEnd)
                this.latest.hidden = true;
        });
    }
    /** Draws everything that concerns a chat, or with null what concerns none. */
    draw(chat) {
        this.drawStatus();
        this.drawList();
        if (chat === null || chat === this.model.open)
            this.drawTalk();
    }
    /** Whether the newest message is in sight. */
    follows() {
        const { scrollHeight, scrollTop, clientHeight } = this.scroll;
        return scrollHeight - scrollTop - clientHeight < FOLLOW_PX;
    }
    /** Shows the newest message. */
    toEnd() {
        this.scroll.scrollTop = this.scroll.scrollHeight;
        this.atEnd = true;
        this.latest.hidden = true;
    }
    /** How the connection is; the wait for the next attempt counts down. */
    drawStatus() {
        const { status } = this.model;
        const line = by("status", HTMLElement);
        line.dataset["state"] = status.state;
        const [words, wait] = [by("status-text", HTMLElement), by("status-wait", HTMLElement)];
        const text = STATUS[status.state];
        // Only changes are announced, and the seconds that count down to the next attempt are not.
        if (words.textContent !== text)
            words.textContent = text;
        const left = status.state === "waiting" ? Math.ceil((status.untilMs - Date.now()) / 1000) : 0;
        wait.textContent = left > 1 ? `${left} s` : "";
        const over = by("over", HTMLElement);
        if (status.state !== "ended" || !over.hidden)
            return;
        by("over-text", HTMLElement).textContent = status.text;
        by("over-again", HTMLButtonElement).textContent = status.again ? "Use it here" : "Sign in again";
        over.hidden = false;
    }
    drawList() {
        const list = this.model.list();
        const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["chat"] : undefined;
        this.chats.replaceChildren(...list.map((chat) => this.chatItem(chat)));
        if (focused)
            this.chats.querySelector(`[data-chat="${focused}"]`)?.focus();
        by("no-chats", HTMLElement).hidden = list.length > 0;
        const unread = list.reduce((sum, chat) => sum + chat.unread, 0);
        document.title = unread > 0 ? `(${unread}) Shardwire` : "Shardwire";
    }
    chatItem(chat) {
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
        if (unsent)
            last.append(this.tick(unsent.problem === null ? "waiting" : "failed"), make("span", "", unsent.text));
        else if (chat.last) {
            if (chat.last.mine)
                last.append(this.tick(this.model.progress({ chat: chat.chat, seq: chat.last.seq })));
            last.append(make("span", "", chat.last.text));
        }
        const first = make("span", "row", make("span", "name", titleOf(chat)), make("span", "time", at === undefined ? "" : when(at)));
        const second = make("span", "row", last);
        if (chat.unread > 0) {
            const count = chat.unread > UNREAD_SHOWN ? `${UNREAD_SHOWN}+` : String(chat.unread);
            second.append(make("span", "unread", count, make("span", "visually-hidden", " unread")));
        }
        button.append(avatar, make("span", "rows", first, second));
        return make("li", "", button);
    }
    drawTalk() {
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
        const opened = this.openChat !== chat.chat;
        if (opened) {
            this.openChat = chat.chat;
            this.drawn.clear();
            this.named.clear();
            this.messages.replaceChildren();
        }
        this.drawLines(this.lines(), opened);
    }
    lines() {
        const { group, statuses, account } = this.model;
        const { user } = account;
        const line = (message) => ({
            key: message.clientMsgId ?? message.message,
            text: message.text,
            mine: message.sender === user,
            sender: message.sender,
            timestampMs: message.timestampMs,
            progress: this.model.progress(message),
            unsent: null,
            message: message.message,
            change: message.change ? sentence(message, user) : null,
            readers: has(message),
        });
        const has = ({ message, sender }) => {
            const status = group && sender === user ? statuses.get(message) : undefined;
            return status ? readers(status, this.named.has(message)) : null;
        };
        const waiting = (unsent) => ({
            key: unsent.clientMsgId,
            text: unsent.text,
            mine: true,
            sender: user,
            timestampMs: unsent.createdMs,
            progress: unsent.problem === null ? "waiting" : "failed",
            unsent,
            message: null,
            change: null,
            readers: null,
        });
        return [...this.model.shown.map(line), ...this.model.pending().map(waiting)];
    }
    drawLines(lines, opened) {
        const followed = opened || this.follows();
        const [oldHeight, oldTop, oldFirst] = [this.scroll.scrollHeight, this.scroll.scrollTop, this.messages.firstElementChild];
        const items = [];
        let arrived = false;
        lines.forEach((line, n) => {
            const [before, after] = [lines[n - 1], lines[n + 1]];
            if (!before || dayOf(before.timestampMs) !== dayOf(line.timestampMs))
                items.push(this.day(line.timestampMs));
            const known = this.drawn.get(line.key);
            if (!known && n === lines.length - 1)
                arrived = true;
            const item = known ?? make("li");
            this.drawn.set(line.key, item);
            const first = !before || !together(before, line);
            const last = !after || !together(line, after);
            if (line.change !== null)
                this.fillChange(item, line.change);
            else
                this.fill(item, line, `message ${line.mine ? "mine" : "theirs"}${first ? " first" : ""}${last ? " last" : ""}`);
            items.push(item);
        });
        this.place(items);
        if (followed || (arrived && lines.at(-1)?.mine))
            this.toEnd();
        else if (this.messages.firstElementChild !== oldFirst)
            this.scroll.scrollTop = oldTop + this.scroll.scrollHeight - oldHeight;
        else if (arrived)
            this.latest.hidden = false;
    }
    /** Brings the list's children in step without touching those that stay: a live region announces only what is new. */
    place(items) {
        const keep = new Set(items);
        for (const child of [...this.messages.children])
            if (!keep.has(child))
                child.remove();
        let at = this.messages.firstElementChild;
        for (const item of items) {
            if (item === at)
                at = at.nextElementSibling;
            else
                this.messages.insertBefore(item, at);
        }
    }
    fill(item, line, className) {
        const state = `${className} ${line.progress} ${line.unsent?.problem ?? ""} ${line.timestampMs} ${line.readers ?? ""}`;
        if (item.dataset["state"] === state)
            return;
        const focused = item.contains(document.activeElement);
        item.dataset["state"] = state;
        item.dataset["progress"] = line.mine ? line.progress : "";
        item.className = className;
        const meta = make("span", "meta", make("time", "", clock.format(line.timestampMs)));
        const { group } = this.model;
        if (line.mine)
            meta.append(group && line.message !== null ? this.asking(line, line.message) : this.tick(line.progress));
        if (line.mine)
            meta.append(make("span", "visually-hidden", `, ${WORDS[line.progress]}`));
        // In a group the first message of a run says who speaks to everybody, the others to those who hear them.
        const named = group && !line.mine && className.includes(" first");
        const who = make("span", named ? "sender" : "visually-hidden", line.mine ? "You: " : nameOf(line.sender), named || line.mine ? "" : ": ");
        if (named)
            who.style.setProperty("--hue", String(hueOfUser(line.sender ?? "")));
        item.replaceChildren(who, make("span", "body", line.text), meta);
        if (line.readers !== null)
            item.append(make("span", "readers", line.readers));
        if (line.unsent?.problem)
            item.append(this.trouble(line.unsent));
        if (focused)
            item.querySelector("button")?.focus();
    }
    fillChange(item, words) {
        if (item.dataset["state"] === words)
            return;
        item.dataset["state"] = words;
        item.className = "change";
        item.replaceChildren(words);
    }
    /** The tick of an own message in a group: who has it is asked for, and named. */
    asking(line, message) {
        const button = make("button", "", this.tick(line.progress));
        button.type = "button";
        button.setAttribute("aria-label", "Who has this message");
        button.addEventListener("click", () => {
            this.named.add(message);
            this.actions.who(message);
        });
        return button;
    }
    portrait(avatar, chat) {
        if (chat.group)
            paintGroup(avatar, chat.chat, chat.group.name);
        else
            paint(avatar, chat.peer);
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
    tick(progress) {
        const tick = symbol(SYMBOLS[progress], "tick");
        tick.dataset["state"] = progress;
        return tick;
    }
    day(ms) {
        const key = `day ${dayOf(ms)}`;
        const known = this.drawn.get(key);
        const item = known ?? make("li", "day", dayName(ms));
        this.drawn.set(key, item);
        return item;
    }
}
function together(a, b) {
    if (a.change !== null || b.change !== null)
        return false;
    return a.sender === b.sender && b.timestampMs - a.timestampMs < TOGETHER_MS && dayOf(a.timestampMs) === dayOf(b.timestampMs);
}
/** Days since 1970 where the user is. */
function dayOf(ms) {
    return Math.floor((ms - new Date(ms).getTimezoneOffset() * 60_000) / 86_400_000);
}
function dayName(ms) {
    const ago = dayOf(Date.now()) - dayOf(ms);
    if (ago <= 0)
        return "Today";
    if (ago === 1)
        return "Yesterday";
    return ago < 7 ? weekday.format(ms) : date.format(ms);
}
function when(ms) {
    const ago = dayOf(Date.now()) - dayOf(ms);
    if (ago <= 0)
        return clock.format(ms);
    return ago === 1 ? "Yesterday" : short.format(ms);
}
