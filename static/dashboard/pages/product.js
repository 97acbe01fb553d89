// One product: its numbers (each tells why), what every marketplace shows, and what can be done with it.

import { get, patch, post, Problem } from "../api.js";
import { formDialog, moneyFields, tidyMoney } from "../form.js";
import { count, money } from "../format.js";
import { productHref } from "../routes.js";
import { session } from "../session.js";
import { act, badge, card, empty, facts, h, head, market, num, quantity, sure, table, tabs, toast, when } from "../ui.js";

export const title = (product) => product.name;
export const load = ({ params, signal }) => get(`/v1/admin/products/${encodeURIComponent(params.sku)}`, {}, { signal });
export const follows = ({ type, sku, kind }, { params }) => type === "tick" || sku === params.sku || kind === "push" || kind === "sync";

export const productTabs = (sku, current) => tabs("This product", [["Numbers", productHref(sku)], ["Timeline", productHref(sku, "/timeline")], ["Why?", productHref(sku, "/why")]], current);

export function view(product, ctx) {
  const { sku, name } = product;
  const may = session.may("operator");
  return [
    head(name, { back: ["#/products", "Products"], sub: h("span", { class: "mono" }, sku),
      actions: may ? [act("Top up", () => topUp(product, ctx), { name: "plus", main: true }), act("Count", () => countStock(product, ctx), { name: "scale" }),
        act("Sync now", () => syncNow(product, ctx), { name: "refresh", title: "Look at every marketplace and put right what differs" }), act("Edit", () => edit(product, ctx), { name: "edit" })] : null }),
    productTabs(sku, "Numbers"),
    h("div", { class: "product-grid" }, stock(product), shown(product, ctx, may), about(product)),
  ];
}

function stock(product) {
  const { sku, available, on_hand, committed, reserved, unsellable, incoming, locations = [] } = product;
  const why = productHref(sku, "/why");
  const part = (name, value, sign) => h("span", {}, h("span", { class: "soft" }, sign ? `${sign} ` : "", name), quantity(value, why, name));
  return card("Available", {},
    h("p", {}, quantity(available, why, "Available", { big: true }), " ",
      available < 0 ? badge("oversold", { tone: "bad" }) : available === 0 ? badge("out", { label: "Sold out" }) : available <= product.low_stock_threshold ? badge("low") : null),
    h("p", { class: "sum" }, part("on hand", on_hand), part("committed", committed, "−"), part("held", reserved, "−"), part("unsellable", unsellable, "−"), incoming ? part("incoming", incoming, "later +") : null),
    locations.length > 1 ? table("Stock by place", [["Place", (l) => l.location], ["On hand", (l) => num(l.on_hand), { num: true }], ["Available", (l) => num(l.available), { num: true }]], locations) : null);
}

function about({ price, cost_price, low_stock_threshold, oversell_policy, updated_at }) {
  const policies = { block: "Refused in the store", allow: "Sold all the same", preorder: "Taken as a pre-order" };
  return card("About", {}, facts([["Price", money(price)], ["Cost", money(cost_price)], ["Warn at", `${count(low_stock_threshold)} left`], ["When sold out", policies[oversell_policy] ?? oversell_policy], ["Changed", when(updated_at)]]));
}

function shown({ sku, listings = [] }, ctx, may) {
  return card("What each marketplace shows", { flush: true, actions: may ? act("List it", () => list(sku, ctx), { name: "plus", small: true }) : null },
    listings.length ? h("ul", { "aria-label": "What each marketplace shows" }, listings.map((l) => listing(sku, l, ctx, may)))
      : empty("Not listed anywhere", "List it on a marketplace, and its number is told there from then on.", { name: "store" }));
}

function listing(sku, l, ctx, may) {
  const store = l.marketplace === "store";
  const why = productHref(sku, `/why?marketplace=${encodeURIComponent(l.marketplace)}`);
  const cell = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value === null || value === undefined ? h("span", { class: "soft" }, "–") : quantity(value, why, `${name} on ${session.nameOf(l.marketplace)}`)));
  return h("li", { class: "shown", key: l.id },
    h("div", { class: "shown-name" }, market(l.marketplace), h("span", { class: "row-sub" }, store ? h("span", {}, "told at once") : h("span", {}, "synced ", when(l.last_synced_at)), store ? null : h("span", { class: "mono" }, l.marketplace_sku ?? l.marketplace_product_id)),
      l.last_error ? h("span", { class: "bad small" }, l.last_error) : null),
    h("dl", { class: "shown-numbers" }, cell("Should show", l.wanted), cell("Confirmed", l.acknowledged), store ? h("div", {}) : cell("Reported", l.observed)),
    h("div", { class: "shown-state" }, badge(l.state), may && !store ? act("Sync", () => refresh([l], ctx), { small: true, quiet: true, title: `Look at ${session.nameOf(l.marketplace)} now` }) : null));
}

// ---- what can be done -------------------------------------------------------------------------------------------------

