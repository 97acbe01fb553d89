// What the browser tests stand on: a real hub on loopback, a small shop that signs webhooks, Chromium pages that are watched.
// Nothing here leaves this machine, and only processes started here are ended.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const top = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const hubBinary = process.env.STOCKHUB_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(top, "target"), "debug/stockhub");
const shots = process.env.STOCKHUB_SHOTS;

export const TOKEN = "browser-tests-admin-token-0123456789abcdef";
export const STORE_KEY = "browser-tests-store-key-0123456789abcdef00";
export const SECRET = "browser-tests-webhook-secret";

/** Every test of every file, in the order they were named. */
export const tests = [];

/** A test: `run` is given `t`, whose `after(fn)` names what has to be undone. */
export function test(name, run, { timeout = 300_000 } = {}) {
  tests.push({ name, run, timeout });
}

/** Asks until it holds; the last complaint is the failure. */
export async function eventually(check, { within = 60_000, every = 50 } = {}) {
  const end = Date.now() + within;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((done) => setTimeout(done, every));
    }
  }
}

/** A port that nobody has now, below those that the kernel hands out by itself. */
export async function freePort() {
  for (;;) {
    const port = 12_000 + Math.floor(3_000 * Math.random());
    const server = createServer();
    const free = await new Promise((done) => server.once("error", () => done(false)).listen(port, "127.0.0.1", () => done(true)));
    if (free) {
      await new Promise((done) => server.close(done));
      return port;
    }
  }
}

// ---- the hub ----------------------------------------------------------------------------------------------------------

/**
 * The hub's own binary with a database in a folder of its own, on a free port. `marketplaces` is TOML; `settings` goes before
 * it. Without `token` the hub has no admin yet, as at a first start.
 */
export async function startHub(t, { marketplaces = "", settings = "", token = TOKEN, bind, args = ["serve"], env: more = {} } = {}) {
  assert.ok(existsSync(hubBinary), `${hubBinary} is missing: cargo build first, or name it in STOCKHUB_BIN`);
  // One it can come back to: not of those that the kernel gives to whoever connects somewhere meanwhile.
  bind ??= `127.0.0.1:${await freePort()}`;
  const folder = await mkdtemp(join(tmpdir(), "stockhub-browser-"));
  const auth = `${token ? 'bootstrap_admin_token = "env:T_ADMIN"\n' : ""}storefront_keys = ["env:T_STORE"]\n`;
  const config =
    `[server]\nbind = "${bind}"\nworkers = 1\n[database]\nurl = "sqlite://${join(folder, "hub.db")}"\n[auth]\n${auth}` +
    `[log]\nformat = "json"\n${settings}\n${marketplaces}\n`;
  await writeFile(join(folder, "hub.toml"), config);
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("STOCKHUB")));
  Object.assign(env, { T_ADMIN: TOKEN, T_STORE: STORE_KEY, T_SECRET: SECRET }, more);
  const log = await open(join(folder, "hub.log"), "a");
  const said = () => readFile(join(folder, "hub.log"), "utf8");
  let child;
  let ended;
  /** Starts it; gives where it serves, which is said once more at every start. */
  const start = async () => {
    const before = (await said()).length;
    child = spawn(hubBinary, ["--config", join(folder, "hub.toml"), ...args], { cwd: folder, env, stdio: ["ignore", log.fd, log.fd] });
    ended = new Promise((done) => child.on("exit", done));
    return eventually(async () => {
      const text = (await said()).slice(before);
      assert.equal(child.exitCode, null, `the hub ended:\n${text}`);
      const line = text.split("\n").find((line) => line.includes("stockhub is serving"));
      const found = line?.match(/127\.0\.0\.1:\d+/)?.[0];
      assert.ok(found, `the hub does not serve yet:\n${text}`);
      return found;
    }, { within: 90_000 });
  };
  const end = async (signal) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(timer);
  };
  const stop = async () => {
    await end("SIGTERM");
    await log.close();
    await rm(folder, { recursive: true, force: true });
  };
  t.after(stop);
  const address = await start();
  /** Ends it without warning, or with it; its data stays. */
  const kill = (signal = "SIGKILL") => end(signal);
  /** Starts it again where it was. */
  const again = async () => {
    await writeFile(join(folder, "hub.toml"), config.replace(`bind = "${bind}"`, `bind = "${address}"`));
    assert.equal(await start(), address);
  };
  const url = `http://${address}`;
  return { url, folder, said, stop, kill, again, pid: child.pid, api: caller(url, token) };
}

