/** The fold: what every rule of the protocol makes of messages, and that the order in which entries come does not matter. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { expiryOf, Fold, type Foldable } from "../../src/index.js";

const id = (seq: number): string => `c0ffee00-1234-11f0-8000-${seq.toString(16).padStart(12, "0")}`;
const AT_MS = 1_700_000_000_000;
type Made = Omit<Foldable, "message" | "timestampMs"> & { message?: string; timestampMs?: number };
const made = (entry: Made): Foldable => ({ message: id(entry.seq), timestampMs: AT_MS + entry.seq, ...entry });
const said = (seq: number, text = `said ${seq}`, more: Partial<Foldable> = {}): Foldable => made({ kind: "message", sender: "7", seq, text, ...more });
const amends = (kind: string, seq: number, of: number, text = "", sender = "7"): Foldable => made({ kind, seq, sender, text, refersTo: id(of) });

/** What a fold shows, to compare. */
function shown(fold: Fold<Foldable>, nowMs = AT_MS): unknown[] {
  return fold.messages(nowMs).map(({ entry, text, mentions, editedMs, deletedMs, reactions }) => {
    return [entry.seq, text, mentions, editedMs, deletedMs, [...reactions].sort()];
  });
}

const folded = (...entries: Foldable[]): Fold<Foldable> => {
  const fold = new Fold<Foldable>();
  for (const entry of entries) fold.add(entry);
  return fold;
};

test("an edit changes the body, the newest wins, an older one that comes later does not", () => {
  const fold = folded(said(1), amends("edited", 3, 1, "third"), amends("edited", 2, 1, "second"));
  assert.deepEqual(shown(fold), [[1, "third", [], AT_MS + 3, 0, []]]);
  assert.equal(fold.add(amends("edited", 2, 1, "second")), false, "nothing looks different");
  assert.equal(fold.add({ ...amends("edited", 4, 1), deletedMs: AT_MS }), false, "a blank edit is moved over");
});

test("what is deleted stays deleted, and shows neither body nor reactions", () => {
  const fold = folded(said(1), amends("reacted", 2, 1, "👍", "9"), amends("deleted", 3, 1), amends("edited", 4, 1, "back"), said(1));
  assert.deepEqual(shown(fold), [[1, "", [], 0, AT_MS + 3, []]]);
});

test("each user has one reaction, their last; empty takes it back", () => {
  const fold = folded(said(1), amends("reacted", 4, 1, "", "9"), amends("reacted", 3, 1, "🎉", "9"), amends("reacted", 2, 1, "👍", "11"));
  assert.deepEqual(shown(fold), [[1, "said 1", [], 0, 0, [["11", "👍"]]]]);
});

test("amendments wait for their message, and what is hidden is not shown", () => {
  const fold = folded(amends("edited", 3, 1, "third"), said(2));
  assert.deepEqual(shown(fold), [[2, "said 2", [], 0, 0, []]]);
  assert.equal(fold.add(said(1)), true);
  assert.deepEqual(shown(fold).map((line) => (line as unknown[])[1]), ["third", "said 2"]);
  assert.equal(fold.hide([id(2)]), true);
  assert.equal(fold.hide([id(2)]), false);
  assert.equal(fold.get(id(2), AT_MS), null);
  assert.deepEqual(shown(fold).length, 1);
});

test("a message disappears when its time is over, and the timer is the last one that was set", () => {
  const fold = folded(said(1), said(2, "soon gone", { ttlS: 60 }), made({ kind: "timer", seq: 4, sender: "7", text: "", ttlS: 0 }));
  fold.add(made({ kind: "timer", seq: 3, sender: "7", text: "", ttlS: 60 }));
  assert.equal(fold.ttlS, 0);
  assert.equal(expiryOf(made({ kind: "timer", seq: 3, sender: "7", text: "", ttlS: 60 })), Infinity, "the timer's own entry stays");
  const over = AT_MS + 2 + 60_000;
  assert.equal(fold.nextExpiry(AT_MS), over);
  assert.equal(shown(fold, over - 1).length, 2);
  assert.equal(shown(fold, over).length, 1);
  assert.deepEqual(fold.expire(over).map((entry) => entry.text), ["soon gone"]);
  assert.equal(fold.nextExpiry(over), Infinity);
  fold.add(said(2, "soon gone", { ttlS: 60 }));
  assert.equal(shown(fold, AT_MS).length, 1, "once gone, gone for good");
});

