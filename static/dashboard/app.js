// The shell: who is here, which page, what is around it, and when it is made anew.

import { get, getOr, post, Problem } from "./api.js";
import { h, icon, morph, problemBox, toast } from "./ui.js";
import * as live from "./live.js";
import { match, NAVIGATION } from "./routes.js";
import { session } from "./session.js";
import { todoCount } from "./pages/todo.js";
import * as welcome from "./pages/welcome.js";

const app = document.querySelector("#app");
const LIVE = { live: "Live", polling: "Every few seconds", waiting: "Reconnecting…", off: "Not connected" };

/** The page that is shown: its module, what it was given, what it remembers. */
let page = null;
let pending = null;
let todo = 0;

addEventListener("hashchange", () => session.user && show());
session.ended = () => {
  session.user = null;
  session.keep(null);
  toast("You were signed out. Sign in again to go on.", "bad");
  greet();
};
live.onChange(heard);
live.onState(() => {
  const place = document.querySelector("#live");
  if (place) morph(place, liveMark());
});

async function begin() {
  try {
    const user = await whoAmI();
    if (user) return enter(user);
    await greet();
  } catch (error) {
    app.replaceChildren(h("main", { class: "alone" }, h("h1", { class: "unseen" }, "stockhub"), problemBox(error, begin)));
  }
}

/** The person of the cookie, or of the token of this tab; null for nobody. */
async function whoAmI() {
  try {
    return session.of((await get("/v1/auth/me")).user);
  } catch (error) {
    if (!(error instanceof Problem) || ![401, 404, 405].includes(error.status)) throw error;
    if (session.token) return welcome.ofToken().catch(() => (session.keep(null), null));
    return null;
  }
}

async function greet() {
  live.stop();
  page = null;
  app.replaceChildren(await welcome.screen(enter));
  document.title = "Sign in · stockhub";
}

async function enter(user) {
  session.user = user.person === undefined ? session.of(user) : user;
  session.know((await getOr({ items: [] }, "/v1/admin/marketplaces", { archived: "true" })).items);
  if (location.hash.startsWith("#setup=")) history.replaceState(null, "", "#/");
  app.replaceChildren(shell());
  live.start();
  countTodo();
  await show();
}

async function leave() {
  if (!session.token) await post("/v1/auth/logout").catch(() => {});
  session.user = null;
  session.keep(null);
  await greet();
}

// ---- around the page --------------------------------------------------------------------------------------------------

function shell() {
  const tabs = [...NAVIGATION[0][1], [null, "More", "more"]];
  return h("div", { class: "shell" },
    h("a", { class: "skip", href: "#main", onclick: (event) => (event.preventDefault(), document.querySelector("#main").focus()) }, "Skip to the content"),
    h("header", { class: "side" },
      h("a", { class: "brand", href: "#/" }, h("img", { src: "/dashboard/icon.svg", alt: "", width: 28, height: 28 }), "stockhub"),
      h("nav", { class: "pages", "aria-label": "Pages" }, groups()),
      h("div", { class: "side-foot" }, liveMark(),
        h("div", { class: "me" }, h("span", { class: "me-name", title: session.user.email }, session.user.email), h("button", { type: "button", class: "button quiet small", onclick: leave }, icon("out"), "Sign out")))),
    h("div", { id: "fresh", class: "fresh", role: "status" }),
    h("main", { id: "main", tabindex: "-1" }),
    h("nav", { class: "tabs", "aria-label": "Most used" }, tabs.map(([path, name, image]) =>
      path ? link(path, name, image) : h("button", { type: "button", id: "more", "aria-haspopup": "dialog", onclick: openMore }, icon(image), name))));
}

function groups() {
  return NAVIGATION.map(([title, list]) => [title && h("p", { class: "group" }, title), h("ul", {}, list.map(([path, name, image]) => h("li", {}, link(path, name, image))))]);
}

function link(path, name, image) {
  const count = path === "/todo" && todo ? h("span", { class: "count" }, h("span", { "aria-hidden": "true" }, todo > 99 ? "99+" : todo), h("span", { class: "unseen" }, ` (${todo} open)`)) : null;
  return h("a", { href: `#${path}`, "data-path": path, "aria-current": current() === path ? "page" : null }, icon(image), h("span", {}, name), count);
}

const current = () => (page ? page.route.of ?? page.route.path : null);

function liveMark() {
  let now = "off";
  live.onState((state) => (now = state))();
  return h("p", { id: "live", class: `live ${now}`, role: "status" }, h("span", { class: "live-dot", "aria-hidden": "true" }), LIVE[now]);
}

/** The whole navigation, for a phone. */
function openMore() {
  const box = h("dialog", { class: "sheet", "aria-label": "All pages" });
  const close = () => (box.close(), box.remove());
  box.append(h("div", { class: "dialog-head" }, h("h2", {}, session.user.email), h("button", { type: "button", class: "button quiet icon-only", "aria-label": "Close", onclick: close }, icon("cross"))),
    h("nav", { class: "pages", "aria-label": "All pages" }, groups()),
    h("div", { class: "sheet-foot" }, h("button", { type: "button", class: "button", onclick: () => (close(), leave()) }, icon("out"), "Sign out")));
  box.oncancel = (event) => (event.preventDefault(), close());
  box.onclick = (event) => (event.target === box || event.target.closest("a")) && close();
  document.body.append(box);
  box.showModal();
}

