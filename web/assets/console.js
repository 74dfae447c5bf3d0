/** The operators' page: asks the server once a second how it is, and draws it. */
import { ApiError, ask, info } from "./api.js";
import { bars, brief, duration, lines, spark } from "./chart.js";
import { by, make } from "./dom.js";
import { over, Past, quantile } from "./numbers.js";
const KEY = "shardwire.operator";
const EVERY_MS = 1_000;
/** How much is drawn over time, s. */
const SPAN_S = 120;
/** What the latency's figures cover, s. */
const LATENCY_S = 60;
/** The token was not good enough: another is needed. */
class Refused extends Error {
}
async function main() {
    for (let problem = "";;) {
        const token = sessionStorage.getItem(KEY) ?? (await enter(problem));
        try {
            await watch(token);
        }
        catch (error) {
            sessionStorage.removeItem(KEY);
            problem = error instanceof Error ? error.message : String(error);
        }
    }
}
/** Asks for a token. In development one is had for the asking, and the form is there for when it is not. */
async function enter(problem) {
    if (problem === "") {
        const development = await info().then((said) => said.development).catch(() => false);
        const token = development ? await developmentToken().catch(() => null) : null;
        if (token !== null)
            return keep(token);
    }
    const [page, form, field] = [by("enter", HTMLElement), by("enter-form", HTMLFormElement), by("token", HTMLTextAreaElement)];
    page.hidden = false;
    by("board", HTMLElement).hidden = true;
    by("problem", HTMLElement).textContent = problem;
    field.focus();
    return new Promise((resolve) => {
        form.onsubmit = (event) => {
            event.preventDefault();
            page.hidden = true;
            resolve(keep(field.value.trim()));
        };
    });
}
function keep(token) {
    sessionStorage.setItem(KEY, token);
    return token;
}
async function developmentToken() {
    const body = JSON.stringify({ user_id: "1", device_id: 0, admin: true });
    const answer = await ask("/api/v1/dev/token", { method: "POST", headers: { "content-type": "application/json" }, body });
    return String(answer["token"]);
}
/** Draws until the token is refused or the operator leaves. */
async function watch(token) {
    const past = new Past(SPAN_S);
    let left = false;
    by("leave", HTMLButtonElement).onclick = () => (left = true);
    for (;;) {
        const due = performance.now() + EVERY_MS;
        try {
            const of = (await ask("/api/v1/console", { headers: { authorization: `Bearer ${token}` } }));
            past.add({ atMs: performance.now(), of });
            by("board", HTMLElement).hidden = false;
            draw(past, of);
        }
        catch (error) {
            if (!(error instanceof ApiError))
                throw error;
            if (error.status === 401 || error.status === 403)
                throw new Refused(error.message);
            state("away", error.message);
        }
        if (left)
            throw new Refused("");
        await new Promise((resolve) => setTimeout(resolve, Math.max(due - performance.now(), 100)));
    }
}
function state(kind, text) {
    const place = by("state", HTMLElement);
    place.dataset["state"] = kind;
    if (place.textContent !== text)
        place.textContent = text;
}
function draw(past, now) {
    state(now.readiness === "ready" ? "ready" : "busy", now.readiness);
    by("about", HTMLElement).textContent = `${now.version} · ${now.driver} · up ${uptime(now.uptime_s)}`;
    const latency = past.latency(LATENCY_S);
    figures(past, now, latency);
    const flow = [
        { name: "in", values: past.rates((of) => over(of, (shard) => shard.messages_in)) },
        { name: "out", values: past.rates((of) => over(of, (shard) => shard.messages_out)) },
    ];
    lines(by("flow", HTMLElement), flow, SPAN_S);
    histogram(latency);
    by("partitions", HTMLElement).replaceChildren(...now.partitions.map(partitionRow));
    by("shards", HTMLElement).replaceChildren(...now.shards.map((shard) => shardRow(past, shard)));
    errors(past, now);
}
function figures(past, now, latency) {
    const [p50, p99] = [quantile(latency, 0.5), quantile(latency, 0.99)];
    const failing = past.rate(allErrors);
    const slow = past.rise((of) => over(of, (shard) => shard.slow_readers));
    const shown = [
        ["Connections", brief(over(now, (shard) => shard.connections)), `${brief(over(now, (shard) => shard.sessions))} sessions`, false],
        ["Messages in", brief(past.rate((of) => over(of, (shard) => shard.messages_in))), "/s", false],
        ["Messages out", brief(past.rate((of) => over(of, (shard) => shard.messages_out))), "/s", false],
        ["Ack p50, p99", duration(p50), duration(p99), false],
        ["Slow readers", brief(slow), "in two minutes", slow > 0],
        ["Errors", brief(failing), "/s", failing > 0],
    ];
    const list = shown.map(([name, value, unit, alert]) => {
        const figure = make("dl", "figure", make("dt", "", name), make("dd", "", value, make("small", "", unit)));
        figure.dataset["alert"] = String(alert);
        return figure;
    });
    by("figures", HTMLElement).replaceChildren(...list);
}
function histogram(latency) {
    const used = latency.filter((each) => each.count > 0);
    // From the first class with something in it to the last.
    const [first, last] = [latency.indexOf(used[0]), latency.lastIndexOf(used.at(-1))];
    const shown = used.length === 0 ? [] : latency.slice(Math.max(first - 1, 0), last + 2);
    const name = (bound) => (bound === null ? "more" : duration(bound));
    const all = used.reduce((sum, each) => sum + each.count, 0);
    const label = `${all} acks; half within ${duration(quantile(latency, 0.5))}, 99 of 100 within ${duration(quantile(latency, 0.99))}`;
    bars(by("latency", HTMLElement), shown.map(({ bound, count }) => ({ name: name(bound), value: count })), label);
}
function row(name, ...cells) {
    const head = make("th", "", name);
    head.scope = "row";
    return make("tr", "", head, ...cells.map((cell) => make("td", "", cell)));
}
function partitionRow(of) {
    const [commit, apply] = [of.ordered_lsn - of.committed_lsn, of.committed_lsn - of.applied_lsn];
    const memory = `${brief(of.memory_bytes)}B`;
    const made = row(String(of.partition), brief(of.ordered_lsn), brief(commit), brief(apply), brief(of.queued), brief(of.chats), memory);
    if (of.poisoned)
        made.firstElementChild?.append(" ", make("span", "bad", "poisoned"));
    return made;
}
function shardRow(past, of) {
    const count = (figure) => (snapshot) => {
        const found = snapshot.shards.find((shard) => shard.shard === of.shard);
        return found ? figure(found) : 0;
    };
    const [into, out] = [past.rates(count((shard) => shard.messages_in)), past.rates(count((shard) => shard.messages_out))];
    const both = into.map((value, n) => value + (out[n] ?? 0));
    const [nowIn, nowOut] = [into.at(-1) ?? 0, out.at(-1) ?? 0];
    const name = String(of.shard);
    const made = row(name, brief(of.connections), brief(of.sessions), brief(nowIn), brief(nowOut), brief(past.rise(count((shard) => shard.slow_readers))), spark(both, SPAN_S));
    made.lastElementChild?.classList.add("spark");
    return made;
}
function allErrors(of) {
    return Object.values(of.errors).reduce((sum, count) => sum + count, 0);
}
function errors(past, now) {
    const codes = Object.entries(now.errors).filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a);
    by("no-errors", HTMLElement).hidden = codes.length > 0;
    by("errors-table", HTMLElement).hidden = codes.length === 0;
    const rows = codes.map(([code, count]) => row(code, brief(past.rate((of) => of.errors[code] ?? 0)), brief(count)));
    by("errors", HTMLElement).replaceChildren(...rows);
}
function uptime(seconds) {
    const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600) % 24, Math.floor(seconds / 60) % 60];
    if (days > 0)
        return `${days} d ${hours} h`;
    if (hours > 0)
        return `${hours} h ${minutes} min`;
    return minutes > 0 ? `${minutes} min` : `${Math.floor(seconds)} s`;
}
void main();