/** A generator of numbers from 0 to below `below`, the same for the same seed. */
function dice(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A log that grows by random acts, and the pages that the server makes of it. */
class Log {
  readonly live: Foldable[] = [];
  private readonly edits = new Map<number, number>();
  private readonly deleted = new Map<number, number>();

  constructor(private readonly roll: (below: number) => number) {}

  grow(): void {
    const seq = this.live.length + 1;
    const messages = this.live.filter(({ kind, seq: of }) => kind === "message" && !this.deleted.has(of));
    const of = messages[this.roll(messages.length)]?.seq;
    const act = of === undefined ? 0 : this.roll(8);
    if (of === undefined || act < 3) this.live.push(said(seq, `said ${seq}`, { mentions: this.roll(3) === 0 ? ["9"] : [], ttlS: this.roll(6) === 0 ? 5 : 0 }));
    else if (act < 5) {
      this.live.push({ ...amends("edited", seq, of, `edit ${seq}`), mentions: ["11"] });
      this.edits.set(of, seq);
    } else if (act < 7) this.live.push(amends("reacted", seq, of, ["👍", "🎉", ""][this.roll(3)], String(9 + this.roll(3))));
    else {
      this.live.push(amends("deleted", seq, of));
      this.deleted.set(of, AT_MS + seq);
    }
  }

  /** All entries as they are on a page now. */
  page(): Foldable[] {
    const messageOf = (entry: Foldable): number => this.live.find(({ message }) => message === entry.refersTo)?.seq ?? 0;
    return this.live.map((entry) => {
      const of = entry.kind === "edited" ? messageOf(entry) : entry.seq;
      const [deletedMs, edit] = [this.deleted.get(of), this.edits.get(of)];
      if (entry.kind !== "message" && entry.kind !== "edited") return entry;
      if (deletedMs !== undefined) return { ...entry, text: "", mentions: [], deletedMs };
      if (entry.kind === "edited") return edit === entry.seq ? entry : { ...entry, text: "", mentions: [], deletedMs: AT_MS + (edit ?? 0) };
      const last = edit === undefined ? undefined : this.live[edit - 1];
      return last ? { ...entry, text: last.text, mentions: last.mentions ?? [], editedSeq: last.seq, editedMs: last.timestampMs } : entry;
    });
  }
}

function shuffled<T>(items: readonly T[], roll: (below: number) => number): T[] {
  const out = [...items];
  for (let n = out.length - 1; n > 0; n--) {
    const other = roll(n + 1);
    [out[n], out[other]] = [out[other] as T, out[n] as T];
  }
  return out;
}

test("any order of pages and live entries, some of them twice, folds to the same", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const roll = dice(seed);
    const log = new Log(roll);
    const [before, after] = [1 + roll(20), roll(12)];
    for (let n = 0; n < before; n++) log.grow();
    const page = log.page();
    for (let n = 0; n < after; n++) log.grow();
    const now = AT_MS + roll(12_000);
    const expected = shown(folded(...log.live), now);
    assert.deepEqual(shown(folded(...log.page()), now), expected, `seed ${seed}: the last page alone`);
    for (let n = 0; n < 4; n++) {
      // A page of some time, what came live since, and any of the rest once more.
      const again = log.live.filter(() => roll(3) === 0);
      const more = log.page().filter(() => roll(4) === 0);
      const entries = shuffled([...page, ...log.live.slice(page.length), ...again, ...more], roll);
      assert.deepEqual(shown(folded(...entries), now), expected, `seed ${seed}, order ${n}`);
      const expiring = new Fold<Foldable>();
      for (const entry of entries) {
        expiring.add(entry);
        if (roll(5) === 0) expiring.expire(now);
      }
      assert.deepEqual(shown(expiring, now), expected, `seed ${seed}, order ${n}, expiring on the way`);
      assert.ok(expiring.messages(now).every(({ entry }) => expiryOf(entry) > now));
    }
  }
});
