// Orders from everywhere, and the form for those that came by phone or chat.

import { get, post, Problem } from "../api.js";
import { h as element } from "../dom.js";
import { count, money, plural } from "../format.js";
import { session } from "../session.js";
import { act, badge, card, dialog, empty, h, head, market, more, problemBox, row, rows, sure, toast, when } from "../ui.js";

export const title = "Orders";
export const load = ({ state, signal }) => get("/v1/admin/orders", { limit: state.limit ?? 50 }, { signal });
export const follows = ({ type, kind }) => type === "tick" || kind === "order";
/** New rows of it wait for a press. */
export const list = (page) => page.items;

export function view(page, ctx) {
  if (ctx.query.get("new") && session.may("operator")) setTimeout(() => (ctx.ask({ new: "" }), create(ctx)));
  return [
    head("Orders", { actions: session.may("operator") ? act("Record an order", () => create(ctx), { name: "plus", main: true }) : null }),
    card("", { flush: true },
      page.items.length ? rows("Orders, newest first", page.items.map(line))
        : empty("No orders yet", "Orders of every marketplace appear here by themselves. What was sold by phone or chat you record by hand.", { name: "receipt",
          action: session.may("operator") ? act("Record an order", () => create(ctx), { main: true }) : null }),
      more(ctx, page)),
  ];
}

export function total(order) {
  const sums = new Map();
  for (const { price, quantity, cancelled } of order.lines) {
    if (price) sums.set(price.currency, (sums.get(price.currency) ?? 0) + Number(price.amount) * (quantity - cancelled));
  }
  return [...sums].map(([currency, amount]) => money(amount, currency)).join(" + ");
}

function line(order) {
  const pieces = order.lines.reduce((sum, { quantity }) => sum + quantity, 0);
  // A marketplace that only tells its stock takes a sale back as a sale of less than nothing.
  const back = pieces < 0;
  const [first, ...rest] = order.lines.map(({ sku, external_sku, quantity }) => `${Math.abs(quantity)} × ${sku ?? external_sku ?? "unknown product"}`);
  // Names that a machine made tell a person nothing.
  const known = /^(stock|id):|^[0-9a-f-]{36}$/.test(order.external_id) ? null : order.external_id;
  return row({
    key: order.id, href: `#/orders/${order.id}`, main: [first ?? "No lines", rest.length ? h("span", { class: "soft" }, ` and ${rest.length} more`) : null],
    sub: [market(order.marketplace), known ? h("span", { class: "mono" }, known.length > 24 ? `${known.slice(0, 22)}…` : known) : null, when(order.placed_at ?? order.created_at)],
    side: [back ? badge("cancelled", { label: "Taken back" }) : badge(order.status, { tone: toneOf(order.status), label: order.status === "created" ? "Sold" : null }), h("span", { class: "soft small num" }, total(order) || plural(pieces, "piece"))],
  });
}

export const toneOf = (status) => (status === "created" ? "good" : status.includes("cancelled") || status.includes("returned") ? "calm" : "good");

// ---- an order by hand -------------------------------------------------------------------------------------------------

async function create(ctx) {
  const [products, places] = await Promise.all([get("/v1/admin/products", { limit: 500 }), get("/v1/admin/marketplaces")]);
  const manual = places.items.filter(({ kind }) => kind === "manual");
  const order = await dialog("Record an order", (close) => orderForm(products.items, manual.length ? manual : places.items.filter(({ kind, stock_feed: feed }) => kind !== "storefront" && feed === "orders"), close));
  if (!order) return;
  toast(`Booked. ${plural(order.lines.length, "line")}; every marketplace is being told.`);
  await ctx.reload();
}