/** Calls the hub's API as an admin and gives the parsed answer; anything but 2xx is a failure that says what was answered. */
function caller(url, token) {
  return async (method, path, body, headers = {}) => {
    const typed = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    const kind = typeof body === "string" ? {} : { "content-type": "application/json" };
    const answer = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : kind), ...headers },
      body: typed,
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path} → ${answer.status} ${text}`);
    return text && answer.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text;
  };
}

// ---- a shop -----------------------------------------------------------------------------------------------------------

/** A marketplace of the generic kind: it takes pushes and shows them, and sells when told to. */
export async function startShop(t) {
  const shown = new Map();
  const pushes = [];
  let status = 200;
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (part) => (text += part));
    request.on("end", () => {
      const url = new URL(request.url, "http://shop");
      if (request.method === "POST" && url.pathname === "/stock" && status === 200) {
        const { sku, stock } = JSON.parse(text);
        shown.set(sku, stock);
        pushes.push({ sku, stock, key: request.headers["idempotency-key"] });
      }
      const sku = url.searchParams.get("sku");
      const body = request.method === "GET" ? { sku, stock: shown.get(sku) ?? 0 } : {};
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const stop = () => new Promise((done) => (server.closeAllConnections(), server.close(done)));
  t.after(stop);
  const url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    shown,
    pushes,
    answerWith: (code) => (status = code),
    stop,
    /** Its entry in the hub's configuration. */
    toml: (code, more = "") =>
      `[[marketplaces]]\ncode = "${code}"\nadapter = "generic"\nbase_url = "${url}"\nstock_feed = "delta"\n${more}` +
      `[marketplaces.secrets]\nwebhook_secret = ["env:T_SECRET"]\n`,
    /** Sells so many pieces: lowers what it shows and tells the hub, signed. */
    sell: async (hub, code, sku, quantity = 1) => {
      const previous = await eventually(() => (assert.ok(shown.has(sku), `${code} does not show ${sku} yet`), shown.get(sku)));
      shown.set(sku, previous - quantity);
      return sendWebhook(hub, code, {
        event: "stock.updated", sku, marketplace_product_id: sku, previous_stock: previous, current_stock: previous - quantity,
        change: -quantity, timestamp: new Date().toISOString(), reason: "sold",
      });
    },
  };
}

/** A webhook as a marketplace of the generic kind sends it. */
export async function sendWebhook(hub, code, body, secret = SECRET) {
  const [id, timestamp, text] = [randomUUID(), `${Math.floor(Date.now() / 1000)}`, JSON.stringify(body)];
  const signature = createHmac("sha256", secret).update(`${id}.${timestamp}.${text}`).digest("hex");
  const answer = await fetch(`${hub.url}/webhooks/${code}`, {
    method: "POST",
    headers: {
      "content-type": "application/json", "x-webhook-id": id, "x-webhook-timestamp": timestamp, "x-webhook-signature": signature,
    },
    body: text,
  });
  return { status: answer.status, body: await answer.json().catch(() => null) };
}

// ---- the browser ------------------------------------------------------------------------------------------------------

let browser = null;

function chromiumPath() {
  const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const found = candidates.find((path) => path && existsSync(path));
  assert.ok(found, "Chromium is missing (on Debian: apt-get install chromium), or name it in CHROMIUM");
  return found;
}

async function launched() {
  browser ??= await chromium.launch({
    executablePath: chromiumPath(),
    headless: true,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    ],
  });
  return browser;
}

export async function closeAll() {
  await browser?.close();
  browser = null;
}

/**
 * Sums what moved by itself: shifts that follow no click or key of the last half second, and no answer of the last half second to
 * what a click or key asked for, however long a busy machine took for it.
 */
function observeShifts() {
  globalThis.__shifts = [];
  const spans = [];
  let [until, asked] = [0, 0];
  const follows = () => (until = performance.now() + 500);
  for (const kind of ["pointerdown", "click", "keydown"]) addEventListener(kind, follows, { capture: true, passive: true });
  const send = globalThis.fetch;
  globalThis.fetch = async (...request) => {
    if (performance.now() > until) return send(...request);
    if (asked++ === 0) spans.push({ from: performance.now(), to: Infinity });
    try {
      return await send(...request);
    } finally {
      if (--asked === 0) spans.at(-1).to = follows();
    }
  };
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput || spans.some(({ from, to }) => from <= entry.startTime && entry.startTime <= to)) continue;
      const nodes = entry.sources.map(({ node }) => node?.nodeName + (node?.className ? `.${node.className}` : ""));
      globalThis.__shifts.push({ value: entry.value, nodes });
    }
  }).observe({ type: "layout-shift", buffered: true });
}

/**
 * A page in a browser profile of its own. What it says on its console, asks of other hosts, is refused by its policy or moves by
 * itself is remembered; `calm(page)` complains about it.
 */
export async function openPage(t, hub, { path = "/", width = 1280, height = 800, dark = false, allowed = [], ...more } = {}) {
  const context = await (await launched()).newContext({
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    reducedMotion: "reduce",
    ...more,
  });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(45_000);
  const seen = { console: [], external: [], allowed };
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") seen.console.push(`${message.type()}: ${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => seen.console.push(`thrown: ${error.stack ?? error}`));
  page.on("request", (request) => {
    const url = request.url();
    if (!/^(data|blob):/.test(url) && new URL(url).host !== new URL(hub.url).host) seen.external.push(url);
  });
  await page.addInitScript(observeShifts);
  page.seen = seen;
  if (path !== null) await page.goto(hub.url + path);
  return page;
}

/** No error or warning on the console (but for what a test allows by pattern), no request elsewhere, and nothing moved by itself. */
export async function calm(page, { shift = 0.02 } = {}) {
  const said = page.seen.console.filter((line) => !page.seen.allowed.some((pattern) => pattern.test(line)));
  assert.deepEqual(said, [], "the console stays silent");
  assert.deepEqual(page.seen.external, [], "nothing is asked of another host");
  const shifts = await page.evaluate(() => globalThis.__shifts ?? []);
  const sum = shifts.reduce((sum, { value }) => sum + value, 0);
  assert.ok(sum <= shift, `the page moves by itself: ${sum.toFixed(4)} ${JSON.stringify(shifts)}`);
}

const axeSource = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The accessibility rules (WCAG 2.2 A and AA, and good practice): nothing serious or critical. */
export async function accessible(page, what = page.url()) {
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, at: nodes.slice(0, 5).map((node) => `${node.target} ${node.any[0]?.message ?? ""}`) }));
  });
  const grave = found.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert.deepEqual(grave, [], `accessibility of ${what}`);
}

/** No sideways scrolling at this width. */
export async function fits(page, what = page.url()) {
  const [inner, scroll] = await page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]);
  assert.ok(scroll <= inner, `${what} is ${scroll} px wide in a window of ${inner}`);
}

/** A picture for people, where somebody asked for them. */
export async function picture(page, name, { fullPage = true } = {}) {
  if (!shots) return;
  await mkdir(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage });
}
