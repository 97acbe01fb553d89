// Channels on the dashboard: examined, synced, reconciled.

import assert from "node:assert/strict";

import { accessible, calm, eventually, fits, openPage, picture, sendWebhook, startHub, startShop, test, TOKEN } from "./lib.mjs";

/** What a browser says on its console of a question that is rightly answered no. */
const NOBODY = /401.*\/v1\/auth\/me/;
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

test("channels: the doctor says what is well and what to mend", async (t) => {
  const { shop, page } = await readable(t, { at: "/marketplaces/bazaar" });
  await press(page, "Doctor");
  await page.waitForSelector("dialog .checks li");
  await accessible(page, "the doctor");
  await picture(page, "doctor-1280", { fullPage: false });
  await press(page, "Close");
  shop.answerWith(401);
  // By now the run that was made stands below, with a link of the same name.
  await page.click("button:text-is('Doctor')");
  await page.waitForSelector("dialog h2:text('to mend')");
  await calm(page);
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
  await page.waitForSelector("td:has-text('CUP-1')", { timeout: 90_000 });
  await page.waitForFunction(() => !document.querySelector("progress"), null, { timeout: 90_000 });
  assert.equal(shop.shown.get("CUP-1"), 33, "only looked");
  await accessible(page, "a reconciliation");
  await picture(page, "reconciliation-1280");
  await press(page, "Put these right");
  await press(page, "Put them right");
  await page.waitForSelector("text=Waits for you", { timeout: 90_000 });
  await press(page, "Approve");
  await page.getByRole("dialog").getByRole("button", { name: /^Decide 1 difference/ }).click();
  await page.waitForSelector(".badge:text('The hub is right')");
  await eventually(() => assert.equal(shop.shown.get("CUP-1"), 40));
  assert.equal((await hub.api("GET", "/v1/admin/products/CUP-1")).available, 40);
  await calm(page);
}, { timeout: 300_000 });

test("channels: a marketplace is added, takes its first signed sale, is paused and resumed, and its secret changed", async (t) => {
  const shop = await startShop(t);
  const { hub, page } = await world(t, { at: "/marketplaces", width: 390, height: 844 });
  await page.getByRole("button", { name: "Add a marketplace" }).first().click();
  await page.getByRole("dialog").getByRole("button", { name: /^Generic/ }).click();
  await page.fill("[name='/code']", "bazaar");
  await page.fill("[name='/name']", "Grand Bazaar");
  await page.fill("[name='/base_url']", shop.url);
  await page.fill("[name='/secrets/webhook_secret']", "a secret between the two of us");
  await accessible(page, "connecting a marketplace");
  await picture(page, "connect-390", { fullPage: false });
  await press(page, "Connect it");
  await page.waitForSelector("h1:text('Grand Bazaar')");
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).last().click({ timeout: 90_000 });

  await hub.api("POST", "/v1/admin/products", { sku: "CUP-1", name: "Cup", initial_stock: 10 });
  await hub.api("POST", "/v1/admin/listings", { marketplace: "bazaar", sku: "CUP-1", marketplace_product_id: "CUP-1" });
  await eventually(() => assert.equal(shop.shown.get("CUP-1"), 10));
  const sale = (previous, secret) => sendWebhook(hub, "bazaar", { event: "order.created", order_id: `o-${previous}`, timestamp: new Date().toISOString(), items: [{ order_item_id: "1", sku: "CUP-1", quantity: 1 }] }, secret);
  assert.equal((await sale(10, "a secret between the two of us")).status, 200, "no restart was needed");

  await press(page, "Pause");
  await press(page, "Pause it");
  await page.waitForSelector(".badge:text('Paused')");
  await hub.api("POST", "/v1/admin/products/CUP-1/topup", { quantity: 5 });
  await press(page, "Resume");
  await page.waitForSelector(".badge:text('Active')");
  await eventually(async () => assert.equal(shop.shown.get("CUP-1"), (await hub.api("GET", "/v1/admin/products/CUP-1")).available));

  await press(page, "Change a secret");
  await page.selectOption("[name='/overlap_seconds']", "0");
  await press(page, "Change it");
  const secret = await page.textContent("dialog .secret code");
  await press(page, "I have kept it");
  assert.equal((await sale(20, "a secret between the two of us")).status, 401, "the old one ended at once");
  assert.equal((await sale(21, secret)).status, 200);
  await fits(page);
  await calm(page);
});

