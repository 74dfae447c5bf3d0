/** Acts in the core: through the outbox like messages, checked before they are taken; what was seen, ticks and `synced` are said. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { accountChat, Core, DEFAULTS, directChat, json, type Act, type ClientEvent, type Extras, type Image, type Output } from "../../src/index.js";

const CHAT = directChat("7", "9");
const ACCOUNT = accountChat("7");
const uuid = (n: number): string => `c0ffee00-1234-11f0-8000-${n.toString(16).padStart(12, "0")}`;
const timestamp = "2026-01-02T03:04:05.678Z";
const TIME_MS = Date.parse(timestamp);
const EMPTY: Image = { identity: null, chats: [], outbox: [], syncedMs: 0 };

/** A core of user 7 with a clock that stands. */
class Bench {
  readonly told: ClientEvent[] = [];
  readonly wrote: Record<string, unknown>[] = [];
  readonly outputs: Output[] = [];
  readonly core: Core;

  constructor(image: Image = EMPTY) {
    const env = { mono: () => 1_000, wall: () => 1_700_000_000_000, random: () => 0 };
    this.core = new Core(DEFAULTS, json, env, image, { user: "7", device: 1 });
  }

  take(): this {
    for (const output of this.core.take()) {
      this.outputs.push(output);
      if (output.do === "tell") this.told.push(output.event);
      if (output.do === "write") this.wrote.push(JSON.parse(output.data as string) as Record<string, unknown>);
    }
    return this;
  }

  say(event: object): this {
    this.core.message(this.core.connection, JSON.stringify(event));
    return this.take();
  }

  connect(): this {
    this.core.start();
    return this.connected();
  }

  connected(): this {
    this.core.connected(this.core.connection, "token");
    return this.say({ type: "ready", user_id: "7", device_id: 1 });
  }

  entry(seq: number, more: object = {}): this {
    const own = { type: "message", chat_id: CHAT, message_id: uuid(seq), seq, sender_id: "9", content: "x", client_msg_id: `p${seq}`, timestamp };
    return this.say({ ...own, ...more });
  }

  act(clientMsgId: string, chat: string | null, change: Act): string {
    const where = this.core.change({ clientMsgId, chat, change });
    this.take();
    return where;
  }

  ack(chat: string, id: string, seq: number): this {
    return this.say({ type: "ack", client_msg_id: id, chat_id: chat, message_id: uuid(seq), seq, status: "sent", timestamp });
  }
}

test("everything that is sent says what its sender had seen", () => {
  const bench = new Bench().connect().entry(1).entry(2);
  bench.core.send({ clientMsgId: "m1", target: { to: "9" }, body: new TextEncoder().encode("hi") });
  bench.act("m2", CHAT, { kind: "reacted", refersTo: uuid(2), reaction: "👍" });
  bench.ack(CHAT, "m1", 3).ack(CHAT, "m2", 4);
  bench.act("m3", CHAT, { kind: "deleted", refersTo: uuid(3) });
  const seen = bench.wrote.filter((event) => typeof event["client_msg_id"] === "string").map((event) => [event["type"], event["after_seq"]]);
  assert.deepEqual(seen, [["message", 2], ["reacted", 2], ["deleted", 4]]);
});

test("what is the user's own goes to the account log, and is told once it is durable", () => {
  const bench = new Bench().connect();
  assert.equal(bench.act("a1", null, { kind: "setting", key: "pinned", value: "on", subject: CHAT }), ACCOUNT);
  assert.deepEqual(bench.wrote.at(-1), { type: "setting", key: "pinned", value: "on", subject: CHAT, client_msg_id: "a1" });
  assert.equal(bench.told.some((event) => event.type === "account"), false);
  bench.ack(ACCOUNT, "a1", 1);
  const told = bench.told.filter((event) => event.type === "sent" || event.type === "account").map((event) => event.type);
  assert.deepEqual(told, ["sent", "account"]);
  bench.say({ type: "entry", kind: "device", chat_id: ACCOUNT, message_id: uuid(2), seq: 2, sender_id: "7", device_id: 3, name: "phone", client_msg_id: "x", timestamp });
  const last = bench.told.at(-1);
  assert.deepEqual(last, { type: "account", change: { kind: "device", device: 3, name: "phone" }, seq: 2, timestampMs: TIME_MS });
  assert.equal(bench.told.at(-2)?.type, "entries", "its entry is handed over like any other");
});

