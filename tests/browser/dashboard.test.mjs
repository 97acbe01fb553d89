// The dashboard in Chromium, against a real hub: what a seller does with it, and what every page is held to.

import assert from "node:assert/strict";

import { accessible, calm, eventually, fits, openPage, picture, sendWebhook, startHub, startShop, test, TOKEN } from "./lib.mjs";

/** What a browser says on its console when the hub rightly says no. */
const NOBODY = [/401.*\/v1\/auth\/me/];

const PRODUCTS = [
  { sku: "CUP-1", name: "Cup, blue", price: { amount: "12.50", currency: "EUR" }, cost_price: { amount: "4.00", currency: "EUR" }, initial_stock: 40 },
  { sku: "POT-2", name: "Pot with lid", price: { amount: "48.00", currency: "EUR" }, initial_stock: 3 },
  { sku: "TRAY/3 ü", name: "Tray, long & narrow", initial_stock: 0 },
];

/** A hub with two shops and an ad, three products, and somebody signed in on a page. */
async function world(t, { path = "/", ...page } = {}) {
  const [bazaar, market] = [await startShop(t), await startShop(t)];
  const marketplaces = `${bazaar.toml("bazaar")}${market.toml("market")}[[marketplaces]]\ncode = "olx"\nadapter = "manual"\nname = "OLX ads"\n`;
  const hub = await startHub(t, { marketplaces });
  for (const product of PRODUCTS) await hub.api("POST", "/v1/admin/products", product);
  for (const marketplace of ["bazaar", "market"]) {
    for (const { sku } of PRODUCTS) await hub.api("POST", "/v1/admin/listings", { marketplace, sku, marketplace_product_id: sku });
  }
  const view = await openPage(t, hub, { path: null, allowed: NOBODY, ...page });
  await view.addInitScript((token) => sessionStorage.setItem("stockhub-token", token), TOKEN);
  await view.goto(hub.url + path);
  await view.waitForSelector("main h1");
  return { hub, bazaar, market, page: view };
}

const go = async (page, hash, text) => {
  await page.evaluate((hash) => (location.hash = hash), hash);
  await page.waitForFunction((text) => document.querySelector("main h1")?.textContent.includes(text) && !document.querySelector("main").hasAttribute("aria-busy"), text);
};

/** Presses what a screen reader calls by this name. */
const press = (page, name) => page.getByRole("button", { name, exact: true }).or(page.getByRole("link", { name, exact: true })).last().click();

const stockOf = async (hub, sku) => (await hub.api("GET", `/v1/admin/products/${encodeURIComponent(sku)}`)).available;

test("dashboard: a sale on a marketplace appears on the overview by itself, and nothing moves", async (t) => {
  const { hub, bazaar, page } = await world(t);
  await bazaar.sell(hub, "bazaar", "CUP-1", 2);
  await page.waitForFunction(() => document.querySelector(".feed .row-main")?.textContent === "CUP-1");
  assert.match(await page.textContent(".feed .row"), /Sold.*bazaar.*−2.*38 left/s);
  await page.waitForFunction(() => document.querySelector(".stat-value")?.textContent === "2");
  await page.evaluate(() => (globalThis.__shifts = []));
  for (let n = 0; n < 3; n++) await bazaar.sell(hub, "bazaar", "CUP-1");
  await page.waitForFunction(() => document.querySelector(".stat-value")?.textContent === "5");
  await calm(page, { shift: 0.001 });
});

test("dashboard: products are found by typing, and each number tells why it is so", async (t) => {
  const { hub, bazaar, page } = await world(t, { path: "/#/products" });
  assert.equal(await page.locator(".row").count(), 3);
  await page.fill("input[type=search]", "pot");
  await page.waitForFunction(() => document.querySelectorAll(".row").length === 1);
  assert.equal(await page.evaluate(() => document.activeElement.type), "search", "typing is not interrupted");
  await page.click(".row a");
  await page.waitForSelector("h1:text('Pot with lid')");
  await hub.api("PUT", "/v1/admin/marketplaces/bazaar/rule", { rule: { buffer: 1 }, confirm: null }).catch(() => {});
  await eventually(() => assert.equal(bazaar.shown.get("POT-2"), 2));
  await page.click(".why[aria-label='Should show on bazaar: 2. Why?']");
  await page.waitForSelector("h1:text('Why this number?')");
  const trace = await page.textContent(".trace[aria-label='How bazaar comes to its number']");
  assert.match(trace, /Available in its places.*3.*Less the buffer.*1 kept back.*2/s);
  assert.match(await page.textContent(".flow"), /Wanted2.*Confirmed2.*Expected2/s);
  await calm(page);
});

