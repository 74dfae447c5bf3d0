/** Native frames as binary messages, subprotocol `flatbuffers`. Needs the npm package `flatbuffers`. */

import { ByteBuffer } from "flatbuffers";

import { safe, textOf } from "../bytes.js";
import { ERRORS } from "../generated/errors.js";
import { BadFrame, type ChatInfo, type Codec, type Entry, type HistoryPage, type Refusal, type Retry, type ServerFrame } from "../wire.js";
import { accountOf, chatOf, membersOf, settingsOf, statusOf } from "./chats.js";
import { roleOf, seq, uuid } from "./fields.js";
import { encode } from "./encode.js";
import { Account as AccountTable } from "./generated/shardwire/client/account.js";
import { Body } from "./generated/shardwire/client/body.js";
import { ChatInfo as ChatTable } from "./generated/shardwire/client/chat-info.js";
import { Chats as ChatsTable } from "./generated/shardwire/client/chats.js";
import { Covered } from "./generated/shardwire/client/covered.js";
import { Entry as EntryTable } from "./generated/shardwire/client/entry.js";
import { EntryKind } from "./generated/shardwire/client/entry-kind.js";
import { Error as ErrorTable } from "./generated/shardwire/client/error.js";
import { Frame } from "./generated/shardwire/client/frame.js";
import { Goodbye } from "./generated/shardwire/client/goodbye.js";
import { HistoryPage as PageTable } from "./generated/shardwire/client/history-page.js";
import { MarkStatus } from "./generated/shardwire/client/mark-status.js";
import { MessageStatus as StatusTable } from "./generated/shardwire/client/message-status.js";
import { Ping } from "./generated/shardwire/client/ping.js";
import { Pong } from "./generated/shardwire/client/pong.js";
import { Receipt } from "./generated/shardwire/client/receipt.js";
import { SendAck } from "./generated/shardwire/client/send-ack.js";
import { SendStatus } from "./generated/shardwire/client/send-status.js";
import { Synced } from "./generated/shardwire/client/synced.js";
import { Ticks } from "./generated/shardwire/client/ticks.js";
import { Welcome } from "./generated/shardwire/client/welcome.js";
import { Window } from "./generated/shardwire/client/window.js";
import { verify } from "./verify.js";

export { verify } from "./verify.js";

/** The codec of native frames. */
export const flatbuffers: Codec = { subprotocol: "flatbuffers", encode, decode };

const RETRIES: readonly Retry[] = ["never", "same", "backoff", "after_reconnect"];
const SCOPE_SESSION = 1;
const PREFIX_BYTES = 4;

function decode(data: string | Uint8Array): ServerFrame {
  if (typeof data === "string") throw new BadFrame("length", "a text message in a FlatBuffers session");
  verify(data);
  return read(root(data));
}

/** The frame of verified bytes. */
function root(data: Uint8Array): Frame {
  return Frame.getRootAsFrame(new ByteBuffer(data.subarray(PREFIX_BYTES)));
}

