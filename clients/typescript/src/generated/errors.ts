// @generated from schema/errors.toml by `cargo xtask schema`; do not edit.

import type { Retry } from "../wire.js";

/** One row of the error table. */
export interface ErrorRow {
  readonly code: number;
  readonly name: string;
  readonly retry: Retry;
  readonly scope: "request" | "session" | "host";
  readonly retryAfterMs: number;
  readonly close: number;
  readonly text: string;
}

/** Every row, in the order of the table: a code is its row's place, from 1. */
export const ERRORS: readonly ErrorRow[] = [
  { code: 1, name: "malformed_frame", retry: "never", scope: "session", retryAfterMs: 0, close: 1002, text: "the frame is malformed" },
  { code: 2, name: "frame_too_large", retry: "never", scope: "session", retryAfterMs: 0, close: 1009, text: "the frame exceeds the frame limit" },
  { code: 3, name: "unsupported", retry: "never", scope: "request", retryAfterMs: 0, close: 1003, text: "this type of event is not supported here" },
  { code: 4, name: "unsupported_version", retry: "never", scope: "session", retryAfterMs: 0, close: 1002, text: "no common protocol version" },
  { code: 5, name: "unauthenticated", retry: "never", scope: "session", retryAfterMs: 0, close: 4401, text: "authenticate first" },
  { code: 6, name: "bad_token", retry: "never", scope: "session", retryAfterMs: 0, close: 4401, text: "the token is not valid" },
  { code: 7, name: "token_expired", retry: "after_reconnect", scope: "session", retryAfterMs: 0, close: 4401, text: "the token has expired; come back with a new one" },
  { code: 8, name: "auth_timeout", retry: "after_reconnect", scope: "session", retryAfterMs: 0, close: 4408, text: "no authentication came in time" },
  { code: 9, name: "invalid_field", retry: "never", scope: "request", retryAfterMs: 0, close: 1007, text: "a field is missing or invalid" },
  { code: 10, name: "invalid_user", retry: "never", scope: "request", retryAfterMs: 0, close: 1007, text: "a user id is a decimal number from 1 to 18446744073709551615" },
  { code: 11, name: "invalid_client_msg_id", retry: "never", scope: "request", retryAfterMs: 0, close: 1007, text: "a client_msg_id has 1 to 64 bytes" },
  { code: 12, name: "chat_id_required", retry: "never", scope: "request", retryAfterMs: 0, close: 1007, text: "this message is not among the last 64 pushed here: name its chat_id" },
  { code: 13, name: "unknown_chat", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "there is no such chat for this user" },
  { code: 14, name: "unknown_message", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "there is no such message in this chat" },
  { code: 15, name: "forbidden", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "not allowed" },
  { code: 16, name: "rate_limited", retry: "backoff", scope: "request", retryAfterMs: 1000, close: 1013, text: "too many sends; slow down" },
  { code: 17, name: "window_exceeded", retry: "backoff", scope: "request", retryAfterMs: 100, close: 1013, text: "more sends are unanswered than the window allows" },
  { code: 18, name: "overloaded", retry: "backoff", scope: "host", retryAfterMs: 1000, close: 1013, text: "the server is overloaded" },
  { code: 19, name: "after_refused", retry: "backoff", scope: "request", retryAfterMs: 0, close: 1008, text: "an earlier send to this chat was refused; send that one again first" },
  { code: 20, name: "storage_unavailable", retry: "backoff", scope: "host", retryAfterMs: 1000, close: 1013, text: "messages cannot be stored at the moment" },
  { code: 21, name: "clock_behind", retry: "backoff", scope: "host", retryAfterMs: 5000, close: 1013, text: "the server's clock is wrong" },
  { code: 22, name: "idle_timeout", retry: "after_reconnect", scope: "session", retryAfterMs: 0, close: 4408, text: "nothing came for longer than the idle timeout" },
  { code: 23, name: "session_replaced", retry: "never", scope: "session", retryAfterMs: 0, close: 4409, text: "a newer session of this device took over" },
  { code: 24, name: "going_away", retry: "after_reconnect", scope: "session", retryAfterMs: 1000, close: 1001, text: "the server is going away; come back" },
  { code: 25, name: "too_many_connections", retry: "backoff", scope: "session", retryAfterMs: 5000, close: 1013, text: "this server holds as many connections as it may" },
  { code: 26, name: "bad_upgrade", retry: "never", scope: "session", retryAfterMs: 0, close: 1002, text: "this is not a WebSocket upgrade for /ws" },
  { code: 27, name: "foreign_origin", retry: "never", scope: "session", retryAfterMs: 0, close: 1008, text: "Host or Origin is not one of this server's" },
  { code: 28, name: "internal", retry: "backoff", scope: "session", retryAfterMs: 1000, close: 1011, text: "an internal error" },
  { code: 29, name: "token_revoked", retry: "never", scope: "session", retryAfterMs: 0, close: 4401, text: "the token has been revoked" },
  { code: 30, name: "not_a_member", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "this user is not a member of the group" },
  { code: 31, name: "not_an_admin", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "only an admin of the group may do this" },
  { code: 32, name: "too_many_members", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "the group would have more members than allowed" },
  { code: 33, name: "unknown_member", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "a user named is not a member of the group" },
  { code: 34, name: "invalid_name", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "a group's name has 1 to 256 bytes of UTF-8" },
  { code: 35, name: "no_change", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "that is so already" },
  { code: 36, name: "not_the_sender", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "only the sender may change this message; in a group an admin may delete it" },
  { code: 37, name: "too_late", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "the time in which this message could be changed has passed" },
  { code: 38, name: "message_deleted", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "the message is deleted" },
  { code: 39, name: "invalid_reaction", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "a reaction has 1 to 64 bytes of UTF-8" },
  { code: 40, name: "invalid_timer", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "messages disappear after 5 to 31536000 seconds, or never: 0" },
  { code: 41, name: "invalid_setting", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "there is no such setting, or not with this value" },
  { code: 42, name: "account_full", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "the account holds as many settings, devices or hidden messages of a chat as it may" },
  { code: 43, name: "mark_beyond_head", retry: "never", scope: "request", retryAfterMs: 0, close: 1008, text: "the chat has no such entry yet; all that it has is marked" },
  { code: 44, name: "wrong_identity", retry: "never", scope: "session", retryAfterMs: 0, close: 4401, text: "the token is another user's or device's than the client says" },
];
