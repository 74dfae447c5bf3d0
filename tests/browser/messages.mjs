// Three users in a headless Chromium, one of them on two devices: messages that are answered, edited, deleted, reacted to, passed
// on, that mention and that disappear; what a user sets, and what their other device makes of it.
//
// Environment: BASE (the server's HTTP address), CHROMIUM, SHOTS (a folder for screenshots).
// Prints `ok` at the end; anything that does not hold ends it with what was expected.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const { BASE, CHROMIUM, SHOTS } = process.env;
const PATIENCE_MS = 30_000;
// The sandbox of Chromium needs rights that a container's root has not.
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 1100, height: 720 }, locale: "en-GB" });
context.setDefaultTimeout(PATIENCE_MS);

const complaints = [];
const shot = async (page, name) => {
  await page.bringToFront();
  await page.screenshot({ path: `${SHOTS}/${name}.png` });
};
// By what it says itself: a quote says what another says.
const message = (page, text) => page.locator(".message").filter({ has: page.locator(".body", { hasText: text }) });
const line = (page, text) => page.locator(".change", { hasText: text }).waitFor();
const listed = (page, name) => page.locator(".side nav").getByRole("button", { name });
const item = (page, name) => page.getByRole("menuitem", { name, exact: true });

async function signIn(user) {
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (said) => said.type() === "error" && complaints.push(said.text()));
  page.on("dialog", (dialog) => dialog.accept());
  await page.goto(BASE);
  await page.getByLabel("User number", { exact: true }).fill(user);
  await page.keyboard.press("Enter");
  await page.locator('#status[data-state="online"]').waitFor();
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

/** Opens a message's menu, by mouse. */
async function menu(page, text) {
  await page.bringToFront();
  await message(page, text).last().hover();
  await message(page, text).last().getByRole("button", { name: "Message options" }).click();
  await page.getByRole("menu").waitFor();
}

const [seven, nine] = [await signIn("7"), await signIn("9")];
const second = await signIn("7");
await openWith(seven, "9");
await write(seven, "The hut is free on Saturday");
await listed(nine, /User 7.*1 unread/).click();
await message(nine, "The hut is free").waitFor();

// An answer quotes, and leads to what it answers.
await menu(nine, "The hut is free");
await shot(nine, "m1-menu");
await item(nine, "Reply").click();
await nine.getByText("Reply to User 7").waitFor();
await write(nine, "Saturday is perfect");
const quote = message(seven, "Saturday is perfect").getByRole("button", { name: /Answers You: The hut is free/ });
await quote.click();
await seven.locator(".message.pointed", { hasText: "The hut is free" }).waitFor();

// Reactions, by keyboard: under the bubble, taken back by a press.
await message(seven, "Saturday is perfect").getByRole("button", { name: "Message options" }).focus();
await seven.keyboard.press("Enter");
await seven.keyboard.press("ArrowRight");
assert.equal(await seven.evaluate(() => document.activeElement.textContent), "❤️");
await seven.keyboard.press("Enter");
await message(nine, "Saturday is perfect").getByRole("button", { name: "❤️ by User 7" }).waitFor();
await menu(nine, "The hut is free");
await nine.getByRole("menuitem", { name: "React with 👍" }).click();
await message(seven, "The hut is free").getByRole("button", { name: "👍 by User 9" }).waitFor();
await message(seven, "Saturday is perfect").getByRole("button", { name: "❤️ by you" }).click();
await message(nine, "Saturday is perfect").locator(".reaction").waitFor({ state: "detached" });

// An edit is seen by everybody, also on the user's other device; Escape gives one up.
await menu(seven, "The hut is free");
await item(seven, "Edit").click();
await seven.getByText("Edit message").waitFor();
await seven.keyboard.press("Escape");
assert.equal(await seven.getByRole("textbox", { name: "Message" }).inputValue(), "");
await menu(seven, "The hut is free");
await item(seven, "Edit").click();
await write(seven, "The hut is free on Sunday");
for (const page of [seven, nine]) await message(page, "free on Sunday").filter({ hasText: "edited" }).first().waitFor();
await listed(second, /^User 9/).click();
await message(second, "The hut is free on Sunday").first().waitFor();
await message(second, "The hut is free on Sunday").first().getByRole("button", { name: "👍 by User 9" }).waitFor();
await message(nine, "Saturday is perfect").getByRole("button", { name: /Answers User 7: The hut is free on Sunday/ }).waitFor();
await shot(seven, "m2-edited");

