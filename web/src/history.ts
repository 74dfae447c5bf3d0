/** What this device has seen: messages, unsent texts and chats, in IndexedDB. */

import type { Role } from "./shardwire/index.js";

/** A message of a chat, or a change of a group, stored at the server. */
export interface Message {
  readonly chat: string;
  readonly seq: number;
  readonly message: string;
  readonly sender: string;
  /** What was said; of a group's change its name, if that is what changed. */
  readonly text: string;
  readonly timestampMs: number;
  readonly clientMsgId: string | null;
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
  readonly createdMs: number;
  /** Why it will never be stored; null while it may. */
  readonly problem: string | null;
}

/** One chat, as the list shows it. */
export interface Chat {
  readonly chat: string;
  /** The other user of a direct chat; null until known. */
  peer: string | null;
  last: { text: string; mine: boolean; seq: number; timestampMs: number } | null;
  unread: number;
  /** How far the other user's devices are. */
  delivered: number;
  read: number;
  /** What is known of it as a group; absent for a direct chat. */
  group?: Group;
}

/** One device's history. */
export class History {
  private constructor(private readonly database: IDBDatabase) {}

  static async open(user: string, device: number): Promise<History> {
    const opening = indexedDB.open(`shardwire chat ${user} ${device}`, 1);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore("messages", { keyPath: ["chat", "seq"] });
      opening.result.createObjectStore("unsent", { keyPath: "clientMsgId" });
      opening.result.createObjectStore("chats", { keyPath: "chat" });
    };
    return new History(await answer(opening));
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
        if (cursor) found.push(cursor.value as Message);
        if (cursor && found.length < count) cursor.continue();
        else resolve(found.reverse());
      };
    });
  }

  /** Keeps messages and their chats, and forgets texts that have become messages: all or nothing. */
  keep(change: { messages?: readonly Message[]; chats?: readonly Chat[]; unsent?: readonly Unsent[]; settled?: readonly string[] }): Promise<void> {
    const writing = this.database.transaction(["messages", "unsent", "chats"], "readwrite");
    for (const message of change.messages ?? []) writing.objectStore("messages").put(message);
    for (const chat of change.chats ?? []) writing.objectStore("chats").put(chat);
    for (const unsent of change.unsent ?? []) writing.objectStore("unsent").put(unsent);
    for (const id of change.settled ?? []) writing.objectStore("unsent").delete(id);
    return new Promise((resolve, reject) => {
      writing.oncomplete = () => resolve();
      writing.onabort = () => reject(writing.error ?? new Error("the transaction was aborted"));
    });
  }

  private reading(name: string): IDBObjectStore {
    return this.database.transaction(name, "readonly").objectStore(name);
  }
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB refused"));
  });
}
