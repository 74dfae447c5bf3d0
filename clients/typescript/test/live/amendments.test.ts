/** Amendments and the account log over a real server, by each codec: both sides fold to the same, live and from a page. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { flatbuffers } from "../../src/flatbuffers/index.js";
import { type Codec, directChat, type Entry, Fold, json, MemoryStore } from "../../src/index.js";
import { Person, setting } from "./person.js";

const CODECS: [string, Codec, readonly [string, string]][] = [
  ["json", json, ["47", "49"]],
  ["flatbuffers", flatbuffers, ["57", "59"]],
];

/** What there is to see in a chat, from these entries. */
function shown(entries: readonly Entry[]): unknown[] {
  const fold = new Fold();
  for (const entry of entries) fold.add(entry);
  return fold.messages(Date.now()).map(({ text, deletedMs, editedMs, reactions, mentions }) => [text, deletedMs > 0, editedMs > 0, [...reactions], mentions]);
}

for (const [name, codec, users] of CODECS) {
  describe(`over ${name}`, () => {
    const [one, two] = users;
    const chat = directChat(one, two);
    let [a, b] = [] as unknown as [Person, Person];
    const store = new MemoryStore();

    const come = (user: string, kept = new MemoryStore()): Promise<Person> => {
      return Person.start(setting("SHARDWIRE_WS"), setting(`SHARDWIRE_TOKEN_${user}`), codec, kept);
    };
    const got = (person: Person, seq: number): Promise<Entry> => {
      return person.until(`seq ${seq}`, () => person.entries.find((entry) => entry.chat === chat && entry.seq === seq));
    };

    before(async () => {
      [a, b] = [await come(one), await come(two, store)];
      for (const person of [a, b]) await person.expect("synced");
    });
    after(async () => {
      for (const person of [a, b]) await person?.client.close();
    });

    test("a message is answered, edited, reacted to and deleted; live entries and a page fold to the same", async () => {
      const said = a.client.send({ to: two }, "first");
      const first = await a.expect("sent", (event) => event.clientMsgId === said.clientMsgId);
      await got(b, 1);
      const extras = { replyTo: first.message, mentions: [one], forwarded: 2 };
      b.client.send({ chat }, `@${one} second`, "answer", extras);
      const second = await got(a, 2);
      assert.deepEqual([second.refersTo, second.mentions, second.forwarded, second.afterSeq], [first.message, [one], 2, 1]);
      await a.client.edit(chat, first.message, "once");
      const edited = await a.client.edit(chat, first.message, "twice", [two]);
      assert.equal((await got(b, edited.seq)).replacesSeq, edited.seq - 1);
      await b.client.react(chat, first.message, "👍");
      const last = await b.client.react(chat, first.message, "🎉");
      assert.equal((await got(a, last.seq)).text, "🎉");
      const expected = [["twice", false, true, [[two, "🎉"]], [two]], [`@${one} second`, false, false, [], [one]]];
      const page = await a.client.history(chat, 0, 100);
      assert.deepEqual(shown(page.entries), expected);
      // What the other saw live, with their own sends of the page.
      assert.deepEqual(shown([...b.entries, ...page.entries.filter(({ sender }) => sender === two)]), expected);
      const gone = await a.client.deleteForEveryone(chat, first.message);
      await got(b, gone.seq);
      const after = await b.client.history(chat, 0, 100);
      assert.ok(after.entries.every((entry) => entry.text !== "twice" && entry.text !== "first"), "no body is left");
      assert.deepEqual(shown(after.entries)[0], ["", true, false, [], []]);
      assert.deepEqual(shown([...b.entries, ...after.entries])[0], ["", true, false, [], []]);
    });

    test("what may not be is refused, by its own code", async () => {
      const { chat: _, clientMsgId } = a.client.send({ chat }, "mine");
      const { message } = await a.expect("sent", (event) => event.clientMsgId === clientMsgId);
      await assert.rejects(b.client.edit(chat, message, "yours"), { code: "not_the_sender" });
      await assert.rejects(b.client.deleteForEveryone(chat, message), { code: "not_the_sender" });
      await assert.rejects(b.client.react(chat, "c0ffee00-1234-11f0-8000-000000000001", "👍"), { code: "unknown_message" });
      await a.client.deleteForEveryone(chat, message);
      await assert.rejects(a.client.edit(chat, message, "back"), { code: "message_deleted" });
    });

    test("a message disappears when its time is over", async () => {
      await a.client.setTimer(chat, 5);
      const { clientMsgId } = a.client.send({ chat }, "soon gone");
      const { seq } = await a.expect("sent", (event) => event.clientMsgId === clientMsgId);
      assert.equal((await got(b, seq)).ttlS, 5);
      await b.client.setTimer(chat, 0);
      let entries = (await b.client.history(chat, seq - 1, 1)).entries;
      for (let n = 0; n < 100 && entries.some((entry) => entry.seq === seq); n++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        entries = (await b.client.history(chat, seq - 1, 1)).entries;
      }
      assert.ok(entries.every((entry) => entry.seq !== seq), "the page covers it without an entry");
    });

    test("settings, hidden messages and devices are the user's own, and told", async () => {
      await b.client.pin(chat);
      await b.client.mute(chat, Infinity);
      await b.client.set("app.theme", "dark");
      await b.client.nameDevice(1, "Höhle 💻");
      const page = await b.client.history(chat, 0, 100);
      const kept = page.entries.find((entry) => entry.kind === "message" && entry.deletedMs === 0);
      assert.ok(kept);
      await b.client.deleteForMe(chat, kept.message);
      const { settings, devices, hidden } = await b.client.account(chat);
      assert.equal(settings.get("app.theme"), "dark");
      assert.deepEqual(devices.map(({ device, name }) => [device, name]), [[1, "Höhle 💻"]]);
      assert.deepEqual(hidden, [kept.message]);
      const told = b.heard.flatMap((event) => (event.type === "account" ? [event.change.kind] : []));
      assert.deepEqual(told, ["setting", "setting", "setting", "device", "hidden"]);
      const listed = (await b.client.chats()).chats.find((info) => info.chat === chat);
      assert.deepEqual(listed?.settings, { pinned: true, archived: false, mutedUntilMs: Infinity });
      assert.equal((await a.client.chats()).chats.find((info) => info.chat === chat)?.settings?.pinned, false);
      await assert.rejects(b.client.set("pinned", "perhaps", chat), { code: "invalid_setting" });
    });

    test("what others read in an absence comes as ticks", async () => {
      const { clientMsgId } = b.client.send({ chat }, "read this while I am away");
      const { seq } = await b.expect("sent", (event) => event.clientMsgId === clientMsgId);
      const entry = await got(a, seq);
      await b.client.close();
      a.client.markRead(entry);
      await a.until("its own mark to be seen", () => a.client.outboxSize === 0);
      b = await come(two, store);
      await b.until("ticks or a receipt", () => {
        return b.heard.some((event) => {
          if (event.type === "ticks") return event.chat === chat && event.members.some(({ user, readSeq }) => user === one && readSeq >= seq);
          return event.type === "receipt" && event.chat === chat && event.user === one && event.status === "read" && event.seq >= seq;
        });
      });
    });
  });
}
