/** A client of Shardwire for browsers and Node: exactly once and in order, over crashes of either side. */

export { Client, type Options, type Socket } from "./client.js";
export { Core } from "./core/core.js";
export {
  type Cause,
  type ClientEvent,
  type Config,
  DEFAULTS,
  type End,
  type Env,
  type Failure,
  HistoryError,
  type NewSend,
  type Output,
  SendError,
} from "./core/types.js";
export { ERRORS, type ErrorRow } from "./generated/errors.js";
export { directChat, newClientMsgId } from "./ids.js";
export { isUser, isUuid } from "./bytes.js";
export { json } from "./json.js";
export { IndexedDbStore } from "./store/indexeddb.js";
export { MemoryStore } from "./store/memory.js";
export type { Change, Identity, Image, Store, StoredChat, StoredSend } from "./store/store.js";
export {
  BadFrame,
  type ClientFrame,
  type Codec,
  type Entry,
  type Grant,
  type HistoryPage,
  type MarkStatus,
  type Refusal,
  type Retry,
  type ServerFrame,
  type Target,
} from "./wire.js";
