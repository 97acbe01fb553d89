// The demo storefront: every listed SKU, its live number, and a button that buys one.

import { connect } from "/client/stockhub.js";

const LOW = 3;
const STATUS = {
  idle: "Nothing to follow",
  connecting: "Connecting…",
  live: "Live",
  waiting: "Reconnecting…",
  paused: "Paused",
  closed: "Disconnected",
};
const BY = { websocket: "Live", eventstream: "Live (event stream)", poll: "Live (long-poll)" };

const list = document.querySelector("#products");
const template = document.querySelector("#product");
const status = document.querySelector("#status");
const find = document.querySelector("#find");
const count = document.querySelector("#count");
const empty = document.querySelector("#empty");
const said = document.querySelector("#said");

/** SKU → its card and the most it had, which is what its gauge measures against. */
const cards = new Map();
/** The same cards, in the order they are shown. */
const order = [];
let tallying = false;

connect({
  all: true,
  onStock: show,
  onStatus: ({ state, transport }) => {
    status.dataset.state = state;
    status.textContent = state === "live" ? BY[transport] : STATUS[state];
    // The first numbers follow the connection by an instant; only their lasting absence is worth a word.
    if (state === "live") setTimeout(() => (empty.hidden = cards.size > 0), 1_000);
  },
});

function show(item) {
  const card = cards.get(item.sku) ?? add(item.sku);
  const { root, number, words, bar, button } = card;
  const state = !item.in_stock ? "out" : item.stock <= LOW ? "low" : "in";
  const before = card.stock;
  card.stock = item.stock;
  card.most = Math.max(card.most, item.stock, 1);
  card.removed = Boolean(item.removed);
  root.dataset.state = state;
  number.textContent = item.more ? `${item.stock}+` : `${item.stock}`;
  words.textContent = { in: "in stock", low: "left", out: "sold out" }[state];
  bar.style.transform = `scaleX(${item.stock / card.most})`;
  button.disabled = !item.in_stock || card.buying;
  filter(card);
  tally();
  if (before !== undefined && before !== item.stock) flash(root);
}

function add(sku) {
  const root = template.content.cloneNode(true).firstElementChild;
  const part = (selector) => root.querySelector(selector);
  const card = { sku, root, most: 0, number: part(".number"), words: part(".words"), bar: part(".gauge > div"), button: part("button") };
  root.querySelector("h2").textContent = sku;
  root.querySelector(".picture").textContent = initials(sku);
  card.button.setAttribute("aria-label", `Buy one ${sku}`);
  card.button.addEventListener("click", () => buy(card));
  cards.set(sku, card);
  place(card);
  empty.hidden = true;
  return card;
}

/** Cards stay in the order of their names, wherever a new one comes in. */
function place(card) {
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (order[middle].sku < card.sku) low = middle + 1;
    else high = middle;
  }
  list.insertBefore(card.root, order[low]?.root ?? null);
  order.splice(low, 0, card);
}

function initials(sku) {
  return sku.split(/[^\p{L}\p{N}]+/u).filter(Boolean).map((word) => [...word][0]).slice(0, 3).join("").toUpperCase();
}

function flash(root) {
  root.classList.remove("changed");
  // Reading the layout starts the animation anew.
  void root.offsetWidth;
  root.classList.add("changed");
}

async function buy(card) {
  card.buying = true;
  card.button.disabled = true;
  try {
    const answer = await fetch("/demo/buy", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ sku: card.sku }),
    });
    if (answer.status === 404) {
      // Not a demo: this page only looks.
      document.body.classList.add("no-buying");
      return;
    }
    const problem = answer.ok ? null : await answer.json().catch(() => null);
    announce(answer.ok ? `Bought one ${card.sku}.` : (problem?.detail ?? problem?.title ?? "That did not work."));
  } catch {
    announce("The store cannot be reached.");
  } finally {
    card.buying = false;
    card.button.disabled = card.stock === 0;
  }
}

function announce(text) {
  said.textContent = text;
  setTimeout(() => said.textContent === text && (said.textContent = ""), 4_000);
}

function filter(card) {
  card.root.hidden = card.removed || !card.sku.toLowerCase().includes(find.value.trim().toLowerCase());
}

/** Once per frame, however many numbers changed in it. */
function tally() {
  if (tallying) return;
  tallying = true;
  requestAnimationFrame(() => {
    tallying = false;
    const shown = order.filter((card) => !card.root.hidden).length;
    count.textContent = `${shown} ${shown === 1 ? "product" : "products"}`;
  });
}

find.addEventListener("input", () => {
  cards.forEach(filter);
  tally();
});
