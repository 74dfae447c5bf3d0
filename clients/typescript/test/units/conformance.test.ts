/** Every vector is read as the manifest says, through the verifier and the generated code; what is written comes back. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ByteBuffer } from "flatbuffers";

import { textOf, utf8, uuidText } from "../../src/bytes.js";
import { flatbuffers, verify } from "../../src/flatbuffers/index.js";
import { encode } from "../../src/flatbuffers/encode.js";
import { Body, unionToBody } from "../../src/flatbuffers/generated/shardwire/client/body.js";
import { EntryKind } from "../../src/flatbuffers/generated/shardwire/client/entry-kind.js";
import { Frame } from "../../src/flatbuffers/generated/shardwire/client/frame.js";
import { Role } from "../../src/flatbuffers/generated/shardwire/client/role.js";
import { Send } from "../../src/flatbuffers/generated/shardwire/client/send.js";
import { MAX_TABLES } from "../../src/flatbuffers/verify.js";
import { accountChangeOf, amendmentOf, BadFrame, type Act, type ClientFrame, type Entry, type ServerFrame } from "../../src/index.js";

interface Vector {
  readonly file: string;
  readonly from: "client" | "server";
  readonly verdict: "valid" | "refused";
  readonly reason?: string;
  readonly body?: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

const folder = process.env["SHARDWIRE_VECTORS"] ?? join(import.meta.dirname, "../../../../../schema/vectors");
const { frames } = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")) as { frames: Vector[] };
const bytesOf = (vector: Vector): Uint8Array => new Uint8Array(readFileSync(join(folder, vector.file)));

/** What the items of vectors hold. */
const ITEMS: Readonly<Record<string, readonly string[]>> = {
  members: ["user_id", "delivered_seq", "read_seq", "role"],
  chats: ["frame", "pinned", "archived", "muted_until_ms"],
  settings: ["key", "value"],
  devices: ["device", "name", "named_ms", "revoked_ms"],
};
/** Where vectors that are not of bytes stand in their tables' vtables. */
const VECTORS: Readonly<Record<string, number>> = {
  "HistoryPage.entries": 14,
  "Send.users": 22,
  "Entry.users": 28,
  "ChatInfo.members": 14,
  "Chats.chats": 6,
  "MessageStatus.members": 18,
  "Ticks.members": 6,
  "Account.settings": 6,
  "Account.devices": 8,
  "Account.hidden": 10,
};

/** A generated table's accessors, by their names. */
type Table = Readonly<Record<string, ((...args: unknown[]) => unknown) | undefined>>;

