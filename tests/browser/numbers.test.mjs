// What the console makes of two snapshots, and how it writes numbers: without a browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { brief, ceiling, duration } from "../../web/made/chart.js";
import { over, Past, quantile } from "../../web/made/numbers.js";

/** A snapshot of one shard: messages in, and how many acks took up to 1 ms, up to 10 ms, and in all. */
function snapshot(uptime_s, messages_in, [fast, slow, all]) {
  const shard = { shard: 0, connections: 3, sessions: 2, messages_in, messages_out: 0, slow_readers: 0 };
  const ack_seconds = { buckets: [[0.001, fast], [0.01, slow], [null, all]], count: all };
  return { version: "1", uptime_s, readiness: "ready", driver: "x", shards: [shard], ack_seconds, partitions: [], errors: {} };
}
const messages = (of) => over(of, (shard) => shard.messages_in);

test("rates are differences by the time that passed, and never negative", () => {
  const past = new Past(10);
  past.add({ atMs: 0, of: snapshot(1, 100, [0, 0, 0]) });
  past.add({ atMs: 2_000, of: snapshot(3, 300, [0, 0, 0]) });
  past.add({ atMs: 2_500, of: snapshot(3.5, 300, [0, 0, 0]) });
  assert.deepEqual(past.rates(messages), [100, 0]);
});

test("a restart of the server begins anew", () => {
  const past = new Past(10);
  past.add({ atMs: 0, of: snapshot(500, 9_000, [0, 0, 0]) });
  past.add({ atMs: 1_000, of: snapshot(1, 10, [0, 0, 0]) });
  assert.deepEqual(past.rates(messages), []);
  past.add({ atMs: 2_000, of: snapshot(2, 30, [0, 0, 0]) });
  assert.deepEqual(past.rates(messages), [20]);
});

test("only so much is kept", () => {
  const past = new Past(3);
  for (let n = 0; n < 20; n++) past.add({ atMs: n * 1_000, of: snapshot(n, n, [0, 0, 0]) });
  assert.deepEqual(past.rates(messages), [1, 1, 1]);
});

test("latency is that of the time asked for, by class, and its quantiles", () => {
  const past = new Past(100);
  past.add({ atMs: 0, of: snapshot(1, 0, [1_000, 1_000, 1_000]) });
  past.add({ atMs: 60_000, of: snapshot(61, 0, [1_090, 1_099, 1_100]) });
  const classes = past.latency(60);
  assert.deepEqual(classes.map((each) => each.count), [90, 9, 1]);
  assert.equal(quantile(classes, 0.5), 0.001);
  assert.equal(quantile(classes, 0.99), 0.01);
  assert.equal(quantile(classes, 1), Infinity);
  assert.ok(Number.isNaN(quantile([], 0.5)));
});

test("numbers are short", () => {
  assert.deepEqual([0, 7, 999, 1_000, 1_250, 34_000_000].map(brief), ["0", "7", "999", "1k", "1.3k", "34M"]);
  assert.deepEqual([0.00012, 0.0015, 0.02, 1.5, Infinity, NaN].map(duration), ["120 µs", "1.5 ms", "20 ms", "1.5 s", "–", "–"]);
  assert.deepEqual([0, 3, 51, 100, 101].map(ceiling), [1, 5, 100, 100, 200]);
});
