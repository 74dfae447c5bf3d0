/** A client of Shardwire for browsers and Node: exactly once and in order, over crashes of either side. */
export { Client } from "./client.js";
export { Core } from "./core/core.js";
export { Acts } from "./acts.js";
export { accountChangeOf, amendmentOf, changeOf } from "./core/acts.js";
export { ChangeError, DEFAULTS, RequestError, SendError, } from "./core/types.js";
export { ERRORS } from "./generated/errors.js";
export { expiryOf, Fold } from "./fold.js";
export { accountChat, directChat, groupChat, newClientMsgId } from "./ids.js";
export { isUser, isUuid } from "./bytes.js";
export { json } from "./json/index.js";
export { IndexedDbStore } from "./store/indexeddb.js";
export { MemoryStore } from "./store/memory.js";
export { BadFrame, } from "./wire.js";
