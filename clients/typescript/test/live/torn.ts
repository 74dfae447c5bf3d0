/**
 * Two users write to each other over connections that keep breaking and a server that is killed, and one of them makes and renames
 * groups of both. Prints `ok` when each has every message and change of the other once and in order, and all have their one outcome.
 */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";

import { type Entry, json } from "../../src/index.js";
import { Person, setting } from "./person.js";

const MESSAGES = Number(setting("MESSAGES"));
/** Sends that one has unanswered at a time. */
const AT_ONCE = 20;
const GROUPS = 40;
const NAMES = ["first", "second", "third"];

async function write(person: Person, to: string): Promise<void> {
  for (let n = 0; n < MESSAGES; n++) {
    await person.until("room", () => person.client.outboxSize < AT_ONCE);
    person.client.send({ to }, String(n));
  }
  await person.until("all outcomes", () => person.client.outboxSize === 0);
}

/** Makes groups, one after the other; returns them. */
async function group(person: Person, other: string): Promise<string[]> {
  const made: string[] = [];
  for (let n = 0; n < GROUPS; n++) {
    const { chat } = await person.client.createGroup(`group ${n}`, [other]);
    made.push(chat);
    await Promise.all(NAMES.map((name) => person.client.rename(chat, name)));
  }
  return made;
}

const messages = (person: Person): Entry[] => person.entries.filter((entry) => entry.kind === "message");

async function read(person: Person, half: () => void): Promise<void> {
  await person.until("half", () => messages(person).length >= MESSAGES / 2);
  half();
  await person.until("all", () => messages(person).length >= MESSAGES);
}

const url = setting("SHARDWIRE_WS");
const quick = { backoffMs: [5, 100], answerTimeoutMs: 2_000 } as const;
const [one, other] = [
  await Person.start(url, setting("FIRST"), json, undefined, { ...quick, identity: { user: "7", device: 1 } }),
  await Person.start(url, setting("SECOND"), json, undefined, { ...quick, identity: { user: "9", device: 1 } }),
];
const half = (): void => writeFileSync(setting("HALF"), "");
const [made] = await Promise.all([group(one, "9"), write(one, "9"), write(other, "7"), read(one, half), read(other, half)]);
await other.until("all groups", () => other.entries.length >= MESSAGES + GROUPS * (1 + NAMES.length));
for (const person of [one, other]) {
  // What was heard is told before it ends.
  await person.client.close();
  assert.deepEqual(messages(person).map((entry) => entry.text), Array.from({ length: MESSAGES }, (_, n) => String(n)));
  const outcomes = person.heard.flatMap((event) => (event.type === "sent" && event.change === null ? [event.clientMsgId] : []));
  assert.equal(outcomes.length, MESSAGES);
  assert.equal(new Set(outcomes).size, MESSAGES);
  assert.equal(person.heard.filter((event) => event.type === "failed").length, 0);
}
assert.equal(new Set(made).size, GROUPS);
for (const [n, chat] of made.entries()) {
  const entries = other.entries.filter((entry) => entry.chat === chat);
  assert.deepEqual(entries.map(({ seq }) => seq), [1, 2, 3, 4]);
  assert.deepEqual(entries.map(({ kind }) => kind), ["created", "renamed", "renamed", "renamed"]);
  assert.deepEqual(entries.map(({ text }) => text), [`group ${n}`, ...NAMES]);
}
console.log("ok");
