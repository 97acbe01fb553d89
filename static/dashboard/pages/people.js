// Settings as lists: people, tokens, storefront keys, places, the audit log, one's own account.

import { get, patch, post, remove } from "../api.js";
import { form, formDialog } from "../form.js";
import { actor, count, full } from "../format.js";
import { session } from "../session.js";
import { act, badge, card, empty, go, h, head, more, num, row, rows, showSecret, sure, table, toast, when, icon } from "../ui.js";

const back = ["#/settings", "Settings"];
const ROLES = [["viewer", "Viewer: looks"], ["operator", "Operator: orders, stock, syncs, mapping"], ["admin", "Admin: everything"]];
const EXPIRY = [["", "never"], ["30", "30 days"], ["90", "90 days"], ["365", "a year"]];

const PARTS = { users, sessions, tokens, keys, places, audit, account };

export const title = (_, { params }) => ({ users: "People", sessions: "Sessions", tokens: "API tokens", keys: "Storefront keys", places: "Places", audit: "Audit log", account: "Your account" })[params.part] ?? "Settings";

export async function load({ params, state, signal }) {
  const ask = (path, query) => get(path, query, { signal });
  switch (params.part) {
    case "users": return ask("/v1/admin/users");
    case "tokens": return ask("/v1/admin/tokens");
    case "keys": return ask("/v1/admin/storefront-keys");
    case "places": return ask("/v1/admin/locations");
    case "audit": return ask("/v1/admin/audit", { limit: state.limit ?? 100 });
    case "sessions": return ask("/v1/admin/sessions", { limit: state.limit ?? 50 });
    case "account": return {};
    default: return ask(`/v1/admin/${encodeURIComponent(params.part)}`);
  }
}

export const view = (page, ctx) => (PARTS[ctx.params.part] ?? (() => null))(page, ctx);

// ---- people -----------------------------------------------------------------------------------------------------------

function users({ items }, ctx) {
  return [
    head("People", { back, actions: [act("Add somebody", () => addUser(ctx), { name: "plus", main: true }), go("Sessions", "#/settings/sessions")] }),
    card("", { flush: true }, rows("People", items.map((user) => row({
      key: user.id, lead: icon("people"), main: user.name || user.email, sub: [h("span", {}, user.email), h("span", {}, "signed in ", when(user.last_login_at))],
      side: user.disabled ? badge("disabled") : badge(user.role, { tone: "calm" }),
      actions: [act("Edit", () => editUser(user, ctx), { small: true }), user.id === session.user.id ? null : act("Remove", () => removeUser(user, ctx), { small: true, quiet: true, danger: true })],
    })))),
  ];
}

const passwordField = (at, label, more = {}) => ({ at, label, type: "password", raw: true, autocomplete: "new-password", hint: "At least 10 characters.", ...more });

async function addUser(ctx) {
  const done = await formDialog("Add somebody", [
    { at: "/email", label: "E-mail", type: "email", required: true, autofocus: true }, { at: "/name", label: "Name" },
    { at: "/role", label: "May", required: true, value: "operator", options: ROLES }, passwordField("/password", "First password", { required: true }),
  ], { label: "Add", submit: (body) => post("/v1/admin/users", body) });
  if (done) (toast("Added. Tell them the first password; they can change it under “Your account”."), await ctx.reload());
}

async function editUser(user, ctx) {
  const done = await formDialog(`Edit ${user.email}`, [
    { at: "/name", label: "Name", value: user.name }, { at: "/role", label: "May", required: true, value: user.role, options: ROLES },
    passwordField("/password", "New password", { hint: "Empty: stays as it is." }), { at: "/disabled", label: "May not sign in", type: "check", value: user.disabled },
  ], { submit: (body) => patch(`/v1/admin/users/${user.id}`, body) });
  if (done) await ctx.reload();
}

async function removeUser(user, ctx) {
  if (!(await sure(`Remove ${user.email}?`, "They are signed out everywhere at once. What they did stays in the audit log.", { yes: "Remove" }))) return;
  await remove(`/v1/admin/users/${user.id}`);
  await ctx.reload();
}

