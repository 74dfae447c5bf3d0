/** JSON events in both directions, and what is refused. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { utf8 } from "../../src/bytes.js";
import { type Act, BadFrame, type Entry, json, type ServerFrame } from "../../src/index.js";

const CHAT = "39126436-089d-82c4-b798-05541412696a";
const MESSAGE = "c0ffee00-1234-11f0-8000-0123456789ab";
/** What most entries do not say. */
const NOTHING = {
  mentions: [], afterSeq: 0, forwarded: 0, ttlS: 0, refersSeq: 0, replacesSeq: 0, editedSeq: 0, editedMs: 0, deletedMs: 0,
  subject: null, key: null, device: 0,
};
const decode = (event: unknown): unknown => json.decode(JSON.stringify(event));
const encode = (event: Parameters<typeof json.encode>[0]): unknown => JSON.parse(json.encode(event) as string);

test("events of the server are read", () => {
  const timestamp = "2026-01-02T03:04:05.678Z";
  const place = { chat_id: CHAT, message_id: MESSAGE, seq: 12 };
  assert.deepEqual(decode({ type: "ready", user_id: "7", device_id: 1 }), { type: "ready", user: "7", device: 1, grant: null });
  const body = { chat: CHAT, message: MESSAGE, seq: 12, sender: "9", refersTo: null, users: [], role: null, timestampMs: Date.parse(timestamp), ...NOTHING };
  assert.deepEqual(decode({ type: "message", ...place, sender_id: "9", content: "hé", client_msg_id: "a1", timestamp }), {
    type: "entry",
    entry: { ...body, kind: "message", text: "hé", body: utf8("hé"), clientMsgId: "a1" },
  });
  assert.deepEqual(decode({ type: "entry", kind: "kind_7", ...place, sender_id: "9", client_msg_id_base64: "/w==", timestamp }), {
    type: "entry",
    entry: { ...body, kind: "kind_7", text: "", body: new Uint8Array(), clientMsgId: null },
  });
  assert.deepEqual(decode({ type: "ack", client_msg_id: "b1", ...place, status: "sent", timestamp }), {
    type: "sent",
    clientMsgId: "b1",
    chat: CHAT,
    message: MESSAGE,
    seq: 12,
    timestampMs: Date.parse(timestamp),
  });
  assert.deepEqual(decode({ type: "ack", client_msg_id: "b1", status: "queued" }), { type: "queued", clientMsgId: "b1" });
  const receipt = { type: "receipt", chat: CHAT, user: "9", seq: 12, status: "read" };
  assert.deepEqual(decode({ type: "ack", ...place, user_id: "9", status: "read" }), receipt);
  assert.deepEqual(decode({ type: "covered", chat_id: CHAT, first_seq: 3, last_seq: 7 }), { type: "covered", chat: CHAT, first: 3, last: 7 });
  assert.deepEqual(decode({ type: "something_new", x: [1] }), { type: "unknown" });
});

test("an error carries what its row of the table says about retrying", () => {
  assert.deepEqual(decode({ type: "error", code: "rate_limited", text: "slow down", client_msg_id: "b2", retry_after_ms: 250 }), {
    type: "error",
    refusal: { code: "rate_limited", retry: "backoff", retryAfterMs: 250, text: "slow down" },
    clientMsgId: "b2",
    ends: false,
  });
  const replaced = decode({ type: "error", code: "session_replaced" }) as { ends: boolean; refusal: { retry: string } };
  assert.deepEqual([replaced.ends, replaced.refusal.retry], [true, "never"]);
  const later = decode({ type: "error", code: "of_a_later_version" }) as { ends: boolean; refusal: { retry: string } };
  assert.deepEqual([later.ends, later.refusal.retry], [false, "backoff"]);
});

test("what is not the protocol is refused with the field's name", () => {
  const refused = (event: unknown, what: RegExp): void => assert.throws(() => decode(event), (error) => error instanceof BadFrame && what.test(error.message));
  assert.throws(() => json.decode("{"), BadFrame);
  assert.throws(() => json.decode("[]x"), BadFrame);
  assert.throws(() => json.decode(new Uint8Array(4)), BadFrame);
  refused(null, /object/);
  refused({ type: "ready", user_id: 7, device_id: 1 }, /user_id/);
  refused({ type: "ack", chat_id: "x", message_id: MESSAGE, seq: 1, user_id: "9", status: "read" }, /chat_id/);
  refused({ type: "ack", chat_id: CHAT, message_id: MESSAGE, seq: 0, user_id: "9", status: "read" }, /seq/);
  refused({ type: "ack", chat_id: CHAT, message_id: MESSAGE, seq: 2 ** 53, user_id: "9", status: "read" }, /seq/);
  refused({ type: "covered", chat_id: CHAT, first_seq: 7, last_seq: 3 }, /last_seq/);
  refused({ type: "message", chat_id: CHAT, message_id: MESSAGE, seq: 1, sender_id: "9", content_base64: "?", timestamp: "2026-01-02T03:04:05Z" }, /base64/);
});

