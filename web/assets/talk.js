/** The open conversation: what is loaded of it, folded; what is missing between. */
import { expiryOf, Fold } from "./shardwire/index.js";
/** One chat's loaded entries. */
export class Talk {
    chat;
    /** Ascending by seq. */
    entries = [];
    fold = new Fold();
    bySeq = new Map();
    byId = new Map();
    /** Seqs of which the server says that there is nothing to show. */
    empty = new Set();
    constructor(chat, hidden) {
        this.chat = chat;
        this.fold.hide(hidden);
    }
    /** Takes entries, in any order, some of them again. */
    add(messages) {
        for (const message of messages) {
            if (expiryOf(message) <= Date.now()) {
                this.empty.add(message.seq);
                continue;
            }
            this.fold.add(message);
            this.bySeq.set(message.seq, message);
            this.byId.set(message.message, message);
        }
        this.entries = [...this.bySeq.values()].sort((a, b) => a.seq - b.seq);
    }
    /** A page speaks for these seqs. */
    cover(first, last) {
        for (let seq = first; seq <= last; seq++)
            this.empty.add(seq);
    }
    hide(message) {
        this.fold.hide([message]);
    }
    /** A loaded entry. */
    find(message) {
        return this.byId.get(message);
    }
    /** A message as it is now; null where there is none to show. */
    now(message) {
        return this.fold.get(message, Date.now());
    }
    /** Messages as they are now, and changes between them. */
    shown() {
        const changes = this.entries.filter((entry) => entry.change || entry.kind === "timer").map((message) => ({ message, now: null }));
        const messages = this.fold.messages(Date.now()).map((now) => ({ message: now.entry, now }));
        return [...messages, ...changes].sort((a, b) => a.message.seq - b.message.seq);
    }
    /** What is missing between what is loaded. */
    gaps() {
        const gaps = [];
        this.entries.forEach(({ seq }, n) => {
            let first = (this.entries[n - 1]?.seq ?? seq) + 1;
            while (first < seq && this.empty.has(first))
                first += 1;
            if (first < seq)
                gaps.push({ first, last: seq - 1 });
        });
        return gaps;
    }
    /** When the next message disappears, ms since 1970; Infinity when none will. */
    nextExpiry() {
        return this.fold.nextExpiry(Date.now());
    }
    /** Forgets what has disappeared; returns the seqs. */
    expire() {
        const seqs = this.fold.expire(Date.now()).map(({ seq }) => seq);
        for (const seq of seqs) {
            this.bySeq.delete(seq);
            this.empty.add(seq);
        }
        this.entries = this.entries.filter(({ seq }) => this.bySeq.has(seq));
        return seqs;
    }
}
