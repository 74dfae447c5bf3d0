/** Ends that the server has no words for. */
import { ERRORS } from "../generated/errors.js";
/** What a close says by its code where no error came before it. */
export function refusalOfClose(code) {
    const names = { 1001: "going_away", 1011: "internal", 1013: "overloaded", 4401: "unauthenticated", 4409: "session_replaced" };
    const row = ERRORS.find((error) => error.name === names[code ?? 0]);
    return row ? { code: row.name, retry: row.retry, retryAfterMs: row.retryAfterMs, text: row.text } : null;
}
/** What an expired token that is given again comes to. */
export function expired() {
    const row = ERRORS.find((error) => error.name === "token_expired");
    return { code: "token_expired", retry: "never", retryAfterMs: 0, text: row?.text ?? "the token has expired" };
}
