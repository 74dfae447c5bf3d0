/**
 * How far a device is in one chat.
 *
 * Must stay true: `handled <= cursor`; neither ever falls; a seq in `had` is never handed to the application.
 */
/** One chat's position. */
export class Position {
    chat;
    /** Everything up to here was handed over or needs no handling. Meaningless until `known`. */
    cursor = 0;
    /** Everything up to here was handled by the application. */
    handled = 0;
    /** The highest received entry that was handled: what a `delivered` mark names. */
    delivered = null;
    /** What a `read` mark names. */
    read = null;
    /** Whether `cursor` means anything: the first entry says where this device left off. */
    known = false;
    /** 2: marked since the last pong; 1: before it; 0: long ago, surely durable. Above 0 is marked again on reconnect. */
    age = 0;
    /** It is to be stored. */
    save = false;
    /** A delivered mark, a read mark is to be written. */
    markDelivered = false;
    markRead = false;
    /** Seqs above `handled` that need no handling: own sends and expired ones. Ascending, apart. */
    had = [];
    /** Handed over, not handled yet; ascending. */
    open = [];
    constructor(chat, stored) {
        this.chat = chat;
        if (!stored)
            return;
        this.known = stored.handled !== null;
        this.handled = stored.handled ?? 0;
        this.cursor = this.handled;
        this.delivered = stored.delivered;
        this.read = stored.read;
        this.had = stored.had.map(([first, last]) => [first, last]);
        this.age = this.known ? 1 : 0;
        this.absorb();
    }
    /** What a store keeps of it. */
    stored() {
        const had = this.had.map(([first, last]) => [first, last]);
        return { chat: this.chat, handled: this.known ? this.handled : null, delivered: this.delivered, read: this.read, had };
    }
    /** Judges an entry. `next` must be followed by {@link advance}. */
    judge(seq) {
        this.learn(seq);
        if (seq <= this.cursor || this.had.some(([first, last]) => first <= seq && seq <= last))
            return "old";
        return seq === this.cursor + 1 ? "next" : "above";
    }
    /** The entry after the cursor was handed over. */
    advance(message) {
        this.cursor += 1;
        this.open.push({ seq: this.cursor, message });
        this.absorb();
    }
    /** `first` to `last` need no handling. Returns whether `handled` rose. */
    skip(first, last) {
        if (this.known && last <= this.handled)
            return false;
        this.had = merge(this.had, first, last);
        const before = this.handled;
        if (first === 1)
            this.learn(1);
        this.absorb();
        return this.handled > before;
    }
    /** As {@link skip} for what the server says has expired: also where the chat begins, if nothing was known. */
    expire(first, last) {
        const was = this.known;
        this.learn(first);
        return this.skip(first, last) || !was;
    }
    /** Everything handed over up to `seq` was handled. Returns whether `handled` rose. */
    handle(seq) {
        const before = this.handled;
        this.handled = Math.max(this.handled, Math.min(seq, this.cursor));
        while (this.open[0] && this.open[0].seq <= this.handled)
            this.delivered = this.open.shift();
        this.absorb();
        return this.handled > before;
    }
    /** Notes that the user has read up to an entry. Returns whether that is news. */
    readUpTo(place) {
        if (!this.known || place.seq > this.cursor || (this.read && place.seq <= this.read.seq))
            return false;
        this.read = { seq: place.seq, message: place.message };
        return true;
    }
    /** The first thing heard of the chat says where this device left off: the server pushes from its acknowledged position. */
    learn(firstSeq) {
        if (this.known)
            return;
        this.known = true;
        this.cursor = firstSeq - 1;
        this.handled = firstSeq - 1;
        this.absorb();
    }
    absorb() {
        if (!this.known)
            return;
        this.cursor = step(this.cursor, this.had);
        // Own sends above an entry that waits for its handling wait with it.
        if (this.open.length === 0 || this.open[0].seq > step(this.handled, this.had)) {
            this.handled = step(this.handled, this.had);
        }
        this.had = this.had.filter(([, last]) => last > this.handled);
    }
}
/** The end of the run of ranges that begins right above `seq`. */
function step(seq, ranges) {
    for (const [first, last] of ranges)
        if (first <= seq + 1 && last > seq)
            seq = last;
    return seq;
}
/** Adds a range; touching ones become one. */
function merge(ranges, first, last) {
    const apart = ranges.filter(([a, b]) => b + 1 < first || last + 1 < a);
    for (const [a, b] of ranges) {
        if (b + 1 < first || last + 1 < a)
            continue;
        first = Math.min(first, a);
        last = Math.max(last, b);
    }
    return [...apart, [first, last]].sort(([a], [b]) => a - b);
}
