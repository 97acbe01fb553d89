// What the hub wants somebody to know.

import { get, post } from "../api.js";
import { words } from "../format.js";
import { productHref } from "../routes.js";
import { session } from "../session.js";
import { act, badge, card, choice, empty, h, head, market, more, row, rows, when } from "../ui.js";

export const title = "Alerts";
export const load = ({ state, signal }) => get("/v1/admin/alerts", { limit: state.limit ?? 100 }, { signal });
export const follows = ({ type, kind }) => type === "tick" || kind === "alert";
/** New rows of it wait for a press. */
export const list = (page) => page.items;

export function view(page, ctx) {
  const state = ctx.query.get("state") ?? "open";
  const items = page.items.filter((alert) => state === "all" || alert.state === state);
  const open = page.items.filter((alert) => alert.state === "open");
  return [
    head("Alerts", { back: ["#/todo", "To do"], actions: session.may("operator") && open.length > 1 ? act("Acknowledge all", () => all(open, ctx), { name: "check" }) : null }),
    card("", { flush: true }, h("div", { class: "toolbar" }, choice("Which", [["open", "Open"], ["acknowledged", "Acknowledged"], ["all", "All"]], state, (value) => ctx.ask({ state: value === "open" ? "" : value }))),
      items.length ? rows("Alerts, newest first", items.map((alert) => line(alert, ctx))) : empty("No alerts", "Low stock, a marketplace that does not answer, a number that differs: it would stand here.", { name: "bell" }),
      more(ctx, page)),
  ];
}

function line(alert, ctx) {
  return row({
    key: alert.id, main: alert.message, href: alert.sku ? productHref(alert.sku) : alert.marketplace ? `#/marketplaces/${alert.marketplace}` : null,
    sub: [badge(alert.severity, { label: words(alert.kind), tone: alert.severity === "info" ? "calm" : null }), alert.marketplace ? market(alert.marketplace) : null, when(alert.opened_at), alert.resolved_at ? h("span", {}, "over ", when(alert.resolved_at)) : null],
    actions: alert.state === "open" && session.may("operator") ? act("Acknowledge", async () => (await post(`/v1/admin/alerts/${alert.id}/ack`), await ctx.reload()), { small: true }) : null,
  });
}

async function all(open, ctx) {
  for (const { id } of open) await post(`/v1/admin/alerts/${id}/ack`);
  await ctx.reload();
}
