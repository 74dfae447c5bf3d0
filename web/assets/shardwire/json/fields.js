/** Fields of JSON events: of the right type, or the event is no event of the protocol. */
import { fromBase64, isSeq, isUser, isUuid, utf8 } from "../bytes.js";
import { BadFrame } from "../wire.js";
/** Throws {@link BadFrame}. */
export function wrong(name) {
    throw new BadFrame("fields", `${name} is missing or of the wrong type`);
}
/** A text. */
export function text(fields, name) {
    const value = fields[name];
    return typeof value === "string" ? value : wrong(name);
}
/** A UUID. */
export function uuid(fields, name) {
    const value = fields[name];
    return isUuid(value) ? value : wrong(name);
}
/** A user id. */
export function user(fields, name) {
    const value = fields[name];
    return isUser(value) ? value : wrong(name);
}
/** Whether this stands for nobody: nothing, or the user 0. */
export function isNobody(value) {
    return value === undefined || value === null || value === "0";
}
/** What a member may do. */
export function role(fields) {
    const value = fields["role"];
    return value === "member" || value === "admin" ? value : wrong("role");
}
/** A list of objects. */
export function list(fields, name) {
    const value = fields[name];
    const objects = Array.isArray(value) && value.every((each) => typeof each === "object" && each !== null);
    return objects ? value : wrong(name);
}
/** User ids; none where the field is left out. */
export function users(fields, name) {
    const value = fields[name] ?? [];
    return Array.isArray(value) && value.every(isUser) ? value : wrong(name);
}
/** UUIDs; none where the field is left out. */
export function uuids(fields, name) {
    const value = fields[name] ?? [];
    return Array.isArray(value) && value.every(isUuid) ? value : wrong(name);
}
/** A number that is 0 where it is left out. */
export function count(fields, name) {
    return fields[name] === undefined ? 0 : number(fields, name);
}
/** A whole number, 0 or more. */
export function number(fields, name) {
    const value = fields[name];
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : wrong(name);
}
/** A seq: 1 or more. */
export function seq(fields, name) {
    const value = fields[name];
    return isSeq(value) ? value : wrong(name);
}
/** A range that does not end before it begins. */
export function range(first, last) {
    return first <= last ? { first, last } : wrong("last_seq");
}
/** Bytes, as text or as base64; none where both are left out. */
export function octets(fields, name) {
    const base64 = fields[`${name}_base64`];
    if (typeof base64 === "string")
        return fromBase64(base64);
    return fields[name] === undefined ? new Uint8Array() : utf8(text(fields, name));
}
/** Wall time, ms since 1970. */
export function time(fields, name) {
    const ms = Date.parse(text(fields, name));
    return Number.isNaN(ms) ? wrong(name) : ms;
}
/** A time that is 0 where it is left out or null. */
export function sometime(fields, name) {
    const value = fields[name];
    return value === undefined || value === null ? 0 : time(fields, name);
}
