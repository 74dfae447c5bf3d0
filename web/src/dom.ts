/** The page's elements, typed; and making new ones without markup in strings. */

/** The element with this id, which the page has. */
export function by<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return found;
}

/** A new element with a class and text or children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  name: K,
  className = "",
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** One of the page's symbols. */
export function symbol(id: string, className: string): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${id}`);
  svg.append(use);
  return svg;
}

/** Paints a user's avatar: the number's end, on a colour of its own. */
export function paint(avatar: HTMLElement, user: string | null): void {
  avatar.style.setProperty("--hue", String(hueOfUser(user ?? "")));
  avatar.textContent = user === null ? "?" : user.length > 3 ? `…${user.slice(-2)}` : user;
}

/** Paints a group's avatar: its name's initials, on a colour of its id. */
export function paintGroup(avatar: HTMLElement, chat: string, name: string): void {
  avatar.style.setProperty("--hue", String(hueOf(Number.parseInt(chat.slice(0, 6), 16))));
  const words = name.split(/\s+/).filter((word) => word !== "");
  avatar.textContent = words.slice(0, 2).map((word) => [...word][0]).join("").toUpperCase() || "#";
}

/** A user's own hue, degrees. */
export function hueOfUser(user: string): number {
  return hueOf(Number(user.slice(-6)));
}

/** Golden angles apart: neighbouring numbers look different. */
function hueOf(number: number): number {
  return Math.round((number * 137.508 + 290) % 360);
}

/** What a user is called. */
export function nameOf(user: string | null): string {
  return user === null ? "Someone" : `User ${user}`;
}
