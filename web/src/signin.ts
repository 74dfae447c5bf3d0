/** Signing in: a user for the asking in development, else a token. What was chosen is kept for the tab's life. */

import { ApiError, developmentToken, type Info } from "./api.js";
import { claimDevice } from "./device.js";
import { by, make, nameOf, paint } from "./dom.js";
import type { Account } from "./states.js";
import { isUser } from "./shardwire/index.js";

const KEY = "shardwire.account";
const PEOPLE = ["7", "9", "12", "15"];

type Kept = { readonly user: string } | { readonly token: string };

/** Forgets who is signed in. */
export function forget(): void {
  sessionStorage.removeItem(KEY);
}

/** Asks who the user is, unless this tab knows, and resolves when there is an account. */
export async function signIn(info: Info, problem: string): Promise<Account> {
  const kept = read();
  if (kept && !("user" in kept && !info.development)) {
    try {
      return await account(info, kept);
    } catch (error) {
      problem = words(error);
    }
  }
  return ask(info, problem);
}

function ask(info: Info, problem: string): Promise<Account> {
  const [page, trouble, box] = [by("signin", HTMLElement), by("signin-problem", HTMLElement), by("token-box", HTMLDetailsElement)];
  const [dev, user, token] = [by("dev-form", HTMLFormElement), by("user", HTMLInputElement), by("token", HTMLTextAreaElement)];
  page.hidden = false;
  dev.hidden = !info.development;
  by("signin-note", HTMLElement).hidden = !info.development;
  box.open = !info.development;
  trouble.textContent = problem;
  (info.development ? user : token).focus();
  return new Promise((resolve) => {
    const choose = async (kept: Kept): Promise<void> => {
      trouble.textContent = "";
      try {
        const found = await account(info, kept);
        sessionStorage.setItem(KEY, JSON.stringify(kept));
        page.hidden = true;
        resolve(found);
      } catch (error) {
        trouble.textContent = words(error);
      }
    };
    const person = (id: string): HTMLButtonElement => {
      const avatar = make("span", "avatar");
      paint(avatar, id);
      avatar.setAttribute("aria-hidden", "true");
      const button = make("button", "", avatar, nameOf(id));
      button.type = "button";
      button.addEventListener("click", () => void choose({ user: id }));
      return button;
    };
    by("people", HTMLElement).replaceChildren(...PEOPLE.map(person));
    dev.onsubmit = (event) => {
      event.preventDefault();
      if (isUser(user.value.trim())) void choose({ user: user.value.trim() });
      else trouble.textContent = "A user is a whole number above 0.";
    };
    by("token-form", HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      void choose({ token: token.value.trim() });
    };
  });
}

async function account(info: Info, kept: Kept): Promise<Account> {
  const { wsUrl } = info;
  if ("token" in kept) {
    const { user, device } = claims(kept.token);
    return { user, device, wsUrl, token: () => Promise.resolve(kept.token) };
  }
  const { user } = kept;
  const device = await claimDevice(user);
  // Once before the page changes, so that a server that gives none says so here.
  let first: string | null = await developmentToken(user, device);
  const token = (): Promise<string> => {
    const known = first;
    first = null;
    return known === null ? developmentToken(user, device) : Promise.resolve(known);
  };
  return { user, device, wsUrl, token };
}

/** Whose a token says it is. The server verifies it; this only names the place where its messages are kept. */
function claims(token: string): { user: string; device: number } {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const fields = JSON.parse(atob(payload)) as Record<string, unknown>;
    const [user, device] = [String(fields["sub"]), Number(fields["dev"])];
    if (isUser(user) && Number.isInteger(device) && device >= 0) return { user, device };
  } catch {
    // Falls through to the one answer for everything that is no token.
  }
  throw new ApiError(0, "This is no token of this server: it must be a JWT with the claims sub and dev.");
}

function read(): Kept | null {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "null") as Kept | null;
  } catch {
    return null;
  }
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
