// One channel: how it is, what it needs, and what can be done with it.

import { get, getOr, patch, post, Problem } from "../api.js";
import { form } from "../form.js";
import { count, full, milliseconds, plural, words } from "../format.js";
import { quantile, readMetrics } from "../metrics.js";
import { session } from "../session.js";
import { act, badge, card, dialog, empty, facts, go, grid, h, head, icon, num, showSecret, sure, table, toast, when, copy } from "../ui.js";
import { fieldsOf, health, named } from "./marketplaces.js";

export const title = ({ place }) => place.name;

export async function load({ params, signal }) {
  const { code } = params;
  const list = await get("/v1/admin/marketplaces", { archived: "true" }, { signal });
  const known = list.items.find((place) => place.code === code);
  // The hub says better than we could that there is none.
  if (!known) await get(`/v1/admin/marketplaces/${encodeURIComponent(code)}`, {}, { signal });
  const [more, metrics, pushes, syncs, adapters] = await Promise.all([
    getOr({}, `/v1/admin/marketplaces/${encodeURIComponent(code)}`, {}, { signal }), readMetrics(signal), get("/v1/admin/pushes", { limit: 200 }, { signal }),
    getOr(null, "/v1/admin/sync-logs", { marketplace: code, limit: 5 }, { signal }), getOr({ items: [] }, "/v1/admin/adapters", {}, { signal }),
  ]);
  const place = { ...known, ...more };
  return { place, metrics, pushes: pushes.items.filter((push) => push.marketplace === code).slice(0, 10), syncs: syncs?.items ?? null, adapter: adapters.items.find(({ id }) => id === place.adapter) };
}

export const follows = ({ type, kind, marketplace }, { params }) => type === "tick" || ((kind === "marketplace" || kind === "push" || kind === "sync") && (!marketplace || marketplace === params.code));

export function view(data, ctx) {
  const { place, metrics, adapter } = data;
  if (ctx.query.get("doctor")) setTimeout(() => (ctx.ask({ doctor: "" }), examine(place)));
  const { state, label, text } = health(place, metrics);
  const away = place.status === "archived";
  const admin = session.may("admin") && place.kind !== "storefront" && !away;
  const paused = ["paused", "auth_error"].includes(place.status);
  return [
    head(place.name, { back: ["#/marketplaces", "Marketplaces"], sub: text, actions: away ? (session.may("admin") ? act("Restore", () => restore(place, ctx), { name: "refresh", main: true }) : null) : place.kind === "storefront" ? go("Open the demo store", "/store", { name: "store" }) : [
      session.may("operator") ? act("Doctor", () => examine(place), { name: "search", title: "Try everything it needs, and say what is missing" }) : null,
      session.may("operator") ? act("Sync", () => sync(place, ctx), { name: "refresh" }) : null,
      admin ? act(paused ? "Resume" : "Pause", () => pause(place, ctx), { name: paused ? "play" : "pause", main: paused }) : null,
      admin ? act("Edit", () => edit(place, adapter, ctx), { name: "edit" }) : null,
    ] }),
    away ? h("div", { class: "callout" }, icon("box"), h("div", {}, h("p", {}, "Archived ", when(place.archived_at), ". It is told nothing, asked nothing and rings no alert; its listings are left out of lists and take part in no allocation."),
      h("p", {}, "Its orders, messages and syncs stay, and open orders can still be shipped, cancelled and taken back. What it sends with its right signature is booked as before: what was sold is sold."))) : h("div", { class: "stats" }, figures(data)),
    grid(
      card("Connection", {}, facts([["State", badge(state, label ? { label } : {})], ["Kind", words(place.kind)], ["Adapter", h("span", { class: "mono" }, place.adapter)], ["Feed that moves stock", words(place.stock_feed)], place.base_url ? ["Address", h("span", { class: "mono small" }, place.base_url)] : null,
        ["Declared in", { file: "the configuration file", builtin: "the hub itself", api: "this dashboard" }[place.declared_in] ?? place.declared_in]])),
      place.kind === "storefront" || place.kind === "manual" ? null : webhooks(place, adapter, admin)),
    place.kind === "storefront" ? null : card("Latest pushes", { flush: true }, table("Latest pushes", [["Listing", (p) => h("span", { class: "mono" }, p.marketplace_product_id)], ["Told", (p) => num(p.quantity), { num: true }], ["Outcome", (p) => [badge(p.outcome), p.message ? h("p", { class: "soft" }, p.message) : null]], ["Status", (p) => p.status_code ?? "–", { num: true }], ["Sent", (p) => when(p.sent_at)]],
      data.pushes, { key: (p) => p.id, instead: empty("Nothing was pushed yet", place.kind === "manual" ? "Numbers are edited by hand here." : "The first number leaves as soon as a product is listed here.", { name: "send" }) })),
    data.syncs === null ? null : card("Latest syncs", { flush: true, actions: go("All", `#/syncs?marketplace=${place.code}`, { small: true }) }, table("Latest syncs", [["What", (s) => h("a", { href: `#/syncs/${s.id}` }, words(s.kind))], ["State", (s) => badge(s.status)], ["Calls", (s) => num(s.api_calls), { num: true }], ["Began", (s) => when(s.started_at)]], data.syncs, { key: (s) => s.id, instead: empty("No sync ran yet", "A sync compares every listing with what the marketplace shows, in whole pages.", { name: "refresh" }) })),
    h("div", { class: "actions" }, away ? null : go("Allocation rule", `#/settings/rules?marketplace=${place.code}`, { name: "sliders" }), go("Its webhooks", `#/webhooks?marketplace=${place.code}`, { name: "bolt" }),
      admin ? act("Archive this marketplace", () => archive(place, ctx), { danger: true, quiet: true }) : null),
  ];
}

