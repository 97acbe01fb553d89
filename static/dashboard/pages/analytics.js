// What sells where, what it earns, and what the hub saves.

import { download, get } from "../api.js";
import { bars, columns, legend } from "../chart.js";
import { count, dayOf, money, percent, plural, utcDay } from "../format.js";
import { productHref } from "../routes.js";
import { session } from "../session.js";
import { act, card, choice, empty, grid, h, head, num, stat, table } from "../ui.js";

export const title = "Analytics";

/** Products of the list of best sellers. */
const BEST = 100;

const SPANS = { 7: "7 days", 30: "30 days", 90: "90 days" };

export async function load({ query, signal }) {
  const days = SPANS[query.get("days")] ? Number(query.get("days")) : 30;
  const span = { from: utcDay(days - 1), to: utcDay() };
  const [daily, bySku] = await Promise.all([get("/v1/admin/analytics", { ...span, group_by: "day,marketplace" }, { signal }), get("/v1/admin/analytics", { ...span, group_by: "sku", top: BEST, only: "sales" }, { signal })]);
  return { days, span, daily, bySku };
}

export const follows = ({ type, kind }) => type === "tick" || kind === "stock" || kind === "order";

export function view({ days, span, daily, bySku }, ctx) {
  const { totals, api_calls: calls, deliveries, exposure } = daily;
  const units = totals.reduce((sum, row) => sum + row.units, 0);
  const priced = totals.filter(({ currency }) => currency);
  const sum = (pick) => (priced.length ? priced.map((row) => money(row[pick], row.currency)).join(" + ") : "–");
  return [
    head("Analytics", { actions: [choice("Span", Object.entries(SPANS).map(([n, text]) => [Number(n), text]), days, (n) => ctx.ask({ days: String(n) })), act("CSV", () => download("/v1/admin/analytics", `sales-${span.from}-${span.to}.csv`, { query: { ...span, group_by: "day,marketplace,sku" } }), { name: "file" })] }),
    h("div", { class: "stats" }, stat("Pieces sold", count(units), { sub: plural(totals.reduce((s, r) => s + r.orders, 0), "order"), key: "units" }), stat("Revenue", sum("revenue"), { key: "revenue" }), stat("Profit", sum("profit"), { sub: "less cost and fees, where known", key: "profit" }),
      stat("Calls saved", count(calls.saved), { sub: `${count(calls.made)} made for ${plural(calls.listing_changes, "change")}`, tone: "good", key: "saved" })),
    card("Sales over time", { wide: true, key: "time", note: "Pieces per day (UTC), stacked by marketplace." }, overTime(span, days, daily.rows)),
    grid(byMarketplace(daily.rows), apiCalls(calls), hub(deliveries, exposure)),
    card("By product", { flush: true, key: "products" }, table("Sales by product", [
      ["Product", (r) => h("a", { href: productHref(r.sku) }, r.sku)], ["Pieces", (r) => num(r.units), { num: true }], ["Orders", (r) => num(r.orders), { num: true }], ["Cancelled", (r) => num(r.cancelled), { num: true }], ["Returned", (r) => num(r.returned), { num: true }],
      ["Revenue", (r) => h("span", { class: "num" }, money(r.revenue, r.currency)), { num: true }], ["Profit", (r) => h("span", { class: "num" }, money(r.profit, r.currency)), { num: true }],
    ], [...bySku.rows].filter(({ sku }) => sku).sort((a, b) => b.units - a.units).slice(0, 100), { key: (r) => `${r.sku}${r.currency}`, instead: empty("Nothing sold in this time", "Choose a longer span.", { name: "chart" }) })),
  ];
}

function overTime({ from }, days, rows) {
  const list = Array.from({ length: days }, (_, n) => new Date(Date.parse(`${from}T12:00:00Z`) + n * 86_400_000).toISOString().slice(0, 10));
  const codes = [...new Set(rows.map(({ marketplace }) => marketplace).filter(Boolean))].sort();
  const series = codes.map((code) => ({ code, name: session.nameOf(code), values: list.map((day) => rows.filter((r) => r.day === day && r.marketplace === code).reduce((sum, r) => sum + r.units, 0)) }));
  const total = rows.reduce((sum, { units }) => sum + units, 0);
  if (!total) return empty("Nothing sold in this time", "The first sale draws the first column.", { name: "chart" });
  const text = `${plural(total, "piece")} sold in ${days} days: ${series.map(({ name, values }) => `${name} ${values.reduce((a, b) => a + b, 0)}`).join(", ")}`;
  return [legend(series), columns(text, list.map(dayOf), series)];
}

function byMarketplace(rows) {
  const by = new Map();
  for (const r of rows) {
    const entry = by.get(r.marketplace) ?? { units: 0, money: new Map() };
    entry.units += r.units;
    if (r.currency) entry.money.set(r.currency, (entry.money.get(r.currency) ?? 0) + Number(r.revenue));
    by.set(r.marketplace, entry);
  }
  const items = [...by].map(([code, e]) => ({ code, name: session.nameOf(code), value: e.units, sub: [...e.money].map(([c, a]) => money(a, c)).join(" + "), href: code === "store" ? null : `#/marketplaces/${code}` })).sort((a, b) => b.value - a.value);
  return card("By marketplace", { key: "places" }, items.length ? bars("Pieces by marketplace", items) : empty("Nothing sold in this time", "", { name: "store" }));
}

function apiCalls(calls) {
  const items = calls.by_marketplace.filter(({ made, listing_changes: n }) => made || n).map((c) => ({ code: c.marketplace, name: session.nameOf(c.marketplace), value: c.saved, sub: `${count(c.made)} calls for ${plural(c.listing_changes, "change")}` }));
  return card("Calls saved", { key: "calls", note: "Only the newest number of a listing is sent, and many at once where the marketplace takes them." }, items.length ? bars("Calls saved by marketplace", items) : empty("No calls yet", "", { name: "send" }));
}

function hub(deliveries, exposure) {
  return card("How well it works", { key: "hub" }, h("dl", { class: "facts" }, [["Came in", plural(deliveries.total, "message")], ["By webhook", percent(deliveries.webhook_share)], ["Fetched", percent(deliveries.poll_share)], ["Went through", percent(deliveries.success)],
    ["Shown per piece", exposure.ratio === null ? "–" : `${exposure.ratio} ×`]].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "num" }, value)))),
  h("p", { class: "note" }, "“Shown per piece” is how often each piece is offered: four marketplaces that all show everything make 4 ×. A buffer or a quota lowers it, and the risk of selling twice."));
}
