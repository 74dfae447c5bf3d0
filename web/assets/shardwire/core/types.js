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
    /**
     * `outbox_full`, `invalid_id`, `duplicate_id`, `too_large`, `no_identity`, `invalid_target`, `invalid_user`, `invalid_name`,
     * `invalid_message`, `invalid_reaction`, `invalid_timer`, `invalid_setting`, `invalid_device` or `ended`.
     */
    code;
    constructor(code, message) {
        super(message);
        this.name = "SendError";
        this.code = code;
    }
}
/** A request failed. */
export class RequestError extends Error {
    /** `refused`, `timeout` or `ended`. */
    code;
    /** The server's answer, if it was `refused`. */
    refusal;
    constructor(code, message, refusal = null) {
        super(message);
        this.name = "RequestError";
        this.code = code;
        this.refusal = refusal;
    }
}
/** What was to be done will never be; or, with `ended`, the client ended before it knew: it stays in its store. */
export class ChangeError extends Error {
    /** The refusal's code, `too_large`, `expired` or `ended`. */
    code;
    constructor(code, message) {
        super(message);
        this.name = "ChangeError";
        this.code = code;
    }
}