// ---- tokens and keys --------------------------------------------------------------------------------------------------

function secrets({ items }, ctx, { name, text, path, fields, made, none }) {
  const live = items.filter(({ revoked_at: gone }) => !gone);
  const gone = items.filter(({ revoked_at: at }) => at);
  const line = (item) => row({
    key: item.id, lead: icon("key"), main: item.name,
    sub: [h("span", { class: "mono" }, `${item.prefix}…`), item.role ? h("span", {}, item.role) : null, h("span", {}, "used ", when(item.last_used_at)), item.expires_at ? h("span", { title: full(item.expires_at) }, "expires ", when(item.expires_at)) : null],
    side: item.revoked_at ? badge("revoked") : item.expires_at && new Date(item.expires_at) < new Date() ? badge("expired") : badge("active"),
    actions: item.revoked_at ? null : act("Revoke", async () => {
      if (!(await sure(`Revoke “${item.name}”?`, "Whatever uses it is turned away from now on.", { yes: "Revoke" }))) return;
      await remove(`${path}/${item.id}`);
      toast("Revoked.");
      await ctx.reload();
    }, { small: true, quiet: true, danger: true }),
  });
  const create = act(`New ${name}`, async () => {
    const done = await formDialog(`New ${name}`, fields, { label: "Make it", submit: (body) => post(path, body) });
    if (!done) return;
    await ctx.reload();
    await showSecret(`Your new ${name}`, made, done.token ?? done.key ?? done.secret);
  }, { name: "plus", main: true });
  return [
    head(`${name[0].toUpperCase()}${name.slice(1)}s`.replace("Api", "API"), { back, sub: text, actions: create }),
    card("", { flush: true }, live.length ? rows(`${name}s in use`, live.map(line)) : empty(`No ${name} in use`, none, { name: "key" })),
    gone.length ? h("details", {}, h("summary", {}, `${count(gone.length)} revoked`), card("", { flush: true }, rows("Revoked", gone.map(line)))) : null,
  ];
}

function tokens(page, ctx) {
  return secrets(page, ctx, {
    name: "API token", path: "/v1/admin/tokens", text: "A token is for a script or another system. It is shown once and kept as a hash.", none: "Make one for each system that calls the hub, so that each can be ended by itself.",
    made: "Keep it in the other system now: it is shown only this once.",
    fields: [{ at: "/name", label: "What it is for", required: true, autofocus: true, placeholder: "nightly export" }, { at: "/role", label: "May", required: true, value: "viewer", options: [...ROLES, ["storefront", "Storefront: places store orders"]] }, { at: "/expires_in_days", label: "Expires after", options: EXPIRY, parse: Number }],
  });
}

function keys(page, ctx) {
  return secrets(page, ctx, {
    name: "storefront key", path: "/v1/admin/storefront-keys", text: "Your shop’s server sends it to place orders and holds. Never put it into a browser.", none: "Make one for your shop’s server.",
    made: "Put it into your shop’s server as X-Storefront-Key. It is shown only this once.",
    fields: [{ at: "/name", label: "Which shop", required: true, autofocus: true, placeholder: "shop server" }, { at: "/expires_in_days", label: "Expires after", options: EXPIRY, parse: Number }],
  });
}

// ---- places, audit, account -------------------------------------------------------------------------------------------

function places({ items }, ctx) {
  const may = session.may("operator");
  return [
    head("Places", { back, sub: "Where stock lies. A marketplace sells from the places its connection names, in order.", actions: may ? act("Add a place", () => addPlace(ctx), { name: "plus", main: true }) : null }),
    card("", { flush: true }, table("Places", [["Name", (l) => l.name], ["Code", (l) => h("span", { class: "mono" }, l.code)], ["Kind", (l) => l.kind], ["On hand", (l) => num(l.on_hand), { num: true }], ["Sold from", (l) => (l.sellable ? "yes" : "no")]], items, { key: (l) => l.code })),
    may && items.length > 1 ? h("div", { class: "actions" }, act("Move stock", () => move(items, ctx), { name: "truck" })) : null,
  ];
}