function orderForm(products, places, close) {
  if (!places.length) return empty("No channel for it yet", "Orders by hand belong to a marketplace of the kind “manual”, like an ad or your phone.", { name: "store", action: h("a", { class: "button main", href: "#/marketplaces?new=1", onclick: () => close() }, "Add one") });
  const lines = h("div", { class: "form" });
  const trouble = h("div", {});
  let n = 0;
  const add = () => {
    const id = `o${++n}`;
    const known = () => products.find(({ sku }) => sku === lineNode.querySelector(`#${id}-sku`).value.trim());
    const hint = h("p", { class: "hint", id: `${id}-hint` });
    const lineNode = h("div", { class: "field", "data-line": true },
      h("div", { class: "line-item" },
        h("div", { class: "field" }, h("label", { for: `${id}-sku` }, "Product"), h("input", { id: `${id}-sku`, list: "order-products", "data-sku": true, "aria-describedby": `${id}-hint ${id}-error`, placeholder: "SKU", autocomplete: "off", spellcheck: "false", autocapitalize: "off",
          oninput: () => (hint.textContent = known() ? `${known().name}: ${count(known().available)} available` : "") })),
        h("div", { class: "field" }, h("label", { for: `${id}-n` }, "Pieces"), h("input", { id: `${id}-n`, type: "number", inputmode: "numeric", min: 1, value: 1, "data-quantity": true })),
        h("button", { type: "button", class: "button quiet", "aria-label": "Remove this line", onclick: () => lines.childElementCount > 1 && lineNode.remove() }, "Remove")),
      hint, h("p", { class: "field-error", id: `${id}-error` }));
    lines.append(lineNode);
    return lineNode;
  };
  add();
  const field = (id, label, more = {}) => h("div", { class: "field" }, h("label", { for: id }, label, h("span", { class: "optional" }, " optional")), h("input", { id, autocomplete: "off", ...more }));
  // What such a marketplace tells of the same order must join it, not be booked once more.
  const number = h("div", { class: "field" }, h("label", { for: "order-number" }, "Its order number there"), h("input", { id: "order-number", autocomplete: "off", spellcheck: "false", autocapitalize: "off", "aria-describedby": "order-number-hint order-number-error" }),
    h("p", { class: "hint", id: "order-number-hint" }, "As the marketplace names the order. Its own message of it joins this one."), h("p", { class: "field-error", id: "order-number-error" }));
  const foreign = () => (number.hidden = places.find(({ code }) => code === value("#order-place"))?.kind === "manual");
  const form = element("form", { class: "form", novalidate: true },
    h("div", { class: "field" }, h("label", { for: "order-place" }, "Sold on"), h("select", { id: "order-place", onchange: () => foreign() }, places.map(({ code, name }) => h("option", { value: code }, name)))),
    h("datalist", { id: "order-products" }, products.map(({ sku, name }) => h("option", { value: sku }, name))),
    lines, h("div", {}, h("button", { type: "button", class: "button small", onclick: () => add().querySelector("input").focus() }, "Another product")),
    number,
    h("div", { class: "field-row" }, field("order-name", "Customer"), field("order-phone", "Phone", { type: "tel" })),
    trouble,
    h("div", { class: "dialog-actions" }, h("button", { type: "button", class: "button", onclick: () => close() }, "Cancel"), h("button", { type: "submit", class: "button main" }, "Book it")));
  const value = (selector) => form.querySelector(selector).value.trim();
  foreign();
  const send = async (force) => {
    const items = [...lines.children].map((node) => ({ sku: node.querySelector("[data-sku]").value.trim(), quantity: Number(node.querySelector("[data-quantity]").value) }));
    const body = { marketplace: value("#order-place"), items, ...(force ? { force } : {}) };
    if (!number.hidden && value("#order-number")) body.external_id = value("#order-number");
    if (value("#order-name")) body.customer_name = value("#order-name");
    if (value("#order-phone")) body.customer_phone = value("#order-phone");
    close(await post("/v1/admin/orders", body));
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    trouble.replaceChildren();
    for (const node of form.querySelectorAll("[aria-invalid]")) node.removeAttribute("aria-invalid");
    for (const node of form.querySelectorAll(".field-error")) node.textContent = "";
    try {
      await send(false);
    } catch (error) {
      if (error instanceof Problem && error.slug === "insufficient-stock" && (await sure("There is not enough", `${error.detail}. If the customer has it in hand already, book it all the same; an oversell case opens.`, { yes: "Book it all the same" }))) {
        return send(true).catch((again) => trouble.replaceChildren(problemBox(again)));
      }
      const rest = (error.errors ?? []).filter(({ field, message }) => {
        if (field === "/external_id" && !number.hidden) {
          number.querySelector("input").setAttribute("aria-invalid", "true");
          number.querySelector(".field-error").textContent = message;
          return false;
        }
        const [, at, part] = /^\/items\/(\d+)\/(\w+)/.exec(field) ?? [];
        const node = lines.children[at];
        if (!node) return true;
        node.querySelector(part === "quantity" ? "[data-quantity]" : "[data-sku]").setAttribute("aria-invalid", "true");
        node.querySelector(".field-error").textContent = message;
        return false;
      });
      if (rest.length || !error.errors?.length) trouble.replaceChildren(problemBox(error instanceof Problem ? new Problem(error.status, { ...error.body, errors: rest }) : error));
      form.querySelector("[aria-invalid]")?.focus();
    }
  };
  return form;
}