function read(frame: Frame): ServerFrame {
  switch (frame.bodyType()) {
    case Body.Welcome:
      return welcome(frame.body(new Welcome()) as Welcome);
    case Body.Entry:
      return { type: "entry", entry: entry(frame.body(new EntryTable()) as EntryTable) };
    case Body.SendAck:
      return sent(frame.body(new SendAck()) as SendAck);
    case Body.Receipt:
      return receipt(frame.body(new Receipt()) as Receipt);
    case Body.Synced:
      return { type: "synced", timeMs: safe((frame.body(new Synced()) as Synced).serverTimeMs(), "server_time_ms") };
    case Body.Ticks: {
      const ticks = frame.body(new Ticks()) as Ticks;
      return { type: "ticks", chat: uuid(ticks.chatId(), "chat_id"), members: membersOf(ticks) };
    }
    case Body.Covered: {
      const covered = frame.body(new Covered()) as Covered;
      const [first, last] = [seq(covered.firstSeq()), seq(covered.lastSeq())];
      if (first > last) throw new BadFrame("fields", "a covered range that ends before it begins");
      return { type: "covered", chat: uuid(covered.chatId(), "chat_id"), first, last };
    }
    case Body.Ping:
      return { type: "ping", nonce: safe((frame.body(new Ping()) as Ping).nonce(), "nonce") };
    case Body.Pong:
      return { type: "pong", nonce: safe((frame.body(new Pong()) as Pong).nonce(), "nonce") };
    case Body.Error: {
      const error = frame.body(new ErrorTable()) as ErrorTable;
      const id = error.clientMsgIdArray();
      const clientMsgId = id === null || id.length === 0 ? null : textOf(id);
      return { type: "error", refusal: refusal(error), clientMsgId, ends: error.scope() === SCOPE_SESSION };
    }
    case Body.HistoryPage:
      return page(frame.body(new PageTable()) as PageTable);
    case Body.ChatInfo: {
      const info = frame.body(new ChatTable()) as ChatTable;
      return { type: "chat", request: safe(info.requestId(), "request_id"), info: chat(info) };
    }
    case Body.Chats:
      return chats(frame.body(new ChatsTable()) as ChatsTable);
    case Body.MessageStatus: {
      const status = frame.body(new StatusTable()) as StatusTable;
      return { type: "status", request: safe(status.requestId(), "request_id"), status: statusOf(status) };
    }
    case Body.Account: {
      const account = frame.body(new AccountTable()) as AccountTable;
      return { type: "account", request: safe(account.requestId(), "request_id"), account: accountOf(account) };
    }
    case Body.Window:
      return { type: "window", window: (frame.body(new Window()) as Window).window() };
    case Body.Goodbye:
      return { type: "error", refusal: refusal(frame.body(new Goodbye()) as Goodbye), clientMsgId: null, ends: true };
    default:
      return { type: "unknown" };
  }
}

function welcome(welcome: Welcome): ServerFrame {
  if (welcome.version() !== 1) throw new BadFrame("fields", `protocol version ${welcome.version()}`);
  return {
    type: "ready",
    user: welcome.userId().toString(),
    device: welcome.deviceId(),
    grant: {
      window: welcome.window(),
      sendsPerSecond: welcome.sendsPerSecond(),
      burst: welcome.burst(),
      frameLimitBytes: welcome.frameLimitBytes(),
      pingIntervalMs: Math.max(welcome.pingIntervalMs(), 1),
    },
  };
}

function sent(ack: SendAck): ServerFrame {
  const id = ack.clientMsgIdArray();
  const clientMsgId = id === null ? null : textOf(id);
  if (clientMsgId === null) throw new BadFrame("fields", "an ack without a client_msg_id of this client");
  if (ack.status() === SendStatus.queued) return { type: "queued", clientMsgId };
  const [chat, message] = [uuid(ack.chatId(), "chat_id"), uuid(ack.messageId(), "message_id")];
  return { type: "sent", clientMsgId, chat, message, seq: seq(ack.seq()), timestampMs: safe(ack.timestampMs(), "timestamp_ms") };
}

function receipt(receipt: Receipt): ServerFrame {
  const status = receipt.status() === MarkStatus.read ? "read" : "delivered";
  const [chat, user] = [uuid(receipt.chatId(), "chat_id"), receipt.userId().toString()];
  return { type: "receipt", chat, user, seq: seq(receipt.seq()), status };
}