async function addPlace(ctx) {
  const done = await formDialog("Add a place", [{ at: "/name", label: "Name", required: true, autofocus: true }, { at: "/code", label: "Code", required: true, hint: "Short and lasting, like “north”." }, { at: "/kind", label: "Kind", value: "warehouse", options: [["warehouse", "Warehouse"], ["store", "Shop"], ["marketplace", "A marketplace’s warehouse"], ["transit", "On the way"], ["quarantine", "Not for sale"]] }],
    { label: "Add", submit: (body) => post("/v1/admin/locations", body) });
  if (done) await ctx.reload();
}

async function move(items, ctx) {
  const options = items.map(({ code, name }) => [code, name]);
  const done = await formDialog("Move stock", [
    { at: "/sku", label: "Product", required: true, placeholder: "SKU", autofocus: true }, { at: "/quantity", label: "Pieces", type: "number", min: 1, required: true },
    { row: [{ at: "/from", label: "From", required: true, options }, { at: "/to", label: "To", required: true, value: items[1].code, options }] }, { at: "/reason", label: "Why", required: true, value: "rebalance" },
  ], { label: "Move", submit: (body) => post("/v1/admin/transfers", body) });
  if (done) (toast("Moved."), await ctx.reload());
}

function audit(page, ctx) {
  return [
    head("Audit log", { back, sub: "Every write: who, what, when." }),
    card("", { flush: true }, table("Audit log, newest first", [["When", (a) => when(a.created_at)], ["Who", (a) => actor(a.actor)], ["What", (a) => h("span", { class: "mono" }, a.action)], ["On", (a) => a.target ?? "–"], ["Request", (a) => h("span", { class: "mono soft" }, a.request_id?.slice(0, 8) ?? "–")]], page.items, { key: (a) => a.id, instead: empty("Nothing was changed yet", "", { name: "clock" }) }), more(ctx, page)),
  ];
}

function sessions(page, ctx) {
  return [
    head("Sessions", { back: ["#/settings/users", "People"], sub: "Where people are signed in with a password." }),
    card("", { flush: true }, page.items.length ? rows("Sessions", page.items.map((s) => row({
      key: s.id, lead: icon("people"), main: s.email, sub: [h("span", {}, device(s.user_agent)), s.client ? h("span", { class: "mono" }, s.client) : null, h("span", {}, "used ", when(s.last_used_at))],
      actions: act("End it", async () => (await remove(`/v1/admin/sessions/${s.id}`), toast("Ended."), await ctx.reload()), { small: true, quiet: true, danger: true }),
    }))) : empty("Nobody is signed in with a password", "", { name: "people" }), more(ctx, page)),
  ];
}

/** "Chrome on Android" out of what a browser says of itself. */
function device(agent) {
  if (!agent) return "Unknown device";
  const browser = /Edg\//.test(agent) ? "Edge" : /Firefox\//.test(agent) ? "Firefox" : /Chrome\//.test(agent) ? "Chrome" : /Safari\//.test(agent) ? "Safari" : "A browser";
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Windows/.test(agent) ? "Windows" : /Mac OS/.test(agent) ? "macOS" : /Linux/.test(agent) ? "Linux" : null;
  return system ? `${browser} on ${system}` : browser;
}

function account() {
  return [
    head("Your account", { back, sub: session.user.email }),
    session.user.person ? card("Change your password", {}, form([{ at: "/current", label: "Present password", type: "password", raw: true, required: true, autocomplete: "current-password" }, passwordField("/new", "New password", { required: true })],
      { label: "Change it", submit: async (body, node) => (await post("/v1/auth/password", body), node.reset(), toast("Changed. Other devices are signed out.")) })) : card("", {}, empty("You came with an API token", "Sign in with e-mail and password to have an account here.", { name: "key" })),
  ];
}
