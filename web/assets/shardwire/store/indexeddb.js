/** A store in a browser's IndexedDB: outbox and positions survive reloads and crashes of the tab. */
const VERSION = 1;
/** Keeps everything in one database of IndexedDB. */
export class IndexedDbStore {
    name;
    factory;
    database = null;
    /**
     * @param name The database's name; one device's own, such as `shardwire-7-1`.
     * @param factory Where databases are; the browser's by default.
     */
    constructor(name, factory = indexedDB) {
        this.name = name;
        this.factory = factory;
    }
    async load() {
        const opening = this.factory.open(this.name, VERSION);
        opening.onupgradeneeded = () => {
            opening.result.createObjectStore("identity");
            opening.result.createObjectStore("chats", { keyPath: "chat" });
            opening.result.createObjectStore("outbox", { keyPath: "clientMsgId" });
        };
        this.database = await answer(opening);
        // Another tab wants to delete or upgrade it: this one must not be in the way.
        this.database.onversionchange = () => this.database?.close();
        const reading = this.database.transaction(["identity", "chats", "outbox"], "readonly");
        const [identity, syncedMs, chats, outbox] = await Promise.all([
            answer(reading.objectStore("identity").get("own")),
            answer(reading.objectStore("identity").get("synced")),
            answer(reading.objectStore("chats").getAll()),
            answer(reading.objectStore("outbox").getAll()),
        ]);
        return { identity: identity ?? null, chats, outbox: outbox.sort((a, b) => a.order - b.order), syncedMs: syncedMs ?? 0 };
    }
    apply(changes) {
        if (!this.database)
            throw new Error("the store is not loaded");
        // Strict: when it resolves, the changes are on the disk and not only on their way.
        const writing = this.database.transaction(["identity", "chats", "outbox"], "readwrite", { durability: "strict" });
        for (const change of changes) {
            if (change.type === "identity")
                writing.objectStore("identity").put(change.identity, "own");
            else if (change.type === "chat")
                writing.objectStore("chats").put(change.chat);
            else if (change.type === "queued")
                writing.objectStore("outbox").put(change.send);
            else if (change.type === "settled")
                writing.objectStore("outbox").delete(change.clientMsgId);
            else
                writing.objectStore("identity").put(change.timeMs, "synced");
        }
        return new Promise((resolve, reject) => {
            writing.oncomplete = () => resolve();
            writing.onabort = () => reject(writing.error ?? new Error("the transaction was aborted"));
        });
    }
    close() {
        this.database?.close();
        this.database = null;
        return Promise.resolve();
    }
}
function answer(request) {
    return new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error ?? new Error("IndexedDB refused"));
    });
}