// Deleted for everyone: gone, on all devices and from what this browser keeps.
await write(seven, "The code of the door is 4711");
await message(nine, "4711").waitFor();
await menu(seven, "4711");
await item(seven, "Delete for everyone").click();
for (const page of [seven, second, nine]) {
  await message(page, "This message was deleted").waitFor();
  assert.equal(await page.getByText("4711").count(), 0);
}
const kept = await nine.evaluate(async () => {
  const { name } = (await indexedDB.databases()).find((each) => each.name.startsWith("shardwire chat 9 "));
  const opening = indexedDB.open(name);
  await new Promise((resolve) => (opening.onsuccess = resolve));
  const reading = opening.result.transaction("messages").objectStore("messages").getAll();
  await new Promise((resolve) => (reading.onsuccess = resolve));
  return JSON.stringify(reading.result);
});
assert.ok(kept.includes("Saturday is perfect") && !kept.includes("4711"), "what is deleted is not kept");

// Deleted for me: on both of the user's devices, and on nobody else's.
await menu(seven, "Saturday is perfect");
await item(seven, "Delete for me").click();
for (const page of [seven, second]) await message(page, "Saturday is perfect").waitFor({ state: "detached" });
assert.equal(await message(nine, "Saturday is perfect").count(), 1);

// Members are proposed behind an @; who is mentioned sees it. A message is passed on; who has it is told.
await nine.getByRole("button", { name: "New chat" }).click();
await nine.getByRole("button", { name: "New group" }).click();
await nine.getByLabel("Name of the group").first().fill("Hut");
await nine.getByLabel("Members").first().fill("7, 12");
await nine.keyboard.press("Enter");
await nine.getByRole("heading", { name: "Hut" }).waitFor();
await nine.getByText("3 members").waitFor();
await nine.getByRole("textbox", { name: "Message" }).pressSequentially("Keys are with @");
await nine.getByRole("option", { name: "@12" }).waitFor();
await shot(nine, "m3-mention");
await nine.keyboard.press("ArrowDown");
await nine.keyboard.press("Enter");
await nine.keyboard.press("Enter");
await message(nine, "Keys are with @12").locator(".mention", { hasText: "@12" }).waitFor();
const twelve = await signIn("12");
await listed(twelve, /Hut/).click();
await message(twelve, "Keys are with").locator(".mention.me").waitFor();
await listed(seven, /Hut/).click();
await menu(seven, "Keys are with");
await item(seven, "Forward").click();
await seven.getByRole("dialog", { name: "Forward to" }).getByRole("button", { name: "User 9" }).click();
await listed(nine, /^User 7/).click();
await message(nine, "Keys are with @12").filter({ hasText: "Forwarded" }).waitFor();
await listed(nine, /Hut/).click();
await menu(nine, "Keys are with");
await item(nine, "Info").click();
await nine.getByRole("dialog", { name: "Message" }).getByText(/Read by User 7 and User 12|Read by User 12 and User 7/).waitFor();
await shot(nine, "m4-info");
await nine.keyboard.press("Escape");

// What a user sets for a chat is so on both devices: pinned, muted, archived.
const options = async (page) => {
  await page.bringToFront();
  await page.getByRole("button", { name: "Chat options" }).click();
  await page.getByRole("dialog").waitFor();
};
await options(seven);
await seven.getByLabel("Pin to the top").check();
await seven.getByLabel("Mute", { exact: true }).selectOption("on");
for (const page of [seven, second]) await listed(page, /Hut.*Pinned.*Muted/).waitFor();
await shot(seven, "m5-options");
await seven.keyboard.press("Escape");
await listed(seven, /^User 9/).click();
await write(nine, "Nobody is disturbed by this");
for (const page of [seven, second]) await page.locator(".unread.quietly").waitFor();
await listed(seven, /Hut/).click();
await options(seven);
await seven.getByLabel("Archive", { exact: true }).check();
await seven.keyboard.press("Escape");
for (const page of [seven, second]) await page.getByRole("button", { name: "Archived 1" }).waitFor();
assert.equal(await second.locator("#chats").getByRole("button", { name: /Hut/ }).count(), 0);
await second.getByRole("button", { name: "Archived 1" }).click();
await second.getByRole("list", { name: "Archived chats" }).getByRole("button", { name: /Hut/ }).waitFor();
await shot(second, "m6-archived");

