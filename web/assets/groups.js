/** Groups as the page knows them: their members, how far these are, and changes in words. */
import { nameOf } from "./dom.js";
import { duration } from "./words.js";
/** A group of which nothing is known yet. */
export function newGroup() {
    return { name: "", members: [], present: true, known: false, marks: {} };
}
/** Takes what the server says of a group, page by page. */
export function learn(group, pages) {
    const [first] = pages;
    if (!first)
        return;
    group.name = first.name;
    group.present = first.present;
    group.members = pages.flatMap((page) => page.members.map(({ user, role }) => ({ user, role })));
    for (const { user, deliveredSeq, readSeq } of pages.flatMap((page) => page.members))
        raise(group, user, deliveredSeq, readSeq);
}
/** Every page of a chat's members. */
export async function everyPage(ask) {
    const pages = [await ask(null)];
    for (let next = pages[0]?.nextUser; next; next = pages.at(-1)?.nextUser)
        pages.push(await ask(next));
    return pages;
}
/** Notes how far another user is in a chat. Never lowers. */
export function advance(chat, user, delivered, read) {
    if (chat.group)
        return raise(chat.group, user, delivered, read);
    chat.delivered = Math.max(chat.delivered, delivered);
    chat.read = Math.max(chat.read, read);
}
function raise(group, user, delivered, read) {
    const marks = (group.marks[user] ??= { delivered: 0, read: 0 });
    marks.delivered = Math.max(marks.delivered, delivered, read);
    marks.read = Math.max(marks.read, read);
}
/** Takes a change as far as it says all; what the members are now is asked for. */
export function apply(group, message, me) {
    const { change, text, sender } = message;
    if (!change)
        return;
    if (text !== "")
        group.name = text;
    group.known = false;
    const concerned = change.users.includes(me);
    if (change.kind === "created" || (change.kind === "added" && concerned))
        group.present = true;
    if ((change.kind === "removed" && concerned) || (change.kind === "left" && sender === me))
        group.present = false;
}
/** How far an own message is: as far as the member who is least far. */
export function progressIn(group, seq, me) {
    const others = group.members.filter(({ user }) => user !== me).map(({ user }) => group.marks[user] ?? { delivered: 0, read: 0 });
    if (others.length === 0)
        return "sent";
    if (others.every((marks) => marks.read >= seq))
        return "read";
    return others.every((marks) => marks.delivered >= seq) ? "delivered" : "sent";
}
/** Whether this user may change the group. */
export function isAdmin(group, user) {
    return group.present && group.members.some((member) => member.user === user && member.role === "admin");
}
/** What a chat is called. */
export function titleOf(chat) {
    return chat.group ? chat.group.name || "Group" : nameOf(chat.peer);
}
/** A change as a sentence, as this user reads it. */
export function sentence({ change, sender, text, kind, ttlS = 0 }, me) {
    const who = (user) => (user === me ? "You" : nameOf(user));
    const whom = (users) => listed(users.map((user) => (user === me ? "you" : nameOf(user))));
    const by = who(sender);
    if (kind === "timer")
        return ttlS > 0 ? `${by} let messages disappear after ${duration(ttlS)}` : `${by} let messages stay`;
    const users = change?.users ?? [];
    switch (change?.kind) {
        case "created": {
            const others = users.filter((user) => user !== sender);
            return `${by} made the group “${text}”${others.length > 0 ? ` with ${whom(others)}` : ""}`;
        }
        case "added":
            return `${by} added ${whom(users)}`;
        case "removed":
            return `${by} removed ${whom(users)}`;
        case "left":
            return `${by} left`;
        case "role":
            return change.role === "admin" ? `${by} made ${whom(users)} admin` : `${by} took ${whom(users)} off the admins`;
        default:
            return `${by} named the group “${text}”`;
    }
}
/** Who has a message, in a few words or with everybody's name. */
export function readers({ members, read, total }, whole) {
    const few = `Read by ${read} of ${total}`;
    if (!whole)
        return few;
    const of = (status) => members.filter((member) => member.status === status).map(({ user }) => nameOf(user));
    const parts = [[of("read"), "Read by"], [of("delivered"), "Delivered to"], [of("pending"), "Waiting for"]];
    return parts.filter(([users]) => users.length > 0).map(([users, words]) => `${words} ${listed(users)}`).join(". ") || few;
}
/** How many of a list are named. */
const NAMED = 6;
function listed(names) {
    if (names.length > NAMED)
        return `${names.slice(0, NAMED).join(", ")} and ${names.length - NAMED} more`;
    return names.length < 2 ? (names[0] ?? "nobody") : `${names.slice(0, -1).join(", ")} and ${names.at(-1) ?? ""}`;
}
