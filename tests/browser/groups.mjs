// Three users in three tabs of a headless Chromium: a group from its making to read ticks, one who joins, one who is removed, one
// who leaves; by mouse, by keyboard, on a phone, in the dark.
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
  // A tab behind others may have nothing painted to be captured.
  await page.bringToFront();
  await page.screenshot({ path: `${SHOTS}/${name}.png` });
};
const line = (page, text) => page.locator(".change", { hasText: text }).waitFor();
const theirs = (page, text) => page.locator(".message.theirs", { hasText: text });
const mine = (page, text, progress) => page.locator(`.message.mine[data-progress="${progress}"]`, { hasText: text }).waitFor();
const listed = (page, name) => page.locator(".side nav").getByRole("button", { name });

async function signIn(user) {
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
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

async function makeGroup(page, name, users) {
  await page.getByRole("button", { name: "New chat" }).click();
  await page.getByRole("button", { name: "New group" }).click();
  await page.getByLabel("Name of the group").first().fill(name);
  await page.getByLabel("Members").first().fill(users);
  await page.keyboard.press("Enter");
}

const [seven, nine, eleven] = [await signIn("7"), await signIn("9"), await signIn("11")];

// What cannot be a group is told before it is sent.
await makeGroup(seven, "Hut weekend", "9, eleven");
await seven.getByRole("alert").filter({ hasText: "“eleven” is no user" }).waitFor();
await shot(seven, "g1-new-group");
await seven.getByLabel("Members").first().fill("9, 11");
await seven.keyboard.press("Enter");
await seven.getByRole("heading", { name: "Hut weekend" }).waitFor();
await line(seven, "You made the group “Hut weekend” with User 9 and User 11");
await seven.getByText("3 members").waitFor();

// Everybody has it in the list; who writes what is said.
await write(seven, "Who brings the cheese?");
await listed(nine, /Hut weekend.*User 7: Who brings the cheese.*1 unread/).click();
await line(nine, "User 7 made the group “Hut weekend” with you and User 11");
assert.equal(await theirs(nine, "Who brings the cheese?").locator(".sender").textContent(), "User 7");
await seven.locator(".readers", { hasText: "Read by 1 of 2" }).waitFor();
await mine(seven, "Who brings the cheese?", "delivered");
await listed(eleven, /Hut weekend/).click();
await theirs(eleven, "Who brings the cheese?").waitFor();
await seven.locator(".readers", { hasText: "Read by 2 of 2" }).waitFor();
await mine(seven, "Who brings the cheese?", "read");
await write(nine, "I do, and bread.");
await write(nine, "Somebody else the wine, please");
await write(eleven, "The wine is on me, a red");
await theirs(seven, "The wine is on me").waitFor();
await seven.getByRole("button", { name: "Who has this message" }).first().focus();
await seven.keyboard.press("Enter");
await seven.locator(".readers", { hasText: "Read by User 9 and User 11" }).waitFor();
assert.equal(await seven.evaluate(() => document.activeElement.getAttribute("aria-label")), "Who has this message", "the focus stays");
await shot(seven, "g2-group");

// A fourth joins, sees what comes from then on, and is removed again. All of it by the panel.
const twelve = await signIn("12");
await seven.getByRole("button", { name: "Members", exact: true }).click();
await seven.getByLabel("Add members").fill("12");
await seven.keyboard.press("Enter");
await line(seven, "You added User 12");
await line(nine, "User 7 added User 12");
await seven.getByText("4 members").waitFor();
await listed(twelve, /Hut weekend.*User 7 added you/).click();
await line(twelve, "User 7 added you");
await write(seven, "Welcome, twelve");
await theirs(twelve, "Welcome, twelve").waitFor();
assert.equal(await twelve.locator(".message").count(), 1, "what was said before is not theirs");
await twelve.getByRole("button", { name: "Members", exact: true }).click();
await twelve.locator(".member").nth(3).waitFor();
assert.equal(await twelve.getByRole("button", { name: /Remove:|Make admin:/ }).count(), 0, "who is no admin changes nothing");
await seven.getByLabel("Add members").fill("9");
await seven.keyboard.press("Enter");
await seven.getByRole("alert").filter({ hasText: "That is so already" }).waitFor();
await seven.getByRole("button", { name: "Make admin: User 9" }).click();
await line(nine, "User 7 made you admin");
await nine.getByRole("button", { name: "Members", exact: true }).click();
await nine.locator("#rename").fill("Hütte, snow or not");
await nine.keyboard.press("Enter");
await line(seven, "User 9 named the group “Hütte, snow or not”");
await seven.getByRole("heading", { name: "Hütte, snow or not" }).waitFor();
await shot(seven, "g3-members");
await nine.getByRole("button", { name: "Remove: User 12" }).click();
await line(seven, "User 9 removed User 12");
await line(twelve, "User 9 removed you");
await twelve.getByText("You are not in this group any more").waitFor();
assert.equal(await twelve.locator("#compose").isVisible(), false);
await shot(twelve, "g4-removed");
await write(seven, "Without twelve");
await theirs(nine, "Without twelve").waitFor();

// One leaves; on a phone, in the dark.
const wide = () => eleven.evaluate(() => document.documentElement.scrollWidth > innerWidth);
await eleven.setViewportSize({ width: 390, height: 780 });
await eleven.emulateMedia({ colorScheme: "dark" });
await shot(eleven, "g5-phone-dark");
await eleven.getByRole("button", { name: "Members", exact: true }).click();
await eleven.getByRole("heading", { name: "Members" }).waitFor();
assert.equal(await eleven.locator("#open").isVisible(), false, "one pane at a time");
assert.equal(await wide(), false, "the members fit a phone");
await shot(eleven, "g6-phone-members");
await eleven.getByRole("button", { name: "Leave the group" }).click();
await line(eleven, "You left");
await line(seven, "User 11 left");
await eleven.getByText("You are not in this group any more").waitFor();
await eleven.getByRole("button", { name: "Back to chats" }).click();
await eleven.getByRole("button", { name: "New chat" }).click();
await eleven.getByRole("button", { name: "New group" }).click();
assert.equal(await wide(), false, "a new group's form fits a phone");
await shot(eleven, "g7-phone-new-group");
await seven.getByText("2 members").waitFor();
await write(seven, "Only us two now");
await seven.locator(".readers", { hasText: "Read by 1 of 1" }).waitFor();

// By keyboard alone: the panel opens at its heading, Escape closes it and gives the focus back.
await seven.keyboard.press("Escape");
await listed(seven, /Hütte/).focus();
await seven.keyboard.press("Enter");
await seven.getByRole("button", { name: "Members", exact: true }).focus();
await seven.keyboard.press("Enter");
assert.equal(await seven.evaluate(() => document.activeElement.id), "members-title");
await seven.keyboard.press("Escape");
assert.equal(await seven.evaluate(() => document.activeElement.id), "members-open");
for (const button of await seven.getByRole("button").all()) {
  const name = (await button.getAttribute("aria-label")) ?? (await button.textContent());
  assert.ok(name.trim().length > 0, "every button has a name");
}

// A reload keeps it all; a new tab of the same user gets it from the server.
await nine.reload();
await listed(nine, /Hütte, snow or not/).click();
await theirs(nine, "Only us two now").waitFor();
await line(nine, "User 11 left");
const second = await signIn("9");
await listed(second, /Hütte, snow or not/).click();
await line(second, "User 7 made the group");
await theirs(second, "Who brings the cheese?").waitFor();
await second.getByText("2 members").waitFor();
await second.emulateMedia({ colorScheme: "dark" });
await second.getByRole("button", { name: "Members", exact: true }).click();
await shot(second, "g8-dark");

// What one device has read is read on the other.
await second.keyboard.press("Escape");
await second.getByRole("button", { name: "Members", exact: true }).press("Escape");
await second.getByText("Pick a chat, or start one.").waitFor();
await write(seven, "One more thing");
await theirs(nine, "One more thing").waitFor();
await listed(second, /User 7: One more thing/).waitFor();
await second.locator(".unread").waitFor({ state: "detached" });

assert.deepEqual(complaints, [], "the pages complain of nothing");
await browser.close();
console.log("ok");
