/** Two dialogs: what the user sets for a chat, and what for themselves. */
import { by, make } from "./dom.js";
import { isAdmin, titleOf } from "./groups.js";
import { isMuted } from "./own.js";
import { wordsOf } from "./starting.js";
import { duration } from "./words.js";
const TIMERS_S = [0, 60, 3600, 86_400, 7 * 86_400, 90 * 86_400];
const EIGHT_HOURS_MS = 8 * 3_600_000;
const FOR_GOOD = "18446744073709551615";
/** The open chat's options. */
export class Options {
    model;
    dialog = by("options", HTMLDialogElement);
    timer = by("timer", HTMLSelectElement);
    problem = by("options-problem", HTMLElement);
    constructor(model) {
        this.model = model;
        by("options-open", HTMLButtonElement).addEventListener("click", () => {
            this.problem.textContent = "";
            this.dialog.showModal();
            this.draw();
        });
        this.check("pin", "pinned");
        this.check("archive", "archived");
        by("mute", HTMLSelectElement).addEventListener("change", (event) => {
            const { value } = event.currentTarget;
            const until = value === "on" ? FOR_GOOD : value === "8" ? String(Date.now() + EIGHT_HOURS_MS) : "0";
            this.set("muted_until", until);
        });
        this.timer.addEventListener("change", () => this.do(this.model.change({ kind: "timer", ttlS: Number(this.timer.value) })));
    }
    /** Brings the dialog in step with the open chat. */
    draw() {
        const chat = this.model.open === null ? undefined : this.model.chats.get(this.model.open);
        if (!this.dialog.open || !chat)
            return;
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
    check(id, key) {
        by(id, HTMLInputElement).addEventListener("change", (event) => this.set(key, event.currentTarget.checked ? "on" : "off"));
    }
    set(key, value) {
        if (this.model.open !== null)
            this.do(this.model.set({ kind: "setting", key, value, subject: this.model.open }));
    }
    do(doing) {
        this.problem.textContent = "";
        doing.catch((error) => {
            this.problem.textContent = wordsOf(error);
            this.draw();
        });
    }
}
/** The user's own settings and devices. */
export class Settings {
    model;
    dialog = by("settings", HTMLDialogElement);
    receipts = by("receipts", HTMLInputElement);
    list = by("devices", HTMLUListElement);
    problem = by("settings-problem", HTMLElement);
    drawn = "";
    constructor(model) {
        this.model = model;
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
    draw() {
        if (!this.dialog.open)
            return;
        const { readReceipts, devices } = this.model.own;
        this.receipts.disabled = readReceipts === null;
        this.receipts.checked = readReceipts ?? true;
        const state = JSON.stringify(devices);
        if (state === this.drawn)
            return;
        this.drawn = state;
        const own = this.model.account.device;
        const sorted = [...devices].sort((a, b) => Number(b.device === own) - Number(a.device === own) || a.device - b.device);
        this.list.replaceChildren(...sorted.map((device) => this.item(device, device.device === own)));
    }
    item({ device, name, namedMs, revokedMs }, own) {
        const called = name === "" ? `Device ${device}` : name;
        const since = revokedMs > 0 ? `Signed out ${new Date(revokedMs).toLocaleDateString()}` : own ? "This device" : `Since ${new Date(namedMs).toLocaleDateString()}`;
        const item = make("li", "device", make("span", "rows", make("span", "name", called), make("span", "hint", since)));
        if (own || revokedMs > 0)
            return item;
        const revoke = make("button", "quiet danger", "Sign out");
        revoke.type = "button";
        revoke.setAttribute("aria-label", `Sign out ${called}`);
        revoke.addEventListener("click", () => {
            if (confirm(`Sign out “${called}”?`))
                this.do({ kind: "revoked", device });
        });
        item.append(revoke);
        return item;
    }
    do(change) {
        this.problem.textContent = "";
        this.model.set(change).catch((error) => {
            this.problem.textContent = wordsOf(error);
            this.draw();
        });
    }
}
