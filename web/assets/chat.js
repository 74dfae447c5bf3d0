/** The chat page: signs in, then joins model, view and what the user does. */
import { info } from "./api.js";
import { by } from "./dom.js";
import { Members } from "./members.js";
import { Model } from "./model.js";
import { forget, signIn } from "./signin.js";
import { starting } from "./starting.js";
import { View } from "./view.js";
/** How long to wait before the server is asked again what it is, ms. */
const AGAIN_MS = 2_000;
async function main() {
    const server = await patient(info);
    for (let problem = "";;) {
        const account = await signIn(server, problem);
        try {
            return await begin(account);
        }
        catch (error) {
            // Most likely a browser that keeps nothing for this page.
            forget();
            problem = `Messages cannot be kept here: ${error instanceof Error ? error.message : String(error)}`;
        }
    }
}
async function begin(account) {
    let view = null;
    const model = await Model.start(account, (chat) => view?.draw(chat));
    const actions = {
        again: (id) => void model.again(id),
        discard: (id) => void model.discard(id),
        who: (message) => void model.askStatus(message),
    };
    view = new View(model, actions);
    by("app", HTMLElement).hidden = false;
    wire(model, view);
    view.draw(null);
    by("new", HTMLButtonElement).focus();
}
/** The page may be older than the server's start: tries until it answers. */
async function patient(task) {
    for (;;) {
        try {
            return await task();
        }
        catch {
            await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        }
    }
}
function wire(model, view) {
    const [text, compose] = [by("text", HTMLTextAreaElement), by("compose", HTMLFormElement)];
    const open = (opening) => {
        void opening.then(() => {
            view.toEnd();
            look();
            text.focus();
        });
    };
    // What is open and in sight has been read.
    const look = () => {
        if (document.visibilityState === "visible" && model.open !== null && view.follows())
            model.seen();
    };
    const draw = view.draw.bind(view);
    const members = new Members(model);
    view.draw = (chat) => {
        draw(chat);
        members.draw();
        if (chat !== null && chat === model.open)
            queueMicrotask(look);
    };
    document.addEventListener("visibilitychange", look);
    by("scroll", HTMLElement).addEventListener("scroll", look);
    by("chats", HTMLElement).addEventListener("click", (event) => {
        const chat = event.target instanceof Element ? event.target.closest("[data-chat]")?.dataset["chat"] : undefined;
        if (chat)
            open(model.openChat(chat));
    });
    by("back", HTMLButtonElement).addEventListener("click", () => leave(model));
    composing(model, text, compose);
    starting(model, open);
    older(model);
    keys(model);
    window.addEventListener("online", () => model.hurry());
    setInterval(() => view.drawStatus(), 1_000);
    const restart = () => void model.close().finally(() => location.reload());
    by("signout", HTMLButtonElement).addEventListener("click", () => {
        forget();
        restart();
    });
    by("over-again", HTMLButtonElement).addEventListener("click", () => {
        if (model.status.state === "ended" && !model.status.again)
            forget();
        restart();
    });
}
function leave(model) {
    const chat = model.open;
    model.closeChat();
    document.querySelector(`[data-chat="${chat ?? ""}"]`)?.focus();
}
function composing(model, text, compose) {
    const fit = () => {
        text.style.setProperty("height", "auto");
        text.style.setProperty("height", `${text.scrollHeight + 2}px`);
    };
    text.addEventListener("input", fit);
    text.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing)
            return;
        event.preventDefault();
        compose.requestSubmit();
    });
    compose.addEventListener("submit", (event) => {
        event.preventDefault();
        const value = text.value.trim();
        if (value === "")
            return;
        text.value = "";
        fit();
        void model.send(value);
        text.focus();
    });
}
/** Older messages come when the user scrolls to the beginning. */
function older(model) {
    const scroll = by("scroll", HTMLElement);
    let asking = false;
    scroll.addEventListener("scroll", () => {
        if (asking || scroll.scrollTop > 200)
            return;
        asking = true;
        void model.older().finally(() => (asking = false));
    });
}
function keys(model) {
    by("chats", HTMLElement).addEventListener("keydown", (event) => {
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (step === undefined)
            return;
        event.preventDefault();
        const buttons = [...document.querySelectorAll("[data-chat]")];
        buttons[buttons.findIndex((button) => button === document.activeElement) + step]?.focus();
    });
    by("open", HTMLElement).addEventListener("keydown", (event) => {
        if (event.key === "Escape")
            leave(model);
    });
}
void main();
