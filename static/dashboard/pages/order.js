// One order: its lines, and what can still happen to them.

import { get, post } from "../api.js";
import { formDialog } from "../form.js";
import { count, money } from "../format.js";
import { productHref } from "../routes.js";
import { session } from "../session.js";
import { act, badge, card, facts, h, head, market, num, sure, table, toast, when } from "../ui.js";
import { toneOf, total } from "./orders.js";

export const title = (order) => `Order ${order.external_id}`;
export const load = ({ params, signal }) => get(`/v1/admin/orders/${params.id}`, {}, { signal });
export const follows = ({ type, kind }) => type === "tick" || kind === "order";

export function view(order, ctx) {
  const left = order.lines.reduce((sum, l) => sum + l.quantity - l.cancelled, 0);
  const unshipped = order.lines.reduce((sum, l) => sum + l.quantity - l.cancelled - l.shipped, 0);
  const may = session.may("operator");
  return [
    head("Order", { back: ["#/orders", "Orders"], sub: h("span", { class: "mono" }, order.external_id), actions: may && left > 0 ? [
      unshipped > 0 ? act("Ship", () => change(order, ctx, "ship", "Ship it all?", "Books everything of it as shipped.", "Ship it"), { name: "truck", main: true }) : null,
      act("Take back", () => takeBack(order, ctx), { name: "refresh" }),
      act("Cancel", () => change(order, ctx, "cancel", "Cancel this order?", "What was not shipped goes back on sale everywhere.", "Cancel the order"), { name: "cross", danger: true }),
    ] : null }),
    card("", {}, facts([["Status", badge(order.status, { tone: toneOf(order.status) })], ["Marketplace", market(order.marketplace)], ["Placed", when(order.placed_at ?? order.created_at)], ["Came by", order.source], total(order) ? ["Worth", h("span", { class: "num" }, total(order))] : null])),
    card("Lines", { flush: true }, table("Lines of the order", [
      ["Product", (l) => (l.sku ? h("a", { href: productHref(l.sku) }, l.sku) : h("span", {}, badge("unmapped"), " ", h("a", { href: "#/unmapped" }, l.external_sku ?? "unknown")))],
      ["Ordered", (l) => num(l.quantity), { num: true }], ["Cancelled", (l) => num(l.cancelled), { num: true }], ["Shipped", (l) => num(l.shipped), { num: true }], ["Returned", (l) => num(l.returned), { num: true }],
      ["Price", (l) => h("span", { class: "num" }, money(l.price)), { num: true }],
    ], order.lines, { key: (l) => l.line })),
  ];
}

async function change(order, ctx, what, title, text, yes) {
  if (!(await sure(title, text, { yes, danger: what === "cancel" }))) return;
  await post(`/v1/admin/orders/${order.id}/${what}`, {});
  toast(what === "cancel" ? "Cancelled. The pieces are on sale again." : "Booked as shipped.");
  await ctx.reload();
}

async function takeBack(order, ctx) {
  const open = order.lines.filter((l) => l.quantity - l.cancelled - l.returned > 0);
  if (!open.length) return void toast("Everything of it came back already.", "bad");
  const done = await formDialog("What came back?", [
    ...open.map((l, n) => ({ at: `/q${n}`, label: l.sku ?? l.external_sku ?? l.line, type: "number", min: 0, max: l.quantity - l.cancelled - l.returned, value: open.length === 1 ? 1 : 0, optional: false, hint: `of ${count(l.quantity - l.cancelled - l.returned)}` })),
    { at: "/sellable", label: "It can be sold again", type: "check", value: true, hint: "Otherwise it is booked as unsellable." },
  ], { label: "Take it back", submit: (body) => {
    const lines = open.map((l, n) => ({ line: l.line, quantity: body[`q${n}`] ?? 0 })).filter(({ quantity }) => quantity > 0);
    return post(`/v1/admin/orders/${order.id}/return`, { lines, sellable: body.sellable });
  } });
  if (done) (toast("Taken back."), await ctx.reload());
}
