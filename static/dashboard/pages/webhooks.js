// The log of what came in: search it, look at a body, send it through once more.

import { get, getOr, post, search } from "../api.js";
import { form } from "../form.js";
import { count, plural, words } from "../format.js";
import { session } from "../session.js";
import { act, badge, card, choice, dialog, empty, facts, h, head, icon, market, more, row, rows, sure, table, tabs, toast, when } from "../ui.js";

export const title = (data) => (data.one ? `Webhook ${data.one.event_type}` : "Webhooks");

export async function load({ params, query, state, signal }) {
  if (params.id === "rejected") return { rejected: (await get("/v1/admin/webhooks/rejected", {}, { signal })).items };
  if (params.id) return { one: await get(`/v1/admin/webhooks/${params.id}`, {}, { signal }) };
  const [page, places] = await Promise.all([
    search("/v1/admin/webhooks", { q: query.get("q"), status: query.get("status"), marketplace: query.get("marketplace"), limit: state.limit ?? 50 }, { signal, looks: state.looks }),
    getOr({ items: [] }, "/v1/admin/marketplaces", {}, { signal }),
  ]);
  return { page, places: places.items };
}

export const follows = ({ type, kind }) => type === "tick" || kind === "webhook" || kind === "stock" || kind === "order";
/** New rows of it wait for a press. */
export const list = ({ page }) => page?.items ?? [];

const subnav = (current) => tabs("Webhooks", [["Log", "#/webhooks"], ...(session.may("admin") ? [["Refused", "#/webhooks/rejected"]] : [])], current);

export function view(data, ctx) {
  if (data.one) return detail(data.one, ctx);
  if (data.rejected) return refused(data.rejected);
  return log(data, ctx);
}

const STATUS = [["", "Any status"], ["pending", "Waiting"], ["retry", "Being retried"], ["processed", "Processed"], ["ignored", "Ignored"], ["unmapped", "Unmapped"], ["failed", "Failed"]];

function log({ page, places }, ctx) {
  const now = (name) => ctx.query.get(name) ?? "";
  const select = (name, label, options) => h("select", { "aria-label": label, value: now(name), onchange: ({ target }) => ctx.ask({ [name]: target.value }) }, options.map(([value, text]) => h("option", { value, selected: value === now(name) }, text)));
  const filtered = now("q") || now("status") || now("marketplace");
  return [
    head("Webhooks", { actions: session.may("operator") ? act("Replay many", () => replayMany(ctx, places), { name: "refresh" }) : null }),
    subnav("Log"),
    card("", { flush: true },
      h("div", { class: "toolbar" },
        h("div", { class: "search" }, icon("search"), h("input", { type: "search", "aria-label": "Search the log", placeholder: "Event, key or error", value: now("q"), spellcheck: "false", oninput: ({ target }) => later(() => ctx.ask({ q: target.value })) })),
        h("div", { class: "filters" }, select("status", "Status", STATUS), select("marketplace", "Marketplace", [["", "Any marketplace"], ...places.map(({ code, name }) => [code, name])]))),
      page.items.length ? rows("What came in, newest first", page.items.map(line))
        : filtered ? empty("Nothing fits", page.looked_back_to ? "None of the newest webhooks is like that; older ones were not looked at." : "No webhook in the log is like that.", { name: "search", action: act("Show all", () => ctx.ask({ q: "", status: "", marketplace: "" })) })
          : empty("Nothing came in yet", "Give each marketplace the address of its webhook; it stands on the marketplace’s page.", { name: "bolt", action: h("a", { class: "button", href: "#/marketplaces" }, "To the marketplaces") }),
      more(ctx, page)),
  ];
}

let timer;
const later = (what) => (clearTimeout(timer), (timer = setTimeout(what, 250)));

const line = (w) => row({
  key: w.id, href: `#/webhooks/${w.id}`, main: words(w.event_type),
  sub: [market(w.marketplace), when(w.created_at), w.source === "webhook" ? null : h("span", {}, `by ${w.source}`), w.duplicates ? h("span", {}, `came ${plural(w.duplicates + 1, "time")}`) : null, w.error_message ? h("span", { class: "bad" }, w.error_message) : null],
  side: badge(w.status),
});

