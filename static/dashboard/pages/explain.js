// Why is this number what it is? From what lies on the shelf, through every rule, to what the marketplace shows.

import { get } from "../api.js";
import { count, plural, signed } from "../format.js";
import { productHref } from "../routes.js";
import { badge, card, choice, empty, go, h, head, market, num, when } from "../ui.js";
import { productTabs } from "./product.js";
import { session } from "../session.js";

export const title = (_, { params }) => `Why? ${params.sku}`;
export const follows = ({ type, sku, kind }, { params }) => type === "tick" || sku === params.sku || kind === "push";

export async function load({ params, signal }) {
  const path = `/v1/admin/products/${encodeURIComponent(params.sku)}`;
  const [product, why, places] = await Promise.all([get(path, {}, { signal }), get(`${path}/explain`, {}, { signal }), get("/v1/admin/marketplaces", { archived: "true" }, { signal })]);
  return { product, why, status: new Map(places.items.map(({ code, status }) => [code, status])) };
}

const STEPS = {
  available: "Available in its places", others_quota: "Less what is set aside for others", buffer: "Less the buffer", stop_below: "Stop at little stock", max_listed: "Show no more than",
  units: "In units of the listing", shown: "Shown", paused: "Paused", fixed: "Always the same number", share_percent: "Its share", quota: "Its own quota",
};

export function view({ product, why, status }, ctx) {
  const { sku } = ctx.params;
  const wanted = ctx.query.get("marketplace") ?? "";
  const codes = [...new Set(why.listings.map(({ marketplace }) => marketplace))];
  const listings = why.listings.filter(({ marketplace }) => !wanted || marketplace === wanted);
  return [
    head("Why this number?", { back: [productHref(sku), product.name] }),
    productTabs(sku, "Why?"),
    card(h("span", {}, "On the shelf: ", num(product.available), " available"), { note: "The ledger is the truth: each of these is the sum of its movements." },
      h("ol", { class: "trace" },
        step("On hand", "what lies there", null, product.on_hand), step("Committed", "sold, not yet shipped", -product.committed), step("Held", "in carts", -product.reserved),
        step("Unsellable", "damaged or blocked", -product.unsellable), step("Available", `in ${plural((product.locations ?? []).length || 1, "place")}`, null, product.available)),
      h("div", { class: "actions" }, go("Every movement", productHref(sku, "/timeline?kind=movement"), { small: true, name: "clock" }))),
    codes.length > 1 ? choice("Marketplace", [["", "All"], ...codes.map((code) => [code, session.nameOf(code)])], wanted, (value) => ctx.ask({ marketplace: value })) : null,
    listings.length ? listings.map((l) => listing(l, status.get(l.marketplace))) : card("", {}, empty("Not listed there", "No listing of this product exists on this marketplace.", { name: "store", action: go("To the product", productHref(sku)) })),
  ];
}

const step = (name, detail, change, value) =>
  h("li", {}, h("span", {}, h("strong", {}, name), detail ? h("span", { class: "soft" }, ` · ${detail}`) : null), h("span", { class: "num", "data-live": true }, value !== undefined ? count(value) : change ? signed(change) : "0"));

function listing(l, status) {
  return card(h("span", {}, market(l.marketplace), ": ", num(l.marketplace === "store" ? l.wanted : l.acknowledged ?? l.wanted)), { actions: badge(l.state), note: verdict(l, status), key: `${l.marketplace}/${l.marketplace_product_id}/${l.market}` },
    h("ol", { class: "trace", "aria-label": `How ${session.nameOf(l.marketplace)} comes to its number` },
      l.trace.map((s) => step(STEPS[s.step] ?? s.step, s.detail, s.after - s.before, s.after))),
    l.marketplace === "store" ? h("p", { class: "note" }, "Browsers of the store are told at once; nothing has to be sent.")
      : h("dl", { class: "flow" },
        part("Wanted", l.wanted, "what it should show"), part("Sent", l.sent, "last told"), part("Confirmed", l.acknowledged, "it said yes to"), part("Expected", l.expected, "what we believe it shows"), part("Observed", l.observed, "it last said of itself")),
    h("p", { class: "note" }, "Known there as ", h("span", { class: "mono" }, l.marketplace_product_id), l.marketplace === "store" ? null : [", last synced ", when(l.last_synced_at)]));
}

const part = (name, value, text) => h("div", {}, h("dt", {}, name), h("dd", {}, num(value)), h("dd", { class: "meaning" }, text));

/** In a sentence: is it right, and if not, what happens next. */
function verdict(l, status) {
  if (status === "auth_error") return `It is told nothing until its keys are mended and it is resumed on its page.${l.last_error ? ` What it said last: ${l.last_error}` : ""}`;
  if (status === "paused") return "Pushes to this marketplace are paused; it keeps showing what it last confirmed.";
  if (l.last_error) return `The last try failed: ${l.last_error}. It is tried again by itself.`;
  if (l.marketplace === "store") return "The store shows this number now.";
  if (l.state === "paused") return "Pushes to this marketplace are paused; it keeps showing what it last confirmed.";
  if (l.state === "task") return `Change the ad to ${count(l.wanted)} by hand: this marketplace has no interface.`;
  if (l.state === "blocked") return "The marketplace refuses this listing. Its next number is tried alone.";
  if (l.expected === null) return "What it shows is not known for sure, so the number is being confirmed.";
  if (l.wanted === l.expected) return "It shows what it should.";
  return `It is being told ${count(l.wanted)} instead of ${count(l.expected)}.`;
}
