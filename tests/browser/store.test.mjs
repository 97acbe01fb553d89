// The storefront in a real browser: live numbers, a hub that is killed, transports that are blocked, tabs that are hidden. And the
// same stream without our client.

import assert from "node:assert/strict";
import { createServer, request as forward } from "node:http";

import { accessible, calm, eventually, fits, openPage, picture, startHub, test } from "./lib.mjs";

/** Complaints of a browser whose hub is away: true, and not ours to avoid. */
const AWAY = [/ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED|WebSocket connection to|502|Bad Gateway|MIME type/];

async function store(t, { settings = "", products = { "CUP-1": 12, "MUG-2": 3, "BOWL-3": 0 } } = {}) {
  const hub = await startHub(t, { settings });
  for (const [sku, stock] of Object.entries(products)) {
    await hub.api("POST", "/v1/admin/products", { sku, name: sku, initial_stock: stock });
  }
  return hub;
}

const sell = (hub, sku, quantity = 1) => hub.api("PATCH", `/v1/products/${sku}/inventory`, { delta: -quantity, reason: "sold" });

const card = (page, sku) => page.locator(".product", { has: page.getByRole("heading", { name: sku, exact: true }) });

async function shows(page, sku, stock, within = 60_000) {
  await eventually(async () => assert.equal(await card(page, sku).locator(".number").textContent({ timeout: 1_000 }), `${stock}`), { within });
}

const says = (page, words) => eventually(async () => assert.equal(await page.locator("#status").textContent(), words), { within: 90_000 });

/** Connections of a transport, as the hub counts them. */
async function connected(hub, transport) {
  const text = await hub.api("GET", "/metrics");
  return Number(text.match(new RegExp(`fanout_connections\\{transport="${transport}"\\} (\\d+)`))?.[1]);
}

/** A proxy as companies have them: it lets through what it knows, and cuts what it does not. */
async function proxy(t, hub, blocked) {
  const target = new URL(hub.url);
  const cut = new Set(blocked);
  const server = createServer((request, response) => {
    if (cut.has("eventstream") && request.url.startsWith("/v1/stock/stream")) return void response.writeHead(502).end();
    const options = { host: target.hostname, port: target.port, path: request.url, method: request.method, headers: request.headers };
    const upstream = forward(options, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  });
  server.on("upgrade", (_, socket) => socket.destroy());
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => new Promise((done) => (server.closeAllConnections(), server.close(done))));
  return { url: `http://127.0.0.1:${server.address().port}` };
}

test("store: a live countdown in two tabs, and a look at it", async (t) => {
  const hub = await store(t);
  const first = await openPage(t, hub, { path: "/store" });
  const second = await openPage(t, hub, { path: "/store", width: 390, height: 844, dark: true });
  for (const page of [first, second]) {
    await says(page, "Live");
    await shows(page, "CUP-1", 12);
    await shows(page, "BOWL-3", 0);
  }
  for (let left = 11; left >= 2; left--) {
    await sell(hub, "CUP-1");
    await Promise.all([first, second].map((page) => shows(page, "CUP-1", left)));
  }
  assert.equal(await card(first, "CUP-1").getAttribute("data-state"), "low");
  assert.equal(await card(first, "BOWL-3").getAttribute("data-state"), "out");
  await hub.api("POST", "/v1/admin/products", { sku: "NEW-4", name: "NEW-4", initial_stock: 9 });
  await Promise.all([first, second].map((page) => shows(page, "NEW-4", 9)));
  await first.getByLabel("Find a product").fill("cup");
  await eventually(async () => assert.equal(await first.locator(".product:visible").count(), 1));
  await first.getByLabel("Find a product").fill("");
  for (const [page, name] of [[first, "store-desktop-light"], [second, "store-phone-dark"]]) {
    await picture(page, name);
    await fits(page);
    await accessible(page);
    await calm(page, { shift: 0.1 });
  }
  await eventually(async () => assert.equal(await connected(hub, "websocket"), 2));
});

test("store: the hub is killed, sells while the page waits, and the page catches up", async (t) => {
  const hub = await store(t);
  const page = await openPage(t, hub, { path: "/store", allowed: AWAY });
  await shows(page, "CUP-1", 12);
  await hub.kill();
  await eventually(async () => assert.match(await page.locator("#status").textContent(), /Reconnecting|Connecting/));
  await shows(page, "CUP-1", 12);
  await hub.again();
  await sell(hub, "CUP-1", 5);
  await says(page, "Live");
  await shows(page, "CUP-1", 7);
  // Gracefully: the page is told to come back.
  await hub.kill("SIGTERM");
  await hub.again();
  await sell(hub, "MUG-2", 3);
  await shows(page, "MUG-2", 0);
  await says(page, "Live");
  await eventually(async () => assert.equal(await connected(hub, "websocket"), 1, "a hub that was down is no reason to change the transport"));
  await calm(page, { shift: 0.1 });
});

