/** Writes a client's frames. */

import { Builder, type Offset } from "flatbuffers";

import { utf8, uuidBytes } from "../bytes.js";
import type { ClientFrame } from "../wire.js";
import { Body } from "./generated/shardwire/client/body.js";
import { EntryKind } from "./generated/shardwire/client/entry-kind.js";
import { Frame } from "./generated/shardwire/client/frame.js";
import { Hello } from "./generated/shardwire/client/hello.js";
import { HistoryRequest } from "./generated/shardwire/client/history-request.js";
import { Mark } from "./generated/shardwire/client/mark.js";
import { MarkStatus } from "./generated/shardwire/client/mark-status.js";
import { Ping } from "./generated/shardwire/client/ping.js";
import { Pong } from "./generated/shardwire/client/pong.js";
import { Send } from "./generated/shardwire/client/send.js";
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
      return [Body.Hello, hello(builder, event.token, event.agent)];
    case "send":
      return [Body.Send, send(builder, event)];
    case "mark":
      Mark.startMark(builder);
      Mark.addChatId(builder, uuid(builder, event.chat));
      Mark.addMessageId(builder, uuid(builder, event.message));
      Mark.addSeq(builder, BigInt(event.seq));
      Mark.addStatus(builder, event.status === "read" ? MarkStatus.read : MarkStatus.delivered);
      return [Body.Mark, Mark.endMark(builder)];
    case "ping":
      return [Body.Ping, Ping.createPing(builder, BigInt(event.nonce))];
    case "pong":
      return [Body.Pong, Pong.createPong(builder, BigInt(event.nonce))];
    case "history":
      HistoryRequest.startHistoryRequest(builder);
      HistoryRequest.addRequestId(builder, BigInt(event.request));
      HistoryRequest.addChatId(builder, uuid(builder, event.chat));
      HistoryRequest.addAfterSeq(builder, BigInt(event.afterSeq));
      HistoryRequest.addLimit(builder, event.limit);
      return [Body.HistoryRequest, HistoryRequest.endHistoryRequest(builder)];
  }
}

function hello(builder: Builder, token: string, agent: string): Offset {
  const [tokenAt, agentAt] = [builder.createByteVector(utf8(token)), builder.createByteVector(utf8(agent))];
  return Hello.createHello(builder, VERSION, VERSION, 0n, tokenAt, agentAt);
}

function send(builder: Builder, event: Extract<ClientFrame, { type: "send" }>): Offset {
  const id = builder.createByteVector(utf8(event.clientMsgId));
  const body = builder.createByteVector(event.body);
  Send.startSend(builder);
  Send.addClientMsgId(builder, id);
  if ("chat" in event.target) Send.addChatId(builder, uuid(builder, event.target.chat));
  else Send.addTo(builder, BigInt(event.target.to));
  Send.addKind(builder, EntryKind.message);
  Send.addBody(builder, body);
  Send.addAfterSeq(builder, BigInt(event.afterSeq));
  Send.addRetry(builder, event.retry);
  return Send.endSend(builder);
}

function uuid(builder: Builder, text: string): Offset {
  return Uuid.createUuid(builder, uuidBytes(text));
}
