/** Writes a client's frames. */

import { Builder, type Offset } from "flatbuffers";

import { utf8, uuidBytes } from "../bytes.js";
import { isOwn } from "../core/acts.js";
import type { Act, ClientFrame, Extras, Question } from "../wire.js";
import { AccountRequest } from "./generated/shardwire/client/account-request.js";
import { Body } from "./generated/shardwire/client/body.js";
import { ChatRequest } from "./generated/shardwire/client/chat-request.js";
import { ChatsRequest } from "./generated/shardwire/client/chats-request.js";
import { EntryKind } from "./generated/shardwire/client/entry-kind.js";
import { Frame } from "./generated/shardwire/client/frame.js";
import { Hello } from "./generated/shardwire/client/hello.js";
import { HistoryRequest } from "./generated/shardwire/client/history-request.js";
import { Mark } from "./generated/shardwire/client/mark.js";
import { MarkStatus } from "./generated/shardwire/client/mark-status.js";
import { Ping } from "./generated/shardwire/client/ping.js";
import { Pong } from "./generated/shardwire/client/pong.js";
import { Role } from "./generated/shardwire/client/role.js";
import { Send } from "./generated/shardwire/client/send.js";
import { StatusRequest } from "./generated/shardwire/client/status-request.js";
import { Uuid } from "./generated/shardwire/client/uuid.js";

const VERSION = 1;
const IDENTIFIER = "SWC1";

/** One frame, size prefix included. */
export function encode(event: ClientFrame): Uint8Array<ArrayBuffer> {
  const builder = new Builder(event.type === "send" ? 256 + event.body.length : 256);
  const [kind, body] = write(builder, event);
  Frame.startFrame(builder);
  Frame.addBodyType(builder, kind);
  Frame.addBody(builder, body);
  builder.finishSizePrefixed(Frame.endFrame(builder), IDENTIFIER);
  return builder.asUint8Array().slice();
}

function write(builder: Builder, event: ClientFrame): [Body, Offset] {
  switch (event.type) {
    case "hello":
      return [Body.Hello, hello(builder, event)];
    case "send":
      return [Body.Send, send(builder, event)];
    case "mark":
      Mark.startMark(builder);
      Mark.addChatId(builder, uuid(builder, event.chat));
      if (event.message !== null) Mark.addMessageId(builder, uuid(builder, event.message));
      Mark.addSeq(builder, BigInt(event.seq));
      Mark.addStatus(builder, event.status === "read" ? MarkStatus.read : MarkStatus.delivered);
      return [Body.Mark, Mark.endMark(builder)];
    case "ping":
      return [Body.Ping, Ping.createPing(builder, BigInt(event.nonce))];
    case "pong":
      return [Body.Pong, Pong.createPong(builder, BigInt(event.nonce))];
    default:
      return question(builder, event);
  }
}

function question(builder: Builder, asked: Question): [Body, Offset] {
  const request = BigInt(asked.request);
  switch (asked.type) {
    case "history":
      HistoryRequest.startHistoryRequest(builder);
      HistoryRequest.addRequestId(builder, request);
      HistoryRequest.addChatId(builder, uuid(builder, asked.chat));
      HistoryRequest.addAfterSeq(builder, BigInt(asked.afterSeq));
      HistoryRequest.addLimit(builder, asked.limit);
      return [Body.HistoryRequest, HistoryRequest.endHistoryRequest(builder)];
    case "chat":
      ChatRequest.startChatRequest(builder);
      ChatRequest.addRequestId(builder, request);
      ChatRequest.addChatId(builder, uuid(builder, asked.chat));
      ChatRequest.addAfterUser(builder, BigInt(asked.afterUser ?? "0"));
      ChatRequest.addLimit(builder, asked.limit);
      return [Body.ChatRequest, ChatRequest.endChatRequest(builder)];
    case "chats":
      ChatsRequest.startChatsRequest(builder);
      ChatsRequest.addRequestId(builder, request);
      if (asked.before) {
        ChatsRequest.addBeforeMs(builder, BigInt(asked.before.lastMs));
        ChatsRequest.addBeforeChat(builder, uuid(builder, asked.before.chat));
      }
      ChatsRequest.addLimit(builder, asked.limit);
      return [Body.ChatsRequest, ChatsRequest.endChatsRequest(builder)];
    case "status":
      StatusRequest.startStatusRequest(builder);
      StatusRequest.addRequestId(builder, request);
      StatusRequest.addChatId(builder, uuid(builder, asked.chat));
      StatusRequest.addMessageId(builder, uuid(builder, asked.message));
      return [Body.StatusRequest, StatusRequest.endStatusRequest(builder)];
    case "account":
      AccountRequest.startAccountRequest(builder);
      AccountRequest.addRequestId(builder, request);
      if (asked.chat !== null) AccountRequest.addChatId(builder, uuid(builder, asked.chat));
      return [Body.AccountRequest, AccountRequest.endAccountRequest(builder)];
  }
}

