// Products, listings, rules and counts as CSV: choose a file, see what it would do, then do it.

import { call, download, Problem } from "../api.js";
import { count, plural } from "../format.js";
import { act, card, choice, confirmed, h, head, icon, stat, table, toast } from "../ui.js";

export const title = "Import and export";
export const load = async () => ({});

const KINDS = { products: "Products", listings: "Listings", rules: "Rules", counts: "Counts" };
/** Where each of them is looked at, and what is to be known of its file. */
const PLACES = { products: "#/products", listings: "#/marketplaces", rules: "#/settings/rules", counts: "#/products" };
const NOTES = {
  products: "The first line names the columns, in any order: sku, name, price, currency, stock, cost_price, low_stock_threshold, oversell_policy. A new product needs sku and name, and a price its currency. An empty cell leaves things as they are.",
  listings: "The first line names the columns: marketplace, marketplace_product_id, sku, and what else the download holds. An empty cell leaves things as they are.",
  rules: "A line per rule: of the hub, a marketplace, a product or a listing. An empty cell takes that part of the rule away, so that it is inherited; rules without a line stay.",
  counts: "A line per shelf. What is sold after it was counted is taken off again: write counted_at where that was not just now, and empty expected_version where things are sold meanwhile.",
};

export function view(_, ctx) {
  const kind = KINDS[ctx.query.get("kind")] ? ctx.query.get("kind") : "products";
  const { state } = ctx;
  return [
    head("Import and export", { back: kind === "rules" ? [PLACES.rules, "Allocation"] : ["#/products", "Products"], sub: "The exported file is the format of the import: download, change it in a spreadsheet, and bring it back." }),
    choice("What", Object.entries(KINDS), kind, (value) => ((state.file = state.preview = null), ctx.ask({ kind: value }))),
    card("Download", {}, h("div", { class: "actions" }, act(`Download ${KINDS[kind].toLowerCase()}`, () => download(`/v1/admin/${kind}/export`, `${kind}.csv`), { name: "file" }))),
    card("Bring in", { note: "Nothing is changed before you have seen what would be." },
      h("div", { class: "field" }, h("label", { for: "csv" }, "CSV file"), h("input", { id: "csv", type: "file", accept: ".csv,text/csv",
        // The same file, mended, is a choice as well: without this a browser would not say so.
        onclick: ({ target }) => (target.value = ""), onchange: ({ target }) => target.files[0] && look(target.files[0], kind, ctx) })),
      // Beneath the field, which stays where it is however much there is to say.
      h("p", { class: "note" }, NOTES[kind]),
      state.preview ? h("div", { id: "found" }, preview(state.preview, kind, ctx)) : null),
  ];
}

async function look(file, kind, ctx) {
  ctx.state.file = await file.text();
  try {
    ctx.state.preview = await send(ctx.state.file, kind, true);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const errors = error.errors.length ? error.errors : [{ field: "", message: error.detail ?? error.message }];
    ctx.state.preview = { ...error.body, errors };
  }
  ctx.redraw();
  // On a phone what was found is below the edge.
  document.querySelector("#found")?.scrollIntoView({ block: "nearest" });
}

const send = (text, kind, dry, confirm) => call("POST", `/v1/admin/${kind}/import`, { body: text, kind: "text/csv", query: { dry_run: dry ? "true" : null, confirm } });

function preview(result, kind, ctx) {
  // Of many mistakes the hub tells the first; it counts all.
  const wrong = result.error_count ?? result.errors?.length ?? 0;
  return [
    result.rows === undefined ? null : h("div", { class: "stats" }, stat("Rows", count(result.rows)), stat("New", count(result.created), { tone: "good" }), stat("Changed", count(result.updated)), stat("As before", count(result.unchanged)), stat("Wrong", count(wrong), { tone: wrong ? "bad" : null })),
    wrong ? table("What is wrong", [["Line", (e) => String(e.line ?? "–"), { num: true }], ["Column", (e) => h("span", { class: "mono" }, e.field)], ["What is wrong", (e) => e.message]], result.errors) : null,
    wrong > (result.errors?.length ?? 0) ? h("p", { class: "note" }, `The first ${count(result.errors.length)} of ${count(wrong)} are shown.`) : null,
    wrong ? h("div", { class: "callout warn" }, icon("warn"), h("p", {}, "Mend these lines and choose the file again. Nothing was changed."))
      : kind !== "counts" && !(result.created + result.updated) ? h("p", { class: "note" }, "Nothing would change: everything is as the file says.")
      : h("div", { class: "actions" }, act(`Bring in ${plural(result.created + result.updated, "row")}`, async () => {
        const done = await confirmed((confirm) => send(ctx.state.file, kind, false, confirm));
        if (done === false) return;
        toast(`${plural(done.created, "row")} new, ${count(done.updated)} changed.`);
        ctx.state.file = ctx.state.preview = null;
        location.hash = PLACES[kind];
      }, { main: true })),
  ];
}
