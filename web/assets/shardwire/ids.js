/** Ids that a client makes itself. */
import { isUser, utf8, uuidText } from "./bytes.js";
import { sha256 } from "./sha256.js";
/**
 * The id of the direct chat of two users: the same from both sides, known without a call (docs/PROTOCOL.md).
 * Throws TypeError when one is no user id.
 */
export function directChat(user, other) {
    for (const id of [user, other]) {
        if (!isUser(id))
            throw new TypeError(`"${id}" is no user id: a decimal number from 1 to 18446744073709551615`);
    }
    const [a, b] = [BigInt(user), BigInt(other)];
    return ofTwo(1, a < b ? a : b, a < b ? b : a);
}
/** The id of a user's account log. Throws TypeError when it is no user id. */
export function accountChat(user) {
    if (!isUser(user))
        throw new TypeError(`"${user}" is no user id: a decimal number from 1 to 18446744073709551615`);
    return ofTwo(2, BigInt(user), BigInt(user));
}
/**
 * The id of the group that a user makes under this client_msg_id, known before it is made (docs/PROTOCOL.md).
 * Throws TypeError when the creator is no user id.
 */
export function groupChat(creator, clientMsgId) {
    if (!isUser(creator))
        throw new TypeError(`"${creator}" is no user id: a decimal number from 1 to 18446744073709551615`);
    const id = utf8(clientMsgId);
    const input = new Uint8Array(9 + id.length);
    input[0] = 3;
    new DataView(input.buffer).setBigUint64(1, BigInt(creator));
    input.set(id, 9);
    return derived(input);
}
function ofTwo(kind, a, b) {
    const input = new DataView(new ArrayBuffer(17));
    input.setUint8(0, kind);
    input.setBigUint64(1, a);
    input.setBigUint64(9, b);
    return derived(new Uint8Array(input.buffer));
}
/** A UUIDv8 of the first 16 bytes of a SHA-256. */
function derived(input) {
    const id = sha256(input).slice(0, 16);
    id[6] = (id[6] & 0x0f) | 0x80;
    id[8] = (id[8] & 0x3f) | 0x80;
    return uuidText(id);
}
/** A client_msg_id: 128 random bits as 32 hex digits. */
export function newClientMsgId() {
    return uuidText(crypto.getRandomValues(new Uint8Array(16))).replaceAll("-", "");
}
