// The operators' page: refuses what is no operator's token, draws what the server says.
//
// Environment: BASE, CHROMIUM, SHOTS, ADMIN (an operator's token), OTHER (a user's token). Prints `ok`.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const { BASE, CHROMIUM, SHOTS, ADMIN, OTHER } = process.env;
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-GB" });
context.setDefaultTimeout(30_000);
const complaints = [];
const page = await context.newPage();
page.on("pageerror", (error) => complaints.push(error.message));
page.on("console", (message) => {
  if (message.type() === "error" && !/Failed to load resource/.test(message.text())) complaints.push(message.text());
});

// In development the page has a token by itself.
await page.goto(`${BASE}/console`);
await page.locator('#state[data-state="ready"]').waitFor();
// A user's token is not enough, an operator's is.
await page.evaluate((token) => sessionStorage.setItem("shardwire.operator", token), OTHER);
await page.reload();
await page.getByRole("alert").filter({ hasText: /403/ }).waitFor();
await page.getByLabel("An operator's token").fill(ADMIN);
await page.getByRole("button", { name: "Open" }).click();
await page.locator('#state[data-state="ready"]').waitFor();

// A chat in another tab shows in the figures.
const chat = await context.newPage();
await chat.goto(`${BASE}/`);
await chat.getByRole("button", { name: "User 7", exact: true }).click();
await chat.locator('#status[data-state="online"]').waitFor();
await chat.getByRole("button", { name: "New chat" }).click();
await chat.getByLabel("Write to user number").fill("9");
await chat.keyboard.press("Enter");
await chat.getByRole("heading", { name: "User 9" }).waitFor();
await chat.getByRole("textbox", { name: "Message" }).fill("for the figures");
await chat.keyboard.press("Enter");
await chat.locator('.message.mine[data-progress="sent"]', { hasText: "for the figures" }).waitFor();
// Times are sampled: enough messages that some are.
await chat.evaluate(async (token) => {
  const { ws_url } = await (await fetch("/api/v1/info")).json();
  const socket = new WebSocket(ws_url, ["json"]);
  let acks = 0;
  await new Promise((resolve, reject) => {
    socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token }));
    socket.onerror = () => reject(new Error("no WebSocket"));
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "error") reject(new Error(data));
      for (let n = 0; event.type === "ready" && n < 2000; n++) {
        socket.send(JSON.stringify({ type: "message", to: "9", content: "x", client_msg_id: `figure ${n}` }));
      }
      if (event.type === "ack" && event.status === "sent" && ++acks === 2000) resolve();
    };
  });
  socket.close();
}, OTHER);
await page.bringToFront();
const figure = (name) => page.locator(".figure", { hasText: name }).locator("dd");
await page.waitForFunction(() => Number(document.querySelector(".figure dd")?.firstChild?.textContent) >= 1);
assert.match(await figure("Connections").textContent(), /^[1-9].*sessions$/);
// The acks of those messages are in the histogram.
await page.waitForFunction(() => /^[1-9][0-9]* acks/.test(document.querySelector("#latency svg")?.getAttribute("aria-label") ?? ""));
assert.match(await page.locator("#flow svg").getAttribute("aria-label"), /^Now: in /);
const rows = await page.locator("#partitions tr").count();
assert.ok(rows >= 1, "a row a partition");
// The rows are drawn once a second: those of the last messages may come after the charts.
await page.waitForFunction(() =>
  [...document.querySelectorAll("#partitions tr td:nth-child(2)")].some((cell) => cell.textContent !== "0"));
await page.screenshot({ path: `${SHOTS}/10-console.png`, fullPage: true });
await page.emulateMedia({ colorScheme: "dark" });
await page.setViewportSize({ width: 390, height: 800 });
// The charts fit the new width at the next second.
await page.waitForFunction(() => document.querySelector("#flow svg").viewBox.baseVal.width < 390);
await page.screenshot({ path: `${SHOTS}/11-console-phone-dark.png`, fullPage: true });
assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, "it fits a phone");

assert.deepEqual(complaints, [], "the page complains of nothing");
await browser.close();
console.log("ok");
