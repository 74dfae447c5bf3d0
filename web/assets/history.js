/** What this device has seen: messages, unsent texts and chats, in IndexedDB. */
import { expiryOf } from "./shardwire/index.js";
/** One device's history. */
export class History {
    database;
    constructor(database) {
        this.database = database;
    }
    static async open(user, device) {
        const opening = indexedDB.open(`shardwire chat ${user} ${device}`, VERSION);
        opening.onupgradeneeded = ({ oldVersion }) => {
            if (oldVersion < 1) {
                opening.result.createObjectStore("messages", { keyPath: ["chat", "seq"] });
                opening.result.createObjectStore("unsent", { keyPath: "clientMsgId" });
                opening.result.createObjectStore("chats", { keyPath: "chat" });
            }
            // Only what disappears has the field, and is in the index.
            opening.transaction?.objectStore("messages").createIndex("expires", "expiresMs");
        };
        const history = new History(await answer(opening));
        await history.sweep();
        return history;
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
                    found.push(whole(cursor.value));
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
        for (const message of change.messages ?? []) {
            const expiresMs = expiryOf(message);
            writing.objectStore("messages").put(expiresMs < Infinity ? { ...message, expiresMs } : message);
        }
        for (const message of change.messages ?? [])
            blankAmended(writing.objectStore("messages"), message);
        for (const chat of change.chats ?? [])
            writing.objectStore("chats").put(chat);
        for (const unsent of change.unsent ?? [])
            writing.objectStore("unsent").put(unsent);
        for (const id of change.settled ?? [])
            writing.objectStore("unsent").delete(id);
        return done(writing);
    }
    /** Forgets messages that have disappeared. */
    sweep() {
        const writing = this.database.transaction("messages", "readwrite");
        const gone = writing.objectStore("messages").index("expires").openCursor(IDBKeyRange.upperBound(Date.now()));
        gone.onsuccess = () => {
            gone.result?.delete();
            gone.result?.continue();
        };
        return done(writing);
    }
    /** Forgets entries of a chat. */
    drop(chat, seqs) {
        const writing = this.database.transaction("messages", "readwrite");
        for (const seq of seqs)
            writing.objectStore("messages").delete([chat, seq]);
        return done(writing);
    }
    reading(name) {
        return this.database.transaction(name, "readonly").objectStore(name);
    }
}
const VERSION = 2;
/** Entries of older stores lack their kind. */
function whole(message) {
    return message.kind === undefined ? { ...message, kind: message.change?.kind ?? "message" } : message;
}
/** What an amendment takes away goes from here too: the body of what is deleted, and of the edit before. */
function blankAmended(store, { kind, chat, refersSeq, replacesSeq, timestampMs }) {
    const seqs = kind === "deleted" ? [refersSeq, replacesSeq] : kind === "edited" ? [replacesSeq] : [];
    for (const seq of seqs) {
        if (!seq)
            continue;
        const reading = store.get([chat, seq]);
        reading.onsuccess = () => {
            if (reading.result)
                store.put({ ...reading.result, text: "", mentions: [], deletedMs: timestampMs });
        };
    }
}
function done(writing) {
    return new Promise((resolve, reject) => {
        writing.oncomplete = () => resolve();
        writing.onabort = () => reject(writing.error ?? new Error("the transaction was aborted"));
    });
}
function answer(request) {
    return new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error ?? new Error("IndexedDB refused"));
    });
}