// Messages that disappear: a hint says so, they go on every device, from the server and from what is kept.
await listed(seven, /^User 9/).click();
await listed(nine, /^User 7/).click();
await options(seven);
await seven.locator("#timer").evaluate((timer) => {
  timer.append(new Option("After 8 seconds", "8"));
  timer.value = "8";
  timer.dispatchEvent(new Event("change"));
});
await seven.keyboard.press("Escape");
for (const page of [seven, nine]) {
  await line(page, "let messages disappear after 8 seconds");
  await page.getByText("Messages disappear after 8 seconds").first().waitFor();
}
await write(nine, "Gone in a moment");
await message(seven, "Gone in a moment").waitFor();
await shot(seven, "m7-timer");
for (const page of [seven, nine, second]) await message(page, "Gone in a moment").waitFor({ state: "detached" });

await options(seven);
await seven.locator("#timer").selectOption("0");
await seven.keyboard.press("Escape");
for (const page of [seven, nine]) await line(page, "let messages stay");

// What is missing between is asked for and shown again.
await seven.evaluate(async () => {
  const { name } = (await indexedDB.databases()).find((each) => each.name.startsWith("shardwire chat 7 "));
  const opening = indexedDB.open(name);
  await new Promise((resolve) => (opening.onsuccess = resolve));
  const writing = opening.result.transaction("messages", "readwrite");
  const cursor = writing.objectStore("messages").openCursor();
  cursor.onsuccess = () => {
    const at = cursor.result;
    if (!at) return;
    if (at.value.text.includes("Keys are with") && at.value.forwarded === 1) at.delete();
    at.continue();
  };
  await new Promise((resolve) => (writing.oncomplete = resolve));
  opening.result.close();
});
await seven.reload();
await listed(seven, /^User 9/).click();
await message(seven, "Keys are with @12").waitFor();

// Settings: devices have named themselves; one is signed out; receipts are off for both sides.
await seven.getByRole("button", { name: "Settings" }).click();
await seven.getByRole("dialog", { name: "Settings" }).locator(".device").nth(1).waitFor();
await seven.getByText("This device").waitFor();
assert.equal(await seven.getByText(/Web chat on .*Chrome/).count(), 2);
await shot(seven, "m8-settings");
await seven.getByRole("button", { name: /Sign out Web chat/ }).click();
await second.getByRole("alert").filter({ hasText: "ended the session" }).waitFor();
await seven.getByText(/Signed out/).waitFor();
await seven.getByLabel("Read receipts").uncheck();
await seven.keyboard.press("Escape");
await listed(nine, /^User 7/).click();
await write(nine, "Do you read this?");
await message(seven, "Do you read this?").waitFor();
await write(nine, "Or this?");
await message(seven, "Or this?").waitFor();
// Marks come in their order: had the first one been told as read, it would be by now.
await nine.locator('.message.mine[data-progress="delivered"]', { hasText: "Or this?" }).waitFor();
assert.equal(await message(nine, "Do you read this?").getAttribute("data-progress"), "delivered");

// A phone, in the dark; every button has a name.
await seven.setViewportSize({ width: 390, height: 780 });
await seven.emulateMedia({ colorScheme: "dark" });
await menu(seven, "Do you read this?");
const wide = () => seven.evaluate(() => document.documentElement.scrollWidth > innerWidth);
assert.equal(await wide(), false, "a menu fits a phone");
await shot(seven, "m9-phone-dark");
await seven.keyboard.press("Escape");
assert.equal(await seven.evaluate(() => document.activeElement.getAttribute("aria-label")), "Message options", "the focus goes back");
await options(seven);
assert.equal(await wide(), false, "a dialog fits a phone");
await shot(seven, "m10-phone-options");
await seven.keyboard.press("Escape");
for (const button of await seven.getByRole("button").all()) {
  const name = (await button.getAttribute("aria-label")) ?? (await button.textContent());
  assert.ok(name.trim().length > 0, "every button has a name");
}

assert.deepEqual(complaints, [], "the pages complain of nothing");
await browser.close();
console.log("ok");