function hello(builder: Builder, { token, agent, syncedMs, me, marks }: Extract<ClientFrame, { type: "hello" }>): Offset {
  const [tokenAt, agentAt] = [builder.createByteVector(utf8(token)), builder.createByteVector(utf8(agent))];
  return Hello.createHello(builder, VERSION, VERSION, 0n, tokenAt, agentAt, BigInt(syncedMs), BigInt(me?.user ?? 0), me?.device ?? 0, marks);
}

type SendEvent = Extract<ClientFrame, { type: "send" }>;

function send(builder: Builder, event: SendEvent): Offset {
  const { target, change, extras } = event;
  const id = builder.createByteVector(utf8(event.clientMsgId));
  const bytes = bodyOf(event);
  const body = bytes.length > 0 || !change ? builder.createByteVector(bytes) : 0;
  const named = usersOf(change, extras);
  const users = named.length > 0 || (change && "users" in change) ? Send.createUsersVector(builder, named.map(BigInt)) : 0;
  const key = change?.kind === "setting" ? builder.createByteVector(utf8(change.key)) : 0;
  Send.startSend(builder);
  Send.addClientMsgId(builder, id);
  // A new group's id follows from its maker and the client_msg_id, an account log's from its user.
  const derived = change !== undefined && (change.kind === "created" || isOwn(change));
  if (!derived && "chat" in target) Send.addChatId(builder, uuid(builder, target.chat));
  else if ("to" in target) Send.addTo(builder, BigInt(target.to));
  Send.addKind(builder, EntryKind[change?.kind ?? "message"]);
  if (body !== 0) Send.addBody(builder, body);
  Send.addAfterSeq(builder, BigInt(event.afterSeq));
  Send.addRetry(builder, event.retry);
  if (users !== 0) Send.addUsers(builder, users);
  if (key !== 0) Send.addKey(builder, key);
  if (change) act(builder, change);
  if (extras?.replyTo !== undefined) Send.addRefersTo(builder, uuid(builder, extras.replyTo));
  if (extras?.forwarded !== undefined) Send.addForwarded(builder, extras.forwarded);
  return Send.endSend(builder);
}

/** The fields of what is no message that are neither bytes nor users. */
function act(builder: Builder, change: Act): void {
  if ("refersTo" in change) Send.addRefersTo(builder, uuid(builder, change.refersTo));
  if ("subject" in change && change.subject !== null) Send.addSubject(builder, uuid(builder, change.subject));
  if (change.kind === "role") Send.addRole(builder, Role[change.role]);
  if (change.kind === "timer") Send.addTtlS(builder, change.ttlS);
  if ("device" in change) Send.addDevice(builder, change.device);
}

function bodyOf({ body, change }: SendEvent): Uint8Array {
  if (!change || change.kind === "edited") return body;
  if ("name" in change) return utf8(change.name);
  if (change.kind === "reacted") return utf8(change.reaction);
  return change.kind === "setting" ? utf8(change.value) : new Uint8Array();
}

function usersOf(change: Act | undefined, extras: Extras | undefined): readonly string[] {
  if (!change) return extras?.mentions ?? [];
  if (change.kind === "edited") return change.mentions ?? [];
  return "users" in change ? change.users : [];
}

function uuid(builder: Builder, text: string): Offset {
  return Uuid.createUuid(builder, uuidBytes(text));
}
