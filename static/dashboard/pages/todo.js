// What waits for a person, in one place: the first thing to look at after "Overview".

import { getOr } from "../api.js";
import { plural } from "../format.js";
import { productHref } from "../routes.js";
import { session } from "../session.js";
import { badge, card, head, icon, h, market, num, row, rows } from "../ui.js";

const NONE = { items: [] };

export async function gather(signal) {
  const ask = (path, query) => getOr(NONE, path, { limit: 100, ...query }, { signal });
  const [oversells, unmapped, letters, alerts, listings] = await Promise.all([
    ask("/v1/admin/oversells"), ask("/v1/admin/unmapped"), ask("/v1/admin/dead-letters"), ask("/v1/admin/alerts"), ask("/v1/admin/listings", { limit: 500 }),
  ]);
  return {
    oversells: oversells.items.filter(({ state }) => state === "open"),
    unmapped: unmapped.items,
    letters: letters.items,
    alerts: alerts.items.filter(({ state }) => state === "open"),
    tasks: listings.items.filter(({ state }) => state === "task"),
  };
}

export async function todoCount() {
  const { oversells, unmapped, letters, alerts, tasks } = await gather();
  // Unmapped deliveries are dead letters too: they are counted once.
  return oversells.length + unmapped.length + letters.filter(({ name }) => name !== "unmapped").length + alerts.filter(({ severity }) => severity !== "info").length + tasks.length;
}

export const title = "To do";
export const load = ({ signal }) => gather(signal);
export const follows = () => true;

/** The kinds of work, most urgent first; those with nothing to do are left out. */
export function work({ oversells, unmapped, letters, alerts, tasks }, all = false) {
  const grave = alerts.filter(({ severity }) => severity !== "info").length;
  return [
    { key: "oversells", n: oversells.length, name: "oversold", href: "#/oversells", image: "warn", tone: "bad", main: plural(oversells.length, "oversold product"), sub: "More was sold than is there. Decide which order to cancel." },
    { key: "unmapped", n: unmapped.length, name: "unmapped", href: "#/unmapped", image: "link", tone: "warn", main: `${plural(unmapped.length, "sale")} of unknown products`, sub: "Say which product it is; the sale is applied by itself." },
    { key: "letters", n: letters.length, name: "gave up", href: "#/dead-letters", image: "letter", tone: "warn", main: `${plural(letters.length, "message")} that gave up`, sub: "Try again, or set aside for good." },
    { key: "tasks", n: tasks.length, name: "by hand", href: "#/todo", image: "edit", tone: "warn", main: plural(tasks.length, "ad to edit by hand", "ads to edit by hand"), sub: "On marketplaces without an interface." },
    { key: "alerts", n: alerts.length, name: "alerts", href: "#/alerts", image: "bell", tone: grave ? "warn" : "wait", main: plural(alerts.length, "alert"), sub: grave ? `${plural(grave, "of them needs", "of them need")} a look` : "For your information" },
  ].filter(({ n }) => all || n > 0);
}

/** All kinds, in the same places also where there is nothing to do. */
const workRows = (data) => rows("What needs you", work(data, true).filter(({ key }) => key !== "tasks").map(({ key, n, href, image, tone, main, sub, name }) =>
  row({ key, href, lead: h("span", { class: `lead ${n ? tone : "good"}` }, icon(n ? image : "check")), main: n ? main : NOTHING[key] ?? name, sub: n ? sub : "Nothing to do" })));

const NOTHING = { oversells: "Oversold products", unmapped: "Sales of unknown products", letters: "Messages that gave up", alerts: "Alerts" };

export function view(data) {
  const { tasks } = data;
  return [
    head("To do", { sub: work(data).length ? "What the hub cannot decide alone." : "Nothing needs you: everything went through by itself." }),
    card("", { flush: true }, workRows(data)),
    tasks.length ? card("Ads to edit by hand", { flush: true, note: "These marketplaces have no interface: change the number in the ad yourself." },
      rows("Ads to edit", tasks.map((task) => row({
        key: task.id, main: task.marketplace_sku ?? task.marketplace_product_id, sub: market(task.marketplace),
        side: h("span", {}, "set it to ", h("strong", {}, num(task.wanted))),
        href: task.marketplace_sku ? productHref(task.marketplace_sku) : null,
      })))) : null,
    session.may("admin") ? null : h("p", { class: "note" }, "Signed in with the role ", badge(session.user.role), ": you may look, but some decisions need another role."),
  ];
}
