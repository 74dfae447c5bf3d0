/** Fields of tables as the rest of the client knows them; what cannot be meant is refused. */

import { isSeq, safe, uuidText } from "../bytes.js";
import { BadFrame, type Role } from "../wire.js";
import { Role as RoleNumber } from "./generated/shardwire/client/role.js";
import type { Uuid } from "./generated/shardwire/client/uuid.js";

/** A UUID that must be there. */
export function uuid(id: Uuid | null, what: string): string {
  if (id === null) throw new BadFrame("fields", `${what} is missing`);
  return uuidText(Array.from({ length: 16 }, (_, n) => id.bytes(n) ?? 0));
}

/** A seq: 1 or more. */
export function seq(value: bigint): number {
  const number = safe(value, "seq");
  if (!isSeq(number)) throw new BadFrame("fields", "a seq is 1 or more");
  return number;
}

/** A role; those of a later version may do what members may. */
export function roleOf(role: RoleNumber): Role {
  return role === RoleNumber.admin ? "admin" : "member";
}
