/** New chats: with a user, or a group. */

import { by } from "./dom.js";
import type { Model } from "./model.js";
import { isUser } from "./shardwire/index.js";

/** Joins what opens new chats to the model; `open` is called with each one that opens. */
export function starting(model: Model, open: (opening: Promise<void>) => void): void {
  const [button, box, peer] = [by("new", HTMLButtonElement), by("new-box", HTMLElement), by("peer", HTMLInputElement)];
  const problem = by("peer-problem", HTMLElement);
  const show = (shown: boolean): void => {
    box.hidden = !shown;
    button.setAttribute("aria-expanded", String(shown));
    problem.textContent = "";
    if (shown) peer.focus();
  };
  button.addEventListener("click", () => show(box.hidden));
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    show(false);
    button.focus();
  });
  by("new-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const user = peer.value.trim();
    if (!isUser(user)) problem.textContent = "A user is a whole number above 0.";
    else {
      peer.value = "";
      show(false);
      open(model.openWith(user));
    }
  });
  grouping(model, (opening) => {
    show(false);
    open(opening);
  });
}

/** The form that makes a group. */
function grouping(model: Model, made: (opening: Promise<void>) => void): void {
  const [button, form] = [by("group-open", HTMLButtonElement), by("group-form", HTMLFormElement)];
  const [name, users, problem] = [by("group-name", HTMLInputElement), by("group-users", HTMLInputElement), by("group-problem", HTMLElement)];
  const show = (shown: boolean): void => {
    form.hidden = !shown;
    button.setAttribute("aria-expanded", String(shown));
    if (shown) name.focus();
  };
  button.addEventListener("click", () => show(form.hidden));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.dataset["busy"] === "true") return;
    const [title, members] = [name.value.trim(), usersIn(users.value)];
    if (title === "") problem.textContent = "A group needs a name.";
    else if (typeof members === "string") problem.textContent = members;
    else {
      problem.textContent = "";
      form.dataset["busy"] = "true";
      const opening = model.createGroup(title, members);
      opening
        .then(() => {
          form.reset();
          show(false);
          made(Promise.resolve());
        })
        .catch((error: unknown) => (problem.textContent = wordsOf(error)))
        .finally(() => delete form.dataset["busy"]);
    }
  });
}

/** The user numbers in a text, each once; a sentence when one of them is none. */
export function usersIn(text: string): string[] | string {
  const words = text.split(/[\s,;]+/).filter((word) => word !== "");
  const wrong = words.find((word) => !isUser(word));
  if (wrong !== undefined) return `“${wrong}” is no user: a user is a whole number above 0.`;
  return words.length === 0 ? "Name at least one user." : [...new Set(words)];
}

/** What went wrong, as a sentence. */
export function wordsOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
