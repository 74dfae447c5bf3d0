/**
 * What the client's schema allows, for the verifier: fields of each table in the order of the schema. A number is the size of
 * a scalar in bytes. Held against schema/vectors by the conformance test.
 */

/** A field's kind: a scalar's size in bytes, or one of the others. `frames` are tables that hold one frame each. */
export type Kind = number | "bytes" | "longs" | "members" | "uuid" | "frames";

/** Fields of each body by its number in the union. */
export const TABLES: Readonly<Record<number, readonly Kind[]>> = {
  1: [2, 2, 8, "bytes", "bytes"],
  2: [2, 8, 8, 8, 8, 4, 8, 4, 4, 4, 4, 4, 4],
  3: ["bytes", "uuid", 8, 1, 1, "bytes", "uuid", 8, 1, "longs", 1],
  4: ["bytes", "uuid", "uuid", 8, 1, 8],
  5: ["uuid", "uuid", 8, 8, 4, 1, 1, "bytes", "bytes", "uuid", 8, 8, "longs", 1],
  6: ["uuid", "uuid", 8, 1],
  7: ["uuid", "uuid", 8, 8, 1],
  8: [8],
  9: ["uuid", 8, 8],
  10: [8],
  11: [8],
  12: [2, 1, 1, 1, 4, "bytes", "bytes"],
  13: [8, "uuid", 8, 4],
  14: [8, "uuid", 8, 8, 8, "frames"],
  15: [4],
  16: [2, 2, 1, 4, "bytes"],
  17: [8, "uuid", 8, 4],
  18: [8, "uuid", 1, "bytes", 8, "members", 4, 8, 8, 8, 8, 4, 1, "bytes"],
  19: [8, 8, "uuid", 4],
  20: [8, "frames", 1],
  21: [8, "uuid", "uuid"],
  22: [8, "uuid", "uuid", 8, 4, 4, 4, "members"],
};
