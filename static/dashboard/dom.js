// Making nodes, and making one tree look like another without losing focus, typed text or scroll positions.

const SVG = "http://www.w3.org/2000/svg";

/** `h("a", { href, class, onclick, key }, children…)`; null, false and undefined are left out, lists are laid flat. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for drawings. */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) {
      node[name] = value;
      (node.__on ??= []).push(name);
    } else if (name === "key") node.dataset.key = value;
    else if (name === "value" && "value" in node && node.nodeName !== "OPTION" && node.nodeName !== "BUTTON") {
      node.value = value;
      node.__value = value;
    } else node.setAttribute(name, value === true ? "" : value);
  }
  append(node, children);
  // A select knows its value only once its options are there.
  if (node.nodeName === "SELECT" && node.__value !== undefined) node.value = node.__value;
  return node;
}

function append(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false || child === "") continue;
    if (Array.isArray(child)) append(node, child);
    else node.append(child instanceof Node ? child : String(child));
  }
}

/** Makes `from` look like `to`, touching only what differs. Nodes with the same key stay the same nodes. */
export function morph(from, to) {
  if (from.nodeName !== to.nodeName || key(from) !== key(to)) {
    from.replaceWith(to);
    return to;
  }
  if (from.nodeType === Node.TEXT_NODE) {
    if (from.nodeValue !== to.nodeValue) {
      from.nodeValue = to.nodeValue;
      flash(from.parentElement);
    }
    return from;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) return from;
  attributes(from, to);
  handlers(from, to);
  value(from, to);
  children(from, to);
  return from;
}

const key = (node) => node.dataset?.key;

function attributes(from, to) {
  for (const { name, value } of [...to.attributes]) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  for (const { name } of [...from.attributes]) {
    // What a person opened stays open.
    if (!to.hasAttribute(name) && !(name === "open" && from.nodeName === "DETAILS")) from.removeAttribute(name);
  }
}

function handlers(from, to) {
  for (const name of from.__on ?? []) if (!to.__on?.includes(name)) from[name] = null;
  for (const name of to.__on ?? []) from[name] = to[name];
  from.__on = to.__on;
}

/** A field takes a new value only when the page gave it another one than before: what somebody types is theirs. */
function value(from, to) {
  if (to.__value === undefined || from.__value === to.__value) return;
  from.__value = to.__value;
  if (document.activeElement !== from) from.value = to.__value;
}

function children(from, to) {
  const keyed = new Map([...from.childNodes].filter(key).map((node) => [key(node), node]));
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    let match = at;
    if (key(next)) match = keyed.get(key(next)) ?? null;
    else while (match && key(match)) match = match.nextSibling;
    if (match && match.nodeName === next.nodeName) {
      if (match !== at) from.insertBefore(match, at);
      at = match.nextSibling;
      morph(match, next);
    } else from.insertBefore(next, at);
  }
  while (at) {
    const rest = at.nextSibling;
    at.remove();
    at = rest;
  }
}

/** A number that changed is lit for a moment. */
function flash(element) {
  if (!element?.hasAttribute("data-live")) return;
  element.classList.remove("lit");
  // Reading the layout starts the animation anew.
  void element.offsetWidth;
  element.classList.add("lit");
}
