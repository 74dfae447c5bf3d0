/** A client of a real server, for the tests beside this file: collects what it hears and waits for what it should. */

import { WebSocket } from "ws";

import { Client, type ClientEvent, type Codec, type Entry, MemoryStore, type Options, type Socket, type Store } from "../../src/index.js";

/** How long anything may take, ms. */
export const PATIENCE_MS = 30_000;

/** What the environment of a live test must have. */
export function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; these tests are started by tests/tests/processes`);
  return value;
}

/** A client and all it has heard. */
export class Person {
  readonly heard: ClientEvent[] = [];
  readonly entries: Entry[] = [];
  client!: Client;
  private wake: (() => void)[] = [];

  private constructor(readonly store: Store) {}

  static async start(url: string, token: string, codec: Codec, store: Store = new MemoryStore(), more: Partial<Options> = {}): Promise<Person> {
    const person = new Person(store);
    const open = (to: string, protocols: string[]): Socket => new WebSocket(to, protocols) as unknown as Socket;
    const handler = (event: ClientEvent): void => person.hear(event);
    person.client = await Client.start({ url, token, codec, store, open, handler, backoffMs: [50, 500], ...more });
    await person.until("a session", () => person.client.identity !== null || person.heard.some((event) => event.type === "ended"));
    return person;
  }

  private hear(event: ClientEvent): void {
    this.heard.push(event);
    if (event.type === "entries") this.entries.push(...event.entries);
    for (const wake of this.wake.splice(0)) wake();
  }

  /** Waits until `found` finds something. */
  async until<T>(what: string, found: () => T | undefined | false): Promise<T> {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const value = found();
      if (value !== undefined && value !== false) return value;
      const left = end - Date.now();
      if (left <= 0) throw new Error(`waited in vain for ${what}; heard ${JSON.stringify(this.heard.slice(-8), shorten)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 100));
        this.wake.push(() => (clearTimeout(timer), resolve()));
      });
    }
  }

  /** Waits for an event of a type that fits. */
  expect<T extends ClientEvent["type"]>(
    type: T,
    fits: (event: Extract<ClientEvent, { type: T }>) => boolean = () => true,
  ): Promise<Extract<ClientEvent, { type: T }>> {
    const is = (event: ClientEvent): event is Extract<ClientEvent, { type: T }> => event.type === type;
    return this.until(type, () => this.heard.filter(is).find(fits));
  }
}

function shorten(_: string, value: unknown): unknown {
  return value instanceof Uint8Array ? `${value.length} bytes` : value;
}