test("dashboard: a top-up and a count are booked and told to every marketplace", async (t) => {
  const { hub, bazaar, market, page } = await world(t, { path: "/#/products/POT-2", width: 390, height: 844 });
  await press(page, "Top up");
  await page.fill("[name='/quantity']", "7");
  await page.click("dialog button[type=submit]");
  await page.waitForFunction(() => document.querySelector(".why.big")?.textContent === "10");
  await eventually(() => assert.deepEqual([bazaar.shown.get("POT-2"), market.shown.get("POT-2")], [10, 10]));
  await press(page, "Count");
  await page.fill("[name='/count']", "9");
  await page.click("dialog button[type=submit]");
  await page.waitForFunction(() => document.querySelector(".why.big")?.textContent === "9");
  assert.equal(await stockOf(hub, "POT-2"), 9);
  await calm(page);
});

test("dashboard: a mistake in a form is told at its field, by the hub's own words", async (t) => {
  const { page } = await world(t, { path: "/#/products", allowed: [...NOBODY, /422/, /409/] });
  await press(page, "New product");
  await page.click("dialog button[type=submit]");
  assert.equal(await page.textContent("[id$='-error']:not(:empty)"), "is needed");
  await page.fill("[name='/name']", "Bowl");
  await page.fill("[name='/sku']", "BOWL-9");
  await page.fill("[name='/price/amount']", "1.2.3");
  await page.fill("[name='/price/currency']", "EUR");
  await page.click("dialog button[type=submit]");
  await page.waitForSelector("[name='/price/amount'][aria-invalid=true]");
  assert.equal(await page.evaluate(() => document.activeElement.name), "/price/amount", "the first mistake has the focus");
  await page.fill("[name='/price/amount']", "7.90");
  await page.click("dialog button[type=submit]");
  await page.waitForSelector("h1:text('Bowl')");
  await calm(page);
});

test("dashboard: an order by hand, also where there is not enough; shipped, taken back, cancelled", async (t) => {
  const { hub, bazaar, page } = await world(t, { path: "/#/orders", allowed: [...NOBODY, /409/] });
  await press(page, "Record an order");
  assert.equal(await page.inputValue("#order-place"), "olx", "only channels by hand are offered");
  await page.fill("[data-sku]", "POT-2");
  assert.match(await page.textContent("dialog .hint"), /3 available/);
  await page.fill("[data-quantity]", "4");
  await page.fill("#order-name", "Anna");
  await page.click("dialog button[type=submit]");
  await press(page, "Book it all the same");
  await page.waitForSelector("text=4 × POT-2");
  assert.equal(await stockOf(hub, "POT-2"), -1);
  await go(page, "#/oversells", "Oversells");
  await page.waitForSelector("text=1 piece too many");
  await press(page, "Say what was decided");
  await page.fill("[name='/decision']", "Anna waits for the next delivery");
  await page.click("dialog button[type=submit]");
  await page.waitForSelector("text=Nothing is oversold");
  await go(page, "#/orders", "Orders");
  await page.click(".row a");
  await press(page, "Cancel");
  await press(page, "Cancel the order");
  await page.waitForSelector(".badge:text('Cancelled')");
  await eventually(() => assert.equal(bazaar.shown.get("POT-2"), 3));
  await calm(page);
});

test("dashboard: an unknown SKU waits, is mapped, and its parked sale applies by itself", async (t) => {
  const { hub, page } = await world(t);
  const sold = { event: "order.created", order_id: "B-77", timestamp: new Date().toISOString(), items: [{ order_item_id: "1", sku: "cup-blue", quantity: 3, price: "12.50" }] };
  const hubWithOrders = await sendWebhook(hub, "bazaar", { event: "stock.updated", sku: "cup-blue", previous_stock: 9, current_stock: 6, change: -3, timestamp: sold.timestamp, reason: "sold" });
  assert.equal(hubWithOrders.status, 200);
  await page.waitForFunction(() => [...document.querySelectorAll(".need")].some((tile) => /^\s*[1-9].*unmapped/s.test(tile.textContent)));
  await page.click(".need:has-text('unmapped')");
  await press(page, "Which product is it?");
  await page.fill("[name='/sku']", "CUP-1");
  await page.click("dialog button[type=submit]");
  await page.waitForSelector("text=Every sale found its product");
  await eventually(async () => assert.equal(await stockOf(hub, "CUP-1"), 37));
  await calm(page);
});

