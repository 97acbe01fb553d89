// From an empty hub to live numbers, a step at a time. Each step knows by itself whether it is done.

import { get, getOr } from "../api.js";
import { plural } from "../format.js";
import { session } from "../session.js";
import { act, go, h, head, market } from "../ui.js";
import { examine } from "./marketplace.js";
import { add } from "./marketplaces.js";

export const title = "Guided set-up";

export async function load({ signal }) {
  const ask = (path, query) => getOr({ items: [] }, path, query, { signal });
  const [places, products, listings, unmapped, webhooks, orders, doctor, read] = await Promise.all([
    get("/v1/admin/marketplaces", {}, { signal }), ask("/v1/admin/products", { limit: 1 }), ask("/v1/admin/listings", { limit: 500 }), ask("/v1/admin/unmapped", { limit: 100 }), ask("/v1/admin/webhooks", { limit: 1 }), ask("/v1/admin/orders", { limit: 1 }),
    ask("/v1/admin/sync-logs", { kind: "doctor", limit: 1 }), ask("/v1/admin/sync-logs", { kind: "bulk_read", limit: 1 }),
  ]);
  return { places: places.items.filter(({ kind }) => kind !== "storefront"), products: products.items, listings: listings.items, unmapped: unmapped.items, sales: webhooks.items.length + orders.items.length, examined: doctor.items.length > 0, read: read.items.some(({ status }) => status === "succeeded" || status === "partial") };
}

export const follows = () => true;

export function view({ places, products, listings, unmapped, sales, examined, read }, ctx) {
  const admin = session.may("admin");
  const synced = listings.filter(({ state }) => state === "synced" || state === "task").length;
  const told = places.some(({ webhook_url: address }) => address);
  const steps = [
    [places.length > 0, "Add a marketplace", places.length ? h("span", {}, "Connected: ", places.map(({ code }) => [market(code), " "])) : "Choose it, and give the keys that its seller’s office gave you.", admin ? act("Add a marketplace", () => add(ctx), { main: !places.length }) : null],
    [examined, "Let the doctor look", "It tries the address, the keys, a read and the webhook, and says what to mend.", places.length ? places.map((place) => act(`Examine ${place.name}`, async () => {
      await examine(place);
      await ctx.reload();
    }, { small: true })) : null],
    [products.length > 0, "Bring in your products", "As a CSV file, by hand, or read from the marketplace with its first sync.", [go("Import a list", "#/products/import", { main: places.length > 0 && !products.length }), go("Add by hand", "#/products")]],
    [listings.length > 0 && !unmapped.length, "Say what is what", unmapped.length ? `${plural(unmapped.length, "sale")} of unknown names wait.` : listings.length ? `${plural(listings.length, "listing")} mapped.` : "List each product on its marketplaces, or import the listings as CSV.",
      [unmapped.length ? go("To the unmapped", "#/unmapped", { main: true }) : null, go("Import listings", "#/products/import?kind=listings")]],
    // What shows the right number already is not told it once more.
    [synced > 0 || read, "First sync", synced ? plural(synced, "listing shows what it should.", "listings show what they should.") : read ? "What it shows was read; what differs is being told." : "Tells every marketplace its number, and reads what it shows.", places.map((place) => go(`Sync ${place.name}`, `#/marketplaces/${place.code}`, { small: true }))],
    [sales > 0, "Live", sales ? "Sales come in: one anywhere counts down everywhere." : places.length && !told ? "Nothing to do: the first order ends the set-up." : "Give each marketplace its webhook’s address; it stands on the marketplace’s page.", go("To the overview", "#/", { main: synced > 0 })],
  ];
  const now = steps.findIndex(([done]) => !done);
  return [
    head("Guided set-up", { sub: now < 0 ? "Everything is set up." : "Six steps to live numbers. You can leave and come back; nothing is lost." }),
    h("ol", { class: "steps" }, steps.map(([done, name, text, actions], n) => h("li", { class: `step${done ? " done" : ""}${n === now ? " now" : ""}`, "aria-current": n === now ? "step" : null },
      h("div", {}, h("h2", {}, name, done ? h("span", { class: "unseen" }, " (done)") : null), h("p", { class: "soft" }, text), actions ? h("div", { class: "actions" }, actions) : null)))),
  ];
}
