/** Requests: one runs at a time, they survive reconnects. A page is an answer, whoever wants more asks on. */
import { RequestError } from "./types.js";
/** All requests that wait, the running one first. */
export class Asks {
    queue = [];
    nextRequest = 1;
    running = false;
    dueAt = Infinity;
    add(ask, done, failed) {
        const question = { ...ask, request: this.nextRequest++ };
        this.queue.push({ question, done: done, failed });
    }
    /** The next request to write, if none runs. */
    start(dueAt) {
        const first = this.queue[0];
        if (this.running || !first)
            return null;
        this.running = true;
        this.dueAt = dueAt;
        return first.question;
    }
    /** When the running one fails. */
    due() {
        return this.running ? this.dueAt : Infinity;
    }
    /** An answer came, to the running request or to none. */
    answer(answer) {
        const first = this.queue[0];
        if (!this.running || !first || first.question.type !== answer.type || first.question.request !== answer.request)
            return;
        this.drop();
        first.done(answer);
    }
    /** A page came: it answers the running request if it is that request's, or speaks for what that request asks. */
    page(request, page) {
        const first = this.queue[0];
        if (!this.running || first?.question.type !== "history" || first.question.chat !== page.chat)
            return;
        const { afterSeq } = first.question;
        // A long answer comes as several pages: the later ones answer the requests that ask on.
        const fits = page.covers[0] <= afterSeq + 1 && page.covers[1] > afterSeq;
        if (first.question.request !== request && !fits)
            return;
        this.drop();
        if (!fits)
            return first.done({ type: "history", request, page });
        const entries = page.entries.filter((entry) => entry.seq > afterSeq);
        first.done({ type: "history", request, page: { ...page, covers: [afterSeq + 1, page.covers[1]], entries } });
    }
    /** No answer came in time. */
    expire(now) {
        const first = this.queue[0];
        if (!this.running || !first || now < this.dueAt)
            return;
        this.drop();
        first.failed(new RequestError("timeout", `no answer to the ${first.question.type} request came in time`));
    }
    /** An error without an address is taken for the running request's. Returns whether one ran. */
    refuse(refusal) {
        const first = this.queue[0];
        if (!this.running || !first)
            return false;
        this.drop();
        first.failed(new RequestError("refused", `${refusal.code}: ${refusal.text}`, refusal));
        return true;
    }
    /** The connection is gone: the running one is written again on the next. */
    pause() {
        this.running = false;
    }
    /** Nothing will be answered any more. */
    end() {
        this.running = false;
        for (const waiting of this.queue.splice(0))
            waiting.failed(new RequestError("ended", "the client has ended"));
    }
    drop() {
        this.queue.shift();
        this.running = false;
    }
}
