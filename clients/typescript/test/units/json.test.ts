/** JSON events in both directions, and what is refused. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { utf8 } from "../../src/bytes.js";
import { BadFrame, json } from "../../src/index.js";

const CHAT = "39126436-089d-82c4-b798-05541412696a";
const MESSAGE = "c0ffee00-1234-11f0-8000-0123456789ab";
const decode = (event: unknown): unknown => json.decode(JSON.stringify(event));
const encode = (event: Parameters<typeof json.encode>[0]): unknown => JSON.parse(json.encode(event) as string);

test("events of the server are read", () => {
  const timestamp = "2026-01-02T03:04:05.678Z";
  const place = { chat_id: CHAT, message_id: MESSAGE, seq: 12 };
  assert.deepEqual(decode({ type: "ready", user_id: "7", device_id: 1 }), { type: "ready", user: "7", device: 1, grant: null });
  const body = { chat: CHAT, message: MESSAGE, seq: 12, sender: "9", refersTo: null, timestampMs: Date.parse(timestamp) };
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

test("events of the client are written as the protocol says", () => {
  assert.deepEqual(encode({ type: "hello", token: "t", agent: "a" }), { type: "auth", token: "t" });
  const send = { type: "send", clientMsgId: "b1", afterSeq: 0, retry: false } as const;
  assert.deepEqual(encode({ ...send, target: { to: "9" }, body: utf8("hi") }), { type: "message", to: "9", content: "hi", client_msg_id: "b1" });
  assert.deepEqual(encode({ ...send, retry: true, target: { chat: CHAT }, body: new Uint8Array([0, 255]) }), {
    type: "message",
    chat_id: CHAT,
    content_base64: "AP8=",
    client_msg_id: "b1",
    retry: true,
  });
  assert.deepEqual(encode({ type: "mark", chat: CHAT, message: MESSAGE, seq: 3, status: "read" }), { type: "ack", chat_id: CHAT, message_id: MESSAGE, status: "read" });
  assert.deepEqual(encode({ type: "ping", nonce: 0 }), { type: "ping" });
});
