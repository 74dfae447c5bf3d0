/** A client of Shardwire for browsers and Node: exactly once and in order, over crashes of either side. */

export { Client, type Options, type Socket } from "./client.js";
export { Core } from "./core/core.js";
export { Acts } from "./acts.js";
export { accountChangeOf, amendmentOf, changeOf } from "./core/acts.js";
export {
  type Cause,
  ChangeError,
  type ClientEvent,
  type Config,
  DEFAULTS,
  type End,
  type Env,
  type Failure,
  type NewAct,
  type NewSend,
  type Output,
  RequestError,
  SendError,
  type Sent,
} from "./core/types.js";
export { ERRORS, type ErrorRow } from "./generated/errors.js";
export { expiryOf, Fold, type Foldable, type Folded } from "./fold.js";
export { accountChat, directChat, groupChat, newClientMsgId } from "./ids.js";
export { isUser, isUuid } from "./bytes.js";
export { json } from "./json/index.js";
export { IndexedDbStore } from "./store/indexeddb.js";
export { MemoryStore } from "./store/memory.js";
export type { Change, Identity, Image, Store, StoredChat, StoredSend } from "./store/store.js";
export {
  type AccountChange,
  type AccountState,
  type Act,
  type Amendment,
  BadFrame,
  type ChatInfo,
  type ChatsBefore,
  type ChatSettings,
  type ChatsPage,
  type ClientFrame,
  type Codec,
  type Device,
  type Entry,
  type Extras,
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
