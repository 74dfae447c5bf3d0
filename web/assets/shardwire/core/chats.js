/** What comes: entries in order and once, expired ranges, receipts, gaps. */
import { Position } from "./position.js";
const PAGE_ENTRIES = 100;
/** Positions, watermarks and gaps of all chats. */
export class Chats {
    receiver;
    heldMax;
    /** Chats with something to store or to mark. */
    dirty = new Set();
    positions = new Map();
    watermarks = new Map();
    /** Entries above a gap, by chat and seq. */
    held = new Map();
    constructor(receiver, heldMax, stored) {
        this.receiver = receiver;
        this.heldMax = heldMax;
        for (const chat of stored)
            this.positions.set(chat.chat, new Position(chat.chat, chat));
    }
    all() {
        return this.positions.values();
    }
    find(chat) {
        return this.positions.get(chat);
    }
    at(chat) {
        let position = this.positions.get(chat);
        if (!position)
            this.positions.set(chat, (position = new Position(chat)));
        return position;
    }
    /** An entry was pushed. */
    entry(entry) {
        this.admit(entry);
        this.release(entry.chat);
    }
    /** An own send has its seq: it counts as received, and as acknowledged. */
    own(chat, seq) {
        const position = this.at(chat);
        position.skip(seq, seq);
        this.release(chat);
    }
    /** Seqs that were not delivered have expired. */
    covered(chat, first, last) {
        this.expire(chat, first, last);
        this.release(chat);
    }
    /** A page that {@link Receiver.fill} asked for: its entries in order, its holes as expired. */
    filled(page) {
        const before = this.at(page.chat).cursor;
        let from = Math.max(page.covers[0], 1);
        for (const entry of page.entries) {
            if (from < entry.seq)
                this.expire(page.chat, from, entry.seq - 1);
            from = entry.seq + 1;
            this.admit(entry);
        }
        if (from <= page.covers[1])
            this.expire(page.chat, from, page.covers[1]);
        this.release(page.chat);
        const cursor = this.at(page.chat).cursor;
        const held = this.held.get(page.chat);
        if (held && cursor > before)
            this.fill(page.chat, cursor, held);
    }
    /** Notes how far a user is; returns whether that is news. */
    receipt(chat, user, seq, status) {
        const key = (of) => `${chat} ${user} ${of}`;
        if (seq <= (this.watermarks.get(key(status)) ?? 0))
            return false;
        if (status === "read")
            this.watermarks.set(key("delivered"), Math.max(seq, this.watermarks.get(key("delivered")) ?? 0));
        this.watermarks.set(key(status), seq);
        return true;
    }
    /** Notes how far members are; returns those of whom something is news. */
    ticks(chat, members) {
        return members.filter(({ user, deliveredSeq, readSeq }) => {
            const read = this.receipt(chat, user, readSeq, "read");
            return this.receipt(chat, user, deliveredSeq, "delivered") || read;
        });
    }
    /**
     * Stores positions that rose, then marks them where that can be (`write`): a mark lets the server forget this device's need.
     */
    flush(write) {
        for (const position of this.dirty) {
            if (position.save)
                this.receiver.persist(position.stored());
            position.save = false;
        }
        for (const position of this.dirty) {
            const { delivered, read, handled, chat } = position;
            // A read mark of the same seq says delivered too.
            const covers = position.markRead && read !== null && read.seq >= handled;
            position.age = write ? 2 : 1;
            if (write && position.markDelivered && handled > 0 && !covers) {
                write({ type: "mark", chat, message: delivered?.message ?? null, seq: handled, status: "delivered" });
            }
            if (write && position.markRead && read)
                write({ type: "mark", chat, ...read, status: "read" });
            position.markDelivered = false;
            position.markRead = false;
        }
        this.dirty.clear();
    }
    /** The application has handled everything of the chat up to `seq`. */
    handled(chat, seq) {
        const position = this.find(chat);
        if (position?.handle(seq))
            this.rose(position);
    }
    /** The user has read up to an entry. Implies handled. */
    read(chat, place) {
        const position = this.find(chat);
        if (!position?.readUpTo(place))
            return;
        if (position.handle(place.seq))
            position.markDelivered = true;
        position.markRead = true;
        position.save = true;
        this.dirty.add(position);
    }
    /**
     * Positions marked lately may have been lost with the connection or the server: they are said again. So are those of chats
     * with sends under way (`sending`): an answer may have been lost, and without it what follows cannot be told from a gap.
     */
    sayAgain(sending, write) {
        for (const position of this.positions.values()) {
            if (position.age === 0 && !sending.has(position.chat))
                continue;
            position.markRead = position.read !== null;
            this.mark(position);
        }
        this.flush(write);
    }
    /** A pong: marks written before the last one have surely been taken. */
    pong() {
        for (const position of this.positions.values())
            position.age = Math.max(position.age - 1, 0);
    }
    /** The connection is gone: what was held will be pushed again. */
    lost() {
        this.held.clear();
    }
    rose(position) {
        position.save = true;
        this.mark(position);
    }
    mark(position) {
        position.markDelivered = true;
        this.dirty.add(position);
    }
    admit(entry) {
        const position = this.at(entry.chat);
        // Judged first: it may say where the chat begins, which an own send does not.
        const verdict = position.judge(entry.seq);
        if (verdict === "old") {
            // The server has not heard how far this device is.
            if (entry.seq <= position.handled)
                this.mark(position);
        }
        else if (this.receiver.isOwnPending(entry)) {
            position.skip(entry.seq, entry.seq);
        }
        else if (verdict === "next") {
            position.advance(entry.message);
            this.receiver.deliver(entry);
        }
        else {
            this.hold(entry, position.cursor);
        }
    }
    hold(entry, cursor) {
        let held = this.held.get(entry.chat);
        if (!held) {
            this.held.set(entry.chat, (held = new Map([[entry.seq, entry]])));
            this.fill(entry.chat, cursor, held);
        }
        if (held.size < this.heldMax)
            held.set(entry.seq, entry);
    }
    /** Asks for what is missing below what is held, and no more: on a bad connection a long answer may never come through. */
    fill(chat, cursor, held) {
        this.receiver.fill(chat, cursor, Math.min(Math.min(...held.keys()) - cursor - 1, PAGE_ENTRIES));
    }
    /** The cursor may have reached entries that were held. */
    release(chat) {
        const held = this.held.get(chat);
        if (!held)
            return;
        for (;;) {
            const { cursor } = this.at(chat);
            for (const seq of held.keys())
                if (seq <= cursor)
                    held.delete(seq);
            const next = held.get(cursor + 1);
            if (!next)
                break;
            held.delete(next.seq);
            this.admit(next);
        }
        if (held.size === 0)
            this.held.delete(chat);
    }
    /** Every seq of the range that is not held has expired. */
    expire(chat, first, last) {
        const position = this.at(chat);
        const held = [...(this.held.get(chat)?.keys() ?? [])].filter((seq) => first <= seq && seq <= last).sort((a, b) => a - b);
        let from = first;
        for (const seq of [...held, last + 1]) {
            if (from < seq && position.expire(from, seq - 1))
                this.rose(position);
            from = seq + 1;
        }
    }
}
