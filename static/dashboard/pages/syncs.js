// Runs that read whole marketplaces: what they did, and one of them as it goes.

import { download, get } from "../api.js";
import { count, milliseconds, plural, words } from "../format.js";
import { act, card, empty, facts, h, head, market, more, row, rows, stat, when, badge, problemBox } from "../ui.js";

export const title = (data) => (data.run ? `${words(data.run.kind)} of ${data.run.marketplace}` : "Syncs");

export async function load({ params, query, state, signal }) {
  if (params.id) return { run: await get(`/v1/admin/sync-logs/${params.id}`, {}, { signal }) };
  return { page: await get("/v1/admin/sync-logs", { marketplace: query.get("marketplace"), kind: query.get("kind"), limit: state.limit ?? 50 }, { signal }) };
}

export const follows = ({ type, kind, id }, { params }) => type === "tick" || (kind === "sync" && (!params.id || !id || id === params.id));
/** New rows of it wait for a press. */
export const list = ({ page }) => page?.items ?? [];

export function view(data, ctx) {
  if (data.run) return one(data.run, ctx);
  const { page } = data;
  return [
    head("Syncs", { sub: "Every run that reads a marketplace in bulk: the first population, the scheduled ones, those you asked for.", actions: act("CSV", () => download("/v1/admin/sync-logs", "syncs.csv", { query: { marketplace: ctx.query.get("marketplace"), kind: ctx.query.get("kind") } }), { name: "file" }) }),
    card("", { flush: true }, page.items.length ? rows("Runs, newest first", page.items.map((run) => row({
      key: run.id, href: `#/syncs/${run.id}`, main: words(run.kind), sub: [market(run.marketplace), when(run.started_at), h("span", {}, plural(run.api_calls, "call")), run.error ? h("span", { class: "bad" }, run.error) : null], side: badge(run.status),
    }))) : empty("No run yet", "Start one on a marketplace’s page. Page views never call a marketplace; only runs and pushes do.", { name: "refresh" }), more(ctx, page)),
  ];
}

/** What a run counts, in words, what matters first. */
const COUNTED = {
  matched: ["Recognised", "listings known here"], listings_created: ["New listings", "found there, and mapped"], products_created: ["New products", "made from its listings"],
  opened: ["Opening stock taken", "of products without one"], unmapped: ["Of no product here", "say what they are"], ambiguous: ["Fit several products", "say which one it is"],
  absent: ["Not there any more", "listed here, not shown there"], without_number: ["Without a number", "the marketplace told none"], failures: ["Failed tries", "since its last answer"],
  new: ["New orders", "that were not known"], missed_by_webhook: ["Missed by webhooks", "found by asking"], unreadable: ["Unreadable", "orders it sent"], listings: ["Listed here", "when it began"], pages: ["Pages", "of its list"],
};
const RANK = Object.keys(COUNTED);
const rank = (name) => (RANK.includes(name) ? RANK.indexOf(name) : RANK.length);

function one(run, ctx) {
  const going = ["queued", "running"].includes(run.status);
  // A run that goes on is looked at every second, live channel or not.
  clearTimeout(ctx.state.timer);
  if (going) ctx.state.timer = setTimeout(() => ctx.reload(), 1_000);
  const numbers = Object.entries(run.counts ?? {}).filter(([, value]) => typeof value === "number").sort(([a], [b]) => rank(a) - rank(b));
  const total = run.counts?.total;
  return [
    head([words(run.kind), " ", badge(run.status)], { back: ["#/syncs", "Syncs"], sub: market(run.marketplace) }),
    h("div", { class: "slot" }, going ? h("progress", { class: "progress", "aria-label": "Progress", max: total || null, value: total ? String(run.counts.read ?? run.counts.done ?? 0) : null }) : null),
    run.error ? problemBox(new Error(run.error)) : null,
    h("div", { class: "stats" }, numbers.map(([name, value]) => stat(COUNTED[name]?.[0] ?? words(name), count(value), { sub: COUNTED[name]?.[1], key: name })), stat("Calls", count(run.api_calls), { sub: "to the marketplace", key: "calls" })),
    card("", {}, facts([["Began", when(run.started_at)], ["Ended", when(run.finished_at, "not yet")], run.resume_at && going ? ["Goes on", when(run.resume_at)] : null, ["Asked by", run.actor ?? "–"], run.dry_run ? ["Only looked", "yes"] : null, run.finished_at ? ["Took", milliseconds(new Date(run.finished_at) - new Date(run.started_at))] : null])),
  ];
}

