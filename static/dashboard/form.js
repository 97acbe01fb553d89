// Forms that are data: fields are named by the JSON pointer of what they fill, so the hub's errors find their field.

import { Problem } from "./api.js";
import { h } from "./dom.js";
import { dialog, problemBox } from "./ui.js";

let ids = 0;

/**
 * Fields: `{at: "/price/amount", label, type, hint, value, required, options, min, step, placeholder, suggest, check}`, or `{row: […]}`
 * for some side by side, or `{node}` for anything else. `submit(body)` is given the object they fill; empty fields are left out
 * (with `keepEmpty`: null).
 */
export function form(fields, { label, submit, danger, cancel, wide }) {
  const flat = fields.filter(Boolean).flatMap((field) => field.row ?? field).filter((field) => field && !field.node);
  for (const field of flat) field.id = `f${++ids}`;
  const trouble = h("div", {});
  const button = h("button", { type: "submit", class: `button ${danger ? "danger solid" : "main"}` }, label);
  const node = h("form", { class: `form${wide ? " wide" : ""}`, novalidate: true },
    fields.filter(Boolean).map((field) => (field.row ? h("div", { class: "field-row" }, field.row.filter(Boolean).map(one)) : field.node ?? one(field))),
    trouble,
    h("div", { class: "dialog-actions" }, cancel && h("button", { type: "button", class: "button", onclick: cancel }, "Cancel"), button));
  node.onsubmit = async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-disabled") === "true") return;
    clear(node, flat, trouble);
    const missing = flat.filter((field) => field.required && !read(node, field)).map((field) => ({ field: field.at, message: "is needed" }));
    const wrong = flat.filter((field) => field.type === "number").flatMap((field) => {
      const { badInput, stepMismatch } = node.querySelector(`#${field.id}`).validity;
      return badInput || stepMismatch ? [{ field: field.at, message: badInput ? "must be a number" : "must be a whole number" }] : [];
    });
    if (missing.length || wrong.length) return show(node, flat, trouble, new Problem(422, { title: "Something is missing", errors: [...missing, ...wrong] }));
    button.setAttribute("aria-disabled", "true");
    try {
      await submit(collect(node, flat), node);
    } catch (error) {
      show(node, flat, trouble, error);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  };
  return node;
}

/** The same in a dialog; gives what `submit` gave, or undefined where it was dismissed. */
export function formDialog(title, fields, { label = "Save", submit, danger, intro, wide } = {}) {
  return dialog(title, (close) => [
    intro && (typeof intro === "string" ? h("p", { class: "soft" }, intro) : intro),
    form(fields, { label, danger, cancel: () => close(), submit: async (body, node) => close((await submit(body, node)) ?? true) }),
  ], { wide });
}

function one(field) {
  const { at, id, label, hint, required, type = "text" } = field;
  const described = [hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(" ");
  const common = { id, name: at, "aria-describedby": described, "aria-required": required ? "true" : null, autofocus: field.autofocus, autocomplete: field.autocomplete ?? "off" };
  if (type === "check") {
    return h("div", { class: "field check" }, h("input", { ...common, type: "checkbox", checked: field.value }), h("label", { for: id }, label, hint && h("span", { class: "hint", id: `${id}-hint` }, hint)),
      h("p", { class: "field-error", id: `${id}-error` }));
  }
  return h("div", { class: "field" },
    h("label", { for: id }, label, !required && field.optional !== false ? h("span", { class: "optional" }, " optional") : null),
    input(field, common, type),
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    h("p", { class: "field-error", id: `${id}-error` }));
}

function input(field, common, type) {
  const { value, options, placeholder, min, max, step, suggest, rows } = field;
  if (options) return h("select", { ...common, value: value ?? options[0]?.[0] ?? "", onchange: field.onchange }, options.map(([code, name]) => h("option", { value: code }, name)));
  if (type === "area") return h("textarea", { ...common, rows: rows ?? 3, placeholder, spellcheck: "false" }, value);
  if (type === "file") return h("input", { ...common, type: "file", accept: field.accept });
  const list = suggest && `${common.id}-list`;
  return [h("input", { ...common, type, value: value ?? null, placeholder, min, max, step, list, inputmode: type === "number" ? "numeric" : field.inputmode, oninput: field.oninput,
    spellcheck: "false", autocapitalize: "off" }),
  suggest && h("datalist", { id: list }, suggest.map(([code, name]) => h("option", { value: code }, name)))];
}

function read(node, field) {
  const input = node.querySelector(`#${field.id}`);
  if (field.type === "check") return input.checked;
  if (field.type === "file") return input.files[0] ?? null;
  const text = field.raw ? input.value : input.value.trim();
  if (text === "") return null;
  return field.type === "number" ? Number(text) : field.parse ? field.parse(text) : text;
}

function collect(node, fields) {
  const body = {};
  for (const field of fields) {
    const value = read(node, field);
    if (value === null && !field.keepEmpty) continue;
    const path = field.at.split("/").slice(1);
    const last = path.pop();
    const place = path.reduce((into, name) => (into[name] ??= {}), body);
    place[last] = value;
  }
  return body;
}

function clear(node, fields, trouble) {
  trouble.replaceChildren();
  for (const { id } of fields) {
    node.querySelector(`#${id}`)?.removeAttribute("aria-invalid");
    node.querySelector(`#${id}-error`).textContent = "";
  }
}

/** Puts each complaint at its field; what belongs to none stands above the buttons. */
function show(node, fields, trouble, error) {
  if (!(error instanceof Problem)) return trouble.replaceChildren(problemBox(error));
  const homeless = [];
  for (const { field, message } of error.errors) {
    const home = fields.find(({ at }) => at === field) ?? fields.find(({ at }) => at.startsWith(`${field}/`) || field.startsWith(`${at}/`));
    if (!home) {
      homeless.push({ field, message });
      continue;
    }
    const input = node.querySelector(`#${home.id}`);
    input.setAttribute("aria-invalid", "true");
    // A field that was left empty is left out: to a person it is not missing, it is empty.
    node.querySelector(`#${home.id}-error`).textContent = message.startsWith("missing field") ? "is needed" : message;
  }
  if (homeless.length || !error.errors.length) trouble.replaceChildren(problemBox(new Problem(error.status, { ...error.body, errors: homeless }, error.retryAfter)));
  // The topmost, in whatever order the hub names them.
  node.querySelector("[aria-invalid=true]")?.focus();
}

export const moneyFields = (at, label, value, currency) => ({
  row: [
    { at: `${at}/amount`, label, inputmode: "decimal", value: value?.amount, placeholder: "129.90" },
    { at: `${at}/currency`, label: "Currency", value: value?.currency ?? currency, placeholder: "USD", optional: false, parse: (text) => text.toUpperCase() },
  ],
});

/** Leaves out a money field whose amount is empty. */
export function tidyMoney(body, ...names) {
  for (const name of names) if (body[name] && body[name].amount === undefined) delete body[name];
  return body;
}
