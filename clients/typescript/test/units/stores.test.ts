/** One contract for every store: what was applied is what the next one loads. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { IDBFactory } from "fake-indexeddb";

import { IndexedDbStore, MemoryStore, type Store, type StoredChat, type StoredSend } from "../../src/index.js";

const CHAT = "39126436-089d-82c4-b798-05541412696a";

/** A store, and how to open what it kept once more. */
const STORES: [string, () => () => Store][] = [
  ["memory", () => ((store) => () => store)(new MemoryStore())],
  ["IndexedDB", () => ((factory) => () => new IndexedDbStore("test", factory as never))(new IDBFactory())],
];

const send = (clientMsgId: string, order: number): StoredSend => {
  const body = new TextEncoder().encode(clientMsgId);
  return { clientMsgId, chat: CHAT, target: { to: "9" }, body, afterSeq: 3, createdMs: 5, order };
};
const change = { kind: "role", users: ["9", "11"], role: "admin" } as const;
const chat = (handled: number): StoredChat => ({ chat: CHAT, handled, delivered: { seq: handled, message: CHAT }, read: null, had: [[7, 9]] });

for (const [name, make] of STORES) {
  describe(name, () => {
    test("a new one is empty", async () => {
      assert.deepEqual(await make()().load(), { identity: null, chats: [], outbox: [], syncedMs: 0 });
    });

    test("keeps changes in their order, over a close", async () => {
      const open = make();
      const first = open();
      await first.load();
      await first.apply([
        { type: "identity", identity: { user: "7", device: 1 } },
        { type: "queued", send: send("z", 1) },
        { type: "queued", send: send("b", 2) },
        { type: "queued", send: { ...send("a", 10), change } },
        { type: "chat", chat: chat(4) },
      ]);
      await first.apply([
        { type: "chat", chat: chat(5) },
        { type: "settled", clientMsgId: "b" },
        { type: "settled", clientMsgId: "never was" },
        { type: "synced", timeMs: 1_700_000_000_000 },
      ]);
      await first.close();
      const image = await open().load();
      assert.deepEqual(image.identity, { user: "7", device: 1 });
      assert.deepEqual(image.chats, [chat(5)]);
      assert.equal(image.syncedMs, 1_700_000_000_000);
      assert.deepEqual(image.outbox, [send("z", 1), { ...send("a", 10), change }]);
    });
  });
}
