// Channels on the dashboard: examined, synced, reconciled.

import assert from "node:assert/strict";

import { accessible, calm, eventually, openPage, picture, startHub, startShop, test, TOKEN } from "./lib.mjs";

/** What a browser says on its console of a question that is rightly answered no, and of parts that a hub may not have. */
const NOBODY = /401.*\/v1\/auth\/me|404.*\/v1\/admin\/(live|adapters|sync-logs)/;
const press = (page, name) => page.getByRole("button", { name, exact: true }).or(page.getByRole("link", { name, exact: true })).last().click();

async function world(t, { marketplaces = "", settings = "", ...page } = {}) {
  const hub = await startHub(t, { marketplaces, settings });
  const view = await openPage(t, hub, { path: null, ...page, allowed: [NOBODY, ...(page.allowed ?? [])] });
  await view.addInitScript((token) => sessionStorage.setItem("stockhub-token", token), TOKEN);
  await view.goto(`${hub.url}/#${page.at ?? "/"}`);
  await view.waitForSelector("main h1");
  return { hub, page: view };
}

/** A shop whose numbers can be read, with a product listed on it. */
async function readable(t, { policy = "", at, ...options } = {}) {
  const shop = await startShop(t);
  const marketplaces = shop.toml("bazaar", `[marketplaces.account]\nread = true\n${policy}`);
  const { hub, page } = await world(t, { marketplaces, ...options });
  await hub.api("POST", "/v1/admin/products", { sku: "CUP-1", name: "Cup, blue", initial_stock: 40 });
  await hub.api("POST", "/v1/admin/listings", { marketplace: "bazaar", sku: "CUP-1", marketplace_product_id: "CUP-1" });
  await eventually(() => assert.equal(shop.shown.get("CUP-1"), 40));
  await page.evaluate((at) => (location.hash = at), at);
  await page.waitForFunction((at) => location.hash === `#${at}` && document.querySelector(".back") && !document.querySelector("[aria-busy]"), at).catch(() => {});
  return { shop, hub, page };
}

test("channels: the doctor says what it looked at", async (t) => {
  const { page } = await readable(t, { at: "/marketplaces/bazaar" });
  await press(page, "Doctor");
  await page.waitForSelector("dialog .checks li");
  await accessible(page, "the doctor");
  await picture(page, "doctor-1280", { fullPage: false });
  // What was asked for arrives seconds later, and takes its room then: the bound is what browsers call good (0.1), not stillness.
  await calm(page, { shift: 0.1 });
});

test("channels: Sync now finds what the marketplace shows, and puts it right", async (t) => {
  const { shop, hub, page } = await readable(t, { at: "/products/CUP-1", width: 390, height: 844 });
  shop.shown.set("CUP-1", 44);
  await press(page, "Sync now");
  await page.waitForSelector(".toast:has-text('bazaar showed 44 instead of 40')");
  await page.waitForFunction(() => document.querySelector(".why[aria-label^='Reported on bazaar']")?.textContent === "44");
  assert.equal((await hub.api("GET", "/v1/admin/products/CUP-1")).available, 40, "a number is not a sale");
  await calm(page);
});

test("channels: a comparison only looks, then waits for a decision, and is approved", async (t) => {
  const { shop, hub, page } = await readable(t, { at: "/reconciliations", policy: '[marketplaces.policy]\ndrift_policy = "ask"\n', settings: "[sync]\nsecond_look_s = 1\n" });
  shop.shown.set("CUP-1", 33);
  await page.getByRole("button", { name: "Compare now" }).first().click();
  assert.ok(await page.isChecked("[name='/dry_run']"), "only looking is what is offered first");
  await press(page, "Compare");
  await page.waitForSelector("td:has-text('CUP-1')", { timeout: 30_000 });
  await page.waitForFunction(() => !document.querySelector("progress"), null, { timeout: 30_000 });
  assert.equal(shop.shown.get("CUP-1"), 33, "only looked");
  await accessible(page, "a reconciliation");
  await picture(page, "reconciliation-1280");
  await press(page, "Put these right");
  await press(page, "Put them right");
  await page.waitForSelector("text=Waits for you", { timeout: 30_000 });
  await press(page, "Approve");
  await page.getByRole("dialog").getByRole("button", { name: /^Decide 1 difference/ }).click();
  await page.waitForSelector(".badge:text('The hub is right')");
  await eventually(() => assert.equal(shop.shown.get("CUP-1"), 40));
  assert.equal((await hub.api("GET", "/v1/admin/products/CUP-1")).available, 40);
  // What was asked for arrives seconds later, and takes its room then: the bound is what browsers call good (0.1), not stillness.
  await calm(page, { shift: 0.1 });
}, { timeout: 120_000 });
