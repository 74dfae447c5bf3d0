/** What chats are and who has a message, read from verified tables. */

import { isUser, safe, textOf } from "../bytes.js";
import { type AccountState, BadFrame, type ChatInfo, type ChatSettings, type Entry, type Member, type MessageStatus } from "../wire.js";
import { roleOf, seq, uuid } from "./fields.js";
import type { Account as AccountTable } from "./generated/shardwire/client/account.js";
import type { ChatInfo as ChatTable } from "./generated/shardwire/client/chat-info.js";
import type { ChatInfoBytes } from "./generated/shardwire/client/chat-info-bytes.js";
import { ChatKind } from "./generated/shardwire/client/chat-kind.js";
import type { Member as MemberStruct } from "./generated/shardwire/client/member.js";
import type { MessageStatus as StatusTable } from "./generated/shardwire/client/message-status.js";

/** A chat; `lastEntry` is read by the caller. */
export function chatOf(info: ChatTable, lastEntry: Entry | null): ChatInfo {
  const kind = ChatKind[info.kind()];
  if (kind !== "direct" && kind !== "account" && kind !== "group") throw new BadFrame("fields", `no chat is of kind ${info.kind()}`);
  const name = info.nameArray();
  return {
    chat: uuid(info.chatId(), "chat_id"),
    kind,
    name: (name === null ? null : textOf(name)) ?? "",
    createdBy: somebody(info.createdBy()),
    members: membersOf(info),
    memberCount: info.memberCount(),
    nextUser: somebody(info.nextUser()),
    headSeq: safe(info.headSeq(), "head_seq"),
    lastMs: safe(info.lastMs(), "last_ms"),
    readSeq: safe(info.readSeq(), "read_seq"),
    unread: info.unread(),
    present: info.present(),
    lastEntry,
    settings: null,
  };
}

const FOR_GOOD = 0xffff_ffff_ffff_ffffn;

/** What the asker has set for a chat of a list. */
export function settingsOf(listed: ChatInfoBytes): ChatSettings {
  const until = listed.mutedUntilMs();
  const mutedUntilMs = until === FOR_GOOD ? Infinity : Number(until);
  return { pinned: listed.pinned(), archived: listed.archived(), mutedUntilMs };
}

/** A user's settings and devices. */
export function accountOf(account: AccountTable): AccountState {
  const settings = new Map<string, string>();
  for (let n = 0; n < account.settingsLength(); n++) {
    const setting = account.settings(n);
    const [key, value] = [setting?.keyArray(), setting?.valueArray()].map((bytes) => (bytes ? textOf(bytes) : null));
    if (typeof key === "string" && typeof value === "string") settings.set(key, value);
  }
  const devices = Array.from({ length: account.devicesLength() }, (_, n) => {
    const device = account.devices(n);
    if (!device) throw new BadFrame("fields", "a device that is not there");
    const name = device.nameArray();
    const [namedMs, revokedMs] = [safe(device.namedMs(), "named_ms"), safe(device.revokedMs(), "revoked_ms")];
    return { device: device.device(), name: (name === null ? null : textOf(name)) ?? "", namedMs, revokedMs };
  });
  const hidden = Array.from({ length: account.hiddenLength() }, (_, n) => uuid(account.hidden(n), "hidden"));
  return { settings, devices, hidden };
}

/** Who has a message. */
export function statusOf(status: StatusTable): MessageStatus {
  const at = seq(status.seq());
  return {
    chat: uuid(status.chatId(), "chat_id"),
    message: uuid(status.messageId(), "message_id"),
    seq: at,
    total: status.total(),
    delivered: status.delivered(),
    read: status.read(),
    members: membersOf(status).map(({ user, deliveredSeq, readSeq }) => {
      return { user, status: readSeq >= at ? "read" : deliveredSeq >= at ? "delivered" : "pending" };
    }),
  };
}

/** The members that a table names. */
export function membersOf(table: { membersLength(): number; members(n: number): MemberStruct | null }): Member[] {
  return Array.from({ length: table.membersLength() }, (_, n) => {
    const member = table.members(n);
    const user = String(member?.userId() ?? 0n);
    if (!member || !isUser(user)) throw new BadFrame("fields", "a member without a user id");
    const [deliveredSeq, readSeq] = [safe(member.deliveredSeq(), "delivered_seq"), safe(member.readSeq(), "read_seq")];
    return { user, role: roleOf(member.role()), deliveredSeq, readSeq };
  });
}

function somebody(user: bigint): string | null {
  return user === 0n ? null : user.toString();
}
