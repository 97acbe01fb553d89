// The parts that pages are made of.

import { Problem } from "./api.js";
import { h, morph } from "./dom.js";
import { count, full, relative, words } from "./format.js";
import { icon } from "./icons.js";
import { session } from "./session.js";

/** The top of a page: where we are, what it is, what can be done. */
export function head(title, { back, sub, actions } = {}) {
  return h("header", { class: "head" },
    back && h("a", { class: "back", href: back[0] }, icon("left"), back[1]),
    h("div", { class: "head-row" },
      h("div", { class: "head-text" }, h("h1", { tabindex: "-1" }, title), sub && h("p", { class: "sub" }, sub)),
      actions && h("div", { class: "actions" }, actions)));
}

export function card(title, { actions, note, wide, flush, key } = {}, ...children) {
  return h("section", { class: `card${wide ? " wide" : ""}${flush ? " flush" : ""}`, key },
    (title || actions) && h("div", { class: "card-head" }, h("h2", {}, title), actions && h("div", { class: "actions" }, actions)),
    note && h("p", { class: "note" }, note),
    children);
}

export const grid = (...children) => h("div", { class: "grid" }, children);

/** A link that looks like a button. */
export const go = (label, href, { name, main, small } = {}) =>
  h("a", { class: `button${main ? " main" : ""}${small ? " small" : ""}`, href }, name && icon(name), label);

/** A button that does something and says how that went. While it works it cannot be pressed again. */
export function act(label, work, { name, main, danger, small, quiet, done, title, pressed } = {}) {
  const kinds = [main && "main", danger && "danger", small && "small", quiet && "quiet"].filter(Boolean).join(" ");
  const onclick = async ({ currentTarget: button }) => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      const said = await work(button);
      if (said !== false && done) toast(typeof done === "function" ? done(said) : done);
    } catch (error) {
      complain(error);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  };
  return h("button", { type: "button", class: `button ${kinds}`, title, "aria-pressed": pressed === undefined ? null : String(pressed), onclick },
    name && icon(name), label);
}

const TONES = {
  synced: "good", active: "good", processed: "good", delivered: "good", ok: "good", applied: "good", succeeded: "good", completed: "good", closed: "good",
  dirty: "wait", in_flight: "wait", new: "wait", pending: "wait", retry: "wait", running: "wait", queued: "wait", partial: "warn", task: "warn", unknown: "wait",
  low: "warn", paused: "warn", restoring: "wait", unmapped: "warn", warning: "warn", warn: "warn", half_open: "warn", acknowledged: "calm", ignored: "calm", resolved: "calm", skip: "calm",
  failed: "bad", blocked: "bad", out: "bad", critical: "bad", error: "bad", fail: "bad", open: "bad", dead: "bad", auth_error: "bad", not_served: "calm", degraded: "bad", cancelled: "calm",
  archived: "calm", disabled: "calm", revoked: "calm", expired: "calm", info: "calm", confirmed: "good", shipped: "good", returned: "warn", placed: "good",
};

const SAID = { dirty: "Waiting", in_flight: "Sending", new: "New", task: "To do by hand", ok: "OK", half_open: "Trying again", restoring: "Coming back", unmapped: "Unmapped" };

export const badge = (state, { label, tone } = {}) =>
  h("span", { class: `badge ${tone ?? TONES[state] ?? "calm"}` }, label || SAID[state] || words(state));

/** The first letters of a marketplace in its colour, and its name. */
export function market(code, { bare } = {}) {
  if (!code) return bare ? null : h("span", { class: "soft" }, "–");
  const name = session.nameOf(code);
  return h("span", { class: "market" }, h("span", { class: `dot m${hue(code)}`, "aria-hidden": "true" }), bare ? null : name);
}

/** Which colour a marketplace has: each its own while there are seven or fewer. */
export function hue(code) {
  if (code === "store") return 0;
  const place = [...session.names.keys()].filter((name) => name !== "store").indexOf(code);
  return 1 + (Math.max(place, 0) % 7);
}

export const when = (time, instead = "never") =>
  time ? h("time", { datetime: time, title: full(time), "data-ago": true }, relative(time)) : h("span", { class: "soft" }, instead);

/** A quantity that tells why it is so when it is pressed. */
export function quantity(value, href, label, { big } = {}) {
  return h("a", { class: `why${big ? " big" : ""}`, href, "aria-label": `${label}: ${count(value)}. Why?`, title: "Why this number?" },
    h("span", { class: "num", "data-live": true }, count(value)));
}

export const num = (value, { tone } = {}) => h("span", { class: `num${tone ? ` ${tone}` : ""}`, "data-live": true }, typeof value === "string" ? value : count(value));

