/** A store that ends with the process: for tests, and for clients that may forget. */
/** Keeps everything in memory. Give the same one to the next client and it goes on where the last one stood. */
export class MemoryStore {
    identity = null;
    syncedMs = 0;
    chats = new Map();
    outbox = new Map();
    load() {
        const outbox = [...this.outbox.values()].sort((a, b) => a.order - b.order);
        return Promise.resolve({ identity: this.identity, chats: [...this.chats.values()], outbox, syncedMs: this.syncedMs });
    }
    apply(changes) {
        for (const change of changes) {
            if (change.type === "identity")
                this.identity = change.identity;
            else if (change.type === "chat")
                this.chats.set(change.chat.chat, change.chat);
            else if (change.type === "queued")
                this.outbox.set(change.send.clientMsgId, change.send);
            else if (change.type === "settled")
                this.outbox.delete(change.clientMsgId);
            else
                this.syncedMs = change.timeMs;
        }
        return Promise.resolve();
    }
    close() {
        return Promise.resolve();
    }
}
