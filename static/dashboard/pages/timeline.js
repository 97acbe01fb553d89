// Everything that happened to a product on one axis: the ledger, what came in, what was wanted, what was told.

import { get } from "../api.js";
import { actor, count, signed, words } from "../format.js";
import { card, choice, empty, h, head, market, more, row, rows, when, badge, icon } from "../ui.js";
import { productTabs } from "./product.js";
import { productHref } from "../routes.js";

const KINDS = { movement: ["Stock", "box"], listing: ["Wanted", "sliders"], push: ["Told", "send"], webhook: ["Came in", "bolt"], observation: ["Seen", "search"] };

export const title = (_, { params }) => `Timeline of ${params.sku}`;

export const load = ({ params, state, signal }) => get(`/v1/admin/products/${encodeURIComponent(params.sku)}/timeline`, { limit: state.limit ?? 50 }, { signal });
export const follows = ({ type, sku, kind }, { params }) => type === "tick" || sku === params.sku || kind === "push";
/** New rows of it wait for a press. */
export const list = (page) => page.items;

export function view(page, ctx) {
  const { sku } = ctx.params;
  const kind = ctx.query.get("kind") ?? "";
  const items = page.items.filter((item) => !kind || item.kind === kind);
  return [
    head("Timeline", { back: [productHref(sku), sku] }),
    productTabs(sku, "Timeline"),
    card("", { flush: true },
      h("div", { class: "toolbar" }, choice("Kind", [["", "All"], ...Object.entries(KINDS).filter(([name]) => page.items.some((i) => i.kind === name)).map(([name, [text]]) => [name, text])], kind, (value) => ctx.ask({ kind: value }))),
      items.length ? rows("What happened, newest first", items.map(line)) : empty("Nothing here yet", "Sales, corrections, pushes and webhooks of this product will stand here in order.", { name: "clock" }),
      more(ctx, page)),
  ];
}

function line(item) {
  const [name, image] = KINDS[item.kind] ?? [words(item.kind), "clock"];
  const change = item.quantity_before !== null && item.quantity_after !== null ? item.quantity_after - item.quantity_before : null;
  const told = item.kind === "push" || item.kind === "listing";
  const cause = item.kind === "listing" ? words(item.what).toLowerCase() : null;
  return row({
    key: item.id, lead: icon(image), main: told && item.quantity_after !== null ? `${item.kind === "push" ? "Told to show" : "Should show"} ${count(item.quantity_after)}` : [name, ": ", words(item.what)],
    // Of whom it is told stands first; who was the cause of it is said as such.
    sub: [item.marketplace ? market(item.marketplace) : null, cause ? h("span", {}, "after: ", cause, item.actor ? `, ${actor(item.actor)}` : null) : item.actor && item.actor !== `marketplace:${item.marketplace}` ? h("span", {}, actor(item.actor)) : null, when(item.at), item.detail ? h("span", {}, item.detail) : null],
    side: [change !== null && item.kind === "movement" ? h("span", { class: `num ${change < 0 ? "" : "good"}` }, signed(change)) : item.kind === "push" ? badge(item.what) : null,
      item.quantity_after !== null ? h("span", { class: "num soft small" }, item.quantity_before !== null ? `${count(item.quantity_before)} → ${count(item.quantity_after)}` : `set to ${count(item.quantity_after)}`) : null],
  });
}