export function stat(label, value, { sub, href, tone, key } = {}) {
  const inner = [h("span", { class: "stat-label" }, label), h("span", { class: `stat-value num${tone ? ` ${tone}` : ""}`, "data-live": true }, value),
    h("span", { class: "stat-sub" }, sub ?? " ")];
  return href ? h("a", { class: "stat", href, key }, inner) : h("div", { class: "stat", key }, inner);
}

export function empty(title, text, { name = "inbox", action } = {}) {
  return h("div", { class: "empty" }, h("span", { class: "empty-icon" }, icon(name)), h("p", { class: "empty-title" }, title),
    text && h("p", { class: "soft" }, text), action && h("div", { class: "actions" }, action));
}

/** Rows that are links or hold buttons. `cells` are put side by side where there is room, and under each other on a phone. */
export function rows(label, items) {
  return h("ul", { class: "rows", "aria-label": label }, items);
}

export function row({ href, key, main, sub, side, actions, lead }) {
  const body = [lead && h("span", { class: "lead" }, lead), h("span", { class: "row-text" }, h("span", { class: "row-main" }, main), sub && h("span", { class: "row-sub" }, sub)),
    side && h("span", { class: "row-side" }, side)];
  return h("li", { class: "row", key },
    href ? h("a", { class: "row-body", href }, body, h("span", { class: "chevron" }, icon("right"))) : h("div", { class: "row-body" }, body),
    actions && h("div", { class: "row-actions" }, actions));
}

/** Columns: `[title, cell(item), {num, wide}]`. It scrolls sideways on its own, never the page. */
/** `steady`: the columns keep their width whatever comes into them. */
export function table(label, columns, items, { key, instead, steady = false } = {}) {
  if (!items.length && instead) return instead;
  const kind = (options) => (options?.num ? "right" : null);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h("table", { class: steady ? "steady" : null },
      h("thead", {}, h("tr", {}, columns.map(([title, , options]) => h("th", { scope: "col", class: kind(options) }, title)))),
      h("tbody", {}, items.map((item) => h("tr", { key: key?.(item) }, columns.map(([, cell, options]) => h("td", { class: kind(options) }, cell(item))))))));
}

