/** Ids and hashes are those of every other client. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";

import { directChat, groupChat, newClientMsgId } from "../../src/index.js";
import { sha256 } from "../../src/sha256.js";

test("SHA-256 is that of the platform, at every length around a block's end", () => {
  for (let length = 0; length < 200; length++) {
    const bytes = randomBytes(length);
    assert.equal(Buffer.from(sha256(bytes)).toString("hex"), createHash("sha256").update(bytes).digest("hex"));
  }
});

test("a direct chat has the id that the server derives, from both sides", () => {
  assert.equal(directChat("7", "9"), "39126436-089d-82c4-b798-05541412696a");
  assert.equal(directChat("9", "7"), directChat("7", "9"));
  assert.notEqual(directChat("18446744073709551615", "1"), directChat("18446744073709551614", "1"));
  for (const wrong of ["", "0", "07", "-1", "x", "18446744073709551616"]) {
    assert.throws(() => directChat(wrong, "9"), TypeError);
  }
});

test("a group has the id that the server derives from its maker and the client_msg_id", () => {
  assert.equal(groupChat("7", "g1"), "8168ba29-5593-80d2-bd55-1398b75a81c6");
  assert.notEqual(groupChat("7", "g2"), groupChat("7", "g1"));
  assert.notEqual(groupChat("18446744073709551615", "g1"), groupChat("18446744073709551614", "g1"));
  assert.throws(() => groupChat("0", "g1"), TypeError);
});

test("client_msg_ids are 32 hex digits and differ", () => {
  const ids = new Set(Array.from({ length: 1000 }, newClientMsgId));
  assert.equal(ids.size, 1000);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
});
