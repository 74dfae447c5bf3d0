/** A store that ends with the process: for tests, and for clients that may forget. */

import type { Change, Identity, Image, Store, StoredChat, StoredSend } from "./store.js";

/** Keeps everything in memory. Give the same one to the next client and it goes on where the last one stood. */
export class MemoryStore implements Store {
  private identity: Identity | null = null;
  private syncedMs = 0;
  private readonly chats = new Map<string, StoredChat>();
  private readonly outbox = new Map<string, StoredSend>();

  load(): Promise<Image> {
    const outbox = [...this.outbox.values()].sort((a, b) => a.order - b.order);
    return Promise.resolve({ identity: this.identity, chats: [...this.chats.values()], outbox, syncedMs: this.syncedMs });
  }

  apply(changes: readonly Change[]): Promise<void> {
    for (const change of changes) {
      if (change.type === "identity") this.identity = change.identity;
      else if (change.type === "chat") this.chats.set(change.chat.chat, change.chat);
      else if (change.type === "queued") this.outbox.set(change.send.clientMsgId, change.send);
      else if (change.type === "settled") this.outbox.delete(change.clientMsgId);
      else this.syncedMs = change.timeMs;
    }
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
