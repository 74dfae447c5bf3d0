/** What is the user's own: settings of chats, read receipts, devices. Kept in step over all their devices by the account log. */

import type { Chat } from "./history.js";
import type { AccountChange, Client, Device } from "./shardwire/index.js";

/** The user's settings, as far as the page knows them. */
export class Own {
  /** Whether others are told what this user reads; null until known. */
  readReceipts: boolean | null = null;
  devices: readonly Device[] = [];
  private named = false;

  constructor(
    private readonly client: () => Client,
    private readonly device: number,
  ) {}

  /** Asks for settings and devices; a device without a name names itself, once. */
  async refresh(): Promise<void> {
    const account = await this.client().account().catch(() => null);
    if (!account) return;
    this.readReceipts = account.settings.get("read_receipts") !== "off";
    this.devices = account.devices;
    const own = this.devices.find(({ device }) => device === this.device);
    if (this.named || (own && own.name !== "")) return;
    this.named = true;
    this.client().nameDevice(this.device, `Web chat on ${browserName(navigator.userAgent)}`).catch(() => (this.named = false));
  }

  /** A setting that is about no chat, or a device, changed. */
  hear(change: AccountChange, timestampMs: number): void {
    if (change.kind === "setting" && change.key === "read_receipts") this.readReceipts = change.value !== "off";
    if (change.kind === "device") this.put(change.device, { name: change.name, namedMs: timestampMs });
    if (change.kind === "revoked") this.put(change.device, { revokedMs: timestampMs });
  }

  private put(device: number, more: Partial<Device>): void {
    const known = this.devices.find((each) => each.device === device) ?? { device, name: "", namedMs: 0, revokedMs: 0 };
    this.devices = [...this.devices.filter((each) => each.device !== device), { ...known, ...more }];
  }
}

/** Takes a setting of a chat. */
export function applySetting(chat: Chat, key: string, value: string): void {
  if (key === "pinned") chat.pinned = value === "on";
  if (key === "archived") chat.archived = value === "on";
  // Beyond what a number holds exactly is for good.
  if (key === "muted_until") chat.mutedUntilMs = Number(value) > Number.MAX_SAFE_INTEGER ? Infinity : Number(value) || 0;
}

/** Whether a chat is quiet now. */
export function isMuted({ mutedUntilMs = 0 }: Chat): boolean {
  return mutedUntilMs > Date.now();
}

const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/Firefox\//, "Firefox"],
  [/Edg\//, "Edge"],
  [/OPR\//, "Opera"],
  [/Chrom(e|ium)\//, "Chrome"],
  [/Safari\//, "Safari"],
];
const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/Android/, "Android"],
  [/iPhone|iPad/, "iOS"],
  [/Windows/, "Windows"],
  [/Mac OS X/, "macOS"],
  [/Linux/, "Linux"],
];

/** What a browser is called, from what it says of itself. */
export function browserName(agent: string): string {
  const of = (names: readonly (readonly [RegExp, string])[]): string | undefined => names.find(([sign]) => sign.test(agent))?.[1];
  const [browser, system] = [of(BROWSERS) ?? "a browser", of(SYSTEMS)];
  return system ? `${browser}, ${system}` : browser;
}