test("acts of the client are written as the protocol says", () => {
  const send = { type: "send", clientMsgId: "m1", afterSeq: 12, retry: false, target: { chat: CHAT }, body: new Uint8Array() } as const;
  const id = { after_seq: 12, client_msg_id: "m1" };
  const place = { chat_id: CHAT, refers_to: MESSAGE };
  assert.deepEqual(encode({ ...send, body: utf8("see there"), extras: { replyTo: MESSAGE, mentions: ["9"], forwarded: 1 } }), {
    type: "message", ...place, content: "see there", mentions: ["9"], forwarded: 1, ...id,
  });
  assert.deepEqual(encode({ ...send, body: utf8("x"), extras: {} }), { type: "message", chat_id: CHAT, content: "x", ...id });
  const act = (change: Act, body: Uint8Array = new Uint8Array()): unknown => encode({ ...send, body, change });
  assert.deepEqual(act({ kind: "edited", refersTo: MESSAGE, mentions: [] }, utf8("better")), { type: "edited", ...place, content: "better", ...id });
  assert.deepEqual(act({ kind: "deleted", refersTo: MESSAGE }), { type: "deleted", ...place, ...id });
  assert.deepEqual(act({ kind: "reacted", refersTo: MESSAGE, reaction: "" }), { type: "reacted", ...place, reaction: "", ...id });
  assert.deepEqual(act({ kind: "timer", ttlS: 86_400 }), { type: "timer", chat_id: CHAT, ttl_s: 86_400, ...id });
  assert.deepEqual(act({ kind: "setting", key: "pinned", value: "on", subject: CHAT }), { type: "setting", key: "pinned", value: "on", subject: CHAT, ...id });
  assert.deepEqual(act({ kind: "setting", key: "app.x", value: "", subject: null }), { type: "setting", key: "app.x", value: "", ...id });
  assert.deepEqual(act({ kind: "hidden", subject: CHAT, refersTo: MESSAGE }), { type: "hidden", subject: CHAT, refers_to: MESSAGE, ...id });
  assert.deepEqual(act({ kind: "device", device: 2, name: "Ada's phone" }), { type: "device", device_id: 2, name: "Ada's phone", ...id });
  assert.deepEqual(act({ kind: "revoked", device: 3 }), { type: "revoked", device_id: 3, ...id });
  assert.deepEqual(encode({ type: "account", request: 4, chat: CHAT }), { type: "account", request_id: 4, chat_id: CHAT });
  assert.deepEqual(encode({ type: "account", request: 4, chat: null }), { type: "account", request_id: 4 });
  assert.deepEqual(encode({ type: "hello", token: "t", agent: "a", syncedMs: 1_767_323_045_678, me: { user: "7", device: 0 }, marks: 2 }), { type: "auth", token: "t", synced: "2026-01-02T03:04:05.678Z", user_id: "7", device_id: 0, marks: 2 });
  assert.deepEqual(encode({ type: "mark", chat: CHAT, message: null, seq: 3, status: "read" }), { type: "ack", chat_id: CHAT, seq: 3, status: "read" });
});

