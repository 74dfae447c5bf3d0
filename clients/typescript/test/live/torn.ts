/**
 * Two users write to each other over connections that keep breaking and a server that is killed. Prints `ok` when each has every
 * message of the other once and in order, and every send its one outcome.
 */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";

import { json } from "../../src/index.js";
import { Person, setting } from "./person.js";

const MESSAGES = Number(setting("MESSAGES"));
/** Sends that one has unanswered at a time. */
const AT_ONCE = 20;

async function write(person: Person, to: string): Promise<void> {
  for (let n = 0; n < MESSAGES; n++) {
    await person.until("room", () => person.client.outboxSize < AT_ONCE);
    person.client.send({ to }, String(n));
  }
  await person.until("all outcomes", () => person.client.outboxSize === 0);
}

async function read(person: Person, half: () => void): Promise<void> {
  await person.until("half", () => person.entries.length >= MESSAGES / 2);
  half();
  await person.until("all", () => person.entries.length >= MESSAGES);
}

const url = setting("SHARDWIRE_WS");
const quick = { backoffMs: [5, 100], answerTimeoutMs: 2_000 } as const;
const [one, other] = [
  await Person.start(url, setting("FIRST"), json, undefined, { ...quick, identity: { user: "7", device: 1 } }),
  await Person.start(url, setting("SECOND"), json, undefined, { ...quick, identity: { user: "9", device: 1 } }),
];
const half = (): void => writeFileSync(setting("HALF"), "");
await Promise.all([write(one, "9"), write(other, "7"), read(one, half), read(other, half)]);
for (const person of [one, other]) {
  // What was heard is told before it ends.
  await person.client.close();
  assert.deepEqual(person.entries.map((entry) => entry.text), Array.from({ length: MESSAGES }, (_, n) => String(n)));
  const outcomes = person.heard.filter((event) => event.type === "sent").map((event) => event.clientMsgId);
  assert.equal(outcomes.length, MESSAGES);
  assert.equal(new Set(outcomes).size, MESSAGES);
  assert.equal(person.heard.filter((event) => event.type === "failed").length, 0);
}
console.log("ok");
