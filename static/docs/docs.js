// Shows the API's own description. No library, no other host: the page works wherever the hub does.
const list = document.querySelector("#operations");
const find = document.querySelector("#find");

const make = (name, text, ...children) => {
  const element = document.createElement(name);
  if (text !== undefined && text !== null) element.textContent = text;
  element.append(...children);
  return element;
};

/** A schema as an example of its shape, references resolved, not deeper than anyone reads. */
const shape = (document_, schema, depth = 0) => {
  if (!schema) return null;
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return depth > 4 ? name : shape(document_, document_.components.schemas[name], depth + 1);
  }
  const some = schema.oneOf?.find((one) => one.type !== "null") ?? schema.anyOf?.[0];
  if (some) return shape(document_, some, depth);
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((one) => shape(document_, one, depth)));
  const type = [].concat(schema.type ?? "object").find((one) => one !== "null");
  if (schema.example !== undefined) return schema.example;
  if (schema.enum) return schema.enum.join(" | ");
  if (type === "array") return depth > 4 ? [] : [shape(document_, schema.items, depth + 1)];
  if (type === "object") {
    const fields = Object.entries(schema.properties ?? {});
    return Object.fromEntries(fields.map(([name, value]) => [name, shape(document_, value, depth + 1)]));
  }
  return schema.format ?? type;
};

const bodyOf = (document_, content) => {
  const json = content?.["application/json"];
  if (json?.schema) return make("pre", JSON.stringify(shape(document_, json.schema), null, 2));
  const kinds = Object.keys(content ?? {});
  return kinds.length ? make("p", kinds.join(", ")) : "";
};

const operation = (document_, method, path, one) => {
  const inner = make("div");
  if (one.description || one.summary) inner.append(make("p", [one.summary, one.description].filter(Boolean).join(" ")));
  const rows = (one.parameters ?? []).map((p) =>
    make("tr", null, make("td", p.name), make("td", p.in + (p.required ? ", must" : "")), make("td", p.description ?? "")));
  if (rows.length) inner.append(make("table", null, ...rows));
  if (one.requestBody) inner.append(make("h4", "takes"), bodyOf(document_, one.requestBody.content));
  inner.append(make("h4", "answers"));
  const answers = Object.entries(one.responses ?? {}).map(([status, answer]) =>
    make("tr", null, make("th", status), make("td", answer.description ?? "", bodyOf(document_, answer.content))));
  inner.append(make("table", null, ...answers));
  const details = make("details", null, make("summary", null, make("b", method.toUpperCase()), make("code", path)), inner);
  details.dataset.words = `${method} ${path} ${one.operationId ?? ""} ${JSON.stringify(one)}`.toLowerCase();
  return details;
};

const show = (document_) => {
  const groups = new Map();
  for (const [path, item] of Object.entries(document_.paths)) {
    for (const [method, one] of Object.entries(item)) {
      const tag = one.tags?.[0] ?? "other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(document_, method, path, one));
    }
  }
  list.replaceChildren(...[...groups].sort().map(([tag, all]) => make("section", null, make("h2", tag), ...all)));
};

find.addEventListener("input", () => {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of list.querySelectorAll("section")) {
    let any = false;
    for (const one of section.querySelectorAll("details")) {
      one.hidden = !words.every((word) => one.dataset.words.includes(word));
      any ||= !one.hidden;
    }
    section.hidden = !any;
  }
});

try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`/openapi.json answered ${answer.status}`);
  show(await answer.json());
} catch (error) {
  list.replaceChildren(make("p", `The description cannot be shown: ${error.message}`));
}
