/** What chats are and who has a message, read from verified tables. */

import { isUser, safe, textOf } from "../bytes.js";
import { BadFrame, type ChatInfo, type Entry, type Member, type MessageStatus } from "../wire.js";
import { roleOf, seq, uuid } from "./fields.js";
import type { ChatInfo as ChatTable } from "./generated/shardwire/client/chat-info.js";
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
    members: members(info.membersLength(), (n) => info.members(n)),
    memberCount: info.memberCount(),
    nextUser: somebody(info.nextUser()),
    headSeq: safe(info.headSeq(), "head_seq"),
    lastMs: safe(info.lastMs(), "last_ms"),
    readSeq: safe(info.readSeq(), "read_seq"),
    unread: info.unread(),
    present: info.present(),
    lastEntry,
  };
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
    members: members(status.membersLength(), (n) => status.members(n)).map(({ user, deliveredSeq, readSeq }) => {
      return { user, status: readSeq >= at ? "read" : deliveredSeq >= at ? "delivered" : "pending" };
    }),
  };
}

function members(count: number, item: (n: number) => MemberStruct | null): Member[] {
  return Array.from({ length: count }, (_, n) => {
    const member = item(n);
    const user = String(member?.userId() ?? 0n);
    if (!member || !isUser(user)) throw new BadFrame("fields", "a member without a user id");
    const [deliveredSeq, readSeq] = [safe(member.deliveredSeq(), "delivered_seq"), safe(member.readSeq(), "read_seq")];
    return { user, role: roleOf(member.role()), deliveredSeq, readSeq };
  });
}

function somebody(user: bigint): string | null {
  return user === 0n ? null : user.toString();
}