test("amendments, ticks and the account are read", () => {
  const place = { chat_id: CHAT, message_id: MESSAGE, seq: 14, sender_id: "9", client_msg_id: "m1", timestamp: "2026-01-02T03:04:05.678Z" };
  const entry = (event: object): Entry => {
    const read = decode({ type: "entry", ...place, ...event }) as ServerFrame;
    assert.ok(read.type === "entry");
    return read.entry;
  };
  const now = { content: "better", refers_to: MESSAGE, mentions: ["9"], forwarded: 1, after_seq: 12, ttl_s: 60, edited_seq: 15, edited_at: "2026-01-02T03:04:06.789Z" };
  const message = entry({ type: "message", ...now });
  assert.deepEqual([message.text, message.refersTo, message.mentions, message.forwarded, message.afterSeq], ["better", MESSAGE, ["9"], 1, 12]);
  assert.deepEqual([message.ttlS, message.editedSeq, message.editedMs, message.deletedMs], [60, 15, 1_767_323_046_789, 0]);
  assert.equal(entry({ type: "message", content: "", deleted_at: "2026-01-02T03:04:07.890Z" }).deletedMs, 1_767_323_047_890);
  const edited = entry({ kind: "edited", refers_to: MESSAGE, refers_seq: 12, replaces_seq: 13, content: "better" });
  assert.deepEqual([edited.kind, edited.text, edited.refersSeq, edited.replacesSeq], ["edited", "better", 12, 13]);
  assert.equal(entry({ kind: "reacted", refers_to: MESSAGE, refers_seq: 12, reaction: "👍" }).text, "👍");
  assert.equal(entry({ kind: "timer", ttl_s: 86_400 }).ttlS, 86_400);
  const setting = entry({ kind: "setting", key: "pinned", value: "on", subject: CHAT });
  assert.deepEqual([setting.key, setting.text, setting.subject], ["pinned", "on", CHAT]);
  const device = entry({ kind: "device", device_id: 2, name: "Ada's phone" });
  assert.deepEqual([device.device, device.text], [2, "Ada's phone"]);
  assert.throws(() => entry({ type: "message" }), /content/);

  assert.deepEqual(decode({ type: "synced", server_time: "2026-01-02T03:04:05.678Z" }), { type: "synced", timeMs: 1_767_323_045_678 });
  assert.deepEqual(decode({ type: "ticks", chat_id: CHAT, members: [{ user_id: "9", delivered_seq: 14, read_seq: 12 }] }), {
    type: "ticks", chat: CHAT, members: [{ user: "9", role: "member", deliveredSeq: 14, readSeq: 12 }],
  });
  const devices = [{ device_id: 2, name: "Ada's phone", named_at: "2026-01-02T03:04:05.678Z", revoked_at: null }];
  const account = decode({ type: "account", request_id: 4, settings: [{ key: "read_receipts", value: "off" }], devices, hidden: [MESSAGE] });
  assert.deepEqual(account, {
    type: "account", request: 4,
    account: { settings: new Map([["read_receipts", "off"]]), devices: [{ device: 2, name: "Ada's phone", namedMs: 1_767_323_045_678, revokedMs: 0 }], hidden: [MESSAGE] },
  });
});

test("events of the client are written as the protocol says", () => {
  assert.deepEqual(encode({ type: "hello", token: "t", agent: "a", syncedMs: 0, me: null, marks: 0 }), { type: "auth", token: "t" });
  const send = { type: "send", clientMsgId: "b1", afterSeq: 0, retry: false } as const;
  assert.deepEqual(encode({ ...send, target: { to: "9" }, body: utf8("hi") }), { type: "message", to: "9", content: "hi", client_msg_id: "b1" });
  assert.deepEqual(encode({ ...send, retry: true, target: { chat: CHAT }, body: new Uint8Array([0, 255]) }), {
    type: "message",
    chat_id: CHAT,
    content_base64: "AP8=",
    client_msg_id: "b1",
    retry: true,
  });
  assert.deepEqual(encode({ type: "mark", chat: CHAT, message: MESSAGE, seq: 3, status: "read" }), { type: "ack", chat_id: CHAT, message_id: MESSAGE, seq: 3, status: "read" });
  assert.deepEqual(encode({ type: "ping", nonce: 0 }), { type: "ping" });
});

test("a group's entries are read with their users, role and name", () => {
  const place = { chat_id: CHAT, message_id: MESSAGE, seq: 1, sender_id: "7", client_msg_id: "g1", timestamp: "2026-01-02T03:04:05.678Z" };
  const read = (more: object): Record<string, unknown> => (decode({ type: "entry", ...place, ...more }) as { entry: Record<string, unknown> }).entry;
  const created = read({ kind: "created", name: "Höhle", users: ["7", "9"] });
  assert.deepEqual([created["kind"], created["text"], created["body"], created["users"], created["role"]], ["created", "Höhle", utf8("Höhle"), ["7", "9"], null]);
  const role = read({ kind: "role", users: ["9"], role: "admin" });
  assert.deepEqual([role["kind"], role["text"], role["users"], role["role"]], ["role", "", ["9"], "admin"]);
  assert.deepEqual(read({ kind: "left" })["users"], []);
  assert.throws(() => read({ kind: "added", users: ["x"] }), /users/);
  assert.throws(() => read({ kind: "role", users: ["9"], role: "king" }), /role/);
});

