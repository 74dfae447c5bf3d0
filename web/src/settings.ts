/** Two dialogs: what the user sets for a chat, and what for themselves. */

import { by, make } from "./dom.js";
import { isAdmin, titleOf } from "./groups.js";
import type { Model } from "./model.js";
import { isMuted } from "./own.js";
import type { Act, Device } from "./shardwire/index.js";
import { wordsOf } from "./starting.js";
import { duration } from "./words.js";

const TIMERS_S = [0, 60, 3600, 86_400, 7 * 86_400, 90 * 86_400];
const EIGHT_HOURS_MS = 8 * 3_600_000;
const FOR_GOOD = "18446744073709551615";

/** The open chat's options. */
export class Options {
  private readonly dialog = by("options", HTMLDialogElement);
  private readonly timer = by("timer", HTMLSelectElement);
  private readonly problem = by("options-problem", HTMLElement);

  constructor(private readonly model: Model) {
    by("options-open", HTMLButtonElement).addEventListener("click", () => {
      this.problem.textContent = "";
      this.dialog.showModal();
      this.draw();
    });
    this.check("pin", "pinned");
    this.check("archive", "archived");
    by("mute", HTMLSelectElement).addEventListener("change", (event) => {
      const { value } = event.currentTarget as HTMLSelectElement;
      const until = value === "on" ? FOR_GOOD : value === "8" ? String(Date.now() + EIGHT_HOURS_MS) : "0";
      this.set("muted_until", until);
    });
    this.timer.addEventListener("change", () => this.do(this.model.change({ kind: "timer", ttlS: Number(this.timer.value) })));
  }

  /** Brings the dialog in step with the open chat. */
  draw(): void {
    const chat = this.model.open === null ? undefined : this.model.chats.get(this.model.open);
    if (!this.dialog.open || !chat) return;
    by("options-title", HTMLElement).textContent = titleOf(chat);
    by("pin", HTMLInputElement).checked = chat.pinned ?? false;
    by("archive", HTMLInputElement).checked = chat.archived ?? false;
    by("mute", HTMLSelectElement).value = !isMuted(chat) ? "off" : chat.mutedUntilMs === Infinity ? "on" : "8";
    const ttlS = chat.timer?.ttlS ?? 0;
    const times = [...new Set([...TIMERS_S, ttlS])].sort((a, b) => a - b);
    if (String(times) !== this.timer.dataset["times"]) {
      this.timer.dataset["times"] = String(times);
      this.timer.replaceChildren(...times.map((time) => new Option(time === 0 ? "Never" : `After ${duration(time)}`, String(time))));
    }
    this.timer.value = String(ttlS);
    this.timer.disabled = chat.group ? !isAdmin(chat.group, this.model.account.user) : false;
  }

  private check(id: string, key: string): void {
    by(id, HTMLInputElement).addEventListener("change", (event) => this.set(key, (event.currentTarget as HTMLInputElement).checked ? "on" : "off"));
  }

  private set(key: string, value: string): void {
    if (this.model.open !== null) this.do(this.model.set({ kind: "setting", key, value, subject: this.model.open }));
  }

  private do(doing: Promise<void>): void {
    this.problem.textContent = "";
    doing.catch((error: unknown) => {
      this.problem.textContent = wordsOf(error);
      this.draw();
    });
  }
}

/** The user's own settings and devices. */
export class Settings {
  private readonly dialog = by("settings", HTMLDialogElement);
  private readonly receipts = by("receipts", HTMLInputElement);
  private readonly list = by("devices", HTMLUListElement);
  private readonly problem = by("settings-problem", HTMLElement);
  private drawn = "";

  constructor(private readonly model: Model) {
    by("settings-open", HTMLButtonElement).addEventListener("click", () => {
      this.problem.textContent = "";
      this.dialog.showModal();
      this.draw();
      void model.own.refresh().then(() => this.draw());
    });
    this.receipts.addEventListener("change", () => {
      this.do({ kind: "setting", key: "read_receipts", value: this.receipts.checked ? "on" : "off", subject: null });
    });
  }

  /** Brings the dialog in step with the account. */
  draw(): void {
    if (!this.dialog.open) return;
    const { readReceipts, devices } = this.model.own;
    this.receipts.disabled = readReceipts === null;
    this.receipts.checked = readReceipts ?? true;
    const state = JSON.stringify(devices);
    if (state === this.drawn) return;
    this.drawn = state;
    const own = this.model.account.device;
    const sorted = [...devices].sort((a, b) => Number(b.device === own) - Number(a.device === own) || a.device - b.device);
    this.list.replaceChildren(...sorted.map((device) => this.item(device, device.device === own)));
  }

  private item({ device, name, namedMs, revokedMs }: Device, own: boolean): HTMLLIElement {
    const called = name === "" ? `Device ${device}` : name;
    const since = revokedMs > 0 ? `Signed out ${new Date(revokedMs).toLocaleDateString()}` : own ? "This device" : `Since ${new Date(namedMs).toLocaleDateString()}`;
    const item = make("li", "device", make("span", "rows", make("span", "name", called), make("span", "hint", since)));
    if (own || revokedMs > 0) return item;
    const revoke = make("button", "quiet danger", "Sign out");
    revoke.type = "button";
    revoke.setAttribute("aria-label", `Sign out ${called}`);
    revoke.addEventListener("click", () => {
      if (confirm(`Sign out “${called}”?`)) this.do({ kind: "revoked", device });
    });
    item.append(revoke);
    return item;
  }

  private do(change: Act): void {
    this.problem.textContent = "";
    this.model.set(change).catch((error: unknown) => {
      this.problem.textContent = wordsOf(error);
      this.draw();
    });
  }
}
