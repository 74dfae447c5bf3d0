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

/** A generated table's accessors, by their names. */
type Table = Readonly<Record<string, ((...args: unknown[]) => unknown) | undefined>>;

function camel(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

function hex(bytes: unknown): string | null {
  return bytes === null || bytes === undefined ? null : Buffer.from(bytes as Uint8Array).toString("hex");
}

/** A field as the manifest shows it. */
function value(table: Table, name: string): unknown {
  const of = (accessor: string, ...args: unknown[]): unknown => table[accessor]?.call(table, ...args);
  if (name === "entries") {
    const field = (table as unknown as { bb: ByteBuffer; bb_pos: number }).bb.__offset((table as unknown as { bb_pos: number }).bb_pos, 14);
    if (field === 0) return null;
    const count = of("entriesLength") as number;
    return Array.from({ length: count }, (_, n) => hex((of("entries", n) as { frameArray(): Uint8Array | null }).frameArray()));
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