async function topUp({ sku, name }, ctx) {
  const done = await formDialog(`Top up ${name}`, [
    { at: "/quantity", label: "Pieces that came in", type: "number", min: 1, required: true, autofocus: true },
    { at: "/reference", label: "Delivery note", placeholder: "DN-1042" },
  ], { label: "Add them", submit: (body) => post(`/v1/admin/products/${encodeURIComponent(sku)}/topup`, body) });
  if (done) (toast(`Now ${count(done.available)} available. Every marketplace is being told.`), await ctx.reload());
}

async function countStock(product, ctx) {
  const { sku, version, on_hand, locations = [] } = product;
  const place = locations.length > 1 ? { at: "/location", label: "Place", required: true, options: locations.map((l) => [l.location, `${l.location} (${l.on_hand} there by the books)`]) } : null;
  const done = await formDialog("What did you count?", [
    { at: "/count", label: "Pieces on the shelf", type: "number", min: 0, required: true, autofocus: true, hint: place ? "Everything that lies there." : `By the books there are ${on_hand}.` }, place,
    { at: "/reason", label: "Why", required: true, options: [["cycle_count", "Counted"], ["damaged", "Damaged"], ["lost", "Lost"], ["found", "Found"], ["correction", "Correction of a mistake"]] },
    { at: "/note", label: "Note" },
  ], { label: "Book it", submit: (body) => patch(`/v1/admin/products/${encodeURIComponent(sku)}/inventory`, place ? body : { ...body, expected_version: version }) });
  if (done) (toast(`Booked: ${count(done.available)} available.`), await ctx.reload());
}

async function edit(product, ctx) {
  const { sku, name, price, cost_price, low_stock_threshold, oversell_policy } = product;
  const done = await formDialog("Edit product", [
    { at: "/name", label: "Name", required: true, value: name },
    moneyFields("/price", "Price", price), moneyFields("/cost_price", "Cost", cost_price, price?.currency),
    { at: "/low_stock_threshold", label: "Warn at", type: "number", min: 0, value: low_stock_threshold },
    { at: "/oversell_policy", label: "When sold out, the store", value: oversell_policy, optional: false, options: [["block", "refuses orders"], ["allow", "sells all the same"], ["preorder", "takes pre-orders"]] },
    { node: h("div", {}, act("Archive this product", async () => {
      if (!(await sure("Archive this product?", "It is no longer listed or sold. Its history stays.", { yes: "Archive it" }))) return;
      await patch(`/v1/admin/products/${encodeURIComponent(sku)}`, { archived: true });
      document.querySelectorAll("dialog").forEach((box) => box.remove());
      location.hash = "#/products";
    }, { danger: true, quiet: true, small: true })) },
  ], { submit: (body) => patch(`/v1/admin/products/${encodeURIComponent(sku)}`, tidyMoney(body, "price", "cost_price")) });
  if (done) await ctx.reload();
}

async function list(sku, ctx) {
  const places = [...session.names].filter(([code]) => code !== "store");
  if (!places.length) return void (location.hash = "#/marketplaces?new=1");
  const done = await formDialog("List on a marketplace", [
    { at: "/marketplace", label: "Marketplace", required: true, options: places },
    { at: "/marketplace_product_id", label: "Its id there", hint: "As the marketplace names the listing. Empty: your SKU." },
    { at: "/marketplace_sku", label: "Its SKU there", hint: "If it differs from yours." },
    { at: "/units", label: "Pieces per unit", type: "number", min: 1, hint: "6 for a pack of six. Empty: 1." },
    { at: "/refs", label: "Further ids", type: "area", rows: 2, placeholder: "offer_id = PHONE-001", hint: "One per line, where the marketplace needs them; the doctor says which.", parse: pairs },
  ], { label: "List it", submit: (body) => post("/v1/admin/listings", { ...body, sku }) });
  if (done) (toast("Listed. Its number is on its way."), await ctx.reload());
}

export const pairs = (text) => Object.fromEntries(text.split("\n").map((line) => line.split(/\s*=\s*(.*)/s)).filter(([name, value]) => name.trim() && value).map(([name, value]) => [name.trim(), value.trim()]));

const syncNow = ({ listings = [] }, ctx) => refresh(listings.filter(({ marketplace }) => marketplace !== "store"), ctx);

/** Looks at each listing where it is shown. One that cannot be read is told anew, which comes to the same. */
async function refresh(listings, ctx) {
  if (!listings.length) return void toast("It is listed on no marketplace yet.", "bad");
  const said = [];
  for (const listing of listings) {
    const name = session.nameOf(listing.marketplace);
    try {
      const { remote, expected, wanted } = await post(`/v1/admin/listings/${listing.id}/refresh`);
      said.push(remote === null || remote === undefined ? `${name} was told ${count(wanted)}` : remote === wanted ? `${name} shows ${count(remote)}, as it should` : `${name} showed ${count(remote)} instead of ${count(expected ?? wanted)}`);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      said.push(`${name}: ${error.absent ? "this hub cannot look yet" : error.detail}`);
    }
  }
  toast(`${said.join(". ")}.`);
  await ctx.reload();
}

