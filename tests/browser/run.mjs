// Runs every `*.test.mjs` of this folder in one Chromium, one after the other, and closes with a line that scripts/test adds up.
//
//   node tests/browser/run.mjs [words…]     only tests whose name holds one of the words
//
// STOCKHUB_BIN names the hub's binary (default target/debug/stockhub), CHROMIUM the browser, STOCKHUB_SHOTS a folder for pictures.

import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { closeAll, tests } from "./lib.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const words = process.argv.slice(2);

for (const name of (await readdir(here)).filter((name) => name.endsWith(".test.mjs")).sort()) {
  await import(pathToFileURL(join(here, name)));
}
const chosen = tests.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
console.log(`\nrunning ${chosen.length} browser tests`);

const begun = Date.now();
const failures = [];
for (const { name, run, timeout } of chosen) {
  const from = Date.now();
  const problem = await attempt(run, timeout);
  console.log(`test ${name} ... ${problem ? "FAILED" : "ok"} (${((Date.now() - from) / 1000).toFixed(1)} s)`);
  if (problem) failures.push([name, problem]);
}
await closeAll();

for (const [name, problem] of failures) console.log(`\n---- ${name} ----\n${problem.stack ?? problem}`);
const [passed, failed] = [chosen.length - failures.length, failures.length];
const left = tests.length - chosen.length;
const took = ((Date.now() - begun) / 1000).toFixed(2);
console.log(`\ntest result: ${failed ? "FAILED" : "ok"}. ${passed} passed; ${failed} failed; 0 ignored; 0 measured; ${left} filtered out; finished in ${took}s`);
// Sockets that a failed test left open must not hold the run.
process.exit(failed || !chosen.length ? 1 : 0);

/** What went wrong, if something did. A test's own hubs, shops and pages are closed whichever way it ends. */
async function attempt(run, timeout) {
  const cleanups = [];
  const t = { after: (what) => cleanups.push(what) };
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`did not end within ${timeout / 1000} s`)), timeout);
  });
  let problem = null;
  try {
    await Promise.race([run(t), late]);
  } catch (error) {
    problem = error;
  }
  clearTimeout(timer);
  for (const cleanup of cleanups.reverse()) await Promise.resolve(cleanup()).catch((error) => (problem ??= error));
  return problem;
}