test("dashboard: the log is searched, a body read, one and many replayed, and nothing is booked twice", async (t) => {
  const { hub, bazaar, page } = await world(t);
  for (let n = 0; n < 3; n++) await bazaar.sell(hub, "bazaar", "CUP-1");
  const bad = await sendWebhook(hub, "bazaar", { event: "stock.updated", sku: "CUP-1", previous_stock: 10, current_stock: 3, change: -1, timestamp: new Date().toISOString(), reason: "sold" });
  assert.equal(bad.status, 200, "believed, logged, and found wanting");
  await go(page, "#/webhooks", "Webhooks");
  await page.selectOption("[aria-label=Status]", "failed");
  await page.waitForFunction(() => document.querySelectorAll(".row").length === 1);
  await page.click(".row a");
  assert.match(await page.textContent("pre.code"), /"current_stock": 3/);
  await press(page, "Replay");
  await page.waitForSelector("text=It goes through once more");
  await go(page, "#/webhooks", "Webhooks");
  await press(page, "Replay many");
  await page.selectOption("[name='/status']", "processed");
  await press(page, "Count them first");
  await page.waitForSelector("text=Replay 3 webhooks?");
  await press(page, "Replay 3");
  await page.waitForSelector("text=3 webhooks put in line");
  await eventually(async () => assert.equal((await hub.api("GET", "/v1/admin/webhooks?status=pending")).items.length, 0));
  assert.equal(await stockOf(hub, "CUP-1"), 37);
  await calm(page);
});

test("dashboard: analytics draws what was sold, by day and marketplace", async (t) => {
  const { hub, bazaar, market, page } = await world(t);
  await bazaar.sell(hub, "bazaar", "CUP-1", 4);
  await market.sell(hub, "market", "POT-2", 1);
  await go(page, "#/analytics", "Analytics");
  await page.waitForFunction(() => /5 pieces sold in 30 days: bazaar 4, market 1/.test(document.querySelector("svg.chart")?.getAttribute("aria-label") ?? ""));
  assert.equal(await page.locator(".chart .column rect:not(.hit)").count(), 2);
  await press(page, "7 days");
  await page.waitForFunction(() => document.querySelectorAll(".chart .column").length === 7);
  await calm(page);
});

