// Every channel at a glance, and adding one.

import { get, getOr, post } from "../api.js";
import { dialog, act, badge, card, empty, h, head, market, row, rows, toast } from "../ui.js";
import { form } from "../form.js";
import { plural } from "../format.js";
import { readMetrics } from "../metrics.js";
import { session } from "../session.js";

export const title = "Marketplaces";

export async function load({ signal }) {
  const [places, metrics] = await Promise.all([get("/v1/admin/marketplaces", { archived: "true" }, { signal }), readMetrics(signal)]);
  return { places: places.items, metrics };
}

export const follows = ({ type, kind }) => type === "tick" || kind === "marketplace" || kind === "push" || kind === "stock";

const RESTING = { archived: "Told and asked nothing; its past stays", restoring: "Coming back: its numbers are worked out anew", paused: "Pushes are paused; its sales are still booked", auth_error: "It refuses its keys: mend them, then resume", not_served: "This hub does not serve it" };

/** How a channel is, in a word and a sentence. */
export function health(place, metrics) {
  const waiting = metrics?.value("dirty_listings", { marketplace: place.code }) ?? 0;
  const oldest = metrics?.value("dirty_oldest_seconds", { marketplace: place.code }) ?? 0;
  const open = (metrics?.value("circuit_open", { marketplace: place.code }) ?? 0) > 0;
  if (place.kind === "storefront") return { state: "active", text: "Your own store: told at once" };
  if (place.status === "archived") return { state: "archived", text: RESTING.archived };
  if (open) return { state: "open", label: "Being given rest", text: "It fails; one number at a time is tried until it heals", waiting, oldest };
  if (place.status !== "active") return { state: place.status, label: { auth_error: "Keys refused" }[place.status], text: RESTING[place.status] ?? "Not in use", waiting, oldest };
  if (place.kind === "manual") return { state: "active", text: "Numbers are edited by hand", waiting, oldest };
  const { last_failure_at: failed, last_success_at: well } = place.health ?? {};
  if (failed && (!well || new Date(failed) > new Date(well))) return { state: "active", text: "Its last call failed: the doctor says why", waiting, oldest };
  return { state: "active", text: waiting ? `${plural(waiting, "number")} to be sent` : "Shows what it should", waiting, oldest };
}

export function view({ places, metrics }, ctx) {
  if (ctx.query.get("new") && session.may("admin")) setTimeout(() => (ctx.ask({ new: "" }), add(ctx)));
  const [used, away] = [places.filter(({ status }) => status !== "archived"), places.filter(({ status }) => status === "archived")];
  const channels = used.filter(({ kind }) => kind !== "storefront");
  const line = (place) => {
    const { state, label, text } = health(place, metrics);
    return row({ key: place.code, href: `#/marketplaces/${place.code}`, main: market(place.code), sub: [h("span", {}, text), h("span", { class: "mono" }, place.adapter)], side: badge(state, label ? { label } : {}) });
  };
  return [
    head("Marketplaces", { actions: session.may("admin") ? act("Add a marketplace", () => add(ctx), { name: "plus", main: true }) : null }),
    card("", { flush: true }, rows("Marketplaces", used.map(line)),
    channels.length ? null : empty("Only your own store so far", "Add the first marketplace: what is sold on one counts down on all.", { name: "store", action: session.may("admin") ? act("Add a marketplace", () => add(ctx), { main: true }) : null })),
    away.length ? h("details", {}, h("summary", {}, plural(away.length, "archived marketplace")), card("", { flush: true }, rows("Archived marketplaces", away.map(line)))) : null,
  ];
}

// ---- adding one -------------------------------------------------------------------------------------------------------

const BLURBS = { generic: "Any partner that signs its webhooks and takes a number by HTTP", manual: "Ads, phone and chat: orders by hand, numbers edited by you", "polling-generic": "An old interface that can only be read" };
const NAMES = {
  generic: "Generic", manual: "Manual", "polling-generic": "Polling",
  ozon: "Ozon", wildberries: "Wildberries", uzum: "Uzum", "yandex-market": "Yandex Market", backmarket: "Back Market", refurbed: "refurbed", shopify: "Shopify", woocommerce: "WooCommerce", kaufland: "Kaufland",
};

