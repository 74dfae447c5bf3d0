/**
 * What the client's schema allows, for the verifier: fields of each table in the order of the schema. A number is the size of
 * a scalar in bytes. Held against schema/vectors by the conformance test.
 */

/** A field's kind: a scalar's size in bytes, one of the others, or a vector of tables with these fields. */
export type Kind = number | "bytes" | "longs" | "members" | "uuid" | "uuids" | readonly Kind[];

const ENTRIES = ["bytes"] as const;
const CHATS = ["bytes", 1, 1, 8] as const;
const SETTINGS = ["bytes", "bytes"] as const;
const DEVICES = [4, "bytes", 8, 8] as const;

/** Fields of each body by its number in the union. */
export const TABLES: Readonly<Record<number, readonly Kind[]>> = {
  1: [2, 2, 8, "bytes", "bytes", 8],
  2: [2, 8, 8, 8, 8, 4, 8, 4, 4, 4, 4, 4, 4],
  3: ["bytes", "uuid", 8, 1, 1, "bytes", "uuid", 8, 1, "longs", 1, 4, 1, "uuid", "bytes", 4],
  4: ["bytes", "uuid", "uuid", 8, 1, 8],
  5: ["uuid", "uuid", 8, 8, 4, 1, 1, "bytes", "bytes", "uuid", 8, 8, "longs", 1, 4, 1, "uuid", "bytes", 4, 8, 8, 8, 8, 8],
  6: ["uuid", "uuid", 8, 1],
  7: ["uuid", "uuid", 8, 8, 1],
  8: [8],
  9: ["uuid", 8, 8],
  10: [8],
  11: [8],
  12: [2, 1, 1, 1, 4, "bytes", "bytes"],
  13: [8, "uuid", 8, 4],
  14: [8, "uuid", 8, 8, 8, ENTRIES],
  15: [4],
  16: [2, 2, 1, 4, "bytes"],
  17: [8, "uuid", 8, 4],
  18: [8, "uuid", 1, "bytes", 8, "members", 4, 8, 8, 8, 8, 4, 1, "bytes"],
  19: [8, 8, "uuid", 4],
  20: [8, CHATS, 1],
  21: [8, "uuid", "uuid"],
  22: [8, "uuid", "uuid", 8, 4, 4, 4, "members"],
  23: ["uuid", "members"],
  24: [8, "uuid"],
  25: [8, SETTINGS, DEVICES, "uuids"],
};
