/** What this device has seen: messages, unsent texts and chats, in IndexedDB. */
/** One device's history. */
export class History {
    database;
    constructor(database) {
        this.database = database;
    }
    static async open(user, device) {
        const opening = indexedDB.open(`shardwire chat ${user} ${device}`, 1);
        opening.onupgradeneeded = () => {
            opening.result.createObjectStore("messages", { keyPath: ["chat", "seq"] });
            opening.result.createObjectStore("unsent", { keyPath: "clientMsgId" });
            opening.result.createObjectStore("chats", { keyPath: "chat" });
        };
        return new History(await answer(opening));
    }
    chats() {
        return answer(this.reading("chats").getAll());
    }
    unsent() {
        return answer(this.reading("unsent").getAll());
    }
    /** The last `count` messages of a chat below a seq, ascending. */
    below(chat, seq, count) {
        const range = IDBKeyRange.bound([chat, 0], [chat, seq], false, true);
        const request = this.reading("messages").openCursor(range, "prev");
        const found = [];
        return new Promise((resolve, reject) => {
            request.onerror = () => reject(request.error ?? new Error("IndexedDB refused"));
            request.onsuccess = () => {
                const cursor = request.result;
                if (cursor)
                    found.push(cursor.value);
                if (cursor && found.length < count)
                    cursor.continue();
                else
                    resolve(found.reverse());
            };
        });
    }
    /** Keeps messages and their chats, and forgets texts that have become messages: all or nothing. */
    keep(change) {
        const writing = this.database.transaction(["messages", "unsent", "chats"], "readwrite");
        for (const message of change.messages ?? [])
            writing.objectStore("messages").put(message);
        for (const chat of change.chats ?? [])
            writing.objectStore("chats").put(chat);
        for (const unsent of change.unsent ?? [])
            writing.objectStore("unsent").put(unsent);
        for (const id of change.settled ?? [])
            writing.objectStore("unsent").delete(id);
        return new Promise((resolve, reject) => {
            writing.oncomplete = () => resolve();
            writing.onabort = () => reject(writing.error ?? new Error("the transaction was aborted"));
        });
    }
    reading(name) {
        return this.database.transaction(name, "readonly").objectStore(name);
    }
}
function answer(request) {
    return new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error ?? new Error("IndexedDB refused"));
    });
}