test("channels: products come in as CSV: a faulty line is named, a good file previewed, then brought in; out again the same", async (t) => {
  const { hub, page } = await world(t, { at: "/products/import", allowed: [/422/] });
  await hub.api("POST", "/v1/admin/products", { sku: "CUP-1", name: "Cup", price: { amount: "4.00", currency: "EUR" }, initial_stock: 7 });
  const before = await hub.api("GET", "/v1/admin/products/export", undefined, { accept: "text/csv" });
  const [head, row] = before.trim().split(/\r?\n/);
  assert.match(row, /CUP-1/);
  const choose = (text) => page.setInputFiles("#csv", { name: "products.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
  await choose(`${head}\n${row.replace("4.00", "four")}\n`);
  await page.waitForSelector("table:has-text('price')");
  await picture(page, "import-faults-1280");
  assert.equal((await hub.api("GET", "/v1/admin/products/CUP-1")).price.amount, "4.00");
  await choose(`${head}\n${row.replace("4.00", "4.50")}\n`);
  await page.getByRole("button", { name: /^Bring in 1 row/ }).click();
  await page.waitForSelector("h1:text('Products')");
  assert.equal((await hub.api("GET", "/v1/admin/products/CUP-1")).price.amount, "4.50");
  await calm(page);
});

test("channels: an address that ends with a secret is shown whole once, and never as if it were whole", async (t) => {
  const { hub, page } = await world(t, { at: "/marketplaces?new=1", width: 390, height: 844 });
  const shop = await startShop(t);
  await page.click(".pick button:has-text('Ozon')");
  await page.fill("[name='/base_url']", shop.url);
  await press(page, "Connect it");
  await page.waitForSelector("[name='/account/client_id'][aria-invalid=true]");
  for (const [name, value] of [["account/client_id", "1"], ["account/seller_id", "2"], ["secrets/api_key", "a key of the seller's office"]]) await page.fill(`[name='/${name}']`, value);
  await press(page, "Connect it");
  // The doctor comes by itself: what is worst stands first, and is what is seen.
  await page.waitForSelector("dialog .checks li:first-child .badge.bad");
  assert.equal(await page.locator(".dialog-body").evaluate((body) => body.scrollTop), 0);
  await press(page, "Close");
  await page.waitForSelector(".card:has-text('has to end with a secret')");
  assert.equal(await page.locator("text=Copy the address").count(), 0, "half an address is not offered");
  await press(page, "Change a secret");
  await page.selectOption("[name='/name']", "hook_path");
  await press(page, "Change it");
  await page.waitForSelector("dialog h2:text('new address')");
  const whole = await page.textContent("dialog .secret code");
  assert.match(whole, new RegExp(`^${hub.url}/webhooks/ozon/[^/{…%]{32,}$`));
  const known = await fetch(whole, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
  assert.notEqual(known.status, 404, "it is where webhooks go");
  // What is shown only once stays until somebody says that it is kept.
  await page.mouse.click(5, 5);
  await press(page, "I have kept it");
  await page.waitForSelector(`.secret code:text-is("${hub.url}/webhooks/ozon/{hook path}")`);
  await page.evaluate(() => (location.hash = "/start"));
  await page.waitForSelector(".step.done:has-text('Let the doctor look')");
  await calm(page);
});

test("channels: counts come in as CSV from the products' page: what was thought and what lies there", async (t) => {
  const { hub, page } = await world(t, { at: "/products", allowed: [/422/] });
  await hub.api("POST", "/v1/admin/products", { sku: "CUP-1", name: "Cup", price: { amount: "4.00", currency: "EUR" }, initial_stock: 7 });
  await press(page, "Count");
  await page.waitForSelector("[aria-pressed=true]:text('Counts')");
  const coming = page.waitForEvent("download");
  await press(page, "Download counts");
  const file = await (await coming).createReadStream().then((stream) => stream.toArray()).then((pieces) => Buffer.concat(pieces).toString());
  assert.match(file, /^sku,location,count,.*\r\nCUP-1,main,7,/s);
  const choose = (text) => page.setInputFiles("#csv", { name: "counts.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
  await choose(file.replace("main,7,", "main,seven,"));
  await page.waitForSelector("text=Mend these lines");
  assert.match(await page.textContent("[aria-label='What is wrong']"), /2.*count.*whole number/s);
  await fits(page, "a table with mistakes");
  await choose(file.replace("main,7,", "main,6,"));
  await page.getByRole("button", { name: /^Bring in 1 row/ }).click();
  await page.waitForSelector("h1:text('Products')");
  assert.equal((await hub.api("GET", "/v1/admin/products/CUP-1")).on_hand, 6);
  await calm(page);
});
