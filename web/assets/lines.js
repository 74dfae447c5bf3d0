/** What the conversation shows, line by line. */
import { readers, sentence } from "./groups.js";
const PLAIN = { unsent: null, change: null, readers: null, replyTo: null, mentions: [], forwarded: 0, edited: false, deleted: false, reactions: [], crossed: false };
/** The open conversation's lines. `named`: own messages whose readers are named. */
export function linesOf(model, named) {
    const { user } = model.account;
    let ownSeq = 0;
    const line = (shown) => {
        const { message, now } = shown;
        const mine = message.sender === user;
        const crossed = !mine && (message.afterSeq ?? 0) > 0 && (message.afterSeq ?? 0) < ownSeq;
        if (mine && now)
            ownSeq = message.seq;
        const status = model.group && mine ? model.statuses.get(message.message) : undefined;
        return {
            ...PLAIN,
            key: message.clientMsgId ?? message.message,
            text: now?.text ?? message.text,
            mine,
            sender: message.sender,
            timestampMs: message.timestampMs,
            progress: model.progress(message),
            message,
            change: now ? null : sentence(message, user),
            readers: status ? readers(status, named.has(message.message)) : null,
            replyTo: message.refersTo ?? null,
            mentions: now?.mentions ?? [],
            forwarded: message.forwarded ?? 0,
            edited: (now?.editedMs ?? 0) > 0,
            deleted: (now?.deletedMs ?? 0) > 0,
            reactions: grouped(now?.reactions ?? new Map()),
            crossed,
        };
    };
    const waiting = (unsent) => ({
        ...PLAIN,
        key: unsent.clientMsgId,
        text: unsent.text,
        mine: true,
        sender: user,
        timestampMs: unsent.createdMs,
        progress: unsent.problem === null ? "waiting" : "failed",
        unsent,
        message: null,
        replyTo: unsent.extras?.replyTo ?? null,
        mentions: unsent.extras?.mentions ?? [],
        forwarded: unsent.extras?.forwarded ?? 0,
    });
    return [...model.shown().map(line), ...model.pending().map(waiting)];
}
function grouped(reactions) {
    const users = new Map();
    for (const [user, reaction] of reactions)
        users.set(reaction, [...(users.get(reaction) ?? []), user]);
    return [...users].sort(([a], [b]) => (a < b ? -1 : 1));
}
