/** Two users over a real server, by each codec: acks, deliveries, receipts, resends, absence, refusals. */

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";

import { flatbuffers } from "../../src/flatbuffers/index.js";
import { type Codec, directChat, json, MemoryStore, newClientMsgId } from "../../src/index.js";
import { Person, setting } from "./person.js";

const CODECS: [string, Codec, string, string][] = [
  ["json", json, "7", "9"],
  ["flatbuffers", flatbuffers, "17", "19"],
];

for (const [name, codec, one, other] of CODECS) {
  describe(`over ${name}`, () => {
    let [url, first, second] = ["", "", ""];
    const chat = directChat(one, other);

    before(() => {
      url = setting("SHARDWIRE_WS");
      first = setting(`SHARDWIRE_TOKEN_${one}`);
      second = setting(`SHARDWIRE_TOKEN_${other}`);
    });

    test("a message is acknowledged, delivered and read; ticks come back", async () => {
      const [a, b] = [await Person.start(url, first, codec), await Person.start(url, second, codec)];
      await a.expect("synced");
      await b.expect("synced");
      const sent = a.client.send({ to: other }, "grüße 👋");
      assert.equal(sent.chat, chat);
      const ack = await a.expect("sent", (event) => event.clientMsgId === sent.clientMsgId);
      const entry = await b.until("the entry", () => b.entries.find((each) => each.message === ack.message));
      assert.deepEqual(
        [entry.chat, entry.seq, entry.sender, entry.text, entry.kind, entry.clientMsgId, entry.timestampMs],
        [chat, ack.seq, one, "grüße 👋", "message", sent.clientMsgId, ack.timestampMs],
      );
      await a.expect("receipt", (event) => event.status === "delivered" && event.seq >= ack.seq && event.user === other);
      b.client.markRead(entry);
      await a.expect("receipt", (event) => event.status === "read" && event.seq >= ack.seq);
      assert.equal(a.client.outboxSize, 0);
      await a.client.close();
      await b.client.close();
    });

    test("many sends keep their order, and bodies that are no text arrive as they were", async () => {
      const [a, b] = [await Person.start(url, first, codec), await Person.start(url, second, codec)];
      await a.expect("synced");
      await b.expect("synced");
      const had = b.entries.length;
      const ids = Array.from({ length: 2000 }, (_, n) => a.client.send({ to: other }, new Uint8Array([n & 255, 255, n >> 8])).clientMsgId);
      await b.until("all", () => b.entries.length >= had + ids.length);
      const got = b.entries.slice(had);
      assert.deepEqual(got.map((entry) => entry.clientMsgId), ids);
      assert.deepEqual(got.map((entry) => entry.body[0]! + 256 * entry.body[2]!), ids.map((_, n) => n));
      for (let n = 1; n < got.length; n++) assert.equal(got[n]!.seq, got[n - 1]!.seq + 1);
      await a.until("all acks", () => a.client.outboxSize === 0);
      await a.client.close();
      await b.client.close();
    });

    test("who was away gets what was missed, in order and once, over any number of connections", async () => {
      const store = new MemoryStore();
      let b = await Person.start(url, second, codec, store);
      await b.expect("synced");
      await b.client.close();
      const a = await Person.start(url, first, codec);
      const ids = Array.from({ length: 300 }, (_, n) => a.client.send({ to: other }, `missed ${n}`).clientMsgId);
      await a.until("all acks", () => a.client.outboxSize === 0);
      const got: (string | null)[] = [];
      // Comes back several times, each time gone again in the middle of it.
      for (let round = 0; got.length < ids.length && round < 50; round++) {
        b = await Person.start(url, second, codec, store);
        await b.until("some", () => b.entries.length > 0);
        await b.client.close();
        got.push(...b.entries.map((entry) => entry.clientMsgId));
      }
      assert.deepEqual(got, ids);
      await a.client.close();
    });

    test("a send whose answer was lost with the client is sent once", async () => {
      const store = new MemoryStore();
      const a = await Person.start(url, first, codec, store);
      await a.expect("synced");
      const id = newClientMsgId();
      const image = await store.load();
      a.client.send({ to: other }, "once", id);
      const ack = await a.expect("sent", (event) => event.clientMsgId === id);
      await a.client.close();
      // The store of a client that crashed before it knew: the send is still in its outbox.
      const crashed = new MemoryStore();
      const send = { clientMsgId: id, chat, target: { to: other }, body: new TextEncoder().encode("once"), afterSeq: 0, createdMs: Date.now(), order: 1 };
      await crashed.apply([...image.chats.map((each) => ({ type: "chat", chat: each }) as const), { type: "queued", send }]);
      const again = await Person.start(url, first, codec, crashed);
      const second_ack = await again.expect("sent", (event) => event.clientMsgId === id);
      assert.deepEqual([second_ack.seq, second_ack.message], [ack.seq, ack.message]);
      await again.client.close();
    });

    test("history comes page by page from the chat's beginning", async () => {
      const a = await Person.start(url, first, codec);
      await a.expect("synced");
      let after = 0;
      const seqs: number[] = [];
      for (;;) {
        const page = await a.client.history(chat, after, 1000);
        seqs.push(...page.entries.map((entry) => entry.seq));
        after = page.covers[1];
        if (after >= page.headSeq) break;
      }
      assert.deepEqual(seqs, seqs.map((_, n) => n + 1));
      assert.ok(seqs.length > 2000);
      await a.client.close();
    });

    test("what can never be sent fails at once, and the rest goes on", async () => {
      const a = await Person.start(url, first, codec);
      await a.expect("connected");
      assert.throws(() => a.client.send({ to: "0" }, "x"), { code: "invalid_target" });
      assert.throws(() => a.client.send({ chat: "no-chat" }, "x"), { code: "invalid_target" });
      assert.throws(() => a.client.send({ to: other }, "x", "x".repeat(65)), { code: "invalid_id" });
      assert.throws(() => a.client.send({ to: other }, new Uint8Array(70_000)), { code: "too_large" });
      const strange = a.client.send({ chat: directChat("1", "2") }, "not mine");
      const failed = await a.expect("failed", (event) => event.clientMsgId === strange.clientMsgId);
      assert.ok(failed.failure.why === "refused" && failed.failure.refusal.retry === "never");
      const fine = a.client.send({ to: other }, "fine");
      await a.expect("sent", (event) => event.clientMsgId === fine.clientMsgId);
      await a.client.close();
    });

    test("a newer session of the device ends the older for good", async () => {
      const a = await Person.start(url, first, codec);
      await a.expect("synced");
      const newer = await Person.start(url, first, codec);
      const { end } = await a.expect("ended");
      assert.ok(end.why === "server" && end.refusal.code === "session_replaced");
      await newer.expect("synced");
      await newer.client.close();
    });

    test("a bad token ends the client, and says why", async () => {
      const a = await Person.start(url, `${first}x`, codec);
      const { end } = await a.expect("ended");
      assert.ok(end.why === "server" && end.refusal.code === "bad_token", JSON.stringify(end));
    });

    test("a handler that fails ends the client, and nothing of what it did not take is acknowledged", async () => {
      const store = new MemoryStore();
      const b = await Person.start(url, second, codec, store);
      await b.expect("synced");
      await b.client.close();
      const a = await Person.start(url, first, codec);
      const { clientMsgId } = a.client.send({ to: other }, "not taken at first");
      await a.until("the ack", () => a.client.outboxSize === 0);
      const failing = await Person.start(url, second, codec, store, {
        identity: { user: other, device: 1 },
        handler: (event) => {
          if (event.type === "entries") throw new Error("the disk is full");
        },
      });
      const end = await failing.client.finished();
      assert.ok(end.why === "application" && String(end.error).includes("the disk is full"));
      const back = await Person.start(url, second, codec, store);
      await back.until("the entry", () => back.entries.find((entry) => entry.clientMsgId === clientMsgId));
      await a.client.close();
      await back.client.close();
    });
  });
}
