/** Fills the open conversation: from what this device has kept, else from the server; and lets go of what disappears. */
import { isShown, messageOf } from "./messages.js";
const PAGE = 60;
/** A gap is filled in steps, seqs. */
const GAP_PAGE = 200;
/** The longest wait of setTimeout, ms. */
const TIMER_MAX_MS = 0x7fff_ffff;
/** Loads entries into a {@link Talk}; `changed` is called after each change of one. */
export class Loader {
    history;
    ask;
    changed;
    /** Chats whose beginning for this user has been reached. */
    begun = new Set();
    timer;
    filling = false;
    constructor(history, ask, changed) {
        this.history = history;
        this.ask = ask;
        this.changed = changed;
    }
    /** The newest of what is kept. */
    async open(talk) {
        talk.add(await this.history.below(talk.chat, Infinity, PAGE));
        this.changed(talk);
    }
    /** Older ones: kept ones, else the server's. Returns whether there were any. */
    async older(talk) {
        const first = talk.entries[0];
        if (!first || first.seq === 1 || this.begun.has(talk.chat))
            return false;
        let found = await this.history.below(talk.chat, first.seq, PAGE);
        if (found.length === 0) {
            const after = Math.max(first.seq - 1 - PAGE, 0);
            const asked = await this.read(talk, after, first.seq - 1 - after);
            if (!asked)
                return false;
            found = asked;
            // Nothing from the chat's beginning on: this user joined later.
            if (found.length === 0 && after === 0)
                this.begun.add(talk.chat);
        }
        talk.add(found);
        if (found.length > 0)
            this.changed(talk);
        return found.length > 0;
    }
    /** After a change: asks for what is missing between, and waits for what disappears. */
    watch(talk) {
        void this.fill(talk);
        clearTimeout(this.timer);
        const wait = talk.nextExpiry() - Date.now();
        if (wait < Infinity)
            this.timer = setTimeout(() => void this.expire(talk), Math.min(Math.max(wait, 0) + 1, TIMER_MAX_MS));
    }
    async fill(talk) {
        if (this.filling)
            return;
        this.filling = true;
        for (let gap = talk.gaps()[0]; gap; gap = talk.gaps()[0]) {
            const found = await this.read(talk, gap.first - 1, Math.min(gap.last - gap.first + 1, GAP_PAGE));
            // The server is away, or has less than was asked for: asked again with the next change.
            if (!found || (talk.add(found), talk.gaps()[0]?.first === gap.first))
                break;
            this.changed(talk);
        }
        this.filling = false;
    }
    /** Reads entries from the server and keeps them; null when it gives none. */
    async read(talk, after, limit) {
        const page = await this.ask(talk.chat, after, limit).catch(() => null);
        if (!page)
            return null;
        const found = page.entries.filter(isShown).map(messageOf);
        await this.history.keep({ messages: found });
        talk.cover(page.covers[0], page.covers[1]);
        return found;
    }
    async expire(talk) {
        await this.history.drop(talk.chat, talk.expire());
        this.changed(talk);
    }
}