function figures({ place, metrics }) {
  if (place.kind === "storefront") return [];
  const { waiting, oldest } = health(place, metrics);
  const lag = metrics?.histogram("push_leaves_seconds", { marketplace: place.code });
  const tile = (label, value, sub, tone) => h("div", { class: "stat" }, h("span", { class: "stat-label" }, label), h("span", { class: `stat-value num ${tone ?? ""}`, "data-live": true }, value), h("span", { class: "stat-sub" }, sub));
  const budget = place.rate_budget ?? place.budget ?? place.health?.rate_budget;
  return [
    tile("To be sent", count(waiting ?? 0), waiting ? `the oldest for ${milliseconds((oldest ?? 0) * 1_000)}` : "all caught up", waiting > 20 ? "warn" : null),
    tile("Leaves within", milliseconds(lag?.length ? (quantile(lag, 0.99) ?? null) && quantile(lag, 0.99) * 1_000 : null), "99 of 100 numbers"),
    tile("Pushes", count(metrics?.value("pushes_total", { marketplace: place.code }) ?? 0), "since the hub started"),
    budget !== undefined ? tile("Calls left", typeof budget === "object" ? count(budget.remaining ?? budget.tokens) : count(budget), "before it asks us to wait")
      : tile("Calls", count(metrics?.value("api_calls_total", { marketplace: place.code }) ?? 0), "of all kinds, since the hub started"),
    place.kind === "manual" ? null : tile("Webhooks", count(metrics?.value("webhooks_total", { marketplace: place.code }) ?? 0), "since the hub started"),
  ];
}

function webhooks(place, adapter, admin) {
  const secrets = Array.isArray(place.secrets) ? place.secrets : [];
  const names = [...new Set([...(adapter?.secrets ?? []).map((key) => named(key).name), ...secrets.map(({ name }) => name)])];
  const sends = adapter?.webhooks !== false;
  const { address, end } = webhookAddress(place);
  // Of a marketplace that signs nothing, the end of the address is all that is known to be it.
  const unfinished = names.includes("hook_path") && !secrets.some(({ name }) => name === "hook_path");
  const note = !sends ? "It sends no webhooks: its orders are fetched." : unfinished ? "It signs nothing, so its address has to end with a secret. Choose “Change a secret”, then “Hook path”: the address is shown whole then."
    : !place.webhook_enabled ? "No secret is set yet, so its webhooks are not believed."
      : end ? `Give the marketplace this address, with the ${words(end).toLowerCase()} in its place at the end. Set a new one to see the address whole.` : "Give the marketplace this address. What it sends is verified over its raw bytes.";
  return card(sends ? "Webhook and secrets" : "Secrets", { note },
    sends && !unfinished ? h("div", { class: "secret" }, h("code", { tabindex: "0" }, address, end ? `{${words(end).toLowerCase()}}` : null),
      act("Copy the address", () => copy(address), { small: true, name: "file", done: end ? `Copied. Put the ${words(end).toLowerCase()} behind it.` : "Copied." })) : null,
    secrets.length ? h("ul", { class: "chips", "aria-label": "Secrets" }, secrets.map((s) => h("li", { class: "chip", key: s.key_id }, icon("key"), words(s.name), h("span", { class: "mono" }, s.key_id), s.expires_at ? h("span", {}, "until ", when(s.expires_at)) : null))) : null,
    admin ? h("div", { class: "actions" }, act("Change a secret", () => rotate(place, names.length ? names : ["webhook_secret"]), { name: "key" })) : null);
}

