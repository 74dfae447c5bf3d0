/** The console's data: snapshots of the server, and what two of them say about the time between. */
/** Snapshots of the last while, the newest last. A restart of the server begins anew. */
export class Past {
    keep;
    taken = [];
    constructor(keep) {
        this.keep = keep;
    }
    add(next) {
        const last = this.taken.at(-1);
        if (last && next.of.uptime_s < last.of.uptime_s)
            this.taken.length = 0;
        this.taken.push(next);
        if (this.taken.length > this.keep + 1)
            this.taken.shift();
    }
    get newest() {
        return this.taken.at(-1);
    }
    /** A count's rise a second, between each two neighbours. */
    rates(count) {
        return this.taken.slice(1).map((taken, n) => {
            const before = this.taken[n];
            const seconds = Math.max((taken.atMs - before.atMs) / 1000, 0.001);
            return Math.max(count(taken.of) - count(before.of), 0) / seconds;
        });
    }
    /** The last of {@link rates}. */
    rate(count) {
        return this.rates(count).at(-1) ?? 0;
    }
    /** A count's rise over all that is kept. */
    rise(count) {
        const [first, last] = [this.taken[0], this.taken.at(-1)];
        return first && last ? count(last.of) - count(first.of) : 0;
    }
    /** Acks by class of the last `seconds`: each class's upper bound and how many fell into it. */
    latency(seconds) {
        const newest = this.newest;
        if (!newest)
            return [];
        const since = newest.atMs - seconds * 1000;
        const before = this.taken.find((taken) => taken.atMs >= since);
        let below = 0;
        return newest.of.ack_seconds.buckets.map(([bound, total], n) => {
            const old = before === newest ? 0 : (before.of.ack_seconds.buckets[n]?.[1] ?? 0);
            const upTo = total - old;
            const count = upTo - below;
            below = upTo;
            return { bound, count };
        });
    }
}
/** The class in which a share of all lies: its upper bound in s, Infinity above all, NaN when there is nothing. */
export function quantile(classes, share) {
    const all = classes.reduce((sum, each) => sum + each.count, 0);
    let seen = 0;
    for (const { bound, count } of classes) {
        seen += count;
        if (count > 0 && seen >= all * share)
            return bound ?? Infinity;
    }
    return NaN;
}
/** The sum of a figure over a snapshot's shards. */
export function over(snapshot, figure) {
    return snapshot.shards.reduce((sum, shard) => sum + figure(shard), 0);
}
