/** What is the user's own: settings of chats, read receipts, devices. Kept in step over all their devices by the account log. */
/** The user's settings, as far as the page knows them. */
export class Own {
    client;
    device;
    /** Whether others are told what this user reads; null until known. */
    readReceipts = null;
    devices = [];
    named = false;
    constructor(client, device) {
        this.client = client;
        this.device = device;
    }
    /** Asks for settings and devices; a device without a name names itself, once. */
    async refresh() {
        const account = await this.client().account().catch(() => null);
        if (!account)
            return;
        this.readReceipts = account.settings.get("read_receipts") !== "off";
        this.devices = account.devices;
        const own = this.devices.find(({ device }) => device === this.device);
        if (this.named || (own && own.name !== ""))
            return;
        this.named = true;
        this.client().nameDevice(this.device, `Web chat on ${browserName(navigator.userAgent)}`).catch(() => (this.named = false));
    }
    /** A setting that is about no chat, or a device, changed. */
    hear(change, timestampMs) {
        if (change.kind === "setting" && change.key === "read_receipts")
            this.readReceipts = change.value !== "off";
        if (change.kind === "device")
            this.put(change.device, { name: change.name, namedMs: timestampMs });
        if (change.kind === "revoked")
            this.put(change.device, { revokedMs: timestampMs });
    }
    put(device, more) {
        const known = this.devices.find((each) => each.device === device) ?? { device, name: "", namedMs: 0, revokedMs: 0 };
        this.devices = [...this.devices.filter((each) => each.device !== device), { ...known, ...more }];
    }
}
/** Takes a setting of a chat. */
export function applySetting(chat, key, value) {
    if (key === "pinned")
        chat.pinned = value === "on";
    if (key === "archived")
        chat.archived = value === "on";
    // Beyond what a number holds exactly is for good.
    if (key === "muted_until")
        chat.mutedUntilMs = Number(value) > Number.MAX_SAFE_INTEGER ? Infinity : Number(value) || 0;
}
/** Whether a chat is quiet now. */
export function isMuted({ mutedUntilMs = 0 }) {
    return mutedUntilMs > Date.now();
}
const BROWSERS = [
    [/Firefox\//, "Firefox"],
    [/Edg\//, "Edge"],
    [/OPR\//, "Opera"],
    [/Chrom(e|ium)\//, "Chrome"],
    [/Safari\//, "Safari"],
];
const SYSTEMS = [
    [/Android/, "Android"],
    [/iPhone|iPad/, "iOS"],
    [/Windows/, "Windows"],
    [/Mac OS X/, "macOS"],
    [/Linux/, "Linux"],
];
/** What a browser is called, from what it says of itself. */
export function browserName(agent) {
    const of = (names) => names.find(([sign]) => sign.test(agent))?.[1];
    const [browser, system] = [of(BROWSERS) ?? "a browser", of(SYSTEMS)];
    return system ? `${browser}, ${system}` : browser;
}
