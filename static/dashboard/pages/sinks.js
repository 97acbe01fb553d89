// Where events and alerts go: signed webhooks to your systems, e-mail to your people.

import { get, post, remove } from "../api.js";
import { form } from "../form.js";
import { plural, words } from "../format.js";
import { act, badge, card, dialog, empty, h, head, row, rows, showSecret, sure, toast, when, icon } from "../ui.js";

export const title = "Events and alerts";
export const load = ({ signal }) => get("/v1/admin/sinks", {}, { signal });

export function view({ items }, ctx) {
  const actions = [act("Add a webhook", () => addHook(ctx), { name: "plus", main: true }), act("Add e-mail", () => addMail(ctx), { name: "letter" })];
  return [
    head("Events and alerts", { back: ["#/settings", "Settings"], sub: "Every change of stock as a signed event to your own systems; what needs somebody as a mail.", actions }),
    card("", { flush: true }, items.length ? rows("Where events go", items.map((sink) => row({
      key: sink.id, lead: icon(sink.kind === "email" ? "letter" : "link"), main: sink.name, sub: [h("span", { class: "mono" }, sink.url ?? sink.to.join(", ")), h("span", {}, sink.kinds.length ? sink.kinds.map(words).join(", ") : "everything"), h("span", {}, "since ", when(sink.created_at))],
      side: sink.failures ? badge("failed", { label: plural(sink.failures, "failure") }) : badge("active"),
      actions: [act("Test", () => test(sink), { small: true }), act("Remove", () => drop(sink, ctx), { small: true, quiet: true, danger: true })],
    }))) : empty("Nothing is sent anywhere yet", "Let your own systems follow each change of stock, or have alerts sent by mail.", { name: "bell" })),
  ];
}

const list = (text) => text.split(/[\s,]+/).filter(Boolean);

async function addHook(ctx) {
  const made = await dialog("Add a webhook", (close) => form([
    { at: "/url", label: "Address", type: "url", required: true, autofocus: true, hint: "Events are posted there, signed as Standard Webhooks tell." }, { at: "/name", label: "Name" },
    { at: "/event_types", label: "Only these events", placeholder: "inventory-updated, oversold", hint: "Empty: all.", parse: list },
  ], { label: "Add", cancel: () => close(), submit: async (body) => close(await post("/v1/admin/sinks", { kind: "webhook", ...body })) }));
  if (!made) return;
  await ctx.reload();
  if (made.secret) await showSecret("The signing secret", "Your system verifies our events with it. It is shown only now.", made.secret);
}

async function addMail(ctx) {
  const made = await dialog("Send alerts by e-mail", (close) => form([
    { at: "/to", label: "To", required: true, autofocus: true, placeholder: "anna@example.com, ben@example.com", parse: list }, { at: "/name", label: "Name" },
    { at: "/alert_kinds", label: "Only these alerts", placeholder: "oversold, marketplace-degraded", hint: "Empty: all.", parse: list },
  ], { label: "Add", cancel: () => close(), submit: async (body) => close(await post("/v1/admin/sinks", { kind: "email", ...body })) }));
  if (made) await ctx.reload();
}

async function test(sink) {
  const { delivered, reason, status } = await post(`/v1/admin/sinks/${sink.id}/test`);
  toast(delivered ? "It was delivered." : `It was not delivered: ${reason ?? `status ${status}`}.`, delivered ? "good" : "bad");
}

async function drop(sink, ctx) {
  if (!(await sure(`Remove “${sink.name}”?`, "Nothing is sent there any more. What waits for it is set aside.", { yes: "Remove" }))) return;
  await remove(`/v1/admin/sinks/${sink.id}`);
  await ctx.reload();
}
