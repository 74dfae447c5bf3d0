/** The console's data: snapshots of the server, and what two of them say about the time between. */

/** One connection thread. Counts since the start, but for connections and sessions. */
export interface Shard {
  readonly shard: number;
  readonly connections: number;
  readonly sessions: number;
  readonly messages_in: number;
  readonly messages_out: number;
  readonly slow_readers: number;
}

/** One owner partition. */
export interface Partition {
  readonly partition: number;
  readonly ordered_lsn: number;
  readonly committed_lsn: number;
  readonly applied_lsn: number;
  readonly queued: number;
  readonly chats: number;
  readonly memory_bytes: number;
  readonly poisoned: boolean;
}

/** `GET /api/v1/console`. */
export interface Snapshot {
  readonly version: string;
  readonly uptime_s: number;
  readonly readiness: string;
  readonly driver: string;
  readonly shards: readonly Shard[];
  /** Upper bounds in s (null: none) and how many acks were at or below each: cumulative. */
  readonly ack_seconds: { readonly buckets: readonly (readonly [number | null, number])[]; readonly count: number };
  readonly partitions: readonly Partition[];
  /** By the error table's names. */
  readonly errors: Readonly<Record<string, number>>;
}

/** A snapshot and when it was taken, ms. */
export interface Taken {
  readonly atMs: number;
  readonly of: Snapshot;
}

/** Snapshots of the last while, the newest last. A restart of the server begins anew. */
export class Past {
  private readonly taken: Taken[] = [];

  constructor(private readonly keep: number) {}

  add(next: Taken): void {
    const last = this.taken.at(-1);
    if (last && next.of.uptime_s < last.of.uptime_s) this.taken.length = 0;
    this.taken.push(next);
    if (this.taken.length > this.keep + 1) this.taken.shift();
  }

  get newest(): Taken | undefined {
    return this.taken.at(-1);
  }

  /** A count's rise a second, between each two neighbours. */
  rates(count: (snapshot: Snapshot) => number): number[] {
    return this.taken.slice(1).map((taken, n) => {
      const before = this.taken[n] as Taken;
      const seconds = Math.max((taken.atMs - before.atMs) / 1000, 0.001);
      return Math.max(count(taken.of) - count(before.of), 0) / seconds;
    });
  }

  /** The last of {@link rates}. */
  rate(count: (snapshot: Snapshot) => number): number {
    return this.rates(count).at(-1) ?? 0;
  }

  /** A count's rise over all that is kept. */
  rise(count: (snapshot: Snapshot) => number): number {
    const [first, last] = [this.taken[0], this.taken.at(-1)];
    return first && last ? count(last.of) - count(first.of) : 0;
  }

  /** Acks by class of the last `seconds`: each class's upper bound and how many fell into it. */
  latency(seconds: number): { readonly bound: number | null; readonly count: number }[] {
    const newest = this.newest;
    if (!newest) return [];
    const since = newest.atMs - seconds * 1000;
    const before = this.taken.find((taken) => taken.atMs >= since) as Taken;
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
export function quantile(classes: readonly { readonly bound: number | null; readonly count: number }[], share: number): number {
  const all = classes.reduce((sum, each) => sum + each.count, 0);
  let seen = 0;
  for (const { bound, count } of classes) {
    seen += count;
    if (count > 0 && seen >= all * share) return bound ?? Infinity;
  }
  return NaN;
}

/** The sum of a figure over a snapshot's shards. */
export function over(snapshot: Snapshot, figure: (shard: Shard) => number): number {
  return snapshot.shards.reduce((sum, shard) => sum + figure(shard), 0);
}
