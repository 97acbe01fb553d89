// What gave up: webhooks, pushes and events that no further try is made for by itself.

import { get, post } from "../api.js";
import { plural, words } from "../format.js";
import { session } from "../session.js";
import { act, badge, card, choice, empty, h, head, more, row, rows, sure, when, icon } from "../ui.js";

export const title = "Dead letters";
export const load = ({ state, query, signal }) => get("/v1/admin/dead-letters", { kind: query.get("kind"), limit: state.limit ?? 50 }, { signal });
export const follows = ({ type, kind }) => type === "tick" || kind === "webhook" || kind === "push" || kind === "alert";
/** New rows of it wait for a press. */
export const list = (page) => page.items;

const KINDS = { webhook: "bolt", push: "send", event: "bell" };

export function view(page, ctx) {
  return [
    head("Dead letters", { back: ["#/todo", "To do"], sub: "The hub tried as often as it may. Mend the cause, then try again." }),
    card("", { flush: true }, h("div", { class: "toolbar" }, choice("Kind", [["", "All"], ["webhook", "Webhooks"], ["push", "Pushes"], ["event", "Events"]], ctx.query.get("kind") ?? "", (kind) => ctx.ask({ kind }))),
      page.items.length ? rows("What gave up, newest first", page.items.map((letter) => line(letter, ctx))) : empty("Nothing gave up", "Whatever cannot be delivered or applied after all its tries lands here.", { name: "letter" }),
      more(ctx, page)),
  ];
}

function line(letter, ctx) {
  const href = letter.kind === "webhook" ? `#/webhooks/${letter.id}` : null;
  return row({
    key: `${letter.kind}${letter.id}`, href, lead: icon(KINDS[letter.kind] ?? "letter"), main: `${words(letter.name)} · ${letter.target}`,
    sub: [badge("failed", { label: words(letter.kind) }), when(letter.at), letter.attempts ? h("span", {}, plural(letter.attempts, "try", "tries")) : null, letter.reason ? h("span", {}, letter.reason) : null],
    actions: session.may("operator") ? [
      act("Try again", async () => (await post(`/v1/admin/dead-letters/${letter.id}/retry`), await ctx.reload()), { small: true, done: "It is tried again." }),
      act("Set aside", async () => {
        if (!(await sure("Set it aside for good?", "It will not be tried again. It stays in the log.", { yes: "Set it aside" }))) return false;
        await post(`/v1/admin/dead-letters/${letter.id}/discard`);
        await ctx.reload();
      }, { small: true, quiet: true }),
    ] : null,
  });
}

