/** Group changes, before they are sends like any other. */

import { isUser, utf8 } from "../bytes.js";
import { groupChat } from "../ids.js";
import type { Identity } from "../store/store.js";
import type { Entry, GroupChange } from "../wire.js";
import { type NewChange, type NewSend, SendError } from "./types.js";

const NAME_BYTES = 256;
/** A user id in JSON, at most, bytes. */
const USER_BYTES = 24;

/** The send that makes a change. Throws {@link SendError} when it cannot be meant. */
export function sendOf({ clientMsgId, chat, change }: NewChange, me: Identity | null): NewSend {
  check(change);
  if ((chat === null) !== (change.kind === "created")) {
    throw new SendError("invalid_target", "a new group has no chat yet, every other change needs the group's");
  }
  if (chat === null && !me) {
    throw new SendError("no_identity", "the own user id is not known before the first session: give `identity`");
  }
  const group = chat ?? groupChat((me as Identity).user, clientMsgId);
  return { clientMsgId, target: { chat: group }, body: new Uint8Array(), change };
}

/** The change that an entry made to its group; null when it made none that this build knows. */
export function changeOf({ kind, users, role, text }: Entry): GroupChange | null {
  switch (kind) {
    case "created":
      return { kind, users, name: text ?? "" };
    case "added":
    case "removed":
      return { kind, users };
    case "left":
      return { kind };
    case "role":
      return { kind, users, role: role ?? "member" };
    case "renamed":
      return { kind, name: text ?? "" };
    default:
      return null;
  }
}

/** What a change takes in a frame beside its ids, at most, bytes. */
export function changeBytes(change: GroupChange | undefined): number {
  if (!change) return 0;
  const name = "name" in change ? utf8(change.name).length : 0;
  return name + ("users" in change ? change.users.length * USER_BYTES : 0);
}

function check(change: GroupChange): void {
  if ("name" in change) {
    const bytes = utf8(change.name).length;
    if (bytes < 1 || bytes > NAME_BYTES) throw new SendError("invalid_name", `a group's name has 1 to ${NAME_BYTES} bytes, not ${bytes}`);
  }
  if (!("users" in change)) return;
  const wrong = change.users.find((user) => !isUser(user));
  if (wrong !== undefined) throw new SendError("invalid_user", `"${wrong}" is no user id: a decimal number above 0, as text`);
  if (change.users.length === 0 && change.kind !== "created") throw new SendError("invalid_user", "name at least one user");
}