const ENDS = ["hook_path", "path_secret"];

/** Where its webhooks go, and the name of the secret that ends the address, which is not told. */
function webhookAddress(place) {
  const said = place.webhook_url ?? `/webhooks/${place.code}`;
  const open = said.endsWith("/…");
  // A hub that was not told its public address gives a path; the one people use is this page's.
  const address = new URL(open ? said.slice(0, -1) : said, location.origin).href;
  return { address, end: open ? ENDS.find((end) => (place.secrets ?? []).some(({ name }) => name === end)) ?? ENDS[1] : null };
}

// ---- what can be done -------------------------------------------------------------------------------------------------

const MARKS = { ok: ["good", "check"], warn: ["warn", "warn"], fail: ["bad", "cross"], skip: ["", "minus"] };

const WORST = ["fail", "warn", "ok", "skip"];

/** Where the dashboard shows what an advice names by its call. */
const SHOWN = { "sync-logs": ["Its syncs", "/syncs"], unmapped: ["To the unmapped", "/unmapped"], "dead-letters": ["What gave up", "/dead-letters"], "webhooks/rejected": ["Refused webhooks", "/webhooks/rejected"] };

/** Everything the doctor found, worst first, each with what to do. */
export function checks({ checks }) {
  return h("ul", { class: "checks" }, [...checks].sort((a, b) => WORST.indexOf(a.status) - WORST.indexOf(b.status)).map(({ name, status, detail, advice }) => {
    const [tone, image] = MARKS[status] ?? MARKS.skip;
    const [label, path] = SHOWN[/GET \/v1\/admin\/([a-z/-]+)/.exec(advice ?? "")?.[1]] ?? [];
    return h("li", {}, h("span", { class: `lead ${tone}` }, icon(image)), h("div", {}, h("p", {}, h("strong", {}, words(name)), " ", badge(status)), detail ? h("p", { class: "soft" }, detail) : null,
      advice ? h("p", {}, advice) : null, path ? h("div", { class: "actions" }, go(label, `#${path}`, { small: true })) : null));
  }));
}

/** What the doctor found, in a few words: nothing is well that has something to look at. */
export function verdict(name, checks) {
  const [bad, odd] = ["fail", "warn"].map((wanted) => checks.filter(({ status }) => status === wanted).length);
  if (bad) return `${plural(bad, "thing")} to mend on ${name}`;
  return odd ? `${name} works, with ${plural(odd, "thing")} to look at` : `${name} is well`;
}

export async function examine(place) {
  const found = await post(`/v1/admin/marketplaces/${place.code}/doctor`);
  await dialog(verdict(place.name, found.checks), (close) => [checks(found), h("div", { class: "dialog-actions" }, h("button", { type: "button", class: "button main", onclick: () => close() }, "Close"))], { wide: true });
}

async function sync(place, ctx) {
  const chosen = await dialog(`Sync ${place.name}`, (close) => form([
    { node: h("p", { class: "soft" }, "Reads every listing in whole pages, and puts right what differs. There is a pause between syncs so that the marketplace is not asked too often.") },
    { at: "/dry_run", label: "Only look", type: "check", value: false, hint: "Say what would change, and change nothing." },
    { at: "/force", label: "Now, whatever the pause says", type: "check", value: false },
  ], { label: "Sync", cancel: () => close(), submit: async (body) => close(await post("/v1/admin/sync", { marketplace: place.code, ...body })) }));
  if (chosen) location.hash = `#/syncs/${chosen.id}`;
  else await ctx.reload();
}

async function pause(place, ctx) {
  const paused = ["paused", "auth_error"].includes(place.status);
  if (!paused && !(await sure(`Pause ${place.name}?`, "Nothing is pushed to it until you resume. Its sales are still booked, so it may show too much meanwhile.", { yes: "Pause it" }))) return;
  await post(`/v1/admin/marketplaces/${place.code}/${paused ? "resume" : "pause"}`);
  toast(paused ? "Resumed. Its numbers are on their way." : "Paused.");
  await ctx.reload();
}

