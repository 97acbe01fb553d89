// Comparing what the marketplaces show with what they should: run it dry, look at the differences, approve.

import { download, get, post } from "../api.js";
import { form } from "../form.js";
import { count, percent, plural, signed, words } from "../format.js";
import { productHref } from "../routes.js";
import { session } from "../session.js";
import { act, badge, card, confirmed, dialog, empty, h, head, icon, market, more, num, row, rows, stat, sure, table, toast, when } from "../ui.js";

export const title = (data) => (data.run ? `Reconciliation of ${data.run.marketplace}` : "Reconciliations");

export async function load({ params, state, signal }) {
  if (params.id) return { run: await get(`/v1/admin/reconciliations/${params.id}`, {}, { signal }) };
  const [page, places] = await Promise.all([get("/v1/admin/reconciliations", { limit: state.limit ?? 50 }, { signal }), get("/v1/admin/marketplaces", {}, { signal })]);
  return { page, places: places.items.filter(({ kind }) => kind === "api" || kind === "polling") };
}

export const follows = ({ type, kind }) => type === "tick" || kind === "sync";

export function view(data, ctx) {
  return data.run ? one(data.run, ctx) : all(data, ctx);
}

function all({ page, places }, ctx) {
  const may = session.may("operator");
  return [
    head("Reconciliations", { sub: "In bulk, behind a fence: what is on its way is not called wrong, and a difference counts only when it stays.", actions: may && places.length ? act("Compare now", () => begin(places), { name: "scale", main: true }) : null }),
    card("", { flush: true }, page.items.length ? rows("Reconciliations, newest first", page.items.map((run) => row({
      key: run.id, href: `#/reconciliations/${run.id}`, main: [market(run.marketplace), run.dry_run ? h("span", { class: "soft" }, " · only looked") : null],
      sub: [when(run.started_at ?? run.created_at), h("span", {}, `${count(run.counts?.checked)} checked`)],
      side: [badge(run.status), h("span", { class: `small num ${run.counts?.discrepancies ? "warn" : "soft"}` }, plural(run.counts?.discrepancies ?? 0, "difference"))],
    }))) : empty("Nothing was compared yet", places.length ? "Let the hub only look first: it says what differs and changes nothing." : "Add a marketplace whose numbers can be read.", { name: "scale", action: may && places.length ? act("Compare now", () => begin(places), { main: true }) : null }), more(ctx, page)),
  ];
}

async function begin(places) {
  const made = await dialog("Compare with a marketplace", (close) => form([
    { at: "/marketplace", label: "Marketplace", required: true, options: places.map(({ code, name }) => [code, name]) },
    { at: "/dry_run", label: "Only look", type: "check", value: true, hint: "Say what differs and change nothing. You can approve what it found." },
  ], { label: "Compare", cancel: () => close(), submit: async (body) => close(await post("/v1/admin/reconciliations", body)) }));
  if (made) location.hash = `#/reconciliations/${made.id}`;
}

function one(run, ctx) {
  const { counts = {}, items = [] } = run;
  const going = run.status === "running";
  if (going) setTimeout(() => ctx.reload(), 1_000);
  const open = !going && items.length > 0 && session.may("operator") && (run.dry_run || run.status === "stopped" || items.some(({ decision }) => decision === "ask"));
  return [
    head([market(run.marketplace), " ", badge(run.status)], { back: ["#/reconciliations", "Reconciliations"], sub: run.dry_run ? "Only looked; nothing was changed." : null, actions: [
      items.length ? act("CSV", () => download(`/v1/admin/reconciliations/${run.id}`, `reconciliation-${run.marketplace}.csv`), { name: "file" }) : null,
      open ? act("Approve", () => approve(run, ctx), { name: "check", main: true }) : null,
    ] }),
    going ? h("progress", { class: "progress", "aria-label": "Comparing" }) : null,
    run.error ? h("div", { class: "callout warn" }, icon("warn"), h("p", {}, run.error)) : null,
    h("div", { class: "stats" }, stat("Checked", count(counts.checked), { key: "checked" }), stat("Equal", count(counts.equal), { key: "equal" }), stat("Skipped", count(counts.skipped), { sub: "on their way", key: "skipped" }),
      stat("Differences", count(counts.discrepancies), { tone: counts.discrepancies ? "warn" : "good", key: "differences" }), stat("Accuracy", percent(run.accuracy), { key: "accuracy" })),
    card("Differences", { flush: true }, table("Differences", [
      ["Product", (i) => (i.sku ? h("a", { href: productHref(i.sku, `/why?marketplace=${run.marketplace}`) }, i.sku) : h("span", { class: "mono" }, i.external_id))],
      ["Should show", (i) => num(i.local), { num: true }], ["Expected", (i) => num(i.expected), { num: true }], ["Shows", (i) => num(i.remote), { num: true }], ["Differs by", (i) => h("strong", { class: "num" }, signed(i.difference ?? 0)), { num: true }],
      ["Likely cause", (i) => words(i.cause)], ["Decision", (i) => [badge(i.decision, { tone: "calm" }), i.reason ? h("p", { class: "soft" }, i.reason) : null]],
    ], items, { key: (i) => i.external_id ?? i.sku, instead: empty(going ? "Reading…" : "No differences", going ? "The marketplace is read page by page." : "Every number that could be compared is what it should be.", { name: going ? "clock" : "check" }) })),
  ];
}

async function approve(run, ctx) {
  if (!(await sure("Put these right?", `${plural(run.items.length, "difference")} on ${session.nameOf(run.marketplace)}: each is written as decided, as a movement or a push.`, { yes: "Approve", danger: false }))) return;
  const done = await confirmed((confirm) => post(`/v1/admin/reconciliations/${run.id}/approve`, confirm ? { confirm } : {}));
  if (done === false) return;
  toast("Approved. What differed is being put right.");
  await ctx.reload();
}
