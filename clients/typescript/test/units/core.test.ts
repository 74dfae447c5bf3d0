/** The core step by step: order, outcomes, refusals, coming back, gaps. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Core, DEFAULTS, directChat, json, type ClientEvent, type Image, type Output } from "../../src/index.js";

const CHAT = directChat("7", "9");
const uuid = (n: number): string => `c0ffee00-1234-11f0-8000-${n.toString(16).padStart(12, "0")}`;
const timestamp = "2026-01-02T03:04:05.678Z";
const EMPTY: Image = { identity: null, chats: [], outbox: [], syncedMs: 0 };

/** A core with a clock that stands until it is moved, and everything it asked for. */
class Bench {
  now = 1_000;
  readonly told: ClientEvent[] = [];
  readonly wrote: Record<string, unknown>[] = [];
  readonly outputs: Output[] = [];
  readonly core: Core;

  constructor(image: Image = EMPTY, identity: Image["identity"] = { user: "7", device: 1 }) {
    const env = { mono: () => this.now, wall: () => 1_700_000_000_000 + this.now, random: () => 0 };
    this.core = new Core(DEFAULTS, json, env, image, identity);
  }

  /** Takes what it wants done. */
  take(): void {
    for (const output of this.core.take()) {
      this.outputs.push(output);
      if (output.do === "tell") this.told.push(output.event);
      if (output.do === "write") this.wrote.push(JSON.parse(output.data as string) as Record<string, unknown>);
    }
  }

  say(event: object): void {
    this.core.message(this.core.connection, JSON.stringify(event));
    this.take();
  }

  /** Until a session stands. */
  connect(): this {
    this.core.start();
    this.core.connected(this.core.connection, "token");
    this.say({ type: "ready", user_id: "7", device_id: 1 });
    return this;
  }

  entry(seq: number, more: object = {}): void {
    const own = { type: "message", chat_id: CHAT, message_id: uuid(seq), seq, sender_id: "9", content: String(seq), client_msg_id: `p${seq}`, timestamp };
    this.say({ ...own, ...more });
  }

  send(id: string): void {
    this.core.send({ clientMsgId: id, target: { to: "9" }, body: new TextEncoder().encode(id) });
    this.take();
  }

  ack(id: string, seq: number): void {
    this.say({ type: "ack", client_msg_id: id, chat_id: CHAT, message_id: uuid(seq), seq, status: "sent", timestamp });
  }

  seqs(): number[] {
    return this.told.flatMap((event) => (event.type === "entries" ? event.entries.map((entry) => entry.seq) : []));
  }

  ids(): unknown[] {
    return this.wrote.filter((event) => event["type"] === "message").map((event) => event["client_msg_id"]);
  }
}

test("an entry comes once, in order; a doubled one is acknowledged again", () => {
  const bench = new Bench().connect();
  bench.entry(5);
  bench.entry(6);
  bench.core.handled(CHAT, 6);
  bench.take();
  assert.deepEqual(bench.wrote.at(-1), { type: "ack", chat_id: CHAT, message_id: uuid(6), seq: 6, status: "delivered" });
  const count = bench.wrote.length;
  bench.entry(6);
  assert.deepEqual(bench.seqs(), [5, 6]);
  assert.equal(bench.wrote.length, count + 1, "it is marked again");
});

test("a mark is written only after its position was given to the store", () => {
  const bench = new Bench().connect();
  bench.entry(1);
  bench.core.handled(CHAT, 1);
  bench.take();
  const [persist, write] = bench.outputs.slice(-2);
  assert.ok(persist?.do === "persist" && persist.change.type === "chat" && persist.change.chat.handled === 1);
  assert.equal(write?.do, "write");
});

test("an own send is received by its ack, between others' entries", () => {
  const bench = new Bench().connect();
  bench.entry(1);
  bench.send("a");
  bench.ack("a", 2);
  bench.entry(3);
  // Another session's sync brings the own one too: it is not handed over.
  bench.entry(2, { sender_id: "7", client_msg_id: "a" });
  assert.deepEqual(bench.seqs(), [1, 3]);
});

test("an own entry that comes before its ack is not handed over, and its outcome still comes", () => {
  const bench = new Bench().connect();
  bench.entry(1);
  bench.send("a");
  bench.entry(2, { sender_id: "7", client_msg_id: "a" });
  bench.entry(3);
  assert.deepEqual(bench.seqs(), [1, 3]);
  bench.ack("a", 2);
  assert.equal(bench.told.filter((event) => event.type === "sent").length, 1);
});

test("after a refusal the lane waits until all is answered, then goes again in order with retry", () => {
  const bench = new Bench().connect();
  for (const id of ["a", "b", "c"]) bench.send(id);
  bench.say({ type: "error", code: "overloaded", client_msg_id: "a", retry_after_ms: 1_000 });
  bench.say({ type: "error", code: "after_refused", client_msg_id: "b" });
  bench.send("d");
  assert.deepEqual(bench.ids(), ["a", "b", "c"], "nothing more is written while the lane is refused");
  bench.say({ type: "error", code: "after_refused", client_msg_id: "c" });
  bench.now += 999;
  bench.core.tick();
  bench.take();
  assert.deepEqual(bench.ids(), ["a", "b", "c"], "the wait is not over");
  bench.now = bench.core.nextDeadline();
  bench.core.tick();
  bench.take();
  assert.deepEqual(bench.ids(), ["a", "b", "c", "a", "b", "c", "d"]);
  const again = bench.wrote.filter((event) => event["type"] === "message").slice(3);
  assert.deepEqual(again.map((event) => event["retry"]), [true, true, true, undefined]);
});

