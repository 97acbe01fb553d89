// All products: what is there, what each marketplace shows, and a search that answers while you type.

import { download, get, post } from "../api.js";
import { formDialog, moneyFields, tidyMoney } from "../form.js";
import { plural } from "../format.js";
import { productHref } from "../routes.js";
import { session } from "../session.js";
import { act, badge, card, choice, empty, go, h, head, icon, market, more, num, row, rows } from "../ui.js";

export const title = "Products";

export function load({ query, state, signal }) {
  return get("/v1/admin/products", { q: query.get("q"), stock: query.get("stock"), include: "listings", limit: state.limit ?? 50 }, { signal });
}

export const follows = ({ type, kind }) => type === "tick" || kind === "stock" || kind === "push";

export function view(page, ctx) {
  const [q, stock] = [ctx.query.get("q") ?? "", ctx.query.get("stock") ?? ""];
  const filtered = q || stock;
  return [
    head("Products", { actions: session.may("operator") ? [go("Import", "#/products/import", { name: "file" }), go("Count", "#/products/import?kind=counts", { name: "scale" }), act("New product", () => create(ctx), { name: "plus", main: true })] : null }),
    card("", { flush: true },
      h("div", { class: "toolbar" },
        h("div", { class: "search" }, icon("search"), h("input", { type: "search", "aria-label": "Search by SKU or name", placeholder: "SKU or name", value: q, spellcheck: "false",
          oninput: ({ target }) => later(() => ctx.ask({ q: target.value })) })),
        choice("Stock", [["", "All"], ["low", "Low"], ["out", "Sold out"]], stock, (value) => ctx.ask({ stock: value }))),
      page.items.length
        ? rows("Products", page.items.map(line))
        : filtered
          ? empty("No product fits", q ? `Nothing holds “${q}”.` : "No product is in this state.", { name: "search", action: act("Show all", () => ctx.ask({ q: "", stock: "" })) })
          : empty("No products yet", "Add one by hand, bring a whole list as a CSV file, or let a marketplace tell what it sells.", { name: "box",
            action: session.may("operator") ? [act("New product", () => create(ctx), { main: true }), go("Import a list", "#/products/import")] : null }),
      more(ctx, page)),
    page.items.length ? h("p", { class: "note" }, `${plural(page.items.length, "product")}${page.next_cursor ? " and more" : ""}. `,
      h("button", { type: "button", class: "as-link", onclick: () => download("/v1/admin/products/export", "products.csv") }, "Download as CSV")) : null,
  ];
}

function line(product) {
  const { sku, name, available, is_available: there, low_stock_threshold: threshold, listings = [] } = product;
  const behind = listings.filter(({ state }) => ["blocked", "unknown"].includes(state)).length;
  return row({
    key: sku, href: productHref(sku), main: name,
    sub: [h("span", { class: "mono" }, sku), h("span", { class: "chips" }, listings.filter((l) => l.marketplace !== "store").map((l) =>
      h("span", { class: "chip", title: session.nameOf(l.marketplace) }, market(l.marketplace, { bare: true }), h("span", { class: "unseen" }, session.nameOf(l.marketplace)), num(l.acknowledged ?? l.wanted), l.wanted !== l.acknowledged ? h("span", { class: "soft" }, `→ ${l.wanted}`) : null)))],
    side: [h("span", { class: `stat-value num ${available <= 0 ? "bad" : available <= threshold ? "warn" : ""}`, "data-live": true }, available),
      behind ? badge("blocked", { label: `${behind} not told` }) : !there ? badge("out", { label: "Sold out" }) : available <= threshold ? badge("low") : h("span", { class: "soft small" }, "available")],
  });
}

let timer;
const later = (what) => (clearTimeout(timer), (timer = setTimeout(what, 200)));

async function create(ctx) {
  // Most shops price everything in one currency.
  const currency = ctx.data?.items?.find(({ price }) => price)?.price.currency;
  const made = await formDialog("New product", [
    { at: "/name", label: "Name", required: true, autofocus: true },
    { at: "/sku", label: "SKU", required: true, hint: "Your own name for it, taken exactly as written. It cannot be changed later." },
    { row: [
      { at: "/initial_stock", label: "Pieces there now", type: "number", min: 0, value: 0, optional: false },
      { at: "/low_stock_threshold", label: "Warn at", type: "number", min: 0, hint: "pieces left" },
    ] },
    moneyFields("/price", "Price", null, currency),
    moneyFields("/cost_price", "Cost", null, currency),
  ], { label: "Add it", submit: (body) => post("/v1/admin/products", tidyMoney(body, "price", "cost_price")) });
  if (made) location.hash = productHref(made.sku);
}

