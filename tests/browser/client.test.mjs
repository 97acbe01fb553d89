// The client as a package: it packs, installs without a network, and works where it is imported from.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { startHub, test } from "./lib.mjs";

const run = promisify(execFile);
const source = resolve(dirname(fileURLToPath(import.meta.url)), "../../static/client");

test("client: npm packs it, and the package follows a hub", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "stockhub-client-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const { stdout } = await run("npm", ["pack", source, "--json", "--pack-destination", folder]);
  const [{ filename, files }] = JSON.parse(stdout);
  assert.deepEqual(files.map(({ path }) => path).sort(), ["README.md", "package.json", "stockhub.d.ts", "stockhub.js"]);

  await writeFile(join(folder, "package.json"), JSON.stringify({ name: "a-shop", private: true, type: "module" }));
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(folder, filename)], { cwd: folder });
  const types = await readFile(join(folder, "node_modules/@stockhub/client/stockhub.d.ts"), "utf8");
  assert.match(types, /export function connect\(/);

  const hub = await startHub(t);
  await hub.api("POST", "/v1/admin/products", { sku: "CUP-1", name: "CUP-1", initial_stock: 5 });
  const shop = `
    import { connect } from "@stockhub/client";
    const feed = connect({ url: "${hub.url}", skus: ["CUP-1"], onStock: ({ sku, stock }) => {
      console.log(sku, stock);
      feed.close();
    } });`;
  await writeFile(join(folder, "shop.mjs"), shop);
  const said = await run(process.execPath, ["shop.mjs"], { cwd: folder, timeout: 90_000 });
  assert.equal(said.stdout.trim(), "CUP-1 5");
});