function camel(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

function hex(bytes: unknown): string | null {
  return bytes === null || bytes === undefined ? null : Buffer.from(bytes as Uint8Array).toString("hex");
}

/** Whether a vector is there; the accessors say 0 for an absent one's length. */
function isThere(table: Table, name: string): boolean {
  const { bb, bb_pos } = table as unknown as { bb: ByteBuffer; bb_pos: number };
  const place = VECTORS[`${table.constructor.name}.${name}`];
  assert.ok(place, `${table.constructor.name}.${name} has no place here`);
  return bb.__offset(bb_pos, place) !== 0;
}

/** A vector's item: a number, an id, the frame of an entry, or what ITEMS say. */
function item(of: string, found: unknown): unknown {
  if (typeof found === "bigint") return found.toString();
  const table = found as Table;
  const names = ITEMS[of];
  if (names) return Object.fromEntries(names.map((name) => [name, value(table, name)]));
  return table["frameArray"] ? hex(table["frameArray"]()) : uuidHex(found);
}

function uuidHex(found: unknown): string {
  const uuid = found as { bytes(n: number): number };
  return uuidText(Array.from({ length: 16 }, (_, n) => uuid.bytes(n))).replaceAll("-", "");
}

/** A field as the manifest shows it. */
function value(table: Table, name: string): unknown {
  const of = (accessor: string, ...args: unknown[]): unknown => table[accessor]?.call(table, ...args);
  if (table[`${camel(name)}Length`] && !table[`${camel(name)}Array`]) {
    if (!isThere(table, name)) return null;
    return Array.from({ length: of(`${camel(name)}Length`) as number }, (_, n) => item(name, of(camel(name), n)));
  }
  if (table[`${camel(name)}Array`]) return hex(of(`${camel(name)}Array`));
  const found = of(camel(name));
  if (found !== null && typeof found === "object") return uuidHex(found);
  return typeof found === "bigint" ? found.toString() : found;
}

test("the manifest has frames of both verdicts", () => {
  assert.ok(frames.filter((vector) => vector.verdict === "valid").length > 30);
  assert.ok(frames.filter((vector) => vector.verdict === "refused").length > 30);
});

for (const vector of frames) {
  test(`${vector.file} is ${vector.verdict}`, () => {
    const bytes = bytesOf(vector);
    const check = (): number => verify(bytes, MAX_TABLES[vector.from]);
    if (vector.verdict === "refused") {
      assert.throws(check, (error) => error instanceof BadFrame && error.reason === vector.reason, vector.reason ?? "");
      return;
    }
    const kind = check();
    if (vector.body === "unknown") return assert.equal(Body[kind], undefined);
    assert.equal(Body[kind], vector.body);
    const frame = Frame.getRootAsFrame(new ByteBuffer(bytes.subarray(4)));
    const table = unionToBody(frame.bodyType(), (body) => frame.body(body)) as unknown as Table;
    const fields = Object.keys(vector.fields ?? {});
    const read = Object.fromEntries(fields.map((name) => [name, value(table, name)]));
    assert.deepEqual(read, vector.fields);
  });
}

test("the codec reads every valid frame of a server, or says which field cannot be meant", () => {
  let read = 0;
  for (const vector of frames.filter((each) => each.from === "server" && each.verdict === "valid")) {
    try {
      assert.ok(flatbuffers.decode(bytesOf(vector)).type);
      read += 1;
    } catch (error) {
      // Frames without ids, seqs or with numbers beyond JavaScript's are valid as frames.
      assert.ok(error instanceof BadFrame && error.reason === "fields", `${vector.file}: ${String(error)}`);
    }
  }
  assert.ok(read > 10, `only ${read} were read`);
});

test("what the codec writes passes the verifier and says what was meant", () => {
  const chat = "39126436-089d-82c4-b798-05541412696a";
  const change = { type: "send", clientMsgId: "g1", target: { chat }, body: new Uint8Array(), afterSeq: 0, retry: true } as const;
  const events: [Body, ClientFrame][] = [
    [Body.Hello, { type: "hello", token: "a.b.c", agent: "test", syncedMs: 0, me: null, marks: 0 }],
    [Body.Send, { type: "send", clientMsgId: "m1", target: { to: "18446744073709551615" }, body: utf8("grüße"), afterSeq: 5, retry: true }],
    [Body.Send, { type: "send", clientMsgId: "m2", target: { chat }, body: new Uint8Array(60_000), afterSeq: 0, retry: false }],
    [Body.Mark, { type: "mark", chat, message: chat, seq: 7, status: "read" }],
    [Body.Ping, { type: "ping", nonce: 3 }],
    [Body.Pong, { type: "pong", nonce: 0 }],
    [Body.HistoryRequest, { type: "history", request: 1, chat, afterSeq: 2, limit: 3 }],
    [Body.Send, { ...change, change: { kind: "created", name: "Höhle", users: ["9", "18446744073709551615"] } }],
    [Body.Send, { ...change, change: { kind: "added", users: Array.from({ length: 500 }, (_, n) => String(n + 1)) } }],
    [Body.Send, { ...change, change: { kind: "left" } }],
    [Body.Send, { ...change, change: { kind: "role", users: ["9"], role: "admin" } }],
    [Body.ChatRequest, { type: "chat", request: 1, chat, afterUser: "18446744073709551615", limit: 3 }],
    [Body.ChatsRequest, { type: "chats", request: 1, before: { lastMs: 5, chat }, limit: 3 }],
    [Body.StatusRequest, { type: "status", request: 1, chat, message: chat }],
    [Body.Hello, { type: "hello", token: "a.b.c", agent: "test", syncedMs: 1_767_225_600_123, me: { user: "18446744073709551615", device: 4_294_967_295 }, marks: 4_294_967_295 }],
    [Body.Mark, { type: "mark", chat, message: null, seq: 7, status: "delivered" }],
    [Body.Send, { ...change, extras: { replyTo: chat, mentions: ["9", "18446744073709551615"], forwarded: 255 } }],
    [Body.Send, { ...change, body: utf8("better"), change: { kind: "edited", refersTo: chat, mentions: ["9"] } }],
    [Body.Send, { ...change, change: { kind: "reacted", refersTo: chat, reaction: "👍" } }],
    [Body.Send, { ...change, change: { kind: "setting", key: "pinned", value: "on", subject: chat } }],
    [Body.AccountRequest, { type: "account", request: 1, chat }],
    [Body.AccountRequest, { type: "account", request: 1, chat: null }],
  ];
  for (const [body, event] of events) assert.equal(verify(encode(event), MAX_TABLES.client), Number(body), event.type);
});

test("a change that is written is read with all that was meant", () => {
  const chat = "39126436-089d-82c4-b798-05541412696a";
  const users = ["9", "18446744073709551615"];
  const send = { type: "send", clientMsgId: "g1", target: { chat }, body: new Uint8Array(), afterSeq: 0, retry: false } as const;
  const written = (change: Act): Send => {
    return Frame.getRootAsFrame(new ByteBuffer(encode({ ...send, change }).subarray(4))).body(new Send()) as Send;
  };
  const created = written({ kind: "created", name: "Höhle", users });
  assert.deepEqual([created.kind(), created.chatId(), textOf(created.bodyArray()!)], [EntryKind.created, null, "Höhle"]);
  assert.deepEqual([0, 1].map((n) => String(created.users(n))), users);
  const role = written({ kind: "role", users, role: "admin" });
  assert.deepEqual([role.kind(), role.role(), role.usersLength(), role.to()], [EntryKind.role, Role.admin, 2, 0n]);
  assert.ok(role.chatId());
  const edited = written({ kind: "edited", refersTo: chat, mentions: users });
  assert.deepEqual([edited.kind(), edited.usersLength(), edited.bodyLength()], [EntryKind.edited, 2, 0]);
  assert.ok(edited.refersTo() && edited.chatId());
  const timer = written({ kind: "timer", ttlS: 86_400 });
  assert.deepEqual([timer.kind(), timer.ttlS(), timer.refersTo()], [EntryKind.timer, 86_400, null]);
  const setting = written({ kind: "setting", key: "muted_until", value: "0", subject: chat });
  assert.deepEqual([setting.kind(), textOf(setting.keyArray()!), textOf(setting.bodyArray()!)], [EntryKind.setting, "muted_until", "0"]);
  assert.ok(setting.subject() && setting.chatId() === null, "it goes to the sender's own account log");
  const device = written({ kind: "device", device: 0xffff_ffff, name: "Höhle" });
  assert.deepEqual([device.kind(), device.device(), textOf(device.bodyArray()!)], [EntryKind.device, 0xffff_ffff, "Höhle"]);
  const hidden = written({ kind: "hidden", subject: chat, refersTo: chat });
  assert.ok(hidden.subject() && hidden.refersTo() && hidden.kind() === EntryKind.hidden);
  assert.equal(written({ kind: "revoked", device: 3 }).device(), 3);
});

test("a message's answers, mentions and passings on are written", () => {
  const chat = "39126436-089d-82c4-b798-05541412696a";
  const extras = { replyTo: chat, mentions: ["9"], forwarded: 2 };
  const event = { type: "send", clientMsgId: "m1", target: { to: "9" }, body: utf8("x"), extras, afterSeq: 12, retry: false } as const;
  const send = Frame.getRootAsFrame(new ByteBuffer(encode(event).subarray(4))).body(new Send()) as Send;
  assert.deepEqual([send.kind(), send.to(), send.afterSeq(), send.forwarded(), String(send.users(0))], [EntryKind.message, 9n, 12n, 2, "9"]);
  assert.ok(send.refersTo());
});

test("chats, members and states are read from native frames", () => {
  const read = (file: string): ServerFrame => flatbuffers.decode(bytesOf(frames.find((vector) => vector.file === file)!));
  const page = read("valid_chats_full.bin");
  assert.ok(page.type === "chats" && page.request === 7 && page.page.hasMore && page.page.chats.length === 2);
  const [info] = page.page.chats;
  assert.deepEqual([info?.kind, info?.name, info?.createdBy, info?.nextUser, info?.unread], ["group", "Bergtour ⛰", "7", "18446744073709551615", 2]);
  assert.deepEqual(info?.members[1], { user: "18446744073709551615", role: "member", deliveredSeq: 40, readSeq: 38 });
  assert.equal(info?.lastEntry?.kind, "kind_7");
  const status = read("valid_message_status_full.bin");
  assert.ok(status.type === "status");
  assert.deepEqual([status.status.total, status.status.delivered, status.status.read, status.status.members.length], [3, 1, 2, 3]);
  const created = read("valid_entry_created.bin");
  assert.ok(created.type === "entry");
  assert.deepEqual([created.entry.kind, created.entry.text, created.entry.users], ["created", "Bergtour", ["7", "9", "18446744073709551615"]]);
  const role = read("valid_entry_role.bin");
  assert.ok(role.type === "entry" && role.entry.role === "admin");
});

test("amendments, ticks and the account are read from native frames", () => {
  const read = (name: string): ServerFrame => flatbuffers.decode(bytesOf(frames.find((vector) => vector.file === `valid_${name}.bin`)!));
  const entry = (name: string): Entry => {
    const frame = read(name);
    assert.ok(frame.type === "entry");
    return frame.entry;
  };
  const edited = entry("entry_message_as_edited");
  assert.deepEqual([edited.kind, edited.text, edited.mentions, edited.users], ["message", "better", ["9"], []]);
  assert.deepEqual([edited.editedSeq, edited.editedMs, edited.ttlS, edited.forwarded, edited.afterSeq], [15, 1_767_225_601_123, 86_400, 1, 12]);
  assert.equal(entry("entry_message_as_deleted").deletedMs, 1_767_225_602_123);
  const edit = entry("entry_edited");
  assert.deepEqual([edit.refersSeq, edit.replacesSeq, amendmentOf(edit)], [12, 13, { kind: "edited", refersTo: edit.refersTo, mentions: ["9"] }]);
  assert.deepEqual(amendmentOf(entry("entry_reacted")), { kind: "reacted", refersTo: edit.refersTo, reaction: "👍" });
  assert.deepEqual(amendmentOf(entry("entry_timer")), { kind: "timer", ttlS: 86_400 });
  assert.deepEqual(accountChangeOf(entry("entry_setting")), { kind: "setting", key: "pinned", value: "on", subject: edit.chat });
  assert.deepEqual(accountChangeOf(entry("entry_hidden")), { kind: "hidden", subject: edit.chat, refersTo: edit.refersTo });
  assert.deepEqual(accountChangeOf(entry("entry_device")), { kind: "device", device: 2, name: "Ada's phone" });
  assert.deepEqual(accountChangeOf(entry("entry_revoked")), { kind: "revoked", device: 3 });
  const ticks = read("ticks_full");
  assert.ok(ticks.type === "ticks" && ticks.members.length === 3);
  const many = read("account_of_many");
  assert.ok(many.type === "account");
  const { settings, devices, hidden } = many.account;
  assert.deepEqual([settings.size, settings.get("app.key-255"), devices.length, hidden.length], [256, "vvv", 512, 255]);
  assert.deepEqual(devices[0], { device: 1, name: "a device", namedMs: 1_767_225_600_123, revokedMs: 0 });
  assert.throws(() => read("account_full"), /revoked_ms/, "a time beyond JavaScript's numbers is refused, not rounded");
  const page = read("chats_with_settings");
  assert.ok(page.type === "chats");
  assert.deepEqual(page.page.chats.map((chat) => chat.settings), [
    { pinned: true, archived: false, mutedUntilMs: 1_767_225_600_123 },
    { pinned: false, archived: true, mutedUntilMs: Infinity },
    { pinned: false, archived: false, mutedUntilMs: 0 },
  ]);
});