test("a refusal for ever is the send's outcome, and the rest of the lane goes on", () => {
  const bench = new Bench().connect();
  bench.send("a");
  bench.send("b");
  bench.say({ type: "error", code: "forbidden", client_msg_id: "a" });
  bench.ack("b", 1);
  const outcomes = bench.told.filter((event) => event.type === "failed" || event.type === "sent");
  assert.deepEqual(outcomes.map((event) => [event.type, event.clientMsgId]), [["failed", "a"], ["sent", "b"]]);
});

test("what was unanswered goes again on the next connection, in its order, with retry", () => {
  const bench = new Bench().connect();
  for (const id of ["a", "b", "c"]) bench.send(id);
  bench.ack("a", 1);
  bench.core.disconnected(bench.core.connection, 1006);
  bench.take();
  bench.send("d");
  const connect = bench.outputs.findLast((output) => output.do === "connect");
  assert.ok(connect && connect.afterMs >= 100, "half of the first wait is certain");
  bench.core.connected(bench.core.connection, "token");
  bench.say({ type: "ready", user_id: "7", device_id: 1 });
  assert.deepEqual(bench.ids(), ["a", "b", "c", "b", "c", "d"]);
});

test("a server that goes away says when to come back; the wait is at least that", () => {
  const bench = new Bench().connect();
  bench.say({ type: "error", code: "going_away", retry_after_ms: 4_000 });
  const connect = bench.outputs.at(-1);
  assert.ok(connect?.do === "connect" && connect.afterMs >= 4_000, JSON.stringify(connect));
  assert.ok(bench.outputs.some((output) => output.do === "close"));
});

test("a close without words is understood by its code", () => {
  for (const [code, ends] of [[4401, true], [4409, true], [1001, false], [1013, false], [1006, false]] as const) {
    const bench = new Bench().connect();
    bench.core.disconnected(bench.core.connection, code);
    bench.take();
    assert.equal(bench.told.some((event) => event.type === "ended"), ends, String(code));
  }
});

test("a token that has expired is asked for anew; the same one again ends the client", () => {
  const bench = new Bench().connect();
  bench.say({ type: "error", code: "token_expired" });
  assert.equal(bench.told.at(-1)?.type, "disconnected");
  bench.core.connected(bench.core.connection, "token");
  bench.take();
  assert.equal(bench.told.at(-1)?.type, "ended");
});

test("a gap is asked for, filled in order, and holes in the answer are expired", () => {
  const bench = new Bench().connect();
  bench.entry(1);
  bench.entry(4);
  assert.deepEqual(bench.seqs(), [1]);
  const ask = bench.wrote.find((event) => event["type"] === "history");
  assert.deepEqual([ask?.["after_seq"], ask?.["limit"]], [1, 2], "no more than is missing");
  const entry = { type: "message", chat_id: CHAT, message_id: uuid(3), seq: 3, sender_id: "9", content: "3", client_msg_id: "p3", timestamp };
  bench.say({ type: "history", request_id: ask?.["request_id"], chat_id: CHAT, covers_first_seq: 2, covers_last_seq: 3, head_seq: 4, entries: [entry] });
  assert.deepEqual(bench.seqs(), [1, 3, 4]);
});

test("covered seqs are stepped over", () => {
  const bench = new Bench().connect();
  bench.say({ type: "covered", chat_id: CHAT, first_seq: 1, last_seq: 7 });
  bench.entry(8);
  assert.deepEqual(bench.seqs(), [8]);
});

test("ticks never fall, and read implies delivered", () => {
  const bench = new Bench().connect();
  const receipt = (status: string, seq: number): void => bench.say({ type: "ack", chat_id: CHAT, message_id: uuid(seq), seq, user_id: "9", status });
  receipt("read", 5);
  receipt("delivered", 5);
  receipt("read", 4);
  receipt("delivered", 6);
  const heard = bench.told.filter((event) => event.type === "receipt").map((event) => [event.status, event.seq]);
  assert.deepEqual(heard, [["read", 5], ["delivered", 6]]);
});

test("a restored outbox is sent in order with retry, too old sends fail", () => {
  const send = (clientMsgId: string, order: number, createdMs: number): Image["outbox"][number] => {
    return { clientMsgId, chat: CHAT, target: { to: "9" }, body: new Uint8Array([65]), afterSeq: 0, createdMs, order };
  };
  const bench = new Bench({ identity: { user: "7", device: 1 }, chats: [], outbox: [send("old", 1, 0), send("x", 2, 1_700_000_000_000), send("y", 3, 1_700_000_000_000)], syncedMs: 0 });
  bench.connect();
  assert.deepEqual(bench.ids(), ["x", "y"]);
  assert.ok(bench.told.some((event) => event.type === "failed" && event.clientMsgId === "old" && event.failure.why === "expired"));
});

