// Two users in two tabs of a headless Chromium, from signing in to read ticks, over a server that is killed and comes back.
//
// Environment: BASE (the server's HTTP address), CHROMIUM, SHOTS (a folder for screenshots), TOKEN (user 12's), ADMIN (an
// operator's), KILL and ALIVE: this script makes the file KILL when the server is to be killed, and waits for ALIVE.
// Prints `ok` at the end; anything that does not hold ends it with what was expected.

import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { chromium } from "playwright-core";

const { BASE, CHROMIUM, SHOTS, TOKEN, KILL, ALIVE } = process.env;
const PATIENCE_MS = 30_000;
// The sandbox of Chromium needs rights that a container's root has not.
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 1100, height: 720 }, locale: "en-GB" });
context.setDefaultTimeout(PATIENCE_MS);

const complaints = [];

/** A tab on the chat page. What it complains of is an error of this test, but for requests that a dead server refused. */
async function tab(path = "/") {
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    const expected = /ERR_CONNECTION|WebSocket connection|Failed to load resource/.test(message.text());
    if (message.type() === "error" && !expected) complaints.push(message.text());
  });
  await page.goto(BASE + path);
  return page;
}

const shot = (page, name) => page.screenshot({ path: `${SHOTS}/${name}.png` });
const online = (page) => page.locator('#status[data-state="online"]').waitFor();
const mine = (page, text, progress) => page.locator(`.message.mine[data-progress="${progress}"]`, { hasText: text }).waitFor();
const theirs = (page, text) => page.locator(".message.theirs", { hasText: text }).waitFor();

async function signIn(user) {
  const page = await tab();
  await page.getByRole("button", { name: `User ${user}`, exact: true }).click();
  await online(page);
  return page;
}

async function write(page, text) {
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.keyboard.press("Enter");
}

async function openWith(page, user) {
  await page.getByRole("button", { name: "New chat" }).click();
  await page.getByLabel("Write to user number").fill(user);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: `User ${user}` }).waitFor();
}

// Signing in, a first message, its ticks.
const page = await tab();
await shot(page, "1-sign-in");
await page.close();
const [seven, nine] = [await signIn("7"), await signIn("9")];
await openWith(seven, "9");
await write(seven, "Hello from seven. Is the kettle on?");
await mine(seven, "Is the kettle on?", "delivered");
await nine.getByRole("button", { name: /User 7.*unread/ }).waitFor();
await shot(nine, "2-unread");
await shot(seven, "3-delivered");
await nine.getByRole("button", { name: /User 7/ }).click();
await theirs(nine, "Is the kettle on?");
await mine(seven, "Is the kettle on?", "read");
assert.equal(await nine.locator(".unread").count(), 0, "what was opened is read");
await write(nine, "It is! Come over, and bring biscuits.\nThe good ones, from the shop at the corner: the others go soft before the tea is ready.");
await theirs(seven, "bring biscuits");
await mine(nine, "bring biscuits", "read");

// The server dies; what is written meanwhile waits; it comes back and all of it arrives by itself.
writeFileSync(KILL, "");
await seven.locator('#status[data-state="waiting"]').waitFor();
await write(seven, "Written while the server was away");
await write(seven, "and one more");
await mine(seven, "and one more", "waiting");
await shot(seven, "4-server-away");
writeFileSync(`${KILL}.seen`, "");
while (!existsSync(ALIVE)) await new Promise((resolve) => setTimeout(resolve, 50));
await mine(seven, "Written while the server was away", "read");
await mine(seven, "and one more", "read");
await theirs(nine, "and one more");
await online(nine);
await write(nine, "All four arrived, once each");
await theirs(seven, "All four arrived");
const texts = await nine.locator(".message .body").allTextContents();
assert.equal(texts.length, 5, `each message once: ${JSON.stringify(texts)}`);
assert.equal(texts.filter((text) => text === "and one more").length, 1);
await mine(nine, "All four arrived", "read");
await shot(seven, "5-after-the-restart");

// A reload finds everything where it was; another tab of the same user is another device and gets it too.
await seven.reload();
await online(seven);
await seven.getByRole("button", { name: /User 9/ }).click();
await mine(seven, "and one more", "read");
await theirs(seven, "All four arrived");
const second = await signIn("7");
await second.getByRole("button", { name: /User 9/ }).click();
await theirs(second, "All four arrived");
assert.equal(await second.locator(".message .body").count(), 5);
await write(second, "From my other tab");
await mine(seven, "From my other tab", "read");
await second.close();

// By keyboard alone: the list, a chat, back.
await seven.keyboard.press("Escape");
await seven.getByText("Pick a chat, or start one.").waitFor();
assert.match(await seven.evaluate(() => document.activeElement.textContent), /User 9/, "focus is back in the list");
await seven.keyboard.press("Enter");
await seven.getByRole("log").waitFor();
assert.equal(await seven.evaluate(() => document.activeElement.id), "text", "an opened chat is written in at once");
for (const button of await seven.getByRole("button").all()) {
  const name = (await button.getAttribute("aria-label")) ?? (await button.textContent());
  assert.ok(name.trim().length > 0, "every button has a name");
}
await seven.emulateMedia({ colorScheme: "dark" });
await shot(seven, "6-dark");

// A phone: one pane at a time, nothing wider than the screen.
await nine.setViewportSize({ width: 390, height: 780 });
await shot(nine, "7-phone-chat");
const wide = () => nine.evaluate(() => document.documentElement.scrollWidth > innerWidth);
assert.equal(await wide(), false, "a conversation fits a phone");
await nine.getByRole("button", { name: "Back to chats" }).click();
await shot(nine, "8-phone-list");
assert.equal(await wide(), false, "the list fits a phone");
assert.equal(await nine.locator("#talk").isVisible(), false);

// The same device in another place takes over; the page says so and can take it back.
const elsewhere = await tab();
await elsewhere.evaluate((token) => sessionStorage.setItem("shardwire.account", JSON.stringify({ token })), TOKEN);
await elsewhere.reload();
await online(elsewhere);
const here = await tab();
await here.evaluate((token) => sessionStorage.setItem("shardwire.account", JSON.stringify({ token })), TOKEN);
await here.reload();
await online(here);
await elsewhere.getByRole("alert").filter({ hasText: "open in another place" }).waitFor();
await shot(elsewhere, "9-open-elsewhere");
await elsewhere.getByRole("button", { name: "Use it here" }).click();
await online(elsewhere);
await here.getByRole("alert").filter({ hasText: "open in another place" }).waitFor();
await here.close();
await elsewhere.close();

// A token instead of a name; what is no token is told apart.
const twelve = await tab();
await twelve.getByText("Sign in with a token").click();
await twelve.getByLabel("Token").fill("not a token");
await twelve.locator("#token-form").getByRole("button", { name: "Sign in" }).click();
await twelve.getByRole("alert").filter({ hasText: "no token" }).waitFor();
await twelve.getByLabel("Token").fill(TOKEN);
await twelve.locator("#token-form").getByRole("button", { name: "Sign in" }).click();
await online(twelve);
await openWith(twelve, "7");
await write(twelve, "<b>not markup</b> & so on");
await seven.getByRole("button", { name: /User 12.*not markup/ }).waitFor();
await twelve.getByRole("button", { name: "Sign out" }).click();
await twelve.getByRole("heading", { name: "Shardwire" }).waitFor();

assert.deepEqual(complaints, [], "the pages complain of nothing");
await browser.close();
console.log("ok");
