// Comparing what the marketplaces show with what they should: run it dry, look at the differences, approve.

import { download, get, post } from "../api.js";
import { form, formDialog } from "../form.js";
import { count, percent, plural, signed, words } from "../format.js";
import { productHref } from "../routes.js";
import { session } from "../session.js";
import { act, badge, card, dialog, empty, h, head, icon, market, more, num, row, rows, stat, sure, table, toast, when } from "../ui.js";

export const title = (data) => (data.run ? `Reconciliation of ${data.run.marketplace}` : "Reconciliations");

export async function load({ params, state, signal }) {
  if (params.id) return { run: await get(`/v1/admin/reconciliations/${params.id}`, {}, { signal }) };
  const [page, places] = await Promise.all([get("/v1/admin/reconciliations", { limit: state.limit ?? 50 }, { signal }), get("/v1/admin/marketplaces", {}, { signal })]);
  return { page, places: places.items.filter(({ kind }) => kind === "api" || kind === "polling") };
}

export const follows = ({ type, kind }) => type === "tick" || kind === "sync";
/** New rows of it wait for a press. */
export const list = ({ page }) => page?.items ?? [];

export function view(data, ctx) {
  follow(data, ctx);
  return data.run ? one(data.run, ctx) : all(data, ctx);
}

/** A run that goes on is looked at every second, live channel or not. */
function follow({ run }, ctx) {
  clearTimeout(ctx.state.timer);
  if (run && ["queued", "running"].includes(run.status)) ctx.state.timer = setTimeout(() => ctx.reload(), 1_000);
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
  const going = ["queued", "running"].includes(run.status);
  const waiting = items.filter(({ decision }) => decision === "ask");
  const may = session.may("operator") && !going;
  return [
    head([market(run.marketplace), " ", badge(run.status)], { back: ["#/reconciliations", "Reconciliations"], sub: inWords(run, going, waiting), actions: [
      may && waiting.length && !run.dry_run ? act("Approve", () => approve(run, waiting, ctx), { name: "check", main: true }) : null,
      may && run.dry_run && counts.discrepancies ? act("Put these right", () => again(run), { main: true, name: "check" }) : null,
      // Last, at the edge: what appears before it moves nothing.
      act("CSV", () => download(`/v1/admin/reconciliations/${run.id}`, `reconciliation-${run.marketplace}.csv`), { name: "file" }),
    ] }),
    h("div", { class: "slot" }, going ? h("progress", { class: "progress", "aria-label": "Comparing" }) : null),
    run.error ? h("div", { class: "callout warn" }, icon("warn"), h("p", {}, run.error)) : null,
    h("div", { class: "stats" }, stat("Checked", count(counts.checked), { key: "checked" }), stat("Equal", count(counts.equal), { key: "equal" }), stat("Skipped", count(counts.skipped), { sub: "on their way", key: "skipped" }),
      stat("Differences", count(counts.discrepancies), { tone: counts.discrepancies ? "warn" : "good", key: "differences" }), stat("Accuracy", percent(run.accuracy), { key: "accuracy" })),
    card("Differences", { flush: true }, table("Differences", [
      ["Product", (i) => (i.sku ? h("a", { href: productHref(i.sku, `/why?marketplace=${run.marketplace}`) }, i.sku) : h("span", { class: "mono" }, i.external_id))],
      ["Should show", (i) => num(i.local), { num: true }], ["Expected", (i) => num(i.expected), { num: true }], ["Shows", (i) => num(i.remote), { num: true }], ["Differs by", (i) => h("strong", { class: "num" }, signed(i.difference ?? 0)), { num: true }],
      ["Likely cause", (i) => words(i.cause)], ["Decision", (i) => [badge(i.decision, { tone: i.decision === "ask" ? "warn" : "calm", label: DECISIONS[i.decision] }), i.reason ? h("p", { class: "soft" }, i.reason) : null]],
    ], items, { steady: true, key: (i) => i.external_id ?? i.sku, instead: empty(going ? "Reading…" : "No differences", going ? "The marketplace is read page by page." : "Every number that could be compared is what it should be.", { name: going ? "clock" : "check" }) })),
  ];
}

/** Where it stands: always a line, so that nothing below it moves when it ends. */
function inWords(run, going, waiting) {
  if (going) return run.resume_at ? ["A difference counts only when it stays. Second look ", when(run.resume_at), "."] : "Reading page by page.";
  if (run.dry_run) return "Only looked; nothing was changed.";
  return waiting.length ? `${plural(waiting.length, "difference")} waits for you.` : "What differed was put right as decided.";
}

const DECISIONS = { hub_wins: "The hub is right", marketplace_wins: "The marketplace is right", min_wins: "The lower is right", ask: "Waits for you", alert: "Alerted", first_look: "Seen once", settled: "Settled by itself", unsettled: "Still moving", left: "Left as it is" };

async function approve(run, waiting, ctx) {
  const done = await formDialog("Who is right?", [
    { at: "/decision", label: "In these cases", required: true, value: "hub_wins", options: [["hub_wins", "the hub: tell the marketplace its number again"], ["marketplace_wins", "the marketplace: correct the stock by the difference"], ["min_wins", "whoever shows less"], ["leave", "nobody: leave it as it is"]] },
  ], { label: `Decide ${plural(waiting.length, "difference")}`, intro: `On ${session.nameOf(run.marketplace)}. Each is written as a push or as a movement with its reason.`, submit: (body) => post(`/v1/admin/reconciliations/${run.id}/approve`, body) });
  if (!done) return;
  toast("Decided. What differed is being put right.");
  await ctx.reload();
}

/** A run that only looked is followed by one that acts, which looks again itself. */
async function again(run) {
  if (!(await sure("Compare again and put right what differs?", `${plural(run.counts.discrepancies, "difference")} on ${session.nameOf(run.marketplace)}. The hub looks again first; each that stayed is put right as the drift policy of this marketplace says.`, { yes: "Put them right", danger: false }))) return;
  const { id } = await post("/v1/admin/reconciliations", { marketplace: run.marketplace, dry_run: false });
  location.hash = `#/reconciliations/${id}`;
}
