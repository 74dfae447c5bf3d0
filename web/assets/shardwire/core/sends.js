/** Sends: taken, written in order per chat within what the server grants, answered, written again. */
import { isUser, isUuid, utf8 } from "../bytes.js";
import { directChat } from "../ids.js";
import { BadFrame } from "../wire.js";
import { checkExtras, isOwn } from "./acts.js";
import { bytesOf, Outbox, Pace } from "./outbox.js";
import { SendError } from "./types.js";
/** What a send needs beside its body and id, at most, bytes; JSON's escapes are counted when it is written. */
const SEND_OVERHEAD_BYTES = 192;
const CLIENT_MSG_ID_BYTES = 64;
/** All sends without outcome, and the rules by which they go. */
export class Sends {
    sender;
    config;
    codec;
    env;
    outbox = new Outbox();
    pace = new Pace();
    order = 0;
    lastAnswer = 0;
    pausedUntil = 0;
    constructor(sender, config, codec, env, restored) {
        this.sender = sender;
        this.config = config;
        this.codec = codec;
        this.env = env;
        for (const send of restored) {
            this.outbox.add(send, true);
            this.order = Math.max(this.order, send.order);
        }
    }
    /** Sends without outcome. */
    get size() {
        return this.outbox.size;
    }
    /** Chats with sends without outcome. */
    chats() {
        return new Set([...this.outbox.all()].map((pending) => pending.send.chat));
    }
    /** Takes a send. Returns its chat; throws {@link SendError}. */
    take(send, me, grant, cursor) {
        const chat = chatOf(send, me);
        this.check(send, grant.frameLimitBytes);
        const { clientMsgId, target, body, change, extras } = send;
        const createdMs = this.env.wall();
        const queued = { clientMsgId, chat, target, body, afterSeq: cursor(chat), createdMs, order: ++this.order };
        const stored = { ...queued, ...(change && { change }), ...(extras && { extras }) };
        this.sender.persist({ type: "queued", send: stored });
        this.outbox.add(stored, false);
        return chat;
    }
    /** Whether this is an own send whose outcome is still to come: it needs no handing over. */
    isOwnPending(entry, me) {
        if (entry.clientMsgId === null || entry.sender !== me?.user)
            return false;
        return this.outbox.get(entry.clientMsgId)?.send.chat === entry.chat;
    }
    /** A session stands: too old sends fail. */
    resume(grant) {
        this.pace.grant(grant.sendsPerSecond, grant.burst);
        const oldest = this.env.wall() - this.config.sendExpiryMs;
        for (const pending of [...this.outbox.all()]) {
            if (pending.retry && pending.send.createdMs < oldest)
                this.fail(pending, { why: "expired" });
        }
    }
    /** The connection is gone: nothing flies, nothing is blocked. */
    lost() {
        this.outbox.rewindAll();
    }
    /** Ends the waits that are over. */
    tick(now) {
        this.outbox.release(now);
    }
    /** When {@link tick} or {@link pump} has something to do, ms. */
    due(grant) {
        const waits = this.outbox.due();
        if (this.outbox.flying >= grant.window || !this.outbox.next())
            return waits;
        return Math.min(waits, Math.max(this.pausedUntil, this.pace.readyAt()));
    }
    /** Whether the server has owed an answer for so long. */
    isOwed(now, forMs) {
        return this.outbox.flying > 0 && now > this.lastAnswer + forMs;
    }
    /** Writes sends while the window and the rate allow, chats in turn. */
    pump(grant) {
        for (;;) {
            const now = this.env.mono();
            if (this.outbox.flying >= grant.window || now < Math.max(this.pausedUntil, this.pace.readyAt()))
                return;
            const pending = this.outbox.next();
            if (!pending)
                return;
            const { clientMsgId, target, body, change, extras, afterSeq } = pending.send;
            const frame = { type: "send", clientMsgId, target, body, afterSeq, retry: pending.retry };
            const data = this.codec.encode({ ...frame, ...(change && { change }), ...(extras && { extras }) });
            if ((typeof data === "string" ? utf8(data) : data).length > grant.frameLimitBytes) {
                // Writing it would end the session for good.
                this.fail(pending, { why: "too_large", limitBytes: grant.frameLimitBytes });
                continue;
            }
            if (this.outbox.flying === 0)
                this.lastAnswer = now;
            this.outbox.written(pending);
            this.pace.spend(now);
            this.sender.write(data);
        }
    }
    /** A send is durable at the server. */
    sent(frame) {
        const pending = this.answered(frame.clientMsgId);
        if (!pending)
            return;
        if (pending.send.chat !== frame.chat)
            throw new BadFrame("fields", "an ack of another chat than was sent to");
        this.outbox.settle(pending, true);
        // The event first: a crash between the two tells the outcome again rather than never.
        const { change = null, extras = null, body, afterSeq } = pending.send;
        this.sender.tell({ ...frame, change, body, extras, afterSeq });
        if (change && isOwn(change))
            this.sender.tell({ type: "account", change, seq: frame.seq, timestampMs: frame.timestampMs });
        this.sender.persist({ type: "settled", clientMsgId: frame.clientMsgId });
        this.sender.own(frame.chat, frame.seq);
        this.plan(frame.chat);
    }
    /** The server keeps a send in its spool. */
    spooled(clientMsgId) {
        const pending = this.answered(clientMsgId);
        if (!pending)
            return;
        this.outbox.spooled(pending);
        this.sender.tell({ type: "spooled", clientMsgId });
        this.plan(pending.send.chat);
    }
    /** A send was refused. */
    refused(refusal, clientMsgId) {
        const pending = this.answered(clientMsgId);
        if (!pending)
            return;
        if (refusal.retry === "never")
            return this.fail(pending, { why: "refused", refusal });
        if (refusal.code === "rate_limited" || refusal.code === "window_exceeded") {
            // These concern every chat of the session.
            const until = this.env.mono() + Math.min(refusal.retryAfterMs, this.config.backoffMs[1]);
            this.pausedUntil = Math.max(this.pausedUntil, until);
        }
        this.outbox.refuse(pending, refusal.retryAfterMs, refusal.retry === "same");
        this.sender.tell({ type: "postponed", clientMsgId, refusal });
        this.plan(pending.send.chat);
    }
    check(send, limit) {
        const { clientMsgId } = send;
        const idBytes = utf8(clientMsgId).length;
        if (idBytes < 1 || idBytes > CLIENT_MSG_ID_BYTES) {
            throw new SendError("invalid_id", `a client_msg_id has 1 to 64 bytes, not ${idBytes}`);
        }
        if (send.extras)
            checkExtras(send.extras);
        if (this.outbox.get(clientMsgId))
            throw new SendError("duplicate_id", "a send with this client_msg_id waits already");
        const bytes = bytesOf(send);
        if (bytes + idBytes + SEND_OVERHEAD_BYTES > limit) {
            throw new SendError("too_large", `a body of ${bytes} bytes does not fit a frame of ${limit} bytes`);
        }
        if (this.outbox.size >= this.config.outboxSends || this.outbox.bytes + bytes > this.config.outboxBytes) {
            throw new SendError("outbox_full", `the outbox is full (${this.outbox.size} sends, ${this.outbox.bytes} bytes wait)`);
        }
    }
    answered(clientMsgId) {
        this.lastAnswer = this.env.mono();
        return this.outbox.get(clientMsgId);
    }
    fail(pending, failure) {
        const { clientMsgId, chat } = pending.send;
        this.outbox.settle(pending, false);
        this.sender.tell({ type: "failed", clientMsgId, chat, failure });
        this.sender.persist({ type: "settled", clientMsgId });
        this.plan(chat);
    }
    plan(chat) {
        const longest = this.config.backoffMs[1];
        this.outbox.plan(chat, this.env.mono(), (attempt, asked) => this.sender.backoff(attempt, Math.min(asked, longest)));
    }
}
function chatOf({ target }, me) {
    if ("chat" in target) {
        if (!isUuid(target.chat))
            throw new SendError("invalid_target", "chat must be a hyphenated UUID");
        return target.chat;
    }
    if (!isUser(target.to))
        throw new SendError("invalid_target", "to must be a user id: a decimal number above 0");
    if (me)
        return directChat(me.user, target.to);
    throw new SendError("no_identity", "the own user id is not known before the first session: send by chat, or give `identity`");
}
