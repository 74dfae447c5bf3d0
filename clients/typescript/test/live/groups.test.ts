/** A group over a real server, by each codec: its life, what each member sees, who may do what, requests about it. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { flatbuffers } from "../../src/flatbuffers/index.js";
import { type Codec, type Entry, groupChat, json, MemoryStore, newClientMsgId } from "../../src/index.js";
import { Person, setting } from "./person.js";

const CODECS: [string, Codec, readonly [string, string, string, string]][] = [
  ["json", json, ["27", "29", "31", "33"]],
  ["flatbuffers", flatbuffers, ["37", "39", "41", "43"]],
];

/** What people saw of a chat: seq, kind, and whom it concerned. */
const seen = (person: Person, chat: string): [number, string, readonly string[]][] => {
  return person.entries.filter((entry) => entry.chat === chat).map(({ seq, kind, users }) => [seq, kind, users]);
};
const said = (person: Person, chat: string): (string | null)[] => {
  return person.entries.filter((entry) => entry.chat === chat && entry.kind === "message").map((entry) => entry.text);
};

for (const [name, codec, users] of CODECS) {
  describe(`over ${name}`, () => {
    const [one, two, three, four] = users;
    let [a, b, c, d] = [] as unknown as [Person, Person, Person, Person];

    const come = (user: string, store = new MemoryStore()): Promise<Person> => {
      return Person.start(setting("SHARDWIRE_WS"), setting(`SHARDWIRE_TOKEN_${user}`), codec, store);
    };
    const got = (person: Person, chat: string, seq: number): Promise<Entry> => {
      return person.until(`seq ${seq} of ${chat}`, () => person.entries.find((entry) => entry.chat === chat && entry.seq === seq));
    };

    before(async () => {
      [a, b, c, d] = [await come(one), await come(two), await come(three), await come(four)];
      for (const person of [a, b, c, d]) await person.expect("synced");
    });
    after(async () => {
      for (const person of [a, b, c, d]) await person?.client.close();
    });

    test("a message to a group reaches every member, and its sender learns who has read it", async () => {
      const { chat, seq } = await a.client.createGroup("Höhlenbär 🐻", [two, three]);
      assert.equal(seq, 1);
      for (const person of [b, c]) {
        const created = await got(person, chat, 1);
        assert.deepEqual([created.kind, created.text, created.sender, created.users], ["created", "Höhlenbär 🐻", one, [one, two, three]]);
      }
      const { clientMsgId } = a.client.send({ chat }, "to all of you");
      const sent = await a.expect("sent", (event) => event.clientMsgId === clientMsgId);
      for (const person of [b, c]) assert.equal((await got(person, chat, 2)).text, "to all of you");
      b.client.markRead(await got(b, chat, 2));
      await a.expect("receipt", (event) => event.chat === chat && event.user === two && event.status === "read" && event.seq >= 2);
      await a.expect("receipt", (event) => event.chat === chat && event.user === three && event.seq >= 2);
      const status = await a.client.status(chat, sent.message);
      assert.deepEqual([status.seq, status.total, status.delivered, status.read], [2, 2, 1, 1]);
      assert.deepEqual(status.members, [{ user: two, status: "read" }, { user: three, status: "delivered" }]);
    });

    test("who joins sees what comes from then on, who goes what came until then", async () => {
      const { chat } = await a.client.createGroup("Coming and going", [two, three]);
      a.client.send({ chat }, "before four");
      const added = await a.client.addMembers(chat, [four, two]);
      a.client.send({ chat }, "with four");
      const removed = await a.client.removeMembers(chat, [three]);
      a.client.send({ chat }, "without three");
      await b.until("all until then", () => said(b, chat).includes("without three"));
      const left = await b.client.leave(chat);
      a.client.send({ chat }, "without two");
      await d.until("the last message", () => said(d, chat).includes("without two"));
      assert.deepEqual(seen(d, chat), [
        [added.seq, "added", [four]],
        [added.seq + 1, "message", []],
        [removed.seq, "removed", [three]],
        [removed.seq + 1, "message", []],
        [left.seq, "left", []],
        [left.seq + 1, "message", []],
      ]);
      assert.deepEqual((await got(c, chat, removed.seq)).users, [three]);
      assert.deepEqual(said(c, chat), ["before four", "with four"]);
      assert.deepEqual(said(b, chat), ["before four", "with four", "without three"]);
      const late = await d.client.history(chat, 0, 100);
      assert.deepEqual([late.covers[0], late.entries[0]?.seq], [1, added.seq]);
      const gone = await b.client.history(chat, 0, 100);
      assert.deepEqual([gone.entries[0]?.kind, gone.entries.at(-1)?.seq], ["created", left.seq]);
    });

    test("names and roles change, and the chat says what it is", async () => {
      const { chat } = await a.client.createGroup("First", [two]);
      await assert.rejects(b.client.rename(chat, "Mine"), { code: "not_an_admin" });
      await a.client.setRole(chat, [two], "admin");
      const renamed = await b.client.rename(chat, "Second");
      const entry = await got(a, chat, renamed.seq);
      assert.deepEqual([entry.kind, entry.text, entry.sender], ["renamed", "Second", two]);
      const role = await got(b, chat, 2);
      assert.deepEqual([role.kind, role.users, role.role], ["role", [two], "admin"]);
      const info = await b.client.chat(chat);
      assert.deepEqual([info.kind, info.name, info.createdBy, info.memberCount, info.headSeq, info.present], ["group", "Second", one, 2, 3, true]);
      assert.deepEqual(info.members.map(({ user, role }) => [user, role]), [[one, "admin"], [two, "admin"]]);
      const page = await b.client.chat(chat, null, 1);
      assert.deepEqual([page.members.length, page.nextUser], [1, one]);
      assert.deepEqual((await b.client.chat(chat, page.nextUser, 1)).members.map(({ user }) => user), [two]);
      // The last admin goes: who has been there longest follows.
      await b.client.leave(chat);
      assert.equal((await b.client.chat(chat)).present, false);
    });

    test("what may not be is refused, and the rest goes on", async () => {
      const { chat } = await a.client.createGroup("Rules", [two]);
      await assert.rejects(a.client.addMembers(chat, [two]), { code: "no_change" });
      await assert.rejects(a.client.removeMembers(chat, [four]), { code: "unknown_member" });
      const strange = d.client.send({ chat }, "let me in");
      const failed = await d.expect("failed", (event) => event.clientMsgId === strange.clientMsgId);
      assert.ok(failed.failure.why === "refused" && failed.failure.refusal.retry === "never", JSON.stringify(failed));
      await assert.rejects(d.client.chat(chat), { code: "refused" });
      await assert.rejects(a.client.createGroup("Everybody", Array.from({ length: 600 }, (_, n) => String(1000 + n))), { code: "too_many_members" });
      await a.client.rename(chat, "Rules, still");
    });

    test("a group whose maker crashed before the answer is made once", async () => {
      const [store, id] = [new MemoryStore(), newClientMsgId()];
      const chat = groupChat(one, id);
      const first = await a.client.createGroup("Once", [two], id);
      assert.equal(first.chat, chat);
      const body = new Uint8Array();
      const change = { kind: "created", name: "Once", users: [two] } as const;
      await store.apply([{ type: "queued", send: { clientMsgId: id, chat, target: { chat }, body, change, afterSeq: 0, createdMs: Date.now(), order: 1 } }]);
      await a.client.close();
      a = await come(one, store);
      const again = await a.expect("sent", (event) => event.clientMsgId === id);
      assert.deepEqual([again.chat, again.seq, again.message, again.change], [chat, 1, first.message, change]);
      assert.equal((await a.client.chat(chat)).headSeq, 1);
    });

    test("the list of chats comes newest first, a page at a time", async () => {
      const made: string[] = [];
      for (const title of ["one", "two", "three"]) {
        made.unshift((await c.client.createGroup(title, [four])).chat);
        // The list's order is by milliseconds.
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      d.client.send({ chat: made[2]! }, "the oldest moves up");
      await got(c, made[2]!, 2);
      const expected = [made[2], made[0], made[1]];
      const first = await c.client.chats(null, 2);
      assert.deepEqual([first.chats.map((info) => info.chat), first.hasMore], [expected.slice(0, 2), true]);
      const [top] = first.chats;
      assert.deepEqual([top?.name, top?.unread, top?.lastEntry?.text, top?.memberCount], ["one", 1, "the oldest moves up", 2]);
      const last = first.chats.at(-1)!;
      const rest = await c.client.chats({ lastMs: last.lastMs, chat: last.chat }, 1);
      assert.deepEqual(rest.chats.map((info) => info.name), ["two"]);
    });
  });
}