function detail(w, ctx) {
  const body = pretty(w.payload);
  return [
    head(words(w.event_type), { back: ["#/webhooks", "Webhooks"], actions: session.may("operator") ? act("Replay", () => replay(w, ctx), { name: "refresh", main: true }) : null }),
    w.error_message ? h("div", { class: "callout warn" }, icon("warn"), h("div", {}, h("p", {}, w.error_message), w.status === "unmapped" ? h("div", { class: "actions" }, h("a", { class: "button small", href: "#/unmapped" }, "Say which product it is")) : null)) : null,
    card("", {}, facts([["Status", badge(w.status)], ["Marketplace", market(w.marketplace)], ["Received", when(w.created_at)], ["Happened", when(w.occurred_at, "not said")], ["Processed", when(w.processed_at, "not yet")],
      ["Tries", count(w.retry_count + 1)], ["Came again", plural(w.duplicates, "time")], ["Key", h("span", { class: "mono small" }, w.event_key)], w.key_id ? ["Signed with secret", h("span", { class: "mono small" }, w.key_id)] : null])),
    w.effect?.movements?.length ? card("What it did", {}, h("p", {}, `${plural(w.effect.movements.length, "movement")} of stock.`)) : null,
    card("Body, as it came", {}, body ? h("pre", { class: "code", tabindex: "0", "aria-label": "Body" }, body) : empty("No body", "It was purged after the retention time.", { name: "file" })),
  ];
}

function pretty(text) {
  if (!text) return "";
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function replay(w, ctx) {
  if (w.status === "processed" && !(await sure("Replay it?", "It was processed already. What it did is not done twice: only a difference is booked.", { yes: "Replay it", danger: false }))) return;
  await post(`/v1/admin/webhooks/${w.id}/replay`);
  toast("It goes through once more.");
  setTimeout(() => ctx.reload(), 600);
}

async function replayMany(ctx, places) {
  const from = (days) => (days ? new Date(Date.now() - days * 86_400_000).toISOString() : undefined);
  const body = await dialog("Replay many", (close) => form([
    { at: "/status", label: "Which", required: true, value: "failed", options: [["failed", "Failed"], ["unmapped", "Unmapped"], ["ignored", "Ignored"], ["processed", "Processed"]] },
    { at: "/marketplace", label: "Marketplace", options: [["", "All"], ...places.map(({ code, name }) => [code, name])] },
    { at: "/days", label: "Received in", value: "7", optional: false, options: [["1", "the last day"], ["7", "the last 7 days"], ["30", "the last 30 days"], ["", "ever"]] },
  ], { label: "Count them first", cancel: () => close(), submit: async ({ days, ...rest }) => {
    const chosen = { ...rest, ...(days ? { from: from(days) } : {}) };
    const { matched } = await post("/v1/admin/webhooks/replay", { ...chosen, dry_run: true });
    close({ chosen, matched });
  } }));
  if (!body) return;
  if (!body.matched) return void toast("There are none.");
  if (!(await sure(`Replay ${plural(body.matched, "webhook")}?`, "They go through once more, in order. What they did already is not done twice.", { yes: `Replay ${count(body.matched)}`, danger: false }))) return;
  await post("/v1/admin/webhooks/replay", body.chosen);
  toast(`${plural(body.matched, "webhook")} put in line.`);
  setTimeout(() => ctx.reload(), 800);
}

function refused(items) {
  return [
    head("Webhooks", { sub: "What was not believed. Kept in memory only, so that strangers cannot fill a disk." }),
    subnav("Refused"),
    card("", { flush: true }, table("Refused webhooks", [["When", (r) => when(r.at)], ["To", (r) => market(r.marketplace)], ["Why", (r) => [h("strong", {}, words(r.reason)), h("p", { class: "soft" }, r.message)]], ["From", (r) => h("span", { class: "mono" }, r.client ?? "–")], ["Bytes", (r) => count(r.body_bytes), { num: true }]], items,
      { instead: empty("Nothing was refused", "A wrong signature, an old time or an unknown address would stand here.", { name: "check" }) })),
  ];
}
