/** Promises of the outcomes of group changes. The events tell the same, also to a client that was started later. */
import { ChangeError } from "./types.js";
/** Those who wait, by client_msg_id. */
export class Outcomes {
    waiting = new Map();
    /** The outcome of a change that was taken. A rejection that nobody waits for is no unhandled one: it is told as an event too. */
    of(clientMsgId) {
        const outcome = new Promise((done, failed) => this.waiting.set(clientMsgId, { done, failed }));
        outcome.catch(() => { });
        return outcome;
    }
    /** Something happened that may be an outcome. */
    hear(event) {
        if (event.type === "ended")
            return this.end();
        if (event.type !== "sent" && event.type !== "failed")
            return;
        const waiting = this.waiting.get(event.clientMsgId);
        this.waiting.delete(event.clientMsgId);
        if (event.type === "sent")
            waiting?.done(event);
        else
            waiting?.failed(errorOf(event.failure));
    }
    end() {
        for (const { failed } of this.waiting.values())
            failed(new ChangeError("ended", "the client has ended; the change stays in its store"));
        this.waiting.clear();
    }
}
function errorOf(failure) {
    if (failure.why === "refused")
        return new ChangeError(failure.refusal.code, failure.refusal.text);
    if (failure.why === "too_large")
        return new ChangeError("too_large", `the change does not fit a frame of ${failure.limitBytes} bytes`);
    return new ChangeError("expired", "the change waited too long to be sent again safely; it may or may not have been stored");
}