test("dashboard: a token is made, shown once, works, and is revoked", async (t) => {
  const { hub, page } = await world(t, { path: "/#/settings/tokens" });
  await press(page, "New API token");
  await page.fill("[name='/name']", "nightly export");
  await page.click("dialog button[type=submit]");
  const token = await page.textContent(".secret code");
  const ask = () => fetch(`${hub.url}/v1/admin/products`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal((await ask()).status, 200);
  await press(page, "I have kept it");
  assert.ok(!(await page.content()).includes(token), "it is shown once");
  await press(page, "Revoke");
  await press(page, "Revoke");
  await page.waitForSelector("text=No API token in use");
  assert.equal((await ask()).status, 401);
  await calm(page);
});

test("dashboard: a rule that would empty the shop is shown first, and only done when confirmed", async (t) => {
  const { hub, bazaar, page } = await world(t, { path: "/#/settings/rules?marketplace=bazaar", allowed: [...NOBODY, /409/] });
  await eventually(() => assert.equal(bazaar.shown.get("CUP-1"), 40));
  await page.fill("[name='/buffer']", "100");
  await press(page, "Save the rule");
  await page.waitForSelector("dialog >> text=This changes a lot at once");
  await press(page, "Keep it as it is");
  assert.equal((await hub.api("GET", "/v1/admin/marketplaces/bazaar/rule")).rule.buffer, undefined);
  await press(page, "Save the rule");
  await press(page, "Do it all the same");
  await eventually(() => assert.equal(bazaar.shown.get("CUP-1"), 0));
  await calm(page);
});

test("dashboard: rules come in as a file, mistakes are told by line, and emptying the shop is asked for", async (t) => {
  const { hub, bazaar, page } = await world(t, { path: "/#/settings/rules", width: 390, height: 844, allowed: [...NOBODY, /409/, /422/] });
  await eventually(() => assert.equal(bazaar.shown.get("CUP-1"), 40));
  const coming = page.waitForEvent("download");
  await press(page, "Download all rules");
  const file = await (await coming).createReadStream().then((stream) => stream.toArray()).then((pieces) => Buffer.concat(pieces).toString());
  assert.match(file, /^scope,marketplace,sku,.*\r\nhub,.*\r\nmarketplace,bazaar,/s);
  await press(page, "Bring in a file");
  await page.waitForSelector("[aria-pressed=true]:text('Rules')");
  const choose = (text) => page.setInputFiles("#csv", { name: "rules.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
  await choose("scope,sku,buffer\nproduct,CUP-1,2\nproduct,NOPE,x\n");
  await page.waitForSelector("text=Mend these lines");
  assert.match(await page.textContent("[aria-label='What is wrong']"), /3.*buffer.*whole number/s);
  await fits(page, "a table with mistakes");
  await choose("scope,sku,buffer\nproduct,CUP-1,40\nproduct,POT-2,3\n");
  await press(page, "Bring in 2 rows");
  await page.waitForSelector("dialog >> text=This changes a lot at once");
  await fits(page, "what would change");
  await press(page, "Keep it as it is");
  assert.equal(bazaar.shown.get("CUP-1"), 40);
  await press(page, "Bring in 2 rows");
  await press(page, "Do it all the same");
  await page.waitForSelector("h1:text('Allocation')");
  await eventually(() => assert.deepEqual([bazaar.shown.get("CUP-1"), bazaar.shown.get("POT-2")], [0, 0]));
  assert.deepEqual((await hub.api("GET", "/v1/admin/products/CUP-1/rule")).rule, { buffer: 40 });
  await calm(page);
});

test("dashboard: a marketplace is archived after a look at what hangs on it, and brought back", async (t) => {
  const { hub, bazaar, page } = await world(t, { path: "/#/marketplaces/bazaar", width: 390, height: 844, allowed: [...NOBODY, /409/] });
  await eventually(() => assert.equal(bazaar.shown.get("CUP-1"), 40));
  await press(page, "Archive this marketplace");
  await page.waitForSelector("dialog >> text=2 listings still show pieces there");
  await fits(page, "what hangs on it");
  await accessible(page, "what hangs on it");
  await picture(page, "archive-asked-390");
  await press(page, "Keep it as it is");
  assert.equal((await hub.api("GET", "/v1/admin/marketplaces/bazaar")).status, "active");
  await press(page, "Archive this marketplace");
  await press(page, "Archive it");
  await page.waitForSelector(".badge:text('Archived')");
  await page.waitForSelector("text=what was sold is sold");
  for (const gone of ["Doctor", "Sync", "Pause", "Edit", "Archive this marketplace"]) assert.equal(await page.getByRole("button", { name: gone, exact: true }).count(), 0, gone);
  await fits(page, "an archived marketplace");
  await accessible(page, "an archived marketplace");
  await picture(page, "archived-390");
  await go(page, "#/products/CUP-1", "Cup, blue");
  assert.ok(!(await page.textContent("main")).includes("bazaar"), "it is not among the places it is sold");
  await go(page, "#/marketplaces", "Marketplaces");
  await page.click("summary:text('1 archived marketplace')");
  await picture(page, "marketplaces-archived-390");
  await page.click(".row a:has-text('bazaar')");
  await hub.api("POST", "/v1/admin/products/CUP-1/topup", { quantity: 2 });
  await press(page, "Restore");
  await press(page, "Restore it");
  await eventually(() => assert.equal(bazaar.shown.get("CUP-1"), 42));
  await page.waitForSelector(".badge:text('Active')");
  await calm(page);
});

test("dashboard: the doctor calls well only what has nothing to look at", async (t) => {
  const { hub, page } = await world(t, { path: "/#/marketplaces/bazaar" });
  const { verdict } = await page.evaluate(async () => {
    const { verdict } = await import("/dashboard/pages/marketplace.js");
    const of = (...list) => verdict("bazaar", list.map((status) => ({ status })));
    return { verdict: [of("ok", "skip"), of("ok", "warn", "warn"), of("warn", "fail", "ok")] };
  });
  assert.deepEqual(verdict, ["bazaar is well", "bazaar works, with 2 things to look at", "1 thing to mend on bazaar"]);
  await hub.api("POST", "/v1/admin/marketplaces/bazaar/pause");
  await press(page, "Doctor");
  const said = await page.waitForSelector("dialog h2:text-matches('works, with|to mend')");
  assert.ok(!(await said.textContent()).includes("is well"));
  await calm(page);
});

test("dashboard: a wrong token is refused in words, and signing out forgets the right one", async (t) => {
  const { hub } = await world(t);
  const page = await openPage(t, hub, { allowed: [...NOBODY, /401/] });
  await page.waitForSelector("form");
  if (await page.locator("text=Use an API token instead").count()) await press(page, "Use an API token instead");
  await page.fill("[name='/token']", "shk_wrong");
  await page.click("button[type=submit]");
  await page.waitForSelector("text=That token does not open this hub");
  await accessible(page, "the sign-in with a mistake");
  await page.fill("[name='/token']", TOKEN);
  await page.click("button[type=submit]");
  await page.waitForSelector("h1:text('Today')");
  await press(page, "Sign out");
  await page.waitForSelector("form");
  await page.reload();
  await page.waitForSelector("form");
  await calm(page);
});

/** Every page, its heading, and what it is called in pictures. */
const PAGES = [
  ["/", "Today"], ["/start", "Guided set-up"], ["/products", "Products"], ["/products/import", "Import"], ["/products/import?kind=rules", "Import"], ["/products/CUP-1", "Cup, blue"], ["/products/CUP-1/timeline", "Timeline"], ["/products/CUP-1/why", "Why"],
  [`/products/${encodeURIComponent("TRAY/3 ü")}`, "Tray"], ["/orders", "Orders"], ["/todo", "To do"], ["/unmapped", "Unmapped"], ["/dead-letters", "Dead letters"], ["/oversells", "Oversells"], ["/alerts", "Alerts"],
  ["/marketplaces", "Marketplaces"], ["/marketplaces/bazaar", "bazaar"], ["/marketplaces/store", "store"], ["/webhooks", "Webhooks"], ["/webhooks/rejected", "Webhooks"], ["/analytics", "Analytics"], ["/settings", "Settings"],
  ["/settings/tokens", "API tokens"], ["/settings/rules", "Allocation"], ["/settings/sinks", "Events"], ["/settings/places", "Places"], ["/settings/audit", "Audit"], ["/settings/account", "Your account"], ["/nowhere", "no such page"],
];

for (const [width, height, dark] of [[320, 640, true], [390, 844, false], [1280, 800, false], [1280, 800, true]]) {
  test(`dashboard: every page is accessible, fits and stays still, ${width} px ${dark ? "dark" : "light"}`, async (t) => {
    const { hub, bazaar, page } = await world(t, { width, height, dark });
    await bazaar.sell(hub, "bazaar", "CUP-1", 2);
    await hub.api("POST", "/v1/admin/orders", { marketplace: "olx", items: [{ sku: "CUP-1", quantity: 1 }] });
    await hub.api("POST", "/v1/admin/orders", { marketplace: "olx", items: [{ sku: "POT-2", quantity: 5 }], force: true });
    await sendWebhook(hub, "bazaar", { event: "stock.updated", sku: "who-knows", previous_stock: 2, current_stock: 1, change: -1, timestamp: new Date().toISOString(), reason: "sold" });
    await sendWebhook(hub, "bazaar", { event: "stock.updated" }, "a wrong secret");
    for (const [path, heading] of PAGES) {
      await go(page, `#${path}`, heading);
      await accessible(page, path);
      await fits(page, path);
      await picture(page, `${path.replaceAll(/[^a-z0-9]+/gi, "-").replaceAll(/^-|-$/g, "") || "overview"}-${width}${dark ? "-dark" : ""}`);
    }
    await calm(page);
  }, { timeout: 600_000 });
}

test("dashboard: with the keyboard alone from the overview to a top-up", async (t) => {
  const { page } = await world(t);
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.name || document.activeElement.tagName);
  const until = async (text, key = "Tab") => {
    for (let n = 0; n < 60; n++) {
      await page.keyboard.press(key);
      if ((await focused()).startsWith(text)) return;
    }
    assert.fail(`“${text}” is not reached with ${key}`);
  };
  await until("Skip to the content");
  await until("Products");
  await page.keyboard.press("Enter");
  await page.waitForSelector("h1:text('Products')");
  await page.waitForFunction(() => document.activeElement?.tagName === "H1");
  await until("Cup, blue");
  await page.keyboard.press("Enter");
  await page.waitForSelector("h1:text('Cup, blue')");
  await until("Top up");
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog[open]");
  await page.keyboard.type("2");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector(".why.big")?.textContent === "42");
  await page.keyboard.press("Escape");
  await calm(page);
});
