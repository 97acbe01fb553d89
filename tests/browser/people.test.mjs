// Coming in: the first set-up, signing in and out, what a wrong password meets, and what each role is offered.

import assert from "node:assert/strict";

import { accessible, calm, eventually, fits, openPage, picture, startHub, test } from "./lib.mjs";

/** What a browser says on its console of a question that is rightly answered no. */
const NOBODY = /401.*\/v1\/auth\/me/;
const ANNA = { email: "anna@example.com", password: "seven green kettles" };

const press = (page, name) => page.getByRole("button", { name, exact: true }).or(page.getByRole("link", { name, exact: true })).last().click();

/** A hub whose first admin is Anna, set up through its own page by the link that its first start prints. */
async function withAnna(t, options = {}) {
  const hub = await startHub(t, { token: null });
  const link = (await hub.said()).match(/#setup=\S+/)?.[0];
  assert.ok(link, `the first start prints a link:\n${await hub.said()}`);
  const page = await openPage(t, hub, { ...options, path: `/${link}`, allowed: [NOBODY, ...(options.allowed ?? [])] });
  await page.waitForSelector("form");
  return { hub, page, link };
}

async function setUp(page) {
  await page.fill("[name='/email']", ANNA.email);
  await page.fill("[name='/password']", ANNA.password);
  await press(page, "Set up the hub");
  await page.waitForSelector("h1:text('Guided set-up')");
}

async function signIn(page, { email, password }) {
  await page.waitForSelector("[name='/email']");
  await page.fill("[name='/email']", email);
  await page.fill("[name='/password']", password);
  await press(page, "Sign in");
}

test("people: the first admin is made with the link of the first start, and the link works once", async (t) => {
  const { hub, page, link } = await withAnna(t, { width: 390, height: 844, allowed: [/422|409/] });
  assert.match(await page.inputValue("[name='/token']"), /^setup_/, "the link brings the token along");
  await accessible(page, "the set-up");
  await fits(page, "the set-up");
  await picture(page, "setup-390");
  await page.fill("[name='/email']", ANNA.email);
  await page.fill("[name='/password']", "short");
  await press(page, "Set up the hub");
  await page.waitForSelector("[name='/password'][aria-invalid=true]");
  await setUp(page);
  assert.ok(!(await page.evaluate(() => location.href)).includes("setup="), "the token does not stay in the address");
  const cookies = await page.context().cookies();
  assert.ok(cookies.length === 1 && cookies[0].httpOnly && cookies[0].sameSite === "Strict", JSON.stringify(cookies));
  await page.reload();
  await page.waitForSelector("h1:text('Guided set-up')");
  await calm(page);
  const other = await openPage(t, hub, { path: `/${link}`, allowed: [NOBODY] });
  await other.waitForSelector("h1:text('Sign in')");
  await calm(other);
});

test("people: signing in with a password, and out again", async (t) => {
  const { hub, page } = await withAnna(t);
  await setUp(page);
  await press(page, "Sign out");
  await page.waitForSelector("h1:text('Sign in')");
  await accessible(page, "the sign-in");
  await picture(page, "sign-in-1280");
  await page.goto(`${hub.url}/#/products`);
  await page.waitForSelector("h1:text('Sign in')");
  await signIn(page, ANNA);
  await page.waitForSelector("h1:text('Products')");
  await calm(page);
});

test("people: a wrong password is told as such, and many of them are slowed down", async (t) => {
  const { page } = await withAnna(t, { allowed: [/401|429/] });
  await setUp(page);
  await press(page, "Sign out");
  await signIn(page, { ...ANNA, password: "wrong" });
  await page.waitForSelector(".problem");
  const wrong = await page.textContent(".problem");
  assert.ok(!/exist|unknown|no such/i.test(wrong), `it does not say whether the address is known: ${wrong}`);
  for (let n = 0; n < 12 && !/Try again in \d+ seconds|too many/i.test(await page.textContent("form")); n++) {
    await page.fill("[name='/password']", `wrong ${n}`);
    await press(page, "Sign in");
    await page.waitForFunction(() => !document.querySelector("button[type=submit]").hasAttribute("aria-disabled"));
  }
  assert.match(await page.textContent(".problem"), /Try again in \d+ seconds/);
  await accessible(page, "too many tries");
  await calm(page);
});

test("people: somebody is added, looks with what a viewer may, and is gone at once when removed", async (t) => {
  const { hub, page } = await withAnna(t);
  await setUp(page);
  await page.goto(`${hub.url}/#/settings/users`);
  await press(page, "Add somebody");
  await page.fill("[name='/email']", "ben@example.com");
  await page.fill("[name='/password']", "nine brown teapots");
  await page.selectOption("[name='/role']", "viewer");
  await press(page, "Add");
  await page.waitForSelector(".row:has-text('ben@example.com')");
  await accessible(page, "people");
  await picture(page, "settings-users-1280");

  const ben = await openPage(t, hub, { width: 390, height: 844, allowed: [/401/] });
  await signIn(ben, { email: "ben@example.com", password: "nine brown teapots" });
  await ben.waitForSelector("h1:text('Today')");
  await ben.goto(`${hub.url}/#/products`);
  await ben.waitForSelector("h1:text('Products')");
  assert.equal(await ben.getByRole("button", { name: "New product" }).count(), 0, "a viewer is not offered what they may not do");
  await ben.goto(`${hub.url}/#/settings`);
  await ben.waitForSelector("h1:text('Settings')");
  assert.equal(await ben.locator(".row:has-text('API tokens')").count(), 0);

  await page.locator(".row:has-text('ben@example.com')").getByRole("button", { name: "Remove" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await page.waitForFunction(() => !document.querySelector("main").textContent.includes("ben@example.com"));
  await ben.goto(`${hub.url}/#/orders`);
  await ben.waitForSelector("h1:text('Sign in')");
  await calm(page);
  await calm(ben);
});

test("people: a password is changed, and the old one is over", async (t) => {
  const { page } = await withAnna(t, { allowed: [/401/] });
  await setUp(page);
  await page.evaluate(() => (location.hash = "#/settings/account"));
  await page.waitForSelector("[name='/current']");
  await page.fill("[name='/current']", ANNA.password);
  await page.fill("[name='/new']", "eight yellow spoons");
  await press(page, "Change it");
  await page.waitForSelector("text=Changed. Other devices are signed out.");
  await press(page, "Sign out");
  await signIn(page, ANNA);
  await page.waitForSelector(".problem");
  await signIn(page, { ...ANNA, password: "eight yellow spoons" });
  await page.waitForSelector("h1:text('Your account')");
  await calm(page);
});

test("people: a storefront key is made, shown once, sells, and is revoked", async (t) => {
  const { hub, page } = await withAnna(t);
  await setUp(page);
  await page.evaluate(() => (location.hash = "#/settings/keys"));
  await press(page, "New storefront key");
  await page.fill("[name='/name']", "shop server");
  await press(page, "Make it");
  const key = await page.textContent(".secret code");
  const order = () => fetch(`${hub.url}/v1/store/orders`, { method: "POST", headers: { "x-storefront-key": key, "content-type": "application/json" }, body: JSON.stringify({ items: [{ sku: "NONE", quantity: 1 }] }) });
  assert.equal((await order()).status, 422, "let in, and told that there is no such product");
  await press(page, "I have kept it");
  await page.getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await page.waitForSelector("text=No storefront key in use");
  await eventually(async () => assert.equal((await order()).status, 401));
  await calm(page);
});
