/** What this device has seen: messages, unsent texts and chats, in IndexedDB. */

import { expiryOf, type Extras, type Role } from "./shardwire/index.js";

/** An entry of a chat's log that the conversation needs: a message, what amends one, a change of the group. */
export interface Message {
  readonly chat: string;
  readonly seq: number;
  readonly message: string;
  readonly sender: string;
  /** What was said; of a group's change its name, if that is what changed. */
  readonly text: string;
  readonly timestampMs: number;
  readonly clientMsgId: string | null;
  /** The entry's; older stores have none. */
  readonly kind: string;
  /** What it answers or amends, and the seq of what it amends. */
  readonly refersTo?: string;
  readonly refersSeq?: number;
  readonly replacesSeq?: number;
  readonly mentions?: readonly string[];
  readonly forwarded?: number;
  readonly afterSeq?: number;
  readonly ttlS?: number;
  readonly editedSeq?: number;
  readonly editedMs?: number;
  readonly deletedMs?: number;
  /** How it changed the group; absent for what was said. */
  readonly change?: { readonly kind: string; readonly users: readonly string[]; readonly role: Role | null };
}

/** How far a member is, in seqs. */
export interface Marks {
  delivered: number;
  read: number;
}

/** What is known of a group. */
export interface Group {
  name: string;
  members: { readonly user: string; readonly role: Role }[];
  /** Whether this user is a member now. */
  present: boolean;
  /** Whether name and members are as of the last change heard of. */
  known: boolean;
  marks: Record<string, Marks>;
}

/** A text on its way. */
export interface Unsent {
  readonly clientMsgId: string;
  readonly chat: string;
  readonly peer: string | null;
  readonly text: string;
  readonly extras?: Extras;
  readonly createdMs: number;
  /** Why it will never be stored; null while it may. */
  readonly problem: string | null;
}

/** One chat, as the list shows it. */
export interface Chat {
  readonly chat: string;
  /** The other user of a direct chat; null until known. */
  peer: string | null;
  last: { text: string; mine: boolean; seq: number; timestampMs: number; message?: string; expiresMs?: number } | null;
  unread: number;
  /** How far the other user's devices are. */
  delivered: number;
  read: number;
  /** What is known of it as a group; absent for a direct chat. */
  group?: Group;
  pinned?: boolean;
  archived?: boolean;
  mutedUntilMs?: number;
  /** How long messages stay, s, and the entry that says so. */
  timer?: { readonly seq: number; readonly ttlS: number };
  /** Messages that are not shown to this user any more. */
  hidden?: string[];
}

/** One device's history. */
export class History {
  private constructor(private readonly database: IDBDatabase) {}

  static async open(user: string, device: number): Promise<History> {
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

  chats(): Promise<Chat[]> {
    return answer(this.reading("chats").getAll() as IDBRequest<Chat[]>);
  }

  unsent(): Promise<Unsent[]> {
    return answer(this.reading("unsent").getAll() as IDBRequest<Unsent[]>);
  }

  /** The last `count` messages of a chat below a seq, ascending. */
  below(chat: string, seq: number, count: number): Promise<Message[]> {
    const range = IDBKeyRange.bound([chat, 0], [chat, seq], false, true);
    const request = this.reading("messages").openCursor(range, "prev");
    const found: Message[] = [];
    return new Promise((resolve, reject) => {
      request.onerror = () => reject(request.error ?? new Error("IndexedDB refused"));
      request.onsuccess = () => {
        const cursor = request.result;
        if (cursor) found.push(whole(cursor.value as Message));
        if (cursor && found.length < count) cursor.continue();
        else resolve(found.reverse());
      };
    });
  }

  /** Keeps messages and their chats, and forgets texts that have become messages: all or nothing. */
  keep(change: { messages?: readonly Message[]; chats?: readonly Chat[]; unsent?: readonly Unsent[]; settled?: readonly string[] }): Promise<void> {
    const writing = this.database.transaction(["messages", "unsent", "chats"], "readwrite");
    for (const message of change.messages ?? []) {
      const expiresMs = expiryOf(message);
      writing.objectStore("messages").put(expiresMs < Infinity ? { ...message, expiresMs } : message);
    }
    for (const message of change.messages ?? []) blankAmended(writing.objectStore("messages"), message);
    for (const chat of change.chats ?? []) writing.objectStore("chats").put(chat);
    for (const unsent of change.unsent ?? []) writing.objectStore("unsent").put(unsent);
    for (const id of change.settled ?? []) writing.objectStore("unsent").delete(id);
    return done(writing);
  }

  /** Forgets messages that have disappeared. */
  private sweep(): Promise<void> {
    const writing = this.database.transaction("messages", "readwrite");
    const gone = writing.objectStore("messages").index("expires").openCursor(IDBKeyRange.upperBound(Date.now()));
    gone.onsuccess = () => {
      gone.result?.delete();
      gone.result?.continue();
    };
    return done(writing);
  }

  /** Forgets entries of a chat. */
  drop(chat: string, seqs: readonly number[]): Promise<void> {
    const writing = this.database.transaction("messages", "readwrite");
    for (const seq of seqs) writing.objectStore("messages").delete([chat, seq]);
    return done(writing);
  }

  private reading(name: string): IDBObjectStore {
    return this.database.transaction(name, "readonly").objectStore(name);
  }
}

const VERSION = 2;

/** Entries of older stores lack their kind. */
function whole(message: Message): Message {
  return (message.kind as string | undefined) === undefined ? { ...message, kind: message.change?.kind ?? "message" } : message;
}

/** What an amendment takes away goes from here too: the body of what is deleted, and of the edit before. */
function blankAmended(store: IDBObjectStore, { kind, chat, refersSeq, replacesSeq, timestampMs }: Message): void {
  const seqs = kind === "deleted" ? [refersSeq, replacesSeq] : kind === "edited" ? [replacesSeq] : [];
  for (const seq of seqs) {
    if (!seq) continue;
    const reading = store.get([chat, seq]) as IDBRequest<Message | undefined>;
    reading.onsuccess = () => {
      if (reading.result) store.put({ ...reading.result, text: "", mentions: [], deletedMs: timestampMs });
    };
  }
}

function done(writing: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    writing.oncomplete = () => resolve();
    writing.onabort = () => reject(writing.error ?? new Error("the transaction was aborted"));
  });
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB refused"));
  });
}