/** What hangs on it is shown before it is put away; what nothing hangs on is put away at once. */
async function archive(place, ctx) {
  const path = `/v1/admin/marketplaces/${place.code}/archive`;
  try {
    await post(path, {});
  } catch (error) {
    if (!(error instanceof Problem) || !error.body.confirm) throw error;
    const { listings, still_shown: shown, open_orders: open, committed } = error.body.hangs_on_it;
    const text = [
      h("p", {}, `${place.name} is told and asked nothing any more, and rings no alert. Its ${plural(listings, "listing")} are left out of lists; all that happened stays. You can bring it back.`),
      shown ? h("div", { class: "callout warn" }, icon("warn"), h("div", {}, h("p", {}, `${plural(shown, "listing")} still ${shown === 1 ? "shows" : "show"} pieces there, and it goes on selling them. To stop that, set “Show 0, whatever is said” in its allocation rule first and wait until it is told, or end them there.`),
        h("div", { class: "actions" }, go("Allocation rule", `#/settings/rules?marketplace=${place.code}`, { name: "sliders", small: true })))) : null,
      open ? h("p", {}, `${plural(open, "order")} with ${plural(committed, "piece")} ${open === 1 ? "is" : "are"} not shipped yet. They stay open, and can be shipped or cancelled as before.`) : null,
    ];
    if (!(await sure(`Archive ${place.name}?`, text, { yes: "Archive it" }))) return;
    await post(path, { confirm: error.body.confirm });
  }
  session.names.delete(place.code);
  session.past.set(place.code, place.name);
  toast("Archived. “Restore” brings it back.");
  await ctx.reload();
}

async function restore(place, ctx) {
  if (!(await sure(`Bring ${place.name} back?`, "Each of its listings is worked out anew from today’s stock. As soon as that is done it is told all of them.", { yes: "Restore it", danger: false }))) return;
  await post(`/v1/admin/marketplaces/${place.code}/restore`);
  session.past.delete(place.code);
  session.names.set(place.code, place.name);
  toast("Coming back. Its numbers follow.");
  await ctx.reload();
}

async function edit(place, adapter, ctx) {
  const fixed = new Set(place.in_file ?? []);
  const fields = fieldsOf(adapter ?? { id: place.adapter }, place).filter((field) => field && !fixed.has(field.at.slice(1)) && !fixed.has(field.at.slice(1).replaceAll("/", ".")) && !(field.at.startsWith("/account/") && fixed.has("account")));
  const policy = fixed.has("policy") ? [] : [
    { at: "/policy/drift_policy", label: "When it shows another number", value: place.policy?.drift_policy ?? "", optional: false, options: [["", "the usual: the hub is right"], ["hub_wins", "the hub is right"], ["marketplace_wins", "the marketplace is right"], ["min_wins", "the lower one is right"], ["alert", "only alert"], ["ask", "ask me"]] },
    { at: "/policy/poll_every", label: "Fetch orders every", value: place.policy?.poll_every, placeholder: "30s", hint: "Like 30s, 5m or 2h. Empty: as its adapter says." },
    { at: "/policy/fulfilment", label: "A sale leaves the shelf", value: place.policy?.fulfilment ?? "", optional: false, options: [["", "the usual: at once"], ["instant", "at once"], ["shipment", "when it is shipped"]] },
  ];
  const note = fixed.size ? h("p", { class: "note" }, `Set in the configuration file, and changed only there: ${[...fixed].join(", ")}.`) : null;
  const all = [...fields, ...policy];
  const done = await dialog(`Edit ${place.name}`, (close) => (all.length ? form([...(note ? [{ node: note }] : []), ...all], { label: "Save", cancel: () => close(), submit: async (body) => close(await patch(`/v1/admin/marketplaces/${place.code}`, body)) }) : note), { wide: true });
  if (done) (session.names.set(place.code, done.name ?? place.name), await ctx.reload());
}

async function rotate(place, names) {
  const made = await dialog("Change a secret", (close) => form([
    { at: "/name", label: "Which", required: true, value: names[0], options: names.map((name) => [name, words(name)]) },
    { at: "/secret", label: "New secret", type: "password", autocomplete: "new-password", hint: "As the marketplace gave it. Empty: the hub makes one." },
    { at: "/overlap_seconds", label: "The old one stays good for", value: "86400", optional: false, options: [["0", "no time: it ends now"], ["3600", "an hour"], ["86400", "a day"], ["604800", "a week"]], parse: Number },
  ], { label: "Change it", cancel: () => close(), submit: async (body) => close(await post(`/v1/admin/marketplaces/${place.code}/rotate-secret`, body)) }));
  if (!made) return;
  const until = made.old_valid_until ? `The old one is good until ${full(made.old_valid_until)}.` : "The old one is no longer believed.";
  if (made.secret && ENDS.includes(made.name)) await showSecret("The webhook’s new address", `Give it to the marketplace. It ends with the secret, and is shown whole only now. ${until}`, `${webhookAddress(place).address.replace(/\/*$/, "/")}${made.secret}`);
  else if (made.secret) await showSecret("The new secret", `Give it to the marketplace. It is shown only now. ${until}`, made.secret);
  else toast(`Changed. ${until}`);
}
