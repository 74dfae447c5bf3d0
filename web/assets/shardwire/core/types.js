/** What a core is told, what it wants done, and what the application hears. */
export const DEFAULTS = {
    agent: "shardwire-typescript/0.1.0",
    outboxSends: 10_000,
    outboxBytes: 16 << 20,
    sendExpiryMs: 23 * 60 * 60 * 1000,
    backoffMs: [200, 30_000],
    answerTimeoutMs: 10_000,
    heldEntries: 64,
};
/** A send was not taken. */
export class SendError extends Error {
    /** `outbox_full`, `invalid_id`, `duplicate_id`, `too_large`, `no_identity`, `invalid_target` or `ended`. */
    code;
    constructor(code, message) {
        super(message);
        this.name = "SendError";
        this.code = code;
    }
}
/** A history request failed. */
export class HistoryError extends Error {
    /** `refused`, `timeout` or `ended`. */
    code;
    constructor(code, message) {
        super(message);
        this.name = "HistoryError";
        this.code = code;
    }
}