export async function add(ctx) {
  const adapters = (await getOr({ items: [] }, "/v1/admin/adapters")).items.filter(({ id }) => id !== "storefront");
  if (!adapters.length) return void toast("This hub takes marketplaces from its configuration file only.", "bad");
  const adapter = await dialog("Which marketplace?", (close) => h("ul", { class: "pick" }, adapters.map((a) =>
    h("li", {}, h("button", { type: "button", onclick: () => close(a) }, h("strong", {}, NAMES[a.id] ?? a.id), h("span", { class: "soft" }, BLURBS[a.id] ?? abilities(a)))))));
  if (!adapter) return;
  const made = await dialog(`Connect ${NAMES[adapter.id] ?? adapter.id}`, (close) => form(fieldsOf(adapter), { label: "Connect it", cancel: () => close(), submit: async (body) => close(await post("/v1/admin/marketplaces", { ...body, adapter: adapter.id })) }), { wide: true });
  if (!made) return;
  session.names.set(made.code, made.name ?? made.code);
  toast("Connected. Let the doctor look at it next.");
  location.hash = `#/marketplaces/${made.code}?doctor=1`;
}

export const abilities = (a) => [a.webhooks ? "sends webhooks" : "no webhooks", a.polls_orders ? "orders are fetched" : null, a.reads_stock ? "its numbers can be read" : null].filter(Boolean).join(", ");

/** A key of an account or a secret comes as a name, or as a description of it. */
export const named = (key) => (typeof key === "string" ? { name: key } : key);

/** Keys that are yes or no, and what they mean to a person. */
const SWITCHES = { read: ["Its numbers can be asked for", "GET /stock?sku=… at its address"], orders: ["Its orders can be asked for", "GET /orders?since=… at its address"] };
/** Secrets that no seller's office gives. */
const SECRETS = { hook_path: "Leave it empty for now. Its page makes one: the end of the address that its webhooks go to." };
/** Secrets that few need; they can be set later, under “Change a secret”. */
const RARE = ["path_secret", "verification_token"];

const label = (text) => text.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase());

function accountField(key, now) {
  const at = `/account/${key.name}`;
  const known = now.account?.[key.name];
  const [name, hint] = SWITCHES[key.name] ?? [];
  if (name) return { at, label: name, type: "check", value: known === true, hint };
  return { at, label: label(key.name), required: key.required, value: known };
}

export function fieldsOf(adapter, now = {}) {
  const needed = new Set([...(adapter.account_needed ?? []), ...(adapter.secrets_needed ?? [])]);
  const keys = (list) => (list ?? []).map(named).map((key) => ({ ...key, required: needed.has(key.name) }));
  const account = keys(adapter.account);
  const secrets = keys(adapter.secrets).filter(({ name }) => !RARE.includes(name));
  return [
    now.code ? null : { at: "/code", label: "Code", required: true, value: adapter.id === "generic" ? "" : adapter.id, hint: "Short and lasting, like “ozon” or “ozon-2”: part of its webhook’s address." },
    { at: "/name", label: "Name", value: now.name, hint: "As your people call it." },
    adapter.id === "manual" ? null : { at: "/base_url", label: "Address", type: "url", value: now.base_url, required: !now.code && !adapter.base_url && adapter.id === "generic", hint: adapter.base_url ? `Only where it differs from ${adapter.base_url}` : "Where its numbers are sent." },
    ...account.map((key) => accountField(key, now)),
    // Secrets of a connection that is there are changed one at a time, with an overlap.
    ...(now.code ? [] : secrets).map((key) => ({ at: `/secrets/${key.name}`, label: label(key.name), type: "password", autocomplete: "new-password", required: key.required, hint: SECRETS[key.name] ?? "Sealed at once; nobody can read it again." })),
  ];
}

