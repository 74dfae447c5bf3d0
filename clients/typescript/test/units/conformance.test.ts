/** Every vector is read as the manifest says, through the verifier and the generated code; what is written comes back. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ByteBuffer } from "flatbuffers";

import { utf8, uuidText } from "../../src/bytes.js";
import { flatbuffers, verify } from "../../src/flatbuffers/index.js";
import { encode } from "../../src/flatbuffers/encode.js";
import { Body, unionToBody } from "../../src/flatbuffers/generated/shardwire/client/body.js";
import { Frame } from "../../src/flatbuffers/generated/shardwire/client/frame.js";
import { MAX_TABLES } from "../../src/flatbuffers/verify.js";
import { BadFrame, type ClientFrame } from "../../src/index.js";

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

const MEMBER = ["user_id", "delivered_seq", "read_seq", "role"];
/** Where vectors that are not of bytes stand in their tables' vtables. */
const VECTORS: Readonly<Record<string, number>> = {
  "HistoryPage.entries": 14,
  "Send.users": 22,
  "Entry.users": 28,
  "ChatInfo.members": 14,
  "Chats.chats": 6,
  "MessageStatus.members": 18,
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

/** A vector's item: a number, a table that holds a frame, or a member. */
function item(found: unknown): unknown {
  if (typeof found === "bigint") return found.toString();
  const table = found as Table;
  if (table["frameArray"]) return hex(table["frameArray"]());
  return Object.fromEntries(MEMBER.map((name) => [name, value(table, name)]));
}

/** A field as the manifest shows it. */
function value(table: Table, name: string): unknown {
  const of = (accessor: string, ...args: unknown[]): unknown => table[accessor]?.call(table, ...args);
  if (table[`${camel(name)}Length`] && !table[`${camel(name)}Array`]) {
    if (!isThere(table, name)) return null;
    return Array.from({ length: of(`${camel(name)}Length`) as number }, (_, n) => item(of(camel(name), n)));
  }
  if (table[`${camel(name)}Array`]) return hex(of(`${camel(name)}Array`));
  const found = of(camel(name));
  if (found !== null && typeof found === "object") {
    const uuid = found as { bytes(n: number): number };
    return uuidText(Array.from({ length: 16 }, (_, n) => uuid.bytes(n))).replaceAll("-", "");
  }
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
  const events: [Body, ClientFrame][] = [
    [Body.Hello, { type: "hello", token: "a.b.c", agent: "test" }],
    [Body.Send, { type: "send", clientMsgId: "m1", target: { to: "18446744073709551615" }, body: utf8("grüße"), afterSeq: 5, retry: true }],
    [Body.Send, { type: "send", clientMsgId: "m2", target: { chat }, body: new Uint8Array(60_000), afterSeq: 0, retry: false }],
    [Body.Mark, { type: "mark", chat, message: chat, seq: 7, status: "read" }],
    [Body.Ping, { type: "ping", nonce: 3 }],
    [Body.Pong, { type: "pong", nonce: 0 }],
    [Body.HistoryRequest, { type: "history", request: 1, chat, afterSeq: 2, limit: 3 }],
  ];
  for (const [body, event] of events) assert.equal(verify(encode(event), MAX_TABLES.client), Number(body), event.type);
});