/** Names and values under each other. */
export const facts = (list) =>
  h("dl", { class: "facts" }, list.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

export const tabs = (label, list, current) =>
  h("nav", { class: "subnav", "aria-label": label },
    list.map(([name, href, extra]) => h("a", { href, "aria-current": name === current ? "page" : null }, name, extra ? h("span", { class: "pill" }, extra) : null)));

/** A choice among few, as buttons of which one is down. */
export const choice = (label, options, current, pick) =>
  h("div", { class: "choice", role: "group", "aria-label": label },
    options.map(([value, name]) => h("button", { type: "button", "aria-pressed": String(value === current), onclick: () => pick(value) }, name)));

export function more(ctx, page) {
  if (!page.next_cursor) return null;
  if (page.looked_back_to) {
    const further = () => ((ctx.state.looks = (ctx.state.looks ?? 5) * 4), ctx.reload());
    return h("div", { class: "center" }, h("p", { class: "note" }, "Looked back to ", when(page.looked_back_to), "."), act("Look further back", further, { quiet: true }));
  }
  const limit = ctx.state.limit ?? 50;
  if (limit >= 500) return h("p", { class: "note center" }, "Only the first 500 are shown. Search or filter to see others.");
  return h("div", { class: "center" }, act("Show more", () => ((ctx.state.limit = Math.min(limit * 2, 500)), ctx.reload()), { quiet: true }));
}

/** What happened and what to do about it. */
export function problemBox(problem, retry) {
  const known = problem instanceof Problem;
  const title = known ? problem.title : "The page could not be made";
  const list = known ? problem.errors : [];
  return h("div", { class: "problem", role: "alert" }, h("span", { class: "problem-icon" }, icon("warn")),
    h("div", {},
      h("p", { class: "problem-title" }, title),
      list.length ? h("ul", {}, list.map(({ field, message }) => h("li", {}, field && field !== "/" ? `${fieldName(field)}: ` : "", message)))
        : h("p", {}, known ? problem.detail : String(problem.message)),
      known && advice(problem) && h("p", { class: "soft" }, advice(problem)),
      known && problem.body.request_id && h("p", { class: "soft mono small" }, `Request ${problem.body.request_id}`),
      retry && h("div", { class: "actions" }, act("Try again", retry, { name: "refresh" }))));
}

export const fieldName = (pointer) => words(pointer.replace(/^\//, "").replaceAll("/", " "));

function advice({ status, slug, retryAfter }) {
  if (status === 403) return "Ask somebody with the role it names, or sign in as another person.";
  if (status === 404 && slug === "not-found") return "This hub does not have that yet. It may be older than this page.";
  if (status === 429) return retryAfter ? `Try again in ${retryAfter} seconds.` : "Wait a little and try again.";
  if (status === 409) return "Something changed meanwhile. Look again before you repeat it.";
  if (status >= 500) return "Try again shortly. If it stays, the hub's log says why.";
  return null;
}

// ---- over the page ----------------------------------------------------------------------------------------------------

export function toast(text, tone = "good") {
  const note = h("p", { class: `toast ${tone}` }, icon(tone === "bad" ? "warn" : "check"), text);
  document.querySelector("#toasts").append(note);
  setTimeout(() => note.remove(), tone === "bad" ? 9_000 : 4_500);
}

export function complain(error) {
  if (error?.name === "AbortError") return;
  if (!(error instanceof Problem)) console.warn(error);
  const detail = error instanceof Problem ? [error.title, error.errors.map((e) => e.message).join("; ") || error.detail].filter(Boolean).join(": ") : error.message;
  toast(detail, "bad");
}

/**
 * A dialog over the page. `body(close)` gives its content; what `close` is told is the outcome (undefined: it was dismissed). It goes
 * with its page, or it would do to one thing what was meant for another; `firm` ones stay, for what is shown only once.
 */
export function dialog(title, body, { wide, firm } = {}) {
  return new Promise((done) => {
    const box = h("dialog", { class: wide ? "wide" : null, "aria-labelledby": "dialog-title" });
    const close = (outcome) => {
      removeEventListener("hashchange", leave);
      box.close();
      box.remove();
      done(outcome);
    };
    const leave = () => close();
    box.append(h("div", { class: "dialog-head" }, h("h2", { id: "dialog-title" }, title),
      h("button", { type: "button", class: "button quiet icon-only", "aria-label": "Close", onclick: () => close() }, icon("cross"))),
    h("div", { class: "dialog-body" }, body(close)));
    box.oncancel = (event) => (event.preventDefault(), close());
    // A finger beside it must not throw away what was typed.
    box.onmousedown = (event) => event.target === box && !firm && !box.querySelector("form") && close();
    if (!firm) addEventListener("hashchange", leave);
    document.body.append(box);
    box.showModal();
    box.querySelector("[autofocus]")?.focus();
  });
}

/** Asks before something that is not easily undone. */
export async function sure(title, text, { yes, danger = true } = {}) {
  return (await dialog(title, (close) => [
    typeof text === "string" ? h("p", {}, text) : text,
    h("div", { class: "dialog-actions" },
      h("button", { type: "button", class: "button", autofocus: true, onclick: () => close(false) }, "Keep it as it is"),
      h("button", { type: "button", class: `button ${danger ? "danger solid" : "main"}`, onclick: () => close(true) }, yes)),
  ])) === true;
}

/** Does a change that may touch much: where the hub asks for a second look, it is shown and asked for. Gives false where that was declined. */
export async function confirmed(work) {
  try {
    return await work(undefined);
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 409 || !error.body.confirm) throw error;
    const { preview, affected } = error.body;
    const examples = preview?.examples ?? [];
    const text = h("div", {}, h("p", {}, `${error.detail}.`), affected !== undefined && !preview && h("p", {}, `Affected: ${count(affected)}.`),
      examples.length ? table("What would change", [["SKU", (e) => e.sku], ["Marketplace", (e) => market(e.marketplace)], ["Now", (e) => num(e.before), { num: true }],
        ["Then", (e) => num(e.after), { num: true }]], examples) : null);
    if (!(await sure("This changes a lot at once", text, { yes: "Do it all the same" }))) return false;
    return work(error.body.confirm);
  }
}

/** Shows a secret once, with a way to copy it. */
export function showSecret(title, text, secret) {
  return dialog(title, (close) => [
    h("p", {}, text),
    h("div", { class: "secret" }, h("code", { tabindex: "0" }, secret), act("Copy", () => copy(secret), { done: "Copied.", name: "file" })),
    h("div", { class: "dialog-actions" }, h("button", { type: "button", class: "button main", autofocus: true, onclick: () => close(true) }, "I have kept it")),
  ], { firm: true });
}

/** The clipboard is there on secure addresses only. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = h("textarea", { class: "unseen" }, text);
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/** Times are told anew while they are looked at. */
setInterval(() => {
  for (const node of document.querySelectorAll("time[data-ago]")) {
    const text = relative(node.dateTime);
    if (node.textContent !== text) node.textContent = text;
  }
}, 10_000);

export { h, icon, morph };
