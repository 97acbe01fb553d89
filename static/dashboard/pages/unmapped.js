// Sales of products the hub does not know: say which product it is, and what waited is applied by itself.

import { get, post } from "../api.js";
import { formDialog } from "../form.js";
import { plural, words } from "../format.js";
import { session } from "../session.js";
import { act, card, choice, empty, h, head, market, more, row, rows, toast, when, icon } from "../ui.js";

export const title = "Unmapped";
export const load = ({ query, state, signal }) => get("/v1/admin/unmapped", { state: query.get("state"), limit: state.limit ?? 50 }, { signal });
export const follows = ({ type, kind }) => type === "tick" || kind === "webhook" || kind === "order";
/** New rows of it wait for a press. */
export const list = (page) => page.items;

export function view(page, ctx) {
  const historic = ctx.query.get("state") === "historic";
  return [
    head("Unmapped", { back: ["#/todo", "To do"], sub: historic ? "Older than a product’s opening or last count: recorded without moving stock." : "The marketplace sold something under a name that belongs to no product here." }),
    card("", { flush: true }, h("div", { class: "toolbar" }, choice("Which", [["", "Waiting"], ["historic", "Recorded only"]], historic ? "historic" : "", (state) => ctx.ask({ state }))),
      page.items.length ? rows("What waits for a mapping", page.items.map((item) => line(item, ctx)))
        : empty(historic ? "Nothing was recorded only" : "Every sale found its product", historic ? "History is not sold twice; what is held back would stand here." : "A name nobody knows would wait here until you say what it is. No sale is lost meanwhile.", { name: "link" }),
      more(ctx, page)),
  ];
}

/** As the marketplace names it; a delivery as a whole says it in its message. */
const called = (item) => item.external_sku ?? item.external_product ?? item.line ?? /not mapped to a product: (.+)$/.exec(item.message ?? "")?.[1] ?? "without a name";

function line(item, ctx) {
  const map = item.sku ? act("Post it to the stock", () => postIt(item, ctx), { small: true }) : act("Which product is it?", () => choose(item, ctx), { small: true, main: true, name: "link" });
  return row({
    key: item.id, lead: icon("link"), main: item.sku ?? called(item), href: item.kind === "webhook" ? `#/webhooks/${item.id}` : item.order_id ? `#/orders/${item.order_id}` : null,
    sub: [market(item.marketplace), item.quantity ? h("span", {}, plural(item.quantity, "piece")) : null, item.event_type ? h("span", {}, words(item.event_type)) : null, when(item.occurred_at ?? item.created_at), item.message && !item.message.endsWith(called(item)) ? h("span", {}, item.message) : null],
    actions: session.may("operator") ? map : null,
  });
}

async function choose(item, ctx) {
  const products = await get("/v1/admin/products", { limit: 500 });
  const done = await formDialog(`Which product is “${called(item)}”?`, [
    { at: "/sku", label: "Your product", required: true, autofocus: true, placeholder: "SKU", suggest: products.items.map(({ sku, name }) => [sku, name]), hint: "Every later sale of this name on this marketplace goes there too." },
    { at: "/units", label: "Pieces per unit", type: "number", min: 1, hint: "6 for a pack of six. Empty: 1." },
  ], { label: "That is it", submit: (body) => post(`/v1/admin/unmapped/${item.id}/map`, body) });
  if (!done) return;
  toast(done.historic?.length ? "Mapped. Older sales were recorded without moving stock." : "Mapped. What waited is being applied.");
  await ctx.reload();
}

async function postIt(item, ctx) {
  await post(`/v1/admin/unmapped/${item.id}/map`, { post: true });
  toast("Posted: the stock was moved.");
  await ctx.reload();
}
