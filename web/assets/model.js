/** What the page shows, kept in step with the client and with what this device has stored. */
import { endOf, failureText } from "./ends.js";
import { advance, apply, everyPage, learn, newGroup, progressIn } from "./groups.js";
import { History } from "./history.js";
import { Loader } from "./loader.js";
import { inOrder, isShown, messageOf, messageOfSent, note } from "./messages.js";
import { applySetting, Own } from "./own.js";
import { accountChat, Client, directChat, IndexedDbStore, newClientMsgId, } from "./shardwire/index.js";
import { Talk } from "./talk.js";
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
    /** What is loaded of the open chat. */
    talk = null;
    own;
    /** Who has which message of the open group, as far as it was asked for, by message id. */
    statuses = new Map();
    client;
    refreshing = new Set();
    statusTimer;
    loader;
    constructor(account, history, changed) {
        this.account = account;
        this.history = history;
        this.changed = changed;
        this.own = new Own(() => this.client, account.device);
        const ask = (chat, after, limit) => this.client.history(chat, after, limit);
        this.loader = new Loader(history, ask, (talk) => this.talk === talk && this.redraw());
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
    /** The open chat's id. */
    get open() {
        return this.talk?.chat ?? null;
    }
    /** The open chat's messages and changes, as they are now. */
    shown() {
        return this.talk?.shown() ?? [];
    }
    /** Chats, pinned ones first, then the one that moved last. */
    list() {
        return inOrder([...this.chats.values()], [...this.unsent.values()]);
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
    /** Changes the open group, or amends a message of the open chat. Rejects with what the user can read. */
    async change(change, body) {
        if (this.open !== null)
            await this.client.change(this.open, change, undefined, body === undefined ? body : new TextEncoder().encode(body));
    }
    /** Sets what is the user's own. Rejects with what the user can read. */
    async set(change) {
        await this.client.change(null, change);
    }
    /** Passes a message on to another chat. */
    async forward(message, text, chat) {
        await this.write(chat, text, { forwarded: Math.min((message.forwarded ?? 0) + 1, 255) });
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
        const talk = new Talk(id, this.chats.get(id)?.hidden ?? []);
        this.talk = talk;
        this.statuses.clear();
        this.changed(id);
        void this.refresh(id);
        await this.loader.open(talk);
        if (this.talk !== talk)
            return;
        this.watch(id);
    }
    closeChat() {
        this.talk = null;
        this.changed(null);
    }
    /** Shows older messages of the open chat. Returns whether there were any. */
    older() {
        return this.talk ? this.loader.older(this.talk) : Promise.resolve(false);
    }
    /** Draws the open chat, asks for what is missing in it, and waits for what disappears. */
    redraw() {
        if (!this.talk)
            return;
        this.changed(this.talk.chat);
        this.loader.watch(this.talk);
    }
    /** Sends a text to the open chat. */
    async send(text, extras = {}) {
        if (this.open !== null)
            await this.write(this.open, text, extras);
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
        const last = this.talk?.entries.findLast((message) => message.sender !== this.account.user);
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
    async write(chat, text, extras) {
        const { peer } = this.chat(chat);
        await this.post({ clientMsgId: newClientMsgId(), chat, peer, text, extras, createdMs: Date.now(), problem: null });
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
            this.client.send(target, unsent.text, unsent.clientMsgId, unsent.extras);
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
                void this.own.refresh().then(() => this.changed(null));
                this.redraw();
                return this.open === null ? undefined : this.watch(this.open);
            case "disconnected":
                return this.say({ state: "waiting", untilMs: Date.now() + event.retryInMs });
            case "ended":
                return this.say(endOf(event.end));
            case "entries":
                return this.take(event.entries.filter((entry) => entry.chat !== accountChat(this.account.user) && isShown(entry)).map(messageOf));
            case "sent":
                return this.sent(event);
            case "failed":
                return this.failed(event.clientMsgId, failureText(event.failure));
            case "receipt":
                return this.receipt(event);
            case "ticks":
                for (const { user, deliveredSeq, readSeq } of event.members)
                    advance(this.chat(event.chat), user, deliveredSeq, readSeq);
                await this.history.keep({ chats: [this.chat(event.chat)] });
                this.changed(event.chat);
                return this.watch(event.chat);
            case "account":
                return this.setting(event);
            default:
                return;
        }
    }
    say(status) {
        this.status = status;
        this.changed(null);
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
                if (message.kind === "message" && message.seq > (chat.last?.seq ?? 0))
                    chat.unread += 1;
            }
            note(chat, message, this.account.user);
            touched.add(chat);
        }
        await this.history.keep({ messages, chats: [...touched], settled });
        for (const id of settled)
            this.unsent.delete(id);
        if (this.talk) {
            const { chat } = this.talk;
            this.talk.add(messages.filter((message) => message.chat === chat));
            if (messages.some((message) => message.chat === chat))
                this.redraw();
        }
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
            const last = this.talk?.entries.findLast((message) => message.sender === this.account.user && message.kind === "message");
            if (chat === this.open && last)
                void this.askStatus(last.message);
        }, STATUS_WAIT_MS);
    }
    async sent(sent) {
        const { user } = this.account;
        // What is the user's own is told by itself.
        if (sent.chat === accountChat(user))
            return;
        const find = (message) => this.talk?.find(message)?.seq ?? 0;
        const message = messageOfSent(sent, user, this.chat(sent.chat), find);
        await this.take([message], message.kind === "message" ? [sent.clientMsgId] : []);
        this.watch(sent.chat);
    }
    /** The user has set something, here or on another device. */
    async setting({ change, timestampMs }) {
        this.own.hear(change, timestampMs);
        if ((change.kind !== "setting" && change.kind !== "hidden") || change.subject === null)
            return this.changed(null);
        const chat = this.chat(change.subject);
        if (change.kind === "setting")
            applySetting(chat, change.key, change.value);
        else {
            chat.hidden = [...(chat.hidden ?? []), change.refersTo];
            if (chat.last?.message === change.refersTo)
                chat.last.text = "";
            if (this.open === chat.chat)
                this.talk?.hide(change.refersTo);
        }
        await this.history.keep({ chats: [chat] });
        this.changed(chat.chat);
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
}
