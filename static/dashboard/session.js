// Who is signed in. A person has a cookie, which no script can read; an API token is kept for this tab only.

const KEY = "stockhub-token";

export const session = {
  /** `{id, email, role, person}`; of a token its name instead of the e-mail. */
  user: null,
  token: sessionStorage.getItem(KEY),
  /** Code → what people call the marketplace. */
  names: new Map(),
  /** The same of archived ones, of which only the past is looked at. */
  past: new Map(),

  /** As the hub tells it. */
  of: (user) => ({ ...user, email: user.email ?? `${user.name?.replace(/^token:/, "") ?? "API"} (token)`, person: Boolean(user.email) }),

  keep(token) {
    this.token = token;
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  },

  /** Set by the shell: what to do when the hub knows us no longer. */
  ended() {},

  may(role) {
    const order = ["viewer", "operator", "admin"];
    return order.indexOf(this.user?.role ?? "viewer") >= order.indexOf(role);
  },

  /** Takes over which marketplaces there are. */
  know(places) {
    const named = (list) => new Map(list.map(({ code, name }) => [code, name]));
    this.names = named(places.filter(({ status }) => status !== "archived"));
    this.past = named(places.filter(({ status }) => status === "archived"));
  },

  nameOf(code) {
    return this.names.get(code) ?? this.past.get(code) ?? code;
  },
};
