/** Why things ended, in words. */

import type { Status } from "./states.js";
import type { End, Failure } from "./shardwire/index.js";

/** Why a text was not sent. */
export function failureText(failure: Failure): string {
  if (failure.why === "refused") return failure.refusal.text;
  return failure.why === "too_large" ? "it is too long" : "it waited too long to be sent safely";
}

/** How the page stands when its client has ended. */
export function endOf(end: End): Status {
  if (end.why === "server" && end.refusal.code === "session_replaced") {
    return { state: "ended", text: "This chat is open in another place.", again: true };
  }
  if (end.why === "server") return { state: "ended", text: `The server ended the session: ${end.refusal.text}.`, again: false };
  if (end.why === "wrong_identity") return { state: "ended", text: "The token is another user's.", again: false };
  if (end.why === "application") return { state: "ended", text: "This browser could not store messages.", again: true };
  return { state: "ended", text: "Signed out.", again: false };
}
