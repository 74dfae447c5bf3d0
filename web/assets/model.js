/** What the page shows, kept in step with the client and with what this device has stored. */
import { nameOf } from "./dom.js";
import { endOf, failureText } from "./ends.js";
import { advance, apply, everyPage, isShown, learn, messageOf, newGroup, progressIn, sentence } from "./groups.js";
import { History } from "./history.js";
import { Client, directChat, IndexedDbStore, newClientMsgId, } from "./shardwire/index.js";
const PAGE = 60;
/** Receipts come in bursts: who has read a message is asked for once after them, ms. */
const STATUS_WAIT_MS = 250;
/** One device's chats. `changed` is called after every change, with the chat concerned. */
export class Model {
    account;
    history;
    changed;
    chats = new Map();
    unsent = new Map();
    status = { state: "connecting" };
    /** The open chat's messages, ascending without holes. */
    shown = [];
    open = null;
    /** Who has which message of the open group, as far as it was asked for, by message id. */
    statuses = new Map();
    client;
    /** Chats whose beginning for this user has been reached. */
    begun = new Set();
    refreshing = new Set();
    statusTimer;
    constructor(account, history, changed) {
        this.account = account;
        this.history = history;
        this.changed = changed;
    }
    static async start(account, changed) {
        const { user, device } = account;
        const model = new Model(account, await History.open(user, device), changed);
        for (const chat of await model.history.chats())
            model.chats.set(chat.chat, chat);
        for (const unsent of await model.history.unsent())
            model.unsent.set(unsent.clientMsgId, unsent);
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
        for (const unsent of waiting.sort((a, b) => a.createdMs - b.createdMs))
            model.hand(unsent);
        return model;
    }
    /** Chats, the one that moved last first. */
    list() {
        const at = (chat) => {
            let latest = chat.last?.timestampMs ?? 0;
            for (const unsent of this.unsent.values())
                if (unsent.chat === chat.chat)
                    latest = Math.max(latest, unsent.createdMs);
            return latest;
        };
        return [...this.chats.values()].sort((a, b) => at(b) - at(a));
    }
    /** The open chat's texts that have no seq yet, oldest first. */
    pending() {
        const own = [...this.unsent.values()].filter((unsent) => unsent.chat === this.open);
        return own.sort((a, b) => a.createdMs - b.createdMs);
    }
    /** How far an own message is. */
    progress({ chat: id, seq }) {
        const chat = this.chats.get(id);
        if (!chat)
            return "sent";
        if (chat.group)
            return progressIn(chat.group, seq, this.account.user);
        return seq <= chat.read ? "read" : seq <= chat.delivered ? "delivered" : "sent";
    }
    /** The open group; null when a direct chat or none is open. */
    get group() {
        return (this.open === null ? undefined : this.chats.get(this.open)?.group) ?? null;
    }
    /** Makes a group and opens it. Rejects with what the user can read. */
    async createGroup(name, users) {
        const { chat } = await this.client.createGroup(name, users);
        this.chat(chat).group ??= newGroup();
        await this.openChat(chat);
    }
    /** Changes the open group. Rejects with what the user can read. */
    async change(change) {
        if (this.open !== null)
            await this.client.change(this.open, change);
    }
    /** Asks who has an own message of the open group. */
    async askStatus(message) {
        const chat = this.open;
        if (chat === null)
            return;
        const status = await this.client.status(chat, message).catch(() => null);
        if (!status || this.open !== chat)
            return;
        this.statuses.set(message, status);
        this.changed(chat);
    }
    /** Opens the chat with a user; it need not exist. */
    openWith(peer) {
        const id = directChat(this.account.user, peer);
        const chat = this.chat(id);
        chat.peer ??= peer;
        return this.openChat(id);
    }
    async openChat(id) {
        this.open = id;
        this.shown = [];
        this.statuses.clear();
        this.changed(id);
        void this.refresh(id);
        const found = await this.history.below(id, Infinity, PAGE);
        if (this.open !== id)
            return;
        const newer = this.shown.filter((message) => message.seq > (found.at(-1)?.seq ?? 0));
        this.shown = [...found, ...newer];
        this.changed(id);
        this.watch(id);
    }
    closeChat() {
        this.open = null;
        this.shown = [];
        this.changed(null);
    }
    /** Shows older messages of the open chat: kept ones, else the server's. Returns whether there were any. */
    async older() {
        const [chat, first] = [this.open, this.shown[0]];
        if (chat === null || !first || first.seq === 1 || this.begun.has(chat))
            return false;
        let found = await this.history.below(chat, first.seq, PAGE);
        const whole = found.at(-1)?.seq === first.seq - 1;
        if (!whole) {
            const after = Math.max(first.seq - 1 - PAGE, 0);
            const page = await this.client.history(chat, after, first.seq - 1 - after).catch(() => null);
            if (!page)
                return false;
            found = page.entries.filter((entry) => entry.seq < first.seq && isShown(entry)).map(messageOf);
            // Nothing from the chat's beginning on: this user joined later.
            if (found.length === 0 && after === 0)
                this.begun.add(chat);
            await this.history.keep({ messages: found });
        }
        if (this.open !== chat || found.length === 0)
            return false;
        this.shown = [...found, ...this.shown];
        this.changed(chat);
        return true;
    }
    /** Sends a text to the open chat. */
    async send(text) {
        const chat = this.open;
        if (chat === null)
            return;
        const { peer } = this.chat(chat);
        await this.post({ clientMsgId: newClientMsgId(), chat, peer, text, createdMs: Date.now(), problem: null });
    }
    /** Sends a failed text once more, as a new message. */
    async again(clientMsgId) {
        const failed = this.unsent.get(clientMsgId);
        if (!failed)
            return;
        await this.discard(clientMsgId);
        await this.post({ ...failed, clientMsgId: newClientMsgId(), createdMs: Date.now(), problem: null });
    }
    /** Forgets a failed text. */
    async discard(clientMsgId) {
        const failed = this.unsent.get(clientMsgId);
        this.unsent.delete(clientMsgId);
        await this.history.keep({ settled: [clientMsgId] });
        this.changed(failed?.chat ?? null);
    }
    /** The open chat is in front of the user's eyes. */
    seen() {
        const chat = this.open === null ? undefined : this.chats.get(this.open);
        const last = this.shown.findLast((message) => message.sender !== this.account.user);
        if (!chat || !last)
            return;
        this.client.markRead(last);
        if (chat.unread === 0)
            return;
        chat.unread = 0;
        void this.history.keep({ chats: [chat] });
        this.changed(chat.chat);
    }
    /** The network is probably back. */
    hurry() {
        this.client.hurry();
    }
    close() {
        return this.client.close();
    }
    async post(unsent) {
        this.unsent.set(unsent.clientMsgId, unsent);
        this.changed(unsent.chat);
        // Kept first: a text is never lost, whatever happens to this tab.
        await this.history.keep({ unsent: [unsent], chats: [this.chat(unsent.chat)] });
        this.hand(unsent);
    }
    hand(unsent) {
        try {
            const target = unsent.peer === null ? { chat: unsent.chat } : { to: unsent.peer };
            this.client.send(target, unsent.text, unsent.clientMsgId);
        }
        catch (error) {
            const { code, message } = error;
            if (code !== "duplicate_id")
                void this.failed(unsent.clientMsgId, message ?? "it was not taken");
        }
    }
    async hear(event) {
        switch (event.type) {
            case "connected":
                return this.say({ state: "online" });
            case "synced":
                for (const { chat, group } of this.chats.values())
                    if (group && !group.known)
                        this.look(chat);
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
    say(status) {
        this.status = status;
        this.changed(null);
    }
    async entries(entries) {
        await this.take(entries.filter(isShown).map(messageOf));
    }
    /** Messages and changes have their place: keeps and shows them. */
    async take(messages, settled = []) {
        const touched = new Set();
        for (const message of messages) {
            const chat = this.chat(message.chat);
            const mine = message.sender === this.account.user;
            if (message.change)
                apply((chat.group ??= newGroup()), message, this.account.user);
            else if (!mine) {
                this.meet(chat, message.sender);
                if (message.seq > (chat.last?.seq ?? 0))
                    chat.unread += 1;
            }
            this.note(chat, message, mine);
            touched.add(chat);
        }
        await this.history.keep({ messages, chats: [...touched], settled });
        for (const id of settled)
            this.unsent.delete(id);
        for (const message of messages)
            this.show(message);
        for (const chat of touched) {
            this.changed(chat.chat);
            if (chat.group && !chat.group.known)
                this.look(chat.chat);
        }
    }
    /** Somebody was heard of in a chat: the other user of a direct one, a member of a group. */
    meet(chat, user) {
        if (chat.group || chat.peer !== null)
            return;
        if (directChat(this.account.user, user) === chat.chat)
            chat.peer = user;
        else
            chat.group = newGroup();
    }
    /** What is known of a group is old: it is asked for if that is in sight. */
    look(chat) {
        if (chat === this.open || this.chats.get(chat)?.group?.name === "")
            void this.refresh(chat);
    }
    /** Asks what a group is and who is in it, again when it changed meanwhile. */
    async refresh(id) {
        const group = this.chats.get(id)?.group;
        if (!group || this.refreshing.has(id))
            return;
        this.refreshing.add(id);
        try {
            do {
                group.known = true;
                learn(group, await everyPage((after) => this.client.chat(id, after)));
            } while (!group.known);
            await this.history.keep({ chats: [this.chat(id)] });
        }
        catch {
            // Asked again when it is opened, and after the next connection.
            group.known = false;
        }
        this.refreshing.delete(id);
        this.changed(id);
    }
    /** Who has the last own message of the open group is always shown. */
    watch(chat) {
        if (chat !== this.open || !this.group)
            return;
        clearTimeout(this.statusTimer);
        this.statusTimer = setTimeout(() => {
            const last = this.shown.findLast((message) => message.sender === this.account.user && !message.change);
            if (chat === this.open && last)
                void this.askStatus(last.message);
        }, STATUS_WAIT_MS);
    }
    async sent({ chat, seq, message, timestampMs, clientMsgId, change }) {
        const place = { chat, seq, message, timestampMs, clientMsgId, sender: this.account.user };
        if (change) {
            const { kind, name = "", users = [], role = null } = { name: undefined, users: undefined, role: undefined, ...change };
            return this.take([{ ...place, text: name, change: { kind, users, role } }]);
        }
        const unsent = this.unsent.get(clientMsgId);
        if (!unsent)
            return;
        await this.take([{ ...place, text: unsent.text }], [clientMsgId]);
        this.watch(chat);
    }
    async failed(clientMsgId, problem) {
        const unsent = this.unsent.get(clientMsgId);
        if (!unsent)
            return;
        const failed = { ...unsent, problem };
        this.unsent.set(clientMsgId, failed);
        await this.history.keep({ unsent: [failed] });
        this.changed(unsent.chat);
    }
    async receipt({ chat: id, user, seq, status }) {
        const read = status === "read" ? seq : 0;
        const own = user === this.account.user;
        if (own && !this.chats.has(id))
            return;
        const chat = this.chat(id);
        if (!own) {
            this.meet(chat, user);
            advance(chat, user, seq, read);
        }
        else if (read >= (chat.last?.seq ?? 1))
            chat.unread = 0; // Another device of this user has read it.
        await this.history.keep({ chats: [chat] });
        this.changed(id);
        this.watch(id);
    }
    chat(id) {
        let chat = this.chats.get(id);
        if (!chat)
            this.chats.set(id, (chat = { chat: id, peer: null, last: null, unread: 0, delivered: 0, read: 0 }));
        return chat;
    }
    note(chat, message, mine) {
        if (message.seq <= (chat.last?.seq ?? 0))
            return;
        const { seq, timestampMs, sender } = message;
        if (message.change)
            chat.last = { text: sentence(message, this.account.user), mine: false, seq, timestampMs };
        else
            chat.last = { text: chat.group && !mine ? `${nameOf(sender)}: ${message.text}` : message.text, mine, seq, timestampMs };
    }
    show(message) {
        if (message.chat !== this.open)
            return;
        const at = this.shown.findLastIndex((shown) => shown.seq <= message.seq);
        if (this.shown[at]?.seq !== message.seq)
            this.shown.splice(at + 1, 0, message);
    }
}