test("a token of another user is not let near the store of this one", () => {
  for (const said of [{ type: "ready", user_id: "8", device_id: 1 }, { type: "error", code: "wrong_identity" }]) {
    const bench = new Bench();
    bench.core.start();
    bench.core.connected(bench.core.connection, "token");
    bench.say(said);
    const last = bench.told.at(-1);
    assert.ok(last?.type === "ended" && last.end.why === "wrong_identity" && last.end.own.user === "7");
  }
});

test("whoever comes back says who they are and how far they are in one go, and stores nothing for it", () => {
  const bench = new Bench().connect();
  for (const seq of [1, 2, 3]) bench.entry(seq);
  bench.core.handled(CHAT, 3);
  bench.core.markRead(CHAT, { seq: 2, message: uuid(2) });
  bench.take();
  bench.core.disconnected(bench.core.connection, 1006);
  bench.take();
  const [before, stored] = [bench.wrote.length, bench.outputs.filter((output) => output.do === "persist").length];
  bench.core.connected(bench.core.connection, "token");
  bench.take();
  const place = { type: "ack", chat_id: CHAT };
  assert.deepEqual(bench.wrote.slice(before), [
    { type: "auth", token: "token", user_id: "7", device_id: 1, marks: 2 },
    { ...place, message_id: uuid(3), seq: 3, status: "delivered" },
    { ...place, message_id: uuid(2), seq: 2, status: "read" },
  ]);
  assert.equal(bench.outputs.filter((output) => output.do === "persist").length, stored);
  // What is handled while the server thinks is said at once; nothing is said twice.
  bench.core.markRead(CHAT, { seq: 3, message: uuid(3) });
  bench.take();
  bench.say({ type: "ready", user_id: "7", device_id: 1 });
  assert.deepEqual(bench.wrote.slice(before + 3), [{ ...place, message_id: uuid(3), seq: 3, status: "read" }]);
});

test("where a send is under way it is said again too, by seq alone where nothing was received", () => {
  const bench = new Bench({ ...EMPTY, identity: { user: "7", device: 1 } }).connect();
  bench.send("a");
  bench.ack("a", 1);
  for (let pongs = 0; pongs < 3; pongs++) bench.say({ type: "pong" });
  bench.send("b");
  bench.core.disconnected(bench.core.connection, 1006);
  bench.take();
  const before = bench.wrote.length;
  bench.core.connected(bench.core.connection, "token");
  bench.take();
  assert.deepEqual(bench.wrote.slice(before + 1), [{ type: "ack", chat_id: CHAT, seq: 1, status: "delivered" }]);
  // It is told its own send, whose answer was lost, in its place: no gap is seen.
  bench.say({ type: "ready", user_id: "7", device_id: 1 });
  bench.entry(2, { sender_id: "7", client_msg_id: "b" });
  bench.entry(3);
  assert.deepEqual(bench.seqs(), [3]);
  assert.ok(!bench.wrote.some((event) => event["type"] === "history"));
});

test("a device that does not know who it is says how far it is when it has been told", () => {
  const chat = { chat: CHAT, handled: 4, delivered: { seq: 4, message: uuid(4) }, read: null, had: [] };
  const bench = new Bench({ ...EMPTY, chats: [chat] }, null);
  bench.core.start();
  bench.core.connected(bench.core.connection, "token");
  bench.take();
  assert.deepEqual(bench.wrote, [{ type: "auth", token: "token" }]);
  bench.say({ type: "ready", user_id: "7", device_id: 1 });
  assert.deepEqual(bench.wrote.slice(1), [{ type: "ack", chat_id: CHAT, message_id: uuid(4), seq: 4, status: "delivered" }]);
});

test("a silent server is left, and pings are sent in time", () => {
  const bench = new Bench().connect();
  bench.now = bench.core.nextDeadline();
  bench.core.tick();
  bench.take();
  assert.deepEqual(bench.wrote.at(-1), { type: "ping" });
  for (let n = 0; n < 3 && bench.told.at(-1)?.type !== "disconnected"; n++) {
    bench.now = bench.core.nextDeadline() + 1;
    bench.core.tick();
    bench.take();
  }
  const last = bench.told.at(-1);
  assert.ok(last?.type === "disconnected" && last.cause.why === "silent");
});

test("something that is not the protocol ends the connection, not the client", () => {
  const bench = new Bench().connect();
  bench.core.message(bench.core.connection, "not json");
  bench.take();
  const last = bench.told.at(-1);
  assert.ok(last?.type === "disconnected" && last.cause.why === "bad_frame");
});

test("a send whose JSON would exceed the frame limit fails instead of ending the session", () => {
  const bench = new Bench().connect();
  bench.core.send({ clientMsgId: "big", target: { to: "9" }, body: new Uint8Array(60_000).fill(1) });
  bench.take();
  const last = bench.told.at(-1);
  assert.ok(last?.type === "failed" && last.failure.why === "too_large");
  assert.deepEqual(bench.ids(), []);
});