test("answers about chats are read", () => {
  const last = "2026-01-02T03:04:05.678Z";
  const members = [{ user_id: "7", role: "admin", delivered_seq: 14, read_seq: 13 }];
  const group = { chat_id: CHAT, kind: "group", name: "Hiking", created_by: "7", members, member_count: 3, head_seq: 14, last, read_seq: 12, unread: 1, present: true };
  const info = {
    chat: CHAT, kind: "group", name: "Hiking", createdBy: "7", members: [{ user: "7", role: "admin", deliveredSeq: 14, readSeq: 13 }],
    memberCount: 3, nextUser: "7", headSeq: 14, lastMs: Date.parse(last), readSeq: 12, unread: 1, present: true, lastEntry: null, settings: null,
  };
  assert.deepEqual(decode({ type: "chat", request_id: 1, ...group, next_user: "7" }), { type: "chat", request: 1, info });
  const direct = { chat_id: CHAT, kind: "direct", members: [], member_count: 2, next_user: "0", head_seq: 1, last, read_seq: 0, unread: 0, present: true };
  const message = { type: "message", chat_id: CHAT, message_id: MESSAGE, seq: 1, sender_id: "9", content: "hi", client_msg_id: "a", timestamp: last };
  const page = decode({ type: "chats", request_id: 2, chats: [{ ...direct, last_entry: message, pinned: true, archived: false, muted_until: "9999-12-31T23:59:59.999Z" }, direct], has_more: true }) as { page: { chats: (typeof info)[]; hasMore: boolean } };
  const [first] = page.page.chats;
  assert.deepEqual([first?.kind, first?.createdBy, first?.nextUser, page.page.hasMore], ["direct", null, null, true]);
  const settings = page.page.chats.map((chat) => chat.settings as unknown);
  assert.deepEqual(settings, [{ pinned: true, archived: false, mutedUntilMs: Infinity }, { pinned: false, archived: false, mutedUntilMs: 0 }]);
  assert.equal((first?.lastEntry as unknown as { text: string }).text, "hi");
  const status = { chat_id: CHAT, message_id: MESSAGE, seq: 12, total: 2, delivered: 1, read: 1, pending: 0 };
  assert.deepEqual(decode({ type: "status", request_id: 3, ...status, members: [{ user_id: "9", status: "read" }] }), {
    type: "status",
    request: 3,
    status: { chat: CHAT, message: MESSAGE, seq: 12, total: 2, delivered: 1, read: 1, members: [{ user: "9", status: "read" }] },
  });
  assert.throws(() => decode({ type: "chat", request_id: 1, ...group, kind: "crowd" }), /kind/);
  assert.throws(() => decode({ type: "chat", request_id: 1, ...group, members: [1] }), /members/);
  assert.throws(() => decode({ type: "status", request_id: 3, ...status, members: [{ user_id: "9", status: "lost" }] }), /status/);
});

test("group changes and requests are written as the protocol says", () => {
  const send = { type: "send", clientMsgId: "g1", afterSeq: 0, retry: false, target: { chat: CHAT }, body: new Uint8Array() } as const;
  const id = { client_msg_id: "g1" };
  assert.deepEqual(encode({ ...send, change: { kind: "created", name: "Hiking", users: ["9", "11"] } }), { type: "created", name: "Hiking", users: ["9", "11"], ...id });
  assert.deepEqual(encode({ ...send, change: { kind: "added", users: ["12"] }, retry: true }), { type: "added", chat_id: CHAT, users: ["12"], retry: true, ...id });
  assert.deepEqual(encode({ ...send, change: { kind: "removed", users: ["12"] } }), { type: "removed", chat_id: CHAT, users: ["12"], ...id });
  assert.deepEqual(encode({ ...send, change: { kind: "left" } }), { type: "left", chat_id: CHAT, ...id });
  assert.deepEqual(encode({ ...send, change: { kind: "role", users: ["9"], role: "admin" } }), { type: "role", chat_id: CHAT, users: ["9"], role: "admin", ...id });
  assert.deepEqual(encode({ ...send, change: { kind: "renamed", name: "Climbing" } }), { type: "renamed", chat_id: CHAT, name: "Climbing", ...id });
  assert.deepEqual(encode({ type: "chat", request: 1, chat: CHAT, afterUser: null, limit: 100 }), { type: "chat", request_id: 1, chat_id: CHAT, after_user: "0", limit: 100 });
  assert.deepEqual(encode({ type: "chats", request: 2, before: null, limit: 50 }), { type: "chats", request_id: 2, limit: 50 });
  assert.deepEqual(encode({ type: "chats", request: 2, before: { lastMs: 1_767_323_045_678, chat: CHAT }, limit: 50 }), {
    type: "chats",
    request_id: 2,
    before: { last: "2026-01-02T03:04:05.678Z", chat_id: CHAT },
    limit: 50,
  });
  assert.deepEqual(encode({ type: "status", request: 3, chat: CHAT, message: MESSAGE }), { type: "status", request_id: 3, chat_id: CHAT, message_id: MESSAGE });
});