/** Marks the current page in every navigation, and what there is to do. */
function mark() {
  for (const node of document.querySelectorAll("[data-path]")) {
    const [, name, image] = NAVIGATION.flatMap(([, list]) => list).find(([path]) => path === node.dataset.path);
    morph(node, link(node.dataset.path, name, image));
  }
}

let counting = null;
/** At most every two seconds, however much happens. */
function countTodo() {
  counting ??= setTimeout(async () => {
    counting = null;
    todo = await todoCount().catch(() => todo);
    mark();
  }, todo || page ? 2_000 : 0);
}

// ---- the page ---------------------------------------------------------------------------------------------------------

function address() {
  const [path, query] = (location.hash.slice(1) || "/").split("?");
  return { path: path || "/", query: new URLSearchParams(query) };
}

async function show() {
  const { path, query } = address();
  const route = match(path);
  if (!route) return render(nothing(), { title: "Not found" });
  pending?.abort();
  pending = new AbortController();
  const { signal } = pending;
  const same = page && page.route.file === route.file && JSON.stringify(page.route.params) === JSON.stringify(route.params);
  const next = { route, path, query, params: route.params, state: same ? page.state : {}, data: null, signal };
  const main = document.querySelector("#main");
  main.setAttribute("aria-busy", "true");
  const slow = setTimeout(() => main.classList.add("slow"), 150);
  try {
    next.module = await import(`./pages/${route.file}.js`);
    Object.assign(next, context(next));
    next.data = await next.module.load(next);
    if (signal.aborted) return;
    page = next;
    tellNews(0);
    draw(!same);
    mark();
    if (!same) arrive();
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    if (!(error instanceof Problem)) console.error(error);
    page = { ...next, data: null, module: null };
    render(h("div", {}, h("h1", { class: "unseen", tabindex: "-1" }, "This page could not be loaded"), problemBox(error, show)), { title: "Problem", fresh: true });
    mark();
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) (main.removeAttribute("aria-busy"), main.classList.remove("slow"));
  }
}

/** What a page can do with itself. */
function context(of) {
  const here = () => page?.state === of.state;
  return {
    redraw: () => here() && draw(false),
    reload: () => here() && reload(),
    /** Changes what stands behind `?`, without a new entry in the history. */
    ask(changes) {
      const query = new URLSearchParams(address().query);
      for (const [name, value] of Object.entries(changes)) value ? query.set(name, value) : query.delete(name);
      history.replaceState(null, "", `#${of.path}${query.size ? `?${query}` : ""}`);
      return show();
    },
  };
}

let reloading = null;
/**
 * Fetches the same page again and puts in what changed. Calls that come meanwhile are one more turn. With `gently`, new rows of a
 * list wait for a press: nobody's place is moved while they read.
 */
function reload(gently = false) {
  reloading ??= (async () => {
    const of = page;
    try {
      const data = await of.module.load(of);
      if (page === of) take(data, gently);
    } catch (error) {
      if (error.name !== "AbortError" && error.status !== 0) console.warn(error);
    } finally {
      reloading = null;
    }
  })();
  return reloading;
}

function take(data, gently) {
  const names = (of) => (page.module.list?.(of) ?? []).map((item) => item.id ?? item.sku);
  const before = new Set(names(page.data));
  const news = gently && before.size ? names(data).filter((name) => !before.has(name)).length : 0;
  tellNews(news, data);
  if (news) return;
  page.data = data;
  draw(false);
}

function tellNews(news, data) {
  const show = () => {
    page.data = data;
    tellNews(0);
    draw(false);
    scrollTo({ top: 0 });
    document.querySelector("#main h1")?.focus({ preventScroll: true });
  };
  const text = `${news} new`;
  morph(document.querySelector("#fresh"), h("div", { id: "fresh", class: "fresh", role: "status" }, news ? h("button", { type: "button", class: "button small", onclick: show }, icon("refresh"), text) : null));
}

function draw(fresh) {
  const { module, data } = page;
  const title = typeof module.title === "function" ? module.title(data, page) : module.title;
  render(module.view(data, page), { title, fresh });
}

function render(content, { title, fresh }) {
  document.title = `${title} · stockhub`;
  const main = document.querySelector("#main");
  const whole = h("div", { class: "page" }, content);
  if (fresh || !main.firstElementChild) main.replaceChildren(whole);
  else morph(main.firstElementChild, whole);
}

let first = true;
/** A new page begins at its top, and a screen reader at its name; the first one as every document does. */
function arrive() {
  scrollTo(0, 0);
  if (!first) document.querySelector("#main h1")?.focus({ preventScroll: true });
  first = false;
}

const nothing = () => h("div", { class: "empty" }, h("h1", { class: "empty-title", tabindex: "-1" }, "There is no such page"), h("p", {}, h("a", { href: "#/" }, "To the overview")));

// ---- what is heard ----------------------------------------------------------------------------------------------------

let waiting = null;
function heard(change) {
  countTodo();
  if (!page?.module?.follows || document.querySelector("dialog[open] form")) return;
  if (change.type === "change" && !page.module.follows(change, page)) return;
  // Many changes within a moment are one look.
  waiting ??= setTimeout(() => {
    waiting = null;
    if (page?.module?.follows) reload(true);
  }, change.type === "tick" ? 0 : 300);
}

begin();
