/** Group changes and requests in the core: one outbox with the messages, one outcome, answers to who asked. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ChangeError, changeOf, Client, Core, DEFAULTS, groupChat, json, MemoryStore, RequestError } from "../../src/index.js";
import type { ChatInfo, ClientEvent, GroupChange, Image, Output, Socket, StoredSend } from "../../src/index.js";

const GROUP = groupChat("7", "g1");
const uuid = (n: number): string => `c0ffee00-1234-11f0-8000-${n.toString(16).padStart(12, "0")}`;
const timestamp = "2026-01-02T03:04:05.678Z";
const EMPTY: Image = { identity: null, chats: [], outbox: [], syncedMs: 0 };

/** A core of user 7 with a clock that stands until it is moved. */
class Bench {
  now = 1_000;
  readonly told: ClientEvent[] = [];
  readonly wrote: Record<string, unknown>[] = [];
  readonly outputs: Output[] = [];
  readonly core: Core;

  constructor(image: Image = EMPTY, identity = { user: "7", device: 1 } as { user: string; device: number } | null) {
    const env = { mono: () => this.now, wall: () => 1_700_000_000_000 + this.now, random: () => 0 };
    this.core = new Core(DEFAULTS, json, env, image, identity);
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

  change(clientMsgId: string, change: GroupChange, chat: string | null = GROUP): string {
    const group = this.core.change({ clientMsgId, chat, change });
    this.take();
    return group;
  }

  ack(id: string, seq: number): this {
    return this.say({ type: "ack", client_msg_id: id, chat_id: GROUP, message_id: uuid(seq), seq, status: "sent", timestamp });
  }

  /** What was written of these types. */
  written(...types: string[]): Record<string, unknown>[] {
    return this.wrote.filter((event) => types.includes(event["type"] as string));
  }
}

test("a new group's id is known at once, and what is sent to it goes behind it in its order", () => {
  const bench = new Bench().connect();
  assert.equal(bench.change("g1", { kind: "created", name: "Hiking", users: ["9"] }, null), GROUP);
  bench.core.send({ clientMsgId: "m1", target: { chat: GROUP }, body: new TextEncoder().encode("hello") });
  bench.take();
  bench.change("g2", { kind: "added", users: ["11"] });
  assert.deepEqual(bench.written("created", "message", "added").map((event) => event["client_msg_id"]), ["g1", "m1", "g2"]);
  assert.deepEqual(bench.written("created"), [{ type: "created", name: "Hiking", users: ["9"], client_msg_id: "g1" }]);
  bench.ack("g1", 1).ack("m1", 2).ack("g2", 3);
  const sent = bench.told.flatMap((event) => (event.type === "sent" ? [[event.clientMsgId, event.chat, event.seq, event.change?.kind ?? null]] : []));
  assert.deepEqual(sent, [["g1", GROUP, 1, "created"], ["m1", GROUP, 2, null], ["g2", GROUP, 3, "added"]]);
  assert.equal(bench.core.outboxSize, 0);
});

test("a change is given to the store before it is written, and one of a crashed client goes again with retry", () => {
  const bench = new Bench().connect();
  bench.change("g1", { kind: "created", name: "Hiking", users: ["9"] }, null);
  const [persist, write] = bench.outputs.slice(-2);
  assert.ok(persist?.do === "persist" && persist.change.type === "queued" && write?.do === "write");
  const kept: StoredSend = persist.change.send;
  const again = new Bench({ identity: { user: "7", device: 1 }, chats: [], outbox: [kept], syncedMs: 0 }).connect();
  assert.deepEqual(again.written("created"), [{ type: "created", name: "Hiking", users: ["9"], client_msg_id: "g1", retry: true }]);
  again.ack("g1", 1);
  assert.ok(again.told.some((event) => event.type === "sent" && event.change?.kind === "created"));
});

test("an own change's entry from another session is not handed over while its outcome is to come", () => {
  const bench = new Bench().connect();
  bench.change("g1", { kind: "created", name: "Hiking", users: ["9"] }, null);
  const entry = { type: "entry", kind: "created", chat_id: GROUP, message_id: uuid(1), seq: 1, sender_id: "7", name: "Hiking", users: ["7", "9"], timestamp };
  bench.say({ ...entry, client_msg_id: "g1" });
  bench.ack("g1", 1);
  assert.deepEqual(bench.told.filter((event) => event.type === "entries" || event.type === "sent").map((event) => event.type), ["sent"]);
});

test("a change that cannot be meant is not taken", () => {
  const bench = new Bench().connect();
  const refused = (code: string, change: GroupChange, chat: string | null = GROUP): void => {
    assert.throws(() => bench.change("x", change, chat), { code });
  };
  refused("invalid_name", { kind: "renamed", name: "" });
  refused("invalid_name", { kind: "renamed", name: "ü".repeat(129) });
  refused("invalid_user", { kind: "added", users: [] });
  refused("invalid_user", { kind: "added", users: ["9", "nine"] });
  refused("invalid_target", { kind: "left" }, null);
  refused("invalid_target", { kind: "created", name: "x", users: [] }, GROUP);
  refused("invalid_target", { kind: "left" }, "no-chat");
  refused("too_large", { kind: "added", users: Array.from({ length: 4_000 }, () => "18446744073709551615") });
  assert.throws(() => new Bench(EMPTY, null).change("x", { kind: "created", name: "x", users: [] }, null), { code: "no_identity" });
  assert.equal(bench.core.outboxSize, 0);
});

const info = { chat_id: GROUP, kind: "group", name: "Hiking", created_by: "7", members: [], member_count: 0, head_seq: 1, last: timestamp, read_seq: 0, unread: 0, present: true };

test("requests are asked one at a time, answered by their number, and asked again on the next connection", async () => {
  const bench = new Bench().connect();
  const asked = { chat: bench.core.ask<"chat">({ type: "chat", chat: GROUP, afterUser: null, limit: 10 }) };
  const status = bench.core.ask<"status">({ type: "status", chat: GROUP, message: uuid(1) });
  bench.take();
  assert.deepEqual(bench.written("chat", "status").map((event) => event["type"]), ["chat"]);
  const request = bench.written("chat")[0]?.["request_id"] as number;
  bench.say({ type: "chat", request_id: request + 100, ...info, name: "of another" });
  bench.core.disconnected(bench.core.connection, 1006);
  bench.take().connected();
  assert.equal(bench.written("chat").length, 2);
  bench.say({ type: "chat", request_id: request, ...info });
  assert.equal((await asked.chat).info.name, "Hiking");
  assert.equal(bench.written("status").length, 1);
  bench.say({ type: "error", code: "not_a_member", text: "not a member" });
  await assert.rejects(status, (error) => error instanceof RequestError && error.refusal?.code === "not_a_member");
});

test("a request without an answer fails in time, and the next one runs", async () => {
  const bench = new Bench().connect();
  const first = bench.core.ask<"chats">({ type: "chats", before: null, limit: 10 });
  const second = bench.core.ask<"chats">({ type: "chats", before: { lastMs: 5, chat: GROUP }, limit: 10 });
  bench.take();
  bench.now += DEFAULTS.answerTimeoutMs;
  bench.core.tick();
  bench.take();
  await assert.rejects(first, { code: "timeout" });
  const { request_id } = bench.written("chats")[1] as { request_id: number };
  bench.say({ type: "chats", request_id, chats: [], has_more: false });
  assert.deepEqual((await second).page, { chats: [] as ChatInfo[], hasMore: false });
});

test("an entry says what it changed", () => {
  const bench = new Bench().connect();
  const place = (seq: number): object => ({ type: "entry", chat_id: GROUP, message_id: uuid(seq), seq, sender_id: "9", client_msg_id: `p${seq}`, timestamp });
  const said: object[] = [
    { kind: "created", name: "Hiking", users: ["7", "9"] },
    { kind: "added", users: ["11"] },
    { kind: "role", users: ["11"], role: "admin" },
    { kind: "renamed", name: "Climbing" },
    { kind: "removed", users: ["11"] },
    { kind: "left" },
    { kind: "kind_99" },
  ];
  said.forEach((more, n) => bench.say({ ...place(n + 1), ...more }));
  const entries = bench.told.flatMap((event) => (event.type === "entries" ? event.entries : []));
  assert.deepEqual(entries.map(changeOf), [...said.slice(0, -1), null]);
});

/** A socket that is open at once and keeps what is written. */
class Line implements Socket {
  binaryType = "";
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly wrote: Record<string, unknown>[] = [];
  constructor(private readonly answer: (event: Record<string, unknown>) => object | null) {
    queueMicrotask(() => this.onopen?.(undefined as never));
  }
  send(data: string): void {
    const event = JSON.parse(data) as Record<string, unknown>;
    this.wrote.push(event);
    const answer = event["type"] === "auth" ? { type: "ready", user_id: "7", device_id: 1 } : this.answer(event);
    if (answer) queueMicrotask(() => this.onmessage?.({ data: JSON.stringify(answer) }));
  }
  close(): void {}
}

test("the client's promise has the outcome: the ack, the refusal, or that the client ended", async () => {
  const answer = (event: Record<string, unknown>): object | null => {
    const { type, client_msg_id } = event as { type: string; client_msg_id: string };
    if (type === "created") return { type: "ack", client_msg_id, chat_id: GROUP, message_id: uuid(1), seq: 1, status: "sent", timestamp };
    return type === "renamed" ? { type: "error", code: "not_an_admin", client_msg_id } : null;
  };
  const open = (): Socket => new Line(answer);
  const client = await Client.start({ url: "ws://nowhere/ws", token: "t", store: new MemoryStore(), open, identity: { user: "7", device: 1 }, handler: () => {} });
  const sent = await client.createGroup("Hiking", ["9"], "g1");
  assert.deepEqual([sent.chat, sent.seq], [GROUP, 1]);
  await assert.rejects(client.rename(GROUP, "Climbing"), (error) => error instanceof ChangeError && error.code === "not_an_admin");
  const unanswered = client.leave(GROUP);
  await client.close();
  await assert.rejects(unanswered, { code: "ended" });
});
