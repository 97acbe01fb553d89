// More was sold than is there: who bought last, and what was decided.

import { get, post } from "../api.js";
import { formDialog } from "../form.js";
import { actor, plural } from "../format.js";
import { productHref } from "../routes.js";
import { session } from "../session.js";
import { act, badge, card, choice, empty, go, h, head, market, more, num, table, toast, when } from "../ui.js";

export const title = "Oversells";
export const load = ({ state, signal }) => get("/v1/admin/oversells", { limit: state.limit ?? 50 }, { signal });
export const follows = ({ type, kind }) => type === "tick" || kind === "alert" || kind === "order" || kind === "stock";
/** New rows of it wait for a press. */
export const list = (page) => page.items;

export function view(page, ctx) {
  const which = ctx.query.get("state") ?? "open";
  const items = page.items.filter(({ state }) => which === "all" || state === which);
  return [
    head("Oversells", { back: ["#/todo", "To do"], sub: "A marketplace’s sale has happened already, so it is always booked. Where more was sold than is there, somebody has to be told." }),
    choice("Which", [["open", "Open"], ["resolved", "Resolved"], ["all", "All"]], which, (value) => ctx.ask({ state: value === "open" ? "" : value })),
    items.length ? items.map((item) => one(item, ctx)) : card("", {}, empty("Nothing is oversold", "Every piece that was sold is there. A buffer on busy marketplaces keeps it so.", { name: "check", action: go("Allocation rules", "#/settings/rules") })),
    more(ctx, page),
  ];
}

function one(item, ctx) {
  return card(h("a", { href: productHref(item.sku) }, item.sku), { key: item.id, actions: badge(item.state), note: [`${plural(item.units, "piece")} too many were sold. Opened `, when(item.opened_at), item.decision ? `. Decided by ${actor(item.actor)}: ${item.decision}` : ". Zero is shown everywhere."] },
    item.candidates.length ? table("Orders that could be cancelled, newest first", [["Order", (c) => h("a", { href: `#/orders/${c.order_id}` }, c.external_id)], ["Marketplace", (c) => market(c.marketplace)], ["Pieces", (c) => num(c.quantity), { num: true }], ["Sold", (c) => when(c.occurred_at)]], item.candidates, { key: (c) => `${c.order_id}${c.line_key}` }) : null,
    item.state === "open" && session.may("operator") ? h("div", { class: "actions" }, act("Say what was decided", () => decide(item, ctx), { main: true }), go("Top up instead", productHref(item.sku))) : null);
}

async function decide({ id }, ctx) {
  const done = await formDialog("What was decided?", [{ at: "/decision", label: "Decision", required: true, autofocus: true, placeholder: "Order 4711 cancelled, customer called", hint: "For those who look later. Cancel the order itself on its marketplace or on its page here." }],
    { label: "Close the case", submit: (body) => post(`/v1/admin/oversells/${id}/resolve`, body) });
  if (done) (toast("The case is closed."), await ctx.reload());
}