test("store: without WebSocket it takes the event stream, without that it polls, and remembers", async (t) => {
  // A stream whose browser left is noticed when something is written to it.
  const hub = await store(t, { settings: "[realtime]\nheartbeat_ms = 500\n" });
  for (const [blocked, words, transport] of [
    [["websocket"], "Live (event stream)", "eventstream"],
    [["websocket", "eventstream"], "Live (long-poll)", "poll"],
  ]) {
    const way = await proxy(t, hub, blocked);
    const page = await openPage(t, way, { path: "/store", allowed: AWAY });
    await says(page, words);
    const stock = Number(await card(page, "CUP-1").locator(".number").textContent());
    await sell(hub, "CUP-1");
    await shows(page, "CUP-1", stock - 1);
    await eventually(async () => assert.equal(await connected(hub, transport), 1));
    await page.reload();
    await says(page, words);
    assert.equal(await page.evaluate(() => sessionStorage.getItem("stockhub.transport")), transport);
    await page.close();
    await eventually(async () => assert.equal(await connected(hub, transport), 0), { within: 90_000 });
  }
});

test("store: a hidden tab lets go, and is right when it is shown", async (t) => {
  const hub = await store(t);
  const page = await openPage(t, hub, { path: "/store" });
  await shows(page, "CUP-1", 12);
  const look = (state) => page.evaluate((state) => {
    Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, state);
  await look("hidden");
  await eventually(async () => assert.equal(await connected(hub, "websocket"), 0));
  assert.equal(await page.locator("#status").textContent(), "Paused");
  await sell(hub, "CUP-1", 4);
  await look("visible");
  await says(page, "Live");
  await shows(page, "CUP-1", 8);
  // A glance elsewhere is no reason to let go.
  await look("hidden");
  await look("visible");
  assert.equal(await page.locator("#status").textContent(), "Live");
  await calm(page, { shift: 0.1 });
});

test("store: a shop of another origin has the element, which says changes politely", async (t) => {
  const hub = await store(t);
  const shop = createServer((request, response) => {
    response.writeHead(200, { "content-type": "text/html" });
    response.end(request.url !== "/" ? "" : `<!doctype html><html lang="en"><head><title>A shop</title><link rel="icon" href="data:,">
      <script type="module" src="${hub.url}/client/stockhub.js"></script></head><body><main><h1>A shop</h1>
      <stock-level sku="CUP-1" low="3"></stock-level><stock-level sku="BOWL-3" text-out="Back soon"></stock-level>
      <stock-level sku="NONE"></stock-level></main></body></html>`);
  });
  await new Promise((done) => shop.listen(0, "127.0.0.1", done));
  t.after(() => new Promise((done) => (shop.closeAllConnections(), shop.close(done))));
  const page = await openPage(t, { url: `http://127.0.0.1:${shop.address().port}` }, { path: "/" });
  const level = (sku) => page.locator(`stock-level[sku="${sku}"]`);
  const is = (sku, state, text) => eventually(async () => {
    assert.deepEqual([await level(sku).getAttribute("state"), await level(sku).locator("[part=text]").textContent()], [state, text]);
  });
  await is("CUP-1", "in", "12 in stock");
  await is("BOWL-3", "out", "Back soon");
  await is("NONE", "unknown", "–");
  await sell(hub, "CUP-1", 10);
  await is("CUP-1", "low", "Only 2 left");
  await eventually(async () => assert.equal(await level("CUP-1").getByRole("status").textContent(), "Only 2 left"));
  assert.equal(await level("BOWL-3").getByRole("status").textContent(), "", "what did not change is not said");
  await eventually(async () => assert.equal(await connected(hub, "websocket"), 1, "all elements of a page share a connection"));
  await accessible(page);
  await picture(page, "stock-level");
});

test("store: EventSource and fetch need none of our code", async (t) => {
  const hub = await store(t);
  const page = await openPage(t, hub, { path: "/store", allowed: AWAY });
  await page.evaluate(() => {
    globalThis.events = [];
    globalThis.source = new EventSource("/v1/stock/stream?skus=CUP-1");
    for (const kind of ["snapshot", "stock_update", "gap", "bye"]) {
      source.addEventListener(kind, ({ data, lastEventId }) => events.push({ kind, lastEventId, ...JSON.parse(data) }));
    }
  });
  const last = () => page.evaluate(() => events.findLast(({ items }) => items)?.items[0].stock);
  await eventually(async () => assert.equal(await last(), 12));
  await sell(hub, "CUP-1");
  await eventually(async () => assert.equal(await last(), 11));
  await hub.kill();
  await hub.again();
  await sell(hub, "CUP-1");
  // The browser comes back by itself with Last-Event-ID; the new stream says that it is another one.
  await eventually(async () => assert.equal(await last(), 10), { within: 90_000 });
  assert.ok(await page.evaluate(() => events.some(({ kind, why }) => kind === "gap" && why === "epoch")));
  assert.ok(await page.evaluate(() => events.every(({ kind, cursor, lastEventId }) => !cursor || kind === "gap" || cursor === lastEventId)));

  const polled = page.evaluate(async () => {
    const start = await (await fetch("/v1/stock/poll?skus=CUP-1")).json();
    globalThis.polling = true;
    const next = await (await fetch(`/v1/stock/poll?skus=CUP-1&since=${encodeURIComponent(start.cursor)}&wait=20`)).json();
    return [start.mode, start.items[0].stock, next.mode, next.items[0].stock];
  });
  await eventually(async () => assert.equal(await page.evaluate(() => globalThis.polling), true));
  await sell(hub, "CUP-1");
  assert.deepEqual(await polled, ["snapshot", 10, "resumed", 9]);
  const cached = await page.evaluate(async () => {
    const first = await fetch("/v1/stock/CUP-1", { cache: "no-store" });
    return (await fetch("/v1/stock/CUP-1", { cache: "no-store", headers: { "If-None-Match": first.headers.get("etag") } })).status;
  });
  assert.equal(cached, 304);
});
