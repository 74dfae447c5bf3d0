/**
 * The check that every frame passes before a field is read. The FlatBuffers runtime for JavaScript has no verifier: reading a
 * hostile frame with it throws, or returns what is not there.
 */

import { BadFrame } from "../wire.js";
import { type Kind, TABLES } from "./layout.js";

const PREFIX_BYTES = 4;
const MIN_FRAME_BYTES = 12;
const UUID_BYTES = 16;
/** The size of the struct Member. */
const MEMBER_BYTES = 32;
const IDENTIFIER = [0x53, 0x57, 0x43, 0x31];

/** How many tables a frame may have, by who sent it. */
export const MAX_TABLES = { client: 16, server: 1_100 };

/** A field's place in a table, or null when it is absent. */
type Field = (slot: number) => number | null;

/**
 * Throws {@link BadFrame} unless these bytes, prefix included, are one whole frame that can be read without harm. Returns the
 * number of its body kind.
 */
export function verify(frame: Uint8Array, maxTables = MAX_TABLES.server): number {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < MIN_FRAME_BYTES || view.getUint32(0, true) + PREFIX_BYTES !== frame.length) {
    throw new BadFrame("length", `${frame.length} bytes are not one whole frame`);
  }
  if (IDENTIFIER.some((letter, n) => frame[8 + n] !== letter)) throw new BadFrame("identifier", "not SWC1");
  const reader = new Reader(view, maxTables);
  const root = reader.table(reader.follow(PREFIX_BYTES));
  const [kindAt, bodyAt] = [root(0), root(1)];
  if (kindAt === null || bodyAt === null) throw new BadFrame("tables", "a frame without kind or body");
  const kind = reader.byte(kindAt);
  const kinds = TABLES[kind];
  if (kinds) reader.fields(reader.table(reader.follow(bodyAt)), kinds);
  return kind;
}

/** Bounds, alignment and counts; positions count from the first byte of the prefix. */
class Reader {
  constructor(
    private readonly view: DataView,
    private tablesLeft: number,
  ) {}

  byte(at: number): number {
    this.need(at, 1, 1);
    return this.view.getUint8(at);
  }

  /** Where the offset at this place leads. */
  follow(at: number): number {
    const to = at + this.u32(at);
    this.need(to, 4, 4);
    return to;
  }

  table(at: number): Field {
    if (--this.tablesLeft < 0) throw new BadFrame("tables", "too many tables");
    this.need(at, 4, 4);
    const vtable = at - this.view.getInt32(at, true);
    const [length, inline] = [this.u16(vtable), this.u16(vtable + 2)];
    if (length < 4 || length % 2 !== 0) throw new BadFrame("tables", `a vtable of ${length} bytes`);
    this.need(vtable, length, 2);
    this.need(at, inline, 1);
    return (slot) => {
      if (4 + 2 * slot + 2 > length) return null;
      const offset = this.u16(vtable + 4 + 2 * slot);
      return offset === 0 ? null : at + offset;
    };
  }

  fields(field: Field, kinds: readonly Kind[]): void {
    kinds.forEach((kind, slot) => {
      const at = field(slot);
      if (at === null) return;
      if (kind === "uuid") this.need(at, UUID_BYTES, 1);
      else if (kind === "bytes") this.vector(at, 1, 1);
      else if (kind === "longs") this.vector(at, 8, 8);
      else if (kind === "members") this.vector(at, MEMBER_BYTES, 1);
      else if (kind === "uuids") this.vector(at, UUID_BYTES, 1);
      else if (typeof kind === "number") this.need(at, kind, kind);
      else this.tables(at, kind);
    });
  }

  private tables(at: number, kinds: readonly Kind[]): void {
    const [start, count] = this.vector(at, 4, 4);
    for (let n = 0; n < count; n++) this.fields(this.table(this.follow(start + 4 * n)), kinds);
  }

  private vector(at: number, item: number, align: number): [number, number] {
    const start = this.follow(at);
    const count = this.u32(start);
    this.need(start + 4, count * item, align);
    return [start + 4, count];
  }

  private u16(at: number): number {
    this.need(at, 2, 2);
    return this.view.getUint16(at, true);
  }

  private u32(at: number): number {
    this.need(at, 4, 4);
    return this.view.getUint32(at, true);
  }

  private need(at: number, size: number, align: number): void {
    if (at < 0 || at + size > this.view.byteLength) throw new BadFrame("tables", `${size} bytes at ${at} of ${this.view.byteLength}`);
    if (at % align !== 0) throw new BadFrame("tables", `${at} is not aligned to ${align}`);
  }
}
