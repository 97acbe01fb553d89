// Before anybody is in: the first admin, signing in, or an API token for this tab.

import { get, getOr, post, Problem } from "../api.js";
import { form } from "../form.js";
import { session } from "../session.js";
import { h } from "../ui.js";

const PASSWORD_MIN = 10;

/** What to show to a stranger: a hub without an admin is set up first. `enter(user)` goes on. */
export async function screen(enter) {
  const setup = await getOr({ needed: false, absent: true }, "/v1/auth/setup");
  const box = h("main", { class: "alone" });
  const show = (content) => {
    box.replaceChildren(h("div", { class: "brand big" }, h("img", { src: "/dashboard/icon.svg", alt: "", width: 40, height: 40 }), "stockhub"), content);
    box.querySelector("input")?.focus();
  };
  const views = { login: () => show(login(enter, views)), token: () => show(byToken(enter, views, setup)), setup: () => show(first(enter, views)) };
  views[setup.needed ? "setup" : setup.absent ? "token" : "login"]();
  return box;
}

function first(enter, views) {
  // The link that the first start prints carries it behind the `#`, which no server is told.
  const given = /^#setup=(.+)$/.exec(location.hash)?.[1];
  return h("section", { class: "card" },
    h("h1", {}, "Welcome"),
    h("p", { class: "soft" }, "This hub is new. Make the first account; it is an admin’s. The set-up token stands in the log of the hub’s first start."),
    form([
      { at: "/token", label: "Set-up token", required: true, value: given, autocomplete: "one-time-code", hint: "Proves that the hub is yours. It works once. An admin’s API token does it too." },
      { at: "/email", label: "E-mail", type: "email", required: true, autocomplete: "username", inputmode: "email" },
      { at: "/password", label: "Password", type: "password", required: true, raw: true, autocomplete: "new-password", hint: `At least ${PASSWORD_MIN} characters. A sentence is easier to keep than a riddle.` },
    ], {
      label: "Set up the hub",
      submit: async (body) => {
        const { user } = await post("/v1/auth/setup", body);
        history.replaceState(null, "", "#/start");
        await enter(user);
      },
    }),
    h("p", { class: "note" }, h("button", { type: "button", class: "as-link", onclick: views.token }, "Use an API token instead")));
}

function login(enter, views) {
  return h("section", { class: "card" },
    h("h1", {}, "Sign in"),
    form([
      { at: "/email", label: "E-mail", type: "email", required: true, autocomplete: "username", inputmode: "email" },
      { at: "/password", label: "Password", type: "password", required: true, raw: true, autocomplete: "current-password" },
    ], {
      label: "Sign in",
      submit: async (body) => {
        // A token that was left in this tab would speak for somebody else.
        session.keep(null);
        await enter((await post("/v1/auth/login", body)).user);
      },
    }),
    h("p", { class: "note" }, h("button", { type: "button", class: "as-link", onclick: views.token }, "Use an API token instead")));
}

function byToken(enter, views, setup) {
  return h("section", { class: "card" },
    h("h1", {}, "Sign in with a token"),
    h("p", { class: "soft" }, "It stays in this tab and is forgotten when you close it."),
    form([{ at: "/token", label: "API token", type: "password", required: true, autocomplete: "off" }], {
      label: "Sign in",
      submit: async ({ token }) => {
        session.keep(token);
        try {
          await enter(await ofToken());
        } catch (error) {
          session.keep(null);
          throw error instanceof Problem && error.status === 401
            ? new Problem(401, { title: "That token does not open this hub", detail: "It may be mistyped, expired or revoked.", errors: [] }) : error;
        }
      },
    }),
    setup.absent ? null : h("p", { class: "note" }, h("button", { type: "button", class: "as-link", onclick: setup.needed ? views.setup : views.login }, setup.needed ? "Make the first account" : "Use e-mail and password")));
}

/** Whose token this is. A hub that does not tell is asked what the token may. */
export async function ofToken() {
  const me = await getOr(null, "/v1/auth/me").catch((error) => {
    if (error.status === 401) return null;
    throw error;
  });
  if (me?.user) return session.of(me.user);
  await get("/v1/admin/marketplaces");
  const may = async (path) => (await getOr(null, path)) !== null;
  const role = (await may("/v1/admin/tokens")) ? "admin" : "operator";
  return { name: "API", role };
}
