/** Text, base64, UUIDs and seqs: the small parts of both codecs. */
import { BadFrame } from "./wire.js";
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const USER = /^[1-9][0-9]{0,19}$/;
const USER_MAX = 0xffffffffffffffffn;
const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** The UTF-8 of a text. */
export function utf8(text) {
    return encoder.encode(text);
}
/** The text of bytes, or null when they are not UTF-8. */
export function textOf(bytes) {
    try {
        return strict.decode(bytes);
    }
    catch {
        return null;
    }
}
/** Whether this is a hyphenated UUID in lower case. */
export function isUuid(text) {
    return typeof text === "string" && UUID.test(text);
}
/** Whether this is a user id: a decimal number from 1 to 2⁶⁴−1, as text. */
export function isUser(text) {
    return typeof text === "string" && USER.test(text) && BigInt(text) <= USER_MAX;
}
/** Whether this is a seq that a number holds exactly. */
export function isSeq(value) {
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 1;
}
/** A 64-bit number as a JavaScript number; above 2⁵³−1 it is refused rather than rounded. */
export function safe(value, what) {
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
        throw new BadFrame("fields", `${what} ${value} is above 2^53-1`);
    return Number(value);
}
/** 16 bytes as a hyphenated UUID. */
export function uuidText(bytes) {
    let hex = "";
    for (let n = 0; n < 16; n++)
        hex += bytes[n].toString(16).padStart(2, "0");
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
/** The 16 bytes of a hyphenated UUID. */
export function uuidBytes(text) {
    if (!isUuid(text))
        throw new TypeError(`"${text}" is not a hyphenated UUID in lower case`);
    const hex = text.replaceAll("-", "");
    return Array.from({ length: 16 }, (_, n) => Number.parseInt(hex.slice(2 * n, 2 * n + 2), 16));
}
/** Standard base64 with padding. */
export function toBase64(bytes) {
    let binary = "";
    for (let at = 0; at < bytes.length; at += 0x8000)
        binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    return btoa(binary);
}
/** The bytes of standard base64; throws {@link BadFrame} when it is not. */
export function fromBase64(text) {
    try {
        return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    }
    catch {
        throw new BadFrame("fields", "not base64");
    }
}
