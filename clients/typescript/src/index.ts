/** A client of Shardwire for browsers and Node: exactly once and in order, over crashes of either side. */

export { Client, type Options, type Socket } from "./client.js";
export { Core } from "./core/core.js";
export { changeOf } from "./core/groups.js";
export {
  type Cause,
  ChangeError,
  type ClientEvent,
  type Config,
  DEFAULTS,
  type End,
  type Env,
  type Failure,
  type NewChange,
  type NewSend,
  type Output,
  RequestError,
  SendError,
  type Sent,
} from "./core/types.js";
export { ERRORS, type ErrorRow } from "./generated/errors.js";
export { directChat, groupChat, newClientMsgId } from "./ids.js";
export { isUser, isUuid } from "./bytes.js";
export { json } from "./json.js";
export { IndexedDbStore } from "./store/indexeddb.js";
export { MemoryStore } from "./store/memory.js";
export type { Change, Identity, Image, Store, StoredChat, StoredSend } from "./store/store.js";
export {
  BadFrame,
  type ChatInfo,
  type ChatsBefore,
  type ChatsPage,
  type ClientFrame,
  type Codec,
  type Entry,
  type Grant,
  type GroupChange,
  type HistoryPage,
  type MarkStatus,
  type Member,
  type MessageStatus,
  type Question,
  type Refusal,
  type Retry,
  type Role,
  type ServerFrame,
  type Target,
} from "./wire.js";