test("an act waits in the store, and goes again with retry after a crash", () => {
  const bench = new Bench().connect();
  bench.act("m1", CHAT, { kind: "edited", refersTo: uuid(1) });
  const kept = bench.outputs.flatMap((output) => (output.do === "persist" && output.change.type === "queued" ? [output.change.send] : []));
  const again = new Bench({ ...EMPTY, identity: { user: "7", device: 1 }, outbox: kept }).connect();
  assert.deepEqual(again.wrote.at(-1), { type: "edited", chat_id: CHAT, refers_to: uuid(1), content: "", client_msg_id: "m1", retry: true });
});

test("what cannot be meant is not taken", () => {
  const bench = new Bench().connect();
  const wrong = (code: string, chat: string | null, change: Act): void => {
    assert.throws(() => bench.act("x", chat, change), { code }, JSON.stringify(change));
  };
  wrong("invalid_message", CHAT, { kind: "deleted", refersTo: "that one" });
  wrong("invalid_message", null, { kind: "hidden", subject: CHAT, refersTo: "" });
  wrong("invalid_target", null, { kind: "hidden", subject: "here", refersTo: uuid(1) });
  wrong("invalid_target", null, { kind: "deleted", refersTo: uuid(1) });
  wrong("invalid_target", CHAT, { kind: "setting", key: "pinned", value: "on", subject: CHAT });
  wrong("invalid_reaction", CHAT, { kind: "reacted", refersTo: uuid(1), reaction: "👍".repeat(17) });
  for (const ttlS of [4, 1.5, 31_536_001, -1]) wrong("invalid_timer", CHAT, { kind: "timer", ttlS });
  wrong("invalid_setting", null, { kind: "setting", key: "", value: "on", subject: null });
  wrong("invalid_name", null, { kind: "device", device: 1, name: "" });
  wrong("invalid_device", null, { kind: "revoked", device: 2 ** 32 });
  wrong("invalid_user", CHAT, { kind: "edited", refersTo: uuid(1), mentions: ["nine"] });
  const said = (code: string, extras: Extras): void => {
    assert.throws(() => bench.core.send({ clientMsgId: "x", target: { to: "9" }, body: new Uint8Array(), extras }), { code });
  };
  said("invalid_message", { replyTo: "that one" });
  said("invalid_message", { forwarded: 256 });
  said("invalid_user", { mentions: ["0"] });
  said("invalid_user", { mentions: Array.from({ length: 257 }, (_, n) => String(n + 1)) });
  assert.equal(bench.core.outboxSize, 0);
});

test("ticks rise and never fall, whether they come live or after an absence", () => {
  const bench = new Bench().connect();
  const ticks = (user: string, delivered: number, read: number): Bench => {
    return bench.say({ type: "ticks", chat_id: CHAT, members: [{ user_id: user, delivered_seq: delivered, read_seq: read }] });
  };
  ticks("9", 14, 12);
  ticks("9", 14, 12);
  bench.say({ type: "ack", chat_id: CHAT, message_id: uuid(12), seq: 12, user_id: "9", status: "read" });
  ticks("9", 15, 12);
  const told = bench.told.filter((event) => event.type === "ticks" || event.type === "receipt");
  assert.deepEqual(told.map((event) => (event.type === "ticks" ? event.members[0]?.deliveredSeq : 0)), [14, 15]);
});

test("the time of the last synced is kept, and said on the next connection", () => {
  const bench = new Bench().connect();
  assert.deepEqual(bench.wrote[0], { type: "auth", token: "token", user_id: "7", device_id: 1 });
  bench.say({ type: "ticks", chat_id: CHAT, members: [{ user_id: "9", delivered_seq: 1, read_seq: 1 }] });
  bench.say({ type: "synced", server_time: timestamp });
  const order = bench.outputs.slice(-3).map((output) => (output.do === "tell" ? output.event.type : output.do));
  assert.deepEqual(order, ["ticks", "synced", "persist"], "kept behind what was told");
  bench.core.disconnected(bench.core.connection, 1006);
  bench.connected();
  assert.deepEqual(bench.wrote.find((event) => event["synced"]), { type: "auth", token: "token", synced: timestamp, user_id: "7", device_id: 1 });
  const next = new Bench({ ...EMPTY, syncedMs: TIME_MS }).connect();
  assert.equal(next.wrote[0]?.["synced"], timestamp);
});

test("the account is asked for, and answered to who asked", async () => {
  const bench = new Bench().connect();
  const asked = bench.core.ask<"account">({ type: "account", chat: CHAT });
  bench.take().say({ type: "account", request_id: 1, settings: [{ key: "read_receipts", value: "off" }], devices: [], hidden: [uuid(3)] });
  const { account } = await asked;
  assert.deepEqual([[...account.settings], account.hidden], [[["read_receipts", "off"]], [uuid(3)]]);
});