function entry(entry: EntryTable): Entry {
  const kind = entry.kind();
  const [id, bytes, refersTo, subject, key] = [entry.clientMsgIdArray(), entry.bodyArray(), entry.refersTo(), entry.subject(), entry.keyArray()];
  const users = Array.from({ length: entry.usersLength() }, (_, n) => String(entry.users(n)));
  const mentions = kind === EntryKind.message || kind === EntryKind.edited;
  // Copied: the message's buffer is not kept for the sake of a part of it.
  const body = bytes === null ? new Uint8Array() : bytes.slice();
  return {
    chat: uuid(entry.chatId(), "chat_id"),
    message: uuid(entry.messageId(), "message_id"),
    seq: seq(entry.seq()),
    sender: entry.senderId().toString(),
    kind: EntryKind[kind] ?? `kind_${String(kind)}`,
    text: textOf(body),
    body,
    clientMsgId: id === null ? null : textOf(id),
    refersTo: refersTo === null ? null : uuid(refersTo, "refers_to"),
    users: mentions ? [] : users,
    mentions: mentions ? users : [],
    role: kind === EntryKind.role ? roleOf(entry.role()) : null,
    afterSeq: safe(entry.afterSeq(), "after_seq"),
    forwarded: entry.forwarded(),
    ttlS: entry.ttlS(),
    refersSeq: safe(entry.refersSeq(), "refers_seq"),
    replacesSeq: safe(entry.replacesSeq(), "replaces_seq"),
    editedSeq: safe(entry.editedSeq(), "edited_seq"),
    editedMs: safe(entry.editedMs(), "edited_ms"),
    deletedMs: safe(entry.deletedMs(), "deleted_ms"),
    subject: subject === null ? null : uuid(subject, "subject"),
    key: key === null ? null : textOf(key),
    device: entry.device(),
    timestampMs: safe(entry.timestampMs(), "timestamp_ms"),
  };
}

function page(page: PageTable): ServerFrame {
  const entries: Entry[] = [];
  for (let n = 0; n < page.entriesLength(); n++) {
    entries.push(entry(nested(page.entries(n)?.frameArray(), Body.Entry).body(new EntryTable()) as EntryTable));
  }
  const covers = [safe(page.coversFirstSeq(), "covers_first_seq"), safe(page.coversLastSeq(), "covers_last_seq")] as const;
  const read: HistoryPage = { chat: uuid(page.chatId(), "chat_id"), covers, headSeq: safe(page.headSeq(), "head_seq"), entries };
  return { type: "history", request: safe(page.requestId(), "request_id"), page: read };
}

function chats(page: ChatsTable): ServerFrame {
  const read = Array.from({ length: page.chatsLength() }, (_, n) => {
    const listed = page.chats(n);
    const info = chat(nested(listed?.frameArray(), Body.ChatInfo).body(new ChatTable()) as ChatTable);
    return listed ? { ...info, settings: settingsOf(listed) } : info;
  });
  return { type: "chats", request: safe(page.requestId(), "request_id"), page: { chats: read, hasMore: page.hasMore() } };
}

function chat(info: ChatTable): ChatInfo {
  const last = info.lastEntryArray();
  const lastEntry = last === null || last.length === 0 ? null : entry(nested(last, Body.Entry).body(new EntryTable()) as EntryTable);
  return chatOf(info, lastEntry);
}

/** A frame within another, which must be of this kind. */
function nested(bytes: Uint8Array | null | undefined, wanted: Body): Frame {
  if (!bytes) throw new BadFrame("fields", `a ${Body[wanted]} without its frame`);
  // A copy of its own: nested frames are not aligned where they stand.
  const own = bytes.slice();
  const kind = verify(own);
  if (kind !== Number(wanted)) throw new BadFrame("fields", `a frame of kind ${kind} where a ${Body[wanted]} belongs`);
  return root(own);
}

function refusal(said: ErrorTable | Goodbye): Refusal {
  const row = ERRORS[said.code() - 1];
  const text = said.textArray();
  return {
    code: row?.name ?? `error_${said.code()}`,
    // Numbers of a newer table are taken as "try again later, here".
    retry: RETRIES[said.retry()] ?? "backoff",
    retryAfterMs: said.retryAfterMs(),
    text: (text === null || text.length === 0 ? null : textOf(text)) ?? row?.text ?? "",
  };
}
