// How much of the stock each marketplace may show: for the hub, a marketplace, a product.

import { download, get, put } from "../api.js";
import { form } from "../form.js";
import { session } from "../session.js";
import { act, card, choice, confirmed, facts, go, h, head, toast } from "../ui.js";

export const title = "Allocation";

function where(query) {
  const [code, sku] = [query.get("marketplace"), query.get("sku")];
  if (sku) return [`/v1/admin/products/${encodeURIComponent(sku)}/rule`, sku];
  return code ? [`/v1/admin/marketplaces/${encodeURIComponent(code)}/rule`, session.nameOf(code)] : ["/v1/admin/rules", "everything"];
}

export async function load({ query, signal }) {
  const [path, name] = where(query);
  return { path, name, ...(await get(path, {}, { signal })) };
}

const KEYS = [
  ["buffer", "Keep back", "Pieces never shown, so that two marketplaces cannot sell the last one at the same moment."],
  ["stop_below", "Show 0 at or below", "Stops selling a little before the end."],
  ["share_percent", "Share in percent", "Show this part of the stock."],
  ["fixed", "Always show", "This many, while there are as many."],
  ["quota", "Quota", "Pieces that belong to this alone; nobody else may sell them."],
  ["max_listed", "Show at most", "However much there is."],
  ["priority", "Priority", "Who goes first when there is too little. Higher is first."],
];

export function view({ path, name, rule, settings = {}, effective }, ctx) {
  const code = ctx.query.get("marketplace") ?? "";
  const mass = path.endsWith("/rules") || path.includes("/marketplaces/");
  const may = session.may(mass ? "admin" : "operator");
  return [
    head("Allocation", { back: ["#/settings", "Settings"], sub: "Without rules every marketplace shows everything. A rule says otherwise, for the hub, then a marketplace, then a product, then one listing; the nearest wins.", actions: [
      act("Download all rules", () => download("/v1/admin/rules/export", "rules.csv"), { name: "file" }),
      session.may("operator") ? go("Bring in a file", "#/products/import?kind=rules", { name: "edit" }) : null,
    ] }),
    choice("For", [["", "The hub"], ...session.names], code, (value) => ctx.ask({ marketplace: value, sku: "" })),
    card(`For ${name}`, { key: path },
      Object.keys(settings ?? {}).length ? h("p", { class: "note" }, `The configuration file names ${Object.keys(settings).join(", ")}; what stands there wins.`) : null,
      may ? form([
        ...pairUp(KEYS.map(([key, label, hint]) => ({ at: `/${key}`, label, hint, optional: false, type: "number", value: rule[key], min: key === "priority" ? -1000 : 0 }))),
        { at: "/rounding", label: "A share that is no whole number", value: rule.rounding ?? "", optional: false, options: [["", "as above it"], ["floor", "rounded down"], ["nearest", "to the nearest"], ["ceil", "rounded up"]] },
        { at: "/paused", label: "Show 0, whatever is said", value: rule.paused === undefined ? "" : String(rule.paused), optional: false, options: [["", "as above it"], ["true", "yes: paused"], ["false", "no"]], parse: (text) => text === "true" },
      ], { label: "Save the rule", wide: true, submit: async (body) => {
        const done = await confirmed((confirm) => put(path, confirm ? { rule: body, confirm } : { rule: body }));
        if (done !== false) (toast("Saved. Every listing it touches is worked out anew."), await ctx.reload());
      } }) : facts(KEYS.map(([key, label]) => [label, rule[key] ?? "–"])),
      effective && Object.keys(effective).length ? h("p", { class: "note" }, `In force here: ${Object.entries(effective).map(([key, value]) => `${key.replaceAll("_", " ")} ${value}`).join(", ")}.`) : h("p", { class: "note" }, "In force here: everything is shown.")),
  ];
}

function pairUp(fields) {
  const rows = [];
  for (let n = 0; n < fields.length; n += 2) rows.push({ row: fields.slice(n, n + 2) });
  return rows;
}
