// The harness itself: what it promises to notice, it notices.

import assert from "node:assert/strict";

import { accessible, calm, eventually, openPage, startHub, startShop, test } from "./lib.mjs";

test("harness: a console error, a request elsewhere, a jump and a nameless button are noticed", async (t) => {
  const hub = await startHub(t);
  const page = await openPage(t, hub, { path: "/store" });
  await page.waitForSelector("#products");
  await calm(page, { shift: 1 });

  await page.evaluate(() => console.error("a mistake"));
  await assert.rejects(calm(page), /a mistake/);
  page.seen.console.length = 0;

  // The page's policy refuses it before it is a request, and says so on the console.
  await page.evaluate(() => fetch("http://127.0.0.1:9/elsewhere").catch(() => {}));
  await eventually(() => assert.rejects(calm(page, { shift: 1 }), /elsewhere/));
  page.seen.console.length = 0;

  await page.evaluate(() => {
    const block = document.createElement("div");
    block.style.height = "300px";
    document.body.prepend(block);
  });
  await eventually(() => assert.rejects(calm(page), /moves by itself/));

  await page.evaluate(() => document.body.append(document.createElement("button")));
  await assert.rejects(accessible(page), /button-name/);
});

test("harness: the shop takes a push and its signed sale is believed", async (t) => {
  const shop = await startShop(t);
  const hub = await startHub(t, { marketplaces: shop.toml("bazaar") });
  await hub.api("POST", "/v1/admin/products", { sku: "CUP-1", name: "Cup", initial_stock: 10 });
  await hub.api("POST", "/v1/admin/listings", { marketplace: "bazaar", sku: "CUP-1", marketplace_product_id: "CUP-1" });
  const answer = await shop.sell(hub, "bazaar", "CUP-1", 2);
  assert.equal(answer.status, 200, JSON.stringify(answer));
  await eventually(async () => assert.equal((await hub.api("GET", "/v1/admin/products/CUP-1")).available, 8));
});
