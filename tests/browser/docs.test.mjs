// The book: its links lead somewhere, and what its quick start tells people to type does what it says.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { calm, eventually, freePort, hubBinary, openPage, startHub, test } from "./lib.mjs";

const book = resolve(dirname(fileURLToPath(import.meta.url)), "../../docs/src");

const pages = async () => (await readdir(book, { recursive: true })).filter((name) => name.endsWith(".md"));
const linksOf = (text) => [...text.matchAll(/\]\(([^)#:]+\.md)(#[^)]*)?\)/g)].map(([, link]) => link);

test("docs: every page is in the summary, and every link leads to a page", async () => {
  const known = new Set(await pages());
  const listed = new Set(linksOf(await readFile(join(book, "SUMMARY.md"), "utf8")));
  assert.deepEqual([...known].filter((page) => page !== "SUMMARY.md" && !listed.has(page)), [], "pages that the summary forgets");
  for (const page of known) {
    for (const link of linksOf(await readFile(join(book, page), "utf8"))) {
      const target = relative(book, resolve(book, dirname(page), link));
      assert.ok(known.has(target), `${page} links to ${link}, which is not there`);
    }
  }
});

test("docs: the quick start without a browser ends with 47 pieces, as it says", async (t) => {
  const text = (await readFile(join(book, "quick-start.md"), "utf8")).split("## Without a browser")[1];
  const blocks = [...text.matchAll(/```(\w+)\n([\s\S]*?)```/g)].map(([, kind, body]) => ({ kind, body }));
  const [secrets, serve, products, sale] = blocks.filter(({ kind }) => kind === "sh").map(({ body }) => body);
  assert.match(serve, /^stockhub serve --config hub\.toml\n$/);
  const config = blocks.find(({ kind }) => kind === "toml").body;
  const shell = async (script, env) => (await promisify(execFile)("bash", ["-euo", "pipefail", "-c", script], { env: { ...process.env, ...env }, timeout: 90_000 })).stdout;
  const [admin, secret] = (await shell(`${secrets}\nprintf '%s %s' "$ADMIN_TOKEN" "$SHOP_SECRET"`)).split(" ");
  const env = { ADMIN_TOKEN: admin, SHOP_SECRET: secret };
  // The harness writes the sections of its own; the page's [auth] takes the place of its token.
  const marketplaces = config.replace(/\[auth\]\nbootstrap_admin_token = "env:ADMIN_TOKEN"\n/, "");
  assert.notEqual(marketplaces, config, "the page still names the token as this test expects");
  const hub = await startHub(t, { marketplaces, env: { ...env, T_ADMIN: admin } });
  const send = (body) => `curl -sS "$hub/webhooks/shop" -H "X-Webhook-Signature: $signature" --data-binary "${body}" -w ' %{http_code}\\n'`;
  const said = await shell(`${products.replace("http://127.0.0.1:8080", hub.url)}\n${sale}\n${send("$body")}\n${send("$body ")}`, env);
  const [, , receipt, stock, again, changed] = said.split("\n");
  assert.match(receipt, /"received":true/);
  assert.match(stock, /"stock":47/);
  assert.match(again, /"duplicate":true.* 200$/, "the same body again");
  assert.match(changed, / 401$/, "one byte more");
});

test("docs: the README's first real webhook, word for word: 50 pieces become 47 in a browser that is open", async (t) => {
  const text = (await readFile(resolve(book, "../../README.md"), "utf8")).split("## A first real webhook")[1].split("\n## ")[0];
  const [secrets, serve, products, sale] = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, body]) => body);
  const folder = await mkdtemp(join(tmpdir(), "stockhub-readme-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const port = await freePort();
  const env = { ...process.env, STOCKHUB__SERVER__BIND: `127.0.0.1:${port}` };
  const here = (script) => script.replaceAll("http://127.0.0.1:8080", `http://127.0.0.1:${port}`);
  const shell = async (script) => (await promisify(execFile)("bash", ["-euo", "pipefail", "-c", here(script)], { cwd: folder, env, timeout: 90_000 })).stdout;
  await shell(secrets);
  // The only word that differs: the program is built already.
  assert.match(serve, /cargo run --release -- serve --config hub\.toml\n$/);
  const hub = spawn("bash", ["-euc", serve.replace("cargo run --release --", hubBinary)], { cwd: folder, env, stdio: "ignore", detached: true });
  const ended = new Promise((done) => hub.on("exit", done));
  t.after(async () => {
    process.kill(-hub.pid, "SIGTERM");
    await ended;
  });
  const url = `http://127.0.0.1:${port}`;
  await eventually(async () => assert.equal((await fetch(`${url}/readyz`)).status, 200), { within: 90_000 });
  const begun = Date.now();
  await shell(products);
  const page = await openPage(t, { url }, { path: "/store" });
  const shows = (pieces) => page.waitForFunction((pieces) => [...document.querySelectorAll("h2")].find(({ textContent }) => textContent === "PHONE-001")?.closest("article, li, section")?.querySelector(".number")?.textContent === pieces, pieces);
  await shows("50");
  // The second terminal knows its names from the block before.
  const said = await shell(`${products.split("\n").slice(0, 3).join("\n")}\n${sale}`);
  assert.match(said, /"received":true.*"duplicate":false/);
  assert.match(said, /"stock":47/);
  await shows("47");
  console.log(`from a hub that is ready to a page that changed: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
  await calm(page, { shift: 0.1 });
});
