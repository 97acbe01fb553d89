// Where everything is set that is not a product or a marketplace.

import { getOr } from "../api.js";
import { session } from "../session.js";
import { card, h, head, icon, row, rows } from "../ui.js";

export const title = "Settings";
export const load = async ({ signal }) => ({ alive: await getOr(null, "/readyz", {}, { signal }).catch(() => null) });

const PARTS = [
  ["users", "People", "Who may sign in, and what they may do", "people", "admin"],
  ["tokens", "API tokens", "For scripts and other systems", "key", "admin"],
  ["keys", "Storefront keys", "For your own shop’s server", "store", "admin"],
  ["rules", "Allocation", "How much of the stock each marketplace may show", "sliders", "viewer"],
  ["sinks", "Events and alerts", "Where they are sent: webhooks and e-mail", "bell", "admin"],
  ["places", "Places", "Where stock lies", "box", "viewer"],
  ["account", "Your account", "Your password and where you are signed in", "gear", "viewer"],
  ["audit", "Audit log", "Who changed what", "clock", "admin"],
];

export function view() {
  const shown = PARTS.filter(([, , , , role]) => session.may(role));
  return [
    head("Settings"),
    card("", { flush: true }, rows("Settings", [
      ...shown.map(([part, name, text, image]) => row({ key: part, href: `#/settings/${part}`, lead: icon(image), main: name, sub: text })),
      row({ key: "import", href: "#/products/import", lead: icon("file"), main: "Import and export", sub: "Products, listings, rules and counts as CSV" }),
      row({ key: "start", href: "#/start", lead: icon("rocket"), main: "Guided set-up", sub: "From the first marketplace to live numbers" }),
      row({ key: "api", href: "/openapi.json", lead: icon("link"), main: "API", sub: "Everything here is done with it; its description as OpenAPI" }),
    ])),
    h("p", { class: "note" }, "Signed in as ", h("strong", {}, session.user.email), ", ", session.user.role, "."),
  ];
}
