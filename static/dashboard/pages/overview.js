// Now: what was sold today, what needs somebody, how the channels are, and what just happened.

import { get, getOr } from "../api.js";
import { bars } from "../chart.js";
import { actor, count, milliseconds, money, plural, signed, utcDay, words } from "../format.js";
import { readMetrics, quantile } from "../metrics.js";
import { productHref } from "../routes.js";
import { session } from "../session.js";
import { badge, card, empty, go, grid, h, head, icon, market, num, row, rows, stat, when } from "../ui.js";
import { gather, work } from "./todo.js";

export const title = "Overview";

/** Lines of the feed: always as many, so that nothing moves when one is added. */
const FEED = 8;

export async function load({ signal }) {
  const today = utcDay();
  const [sales, movements, places, metrics, todo, out, low] = await Promise.all([
    get("/v1/admin/analytics", { from: today, to: today, group_by: "marketplace", only: "sales" }, { signal }),
    get("/v1/admin/movements", { limit: FEED }, { signal }),
    get("/v1/admin/marketplaces", {}, { signal }),
    readMetrics(signal),
    gather(signal),
    get("/v1/admin/products", { stock: "out", limit: 100 }, { signal }),
    get("/v1/admin/products", { stock: "low", limit: 100 }, { signal }),
  ]);
  const any = movements.items.length > 0 || (await getOr({ items: [] }, "/v1/admin/products", { limit: 1 }, { signal })).items.length > 0;
  return { sales, movements: movements.items, places: places.items, metrics, todo, out, low, any };
}

export const follows = () => true;

export function view(data) {
  const { places, any, todo } = data;
  const channels = places.filter(({ kind }) => kind !== "storefront");
  const fresh = !any || !channels.length;
  return [
    head("Today", { sub: new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" }).format(new Date()), actions: session.may("operator") ? [go("Record an order", "#/orders?new=1", { name: "plus", main: true })] : null }),
    fresh ? h("div", { class: "callout" }, icon("rocket"), h("div", {}, h("p", {}, h("strong", {}, "Finish the set-up")),
      h("p", {}, channels.length ? "Add your products, then everything sold anywhere counts down everywhere." : "Add a marketplace and your products, then everything sold anywhere counts down everywhere."),
      h("div", { class: "actions" }, go("Go on with the set-up", "#/start", { main: true })))) : null,
    figures(data),
    needs(todo),
    grid(sold(data), health(data)),
    feed(data),
  ];
}

function figures({ sales, out, low }) {
  const units = sales.totals.reduce((sum, row) => sum + row.units, 0);
  const orders = sales.totals.reduce((sum, row) => sum + row.orders, 0);
  const priced = sales.totals.filter(({ currency }) => currency);
  const many = (page) => (page.next_cursor ? `${page.items.length}+` : count(page.items.length));
  return h("div", { class: "stats" },
    stat("Pieces sold", count(units), { sub: plural(orders, "order"), href: "#/orders", key: "units" }),
    stat("Revenue", priced.length ? priced.map((row) => money(row.revenue, row.currency, { whole: true })).join(" + ") : "–", { sub: profit(priced), href: "#/analytics", key: "revenue" }),
    stat("Running low", many(low), { sub: "at or under their threshold", href: "#/products?stock=low", tone: low.items.length ? "warn" : null, key: "low" }),
    stat("Sold out", many(out), { sub: "shown as 0 everywhere", href: "#/products?stock=out", tone: out.items.length ? "bad" : null, key: "out" }));
}

const profit = (priced) => (priced.length ? `profit ${priced.map((row) => money(row.profit, row.currency, { whole: true })).join(" + ")}` : "no priced sale yet");

/** Always the same places, so that a number that rises moves nothing. */
function needs(todo) {
  return h("section", { class: "needs", "aria-label": "What needs you" }, work(todo, true).map(({ key, n, href, image, tone, name }) =>
    h("a", { key, href, class: `need ${n ? tone : ""}` }, icon(n ? image : "check"), h("span", { class: "num", "data-live": true }, count(n)), h("span", { class: "need-name" }, name))));
}

function sold({ sales, places }) {
  const by = new Map(places.map(({ code }) => [code, { units: 0, money: [] }]));
  for (const row of sales.rows) {
    const sum = by.get(row.marketplace) ?? { units: 0, money: [] };
    sum.units += row.units;
    if (row.currency) sum.money.push(money(row.revenue, row.currency));
    by.set(row.marketplace, sum);
  }
  const items = [...by].map(([code, { units, money }]) => ({ code, name: session.nameOf(code), value: units, sub: money.join(" + ") || "–" }));
  return card("Sold today", { actions: go("Analytics", "#/analytics", { small: true }), key: "sold", note: "Days are counted in UTC." }, bars("Pieces sold today by marketplace", items));
}

function health({ places, metrics }) {
  const lag = metrics && metrics.histogram("inventory_update_lag_ms");
  const leaves = metrics && metrics.histogram("push_leaves_seconds");
  const channels = places.filter(({ kind }) => kind !== "storefront");
  return card("Channels", { flush: true, actions: go("All", "#/marketplaces", { small: true }), key: "health" },
    rows("Channels and how they are", channels.map((place) => {
      const waiting = metrics?.value("dirty_listings", { marketplace: place.code }) ?? 0;
      const rest = (metrics?.value("circuit_open", { marketplace: place.code }) ?? 0) > 0;
      return row({ key: place.code, href: `#/marketplaces/${place.code}`, main: market(place.code), sub: waiting ? `${plural(waiting, "number")} to be sent` : "Shows what it should",
        side: badge(rest ? "open" : place.status, rest ? { label: "Being given rest" } : {}) });
    })),
    h("p", { class: "note lag" }, "A sale is booked within ", num(milliseconds(lag && quantile(lag, 0.5))), " (99 % within ", num(milliseconds(lag && quantile(lag, 0.99))), ") and leaves for the others within ",
      num(milliseconds(leaves && quantile(leaves, 0.99) * 1_000)), "."));
}

function feed({ movements }) {
  const lines = movements.map((m) => row({
    href: productHref(m.sku, "/timeline"),
    main: m.sku, sub: [h("span", {}, words(m.movement_type), " ", m.marketplace ? market(m.marketplace) : actor(m.actor)), when(m.recorded_at)],
    side: [h("span", { class: `num ${m.quantity_change < 0 ? "" : "good"}`, "data-live": true }, signed(m.quantity_change)), h("span", { class: "soft small num" }, `${count(m.quantity_after)} left`)],
  }));
  return card("As it happens", { flush: true, key: "feed" },
    lines.length ? h("div", { class: "feed" }, rows("The latest changes of stock", lines)) : empty("Quiet so far", "Each sale, cancel, top-up and correction appears here the moment it is booked.", { name: "clock" }));
}
