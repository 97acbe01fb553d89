/**
 * Live stock in a web page. No dependency, no build step.
 *
 *   <script type="module" src="https://hub.example/client/stockhub.js"></script>
 *   <stock-level sku="PHONE-001" low="3"></stock-level>
 *
 * or in code:
 *
 *   import { connect } from "https://hub.example/client/stockhub.js";
 *   const feed = connect({
 *     skus: ["PHONE-001"],
 *     onStock: (item) => console.log(item.sku, item.stock),
 *     onStatus: (status) => console.log(status.state),
 *   });
 *   feed.add("PHONE-002");
 *   feed.close();
 *
 * What it promises: you end with the last state and never see an older one after a newer. It keeps one cursor (the place in the
 * hub's stream) and, per SKU, a version; whatever is lost, doubled or late on the way is made good by these two.
 */

const TRANSPORTS = ["websocket", "eventstream", "poll"];
const SUBPROTOCOL = "stockhub.v1.json";
const REMEMBERED = "stockhub.transport";
const RETRY_MIN_MS = 200;
const RETRY_MAX_MS = 20_000;
/** Failures before any data, after which the next transport is tried. */
const EARLY_FAILURES = 2;
/** A tab that is hidden for longer than this lets its connection go. */
const HIDE_AFTER_MS = 5_000;
/** How long a handshake may take. */
const OPEN_TIMEOUT_MS = 10_000;
/** A subscribe frame may have 64 KiB; names are at most 128 characters of 4 bytes. */
const SUBSCRIBE_BYTES = 48_000;
/** Longer lists go into frames instead of the URL. */
const URL_CHARS = 1_500;
const POLL_WAIT_S = 25;

/** The hub that served this file. */
const HOME = new URL(import.meta.url).origin;

export function connect(options = {}) {
  return new Feed(options);
}

class Feed {
  #base;
  #onStock;
  #onStatus;
  #transports;
  #hideAfterMs;

  #all;
  #wanted = new Set();
  /** The SKUs (of the wanted) that the cursor speaks for. */
  #covered = new Set();
  #allCovered = false;
  #items = new Map();
  #versions = new Map();
  #cursor = null;
  #generation = null;

  #transport;
  #link = null;
  #early = 0;
  #retries = 0;
  #turn = 0;
  #retryTimer = 0;
  #hideTimer = 0;
  #window = null;
  #batch = null;
  #status = { state: "connecting" };
  #stopListening;

  constructor({ url = HOME, skus = [], all = false, onStock, onStatus, transport, hideAfterMs = HIDE_AFTER_MS }) {
    this.#base = new URL(url, globalThis.location?.href);
    this.#onStock = onStock ?? (() => {});
    this.#onStatus = onStatus ?? (() => {});
    this.#transports = (transport ? [transport] : TRANSPORTS).filter(available);
    this.#hideAfterMs = hideAfterMs;
    this.#all = all;
    for (const sku of skus) this.#wanted.add(sku);
    this.#transport = Math.max(0, this.#transports.indexOf(remembered()));
    this.#stopListening = this.#listenToPage();
    this.#open();
  }

  /** Follow more SKUs. */
  add(...skus) {
    const fresh = skus.flat().filter((sku) => !this.#wanted.has(sku));
    for (const sku of fresh) this.#wanted.add(sku);
    if (fresh.length > 0) this.#changeLater(() => this.#link?.more(fresh));
  }

  /** Stop following SKUs. */
  remove(...skus) {
    const known = skus.flat().filter((sku) => this.#wanted.delete(sku));
    for (const sku of known) {
      this.#covered.delete(sku);
      if (!this.#all) {
        this.#items.delete(sku);
        this.#versions.delete(sku);
      }
    }
    if (known.length > 0) this.#changeLater(() => this.#link?.less(known));
  }

  /** The last known item of a SKU. */
  get(sku) {
    return this.#items.get(sku);
  }

  get status() {
    return this.#status;
  }

  /** Opaque: the place in the hub's stream up to which everything is known. */
  get cursor() {
    return this.#cursor;
  }

  close() {
    this.#stopListening();
    this.#drop();
    this.#say({ state: "closed" });
  }

  // Elements join one by one while a page is parsed; they shall share a frame.
  #changeLater(change) {
    if (this.#batch) return void this.#batch.push(change);
    this.#batch = [change];
    queueMicrotask(() => {
      const changes = this.#batch;
      this.#batch = null;
      if (this.#status.state === "closed") return;
      if (!this.#link) {
        if (this.#status.state === "idle") this.#open();
        return;
      }
      for (const one of changes) one();
    });
  }

  #listenToPage() {
    const page = globalThis.document;
    if (!page) return () => {};
    const controller = new AbortController();
    const { signal } = controller;
    const look = () => {
      clearTimeout(this.#hideTimer);
      if (page.visibilityState === "hidden") {
        this.#hideTimer = setTimeout(() => this.#pause(), this.#hideAfterMs);
      } else if (this.#status.state === "paused") {
        this.#retries = 0;
        this.#open();
      }
    };
    page.addEventListener("visibilitychange", look, { signal });
    // A page in the back-forward cache must not hold a connection.
    globalThis.addEventListener("pagehide", () => this.#pause(), { signal });
    globalThis.addEventListener("pageshow", look, { signal });
    globalThis.addEventListener("online", () => this.#retryTimer && this.#open(), { signal });
    if (page.visibilityState === "hidden") look();
    return () => {
      clearTimeout(this.#hideTimer);
      controller.abort();
    };
  }

  #pause() {
    if (this.#status.state === "closed") return;
    this.#drop();
    this.#say({ state: "paused" });
  }

  #drop() {
    this.#turn += 1;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    const link = this.#link;
    this.#link = null;
    link?.close();
  }

  #say(status) {
    this.#status = status;
    this.#onStatus(status);
  }

  #open() {
    this.#drop();
    if (!this.#all && this.#wanted.size === 0) return this.#say({ state: "idle" });
    this.#window = null;
    const transport = this.#transports[this.#transport];
    this.#say({ state: "connecting", transport });
    const Link = { websocket: SocketLink, eventstream: StreamLink, poll: PollLink }[transport];
    const link = new Link(this.#base, this.#ask(), {
      message: (message) => this.#link === link && this.#receive(message),
      alive: () => this.#link === link && this.#worked(),
      ended: (reason) => this.#link === link && this.#ended(reason),
    });
    this.#link = link;
    link.start();
  }

  /** What a link needs to know at the moment it connects. */
  #ask() {
    const wanted = [...this.#wanted];
    return {
      all: this.#all,
      // Since a cursor speaks only for what is held, the rest is asked for without one.
      held: this.#cursor ? wanted.filter((sku) => this.#covered.has(sku)) : [],
      fresh: this.#cursor ? wanted.filter((sku) => !this.#covered.has(sku)) : wanted,
      allHeld: Boolean(this.#all && this.#cursor && this.#allCovered),
      since: this.#cursor,
      again: () => this.#ask(),
    };
  }

  #worked() {
    const transport = this.#transports[this.#transport];
    this.#early = 0;
    this.#retries = 0;
    remember(transport);
    if (this.#status.state !== "live") this.#say({ state: "live", transport });
  }

  async #ended({ code, early, retryAfterMs }) {
    const known = this.#window;
    this.#drop();
    if (code >= 4000 && code < 4100) {
      this.#stopListening();
      return this.#say({ state: "closed", code });
    }
    if (early) {
      // A hub that is down fails on every transport; only one that answers otherwise makes this transport the culprit.
      const turn = ++this.#turn;
      const reachable = await this.#reachable();
      if (turn !== this.#turn) return;
      this.#early += reachable ? 1 : 0;
    } else {
      this.#early = 0;
    }
    if (this.#early >= EARLY_FAILURES) {
      this.#early = 0;
      this.#transport = (this.#transport + 1) % this.#transports.length;
    }
    const delay = known ? between(...known) : (retryAfterMs ?? this.#backoff(code));
    this.#retries += 1;
    this.#say({ state: "waiting", code, retryInMs: delay });
    this.#retryTimer = setTimeout(() => this.#open(), delay);
  }

  async #reachable() {
    try {
      const address = new URL("/v1/stock?limit=1", this.#base);
      await fetch(address, { signal: AbortSignal.timeout(OPEN_TIMEOUT_MS), cache: "no-store", credentials: "omit" });
      return true;
    } catch {
      return false;
    }
  }

  #backoff(code) {
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** (this.#retries + 1));
    // The hub asked for patience without saying how much.
    const floor = code >= 4100 && code < 4200 ? 2_000 : RETRY_MIN_MS;
    return between(floor, Math.max(floor, ceiling));
  }

  #receive(message) {
    switch (message.type) {
      case "hello":
        this.#meet(message.generation);
        break;
      case "snapshot":
      case "stock_update":
        this.#meet(generationOf(message.cursor));
        for (const item of message.items) this.#apply(item);
        if (message.cursor) this.#cursor = message.cursor;
        if (message.missing) this.#forget(message.missing);
        break;
      case "gap":
        this.#meet(generationOf(message.to));
        break;
      case "ping":
        if (message.cursor) this.#cursor = message.cursor;
        break;
      case "covers":
        for (const sku of message.skus) if (this.#wanted.has(sku)) this.#covered.add(sku);
        if (message.all) this.#allCovered = true;
        break;
      case "bye":
        this.#window = message.reconnect_after_ms ?? null;
        break;
    }
  }

  /** Versions compare only within a generation: after a restored backup everything is replaced. */
  #meet(generation) {
    if (!generation || generation === this.#generation) return;
    if (this.#generation) this.#versions.clear();
    this.#generation = generation;
  }

  #apply(item) {
    if (!this.#all && !this.#wanted.has(item.sku)) return;
    const held = this.#versions.get(item.sku);
    if (held !== undefined && held >= item.version) return;
    this.#versions.set(item.sku, item.version);
    this.#items.set(item.sku, item);
    this.#onStock(item);
  }

  /** A complete snapshot did not name these (`null`: was of everything): they are no longer listed. */
  #forget({ scope, seen }) {
    for (const sku of scope ?? [...this.#items.keys()]) {
      const held = this.#items.get(sku);
      if (!held || seen.has(sku) || held.removed) continue;
      const gone = { sku, stock: 0, in_stock: false, removed: true, version: held.version };
      this.#items.set(sku, gone);
      this.#onStock(gone);
    }
  }
}

/**
 * Follows a snapshot through its pages, and tells the feed at its end what it covered and what it did not name.
 */
class Pages {
  #scope = new Set();
  #everything = false;
  #seen = new Set();
  #open = false;

  begin(skus, everything) {
    if (!this.#open) this.#seen.clear();
    this.#open = true;
    for (const sku of skus) this.#scope.add(sku);
    this.#everything ||= everything;
  }

  get open() {
    return this.#open;
  }

  note(items) {
    if (this.#open) for (const item of items) this.#seen.add(item.sku);
  }

  end() {
    if (!this.#open) return null;
    const done = { scope: this.#everything ? null : [...this.#scope], seen: new Set(this.#seen) };
    const covers = { type: "covers", skus: [...this.#scope], all: this.#everything };
    this.#scope.clear();
    this.#everything = false;
    this.#open = false;
    return { missing: done, covers };
  }
}

class SocketLink {
  #ask;
  #to;
  #socket;
  #pages = new Pages();
  #asked = new Map();
  #next = 1;
  #heard = false;
  #code = 0;
  #silence = 0;
  #silenceMs = OPEN_TIMEOUT_MS;
  #address;
  #later = [];

  constructor(base, ask, to) {
    this.#ask = ask;
    this.#to = to;
    this.#address = new URL("/v1/stock/ws", base);
    this.#address.protocol = this.#address.protocol.replace("http", "ws");
  }

  start() {
    const { held, fresh, all, allHeld, since } = this.#ask;
    // What can be told in the URL is answered without another round trip.
    const first = all ? { all, skus: [], since: allHeld ? since : null }
      : held.length > 0 ? { skus: held, since }
      : { skus: fresh, since: null };
    const inUrl = (first.all || first.skus.join().length <= URL_CHARS) && !first.skus.some((sku) => sku.includes(","));
    if (inUrl) {
      this.#asked.set(0, first);
      if (first.all) this.#address.searchParams.set("all", "true");
      else this.#address.searchParams.set("skus", first.skus.join());
      if (first.since) this.#address.searchParams.set("since", first.since);
    }
    if (!inUrl) this.#later.push(first);
    if (!all && held.length > 0 && fresh.length > 0) this.#later.push({ skus: fresh, since: null });
    try {
      this.#socket = new WebSocket(this.#address, SUBPROTOCOL);
    } catch {
      return void queueMicrotask(() => this.#end());
    }
    this.#socket.onopen = () => {
      for (const one of this.#later.splice(0)) this.#subscribe(one);
    };
    this.#socket.onmessage = ({ data }) => this.#message(data);
    this.#socket.onclose = ({ code }) => this.#end(code);
    this.#watch();
  }

  more(skus) {
    this.#subscribe({ skus, since: null });
  }

  less(skus) {
    for (const part of parts(skus, 3_000)) this.#send({ type: "unsubscribe", id: this.#next++, skus: part });
  }

  close() {
    clearTimeout(this.#silence);
    if (!this.#socket) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close(1000);
  }

  #subscribe(wanted) {
    // Still shaking hands: it is said as soon as that is done.
    if (this.#socket.readyState !== 1) return void this.#later.push(wanted);
    for (const skus of wanted.all ? [[]] : parts(wanted.skus, SUBSCRIBE_BYTES)) {
      const id = this.#next++;
      this.#asked.set(id, { ...wanted, skus });
      const what = wanted.all ? { all: true } : { skus };
      this.#send({ type: "subscribe", id, ...what, ...(wanted.since ? { since: wanted.since } : {}) });
    }
  }

  #send(message) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  #message(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    this.#watch();
    switch (message.type) {
      case "hello":
        this.#heard = true;
        // A hub that pings and is not heard is gone, whatever the socket believes.
        this.#silenceMs = message.ping_ms * 1.5 + 5_000;
        this.#watch();
        this.#to.message(message);
        return this.#to.alive();
      case "subscribed":
        return this.#outcome(message);
      case "snapshot":
      case "stock_update": {
        this.#pages.note(message.items);
        const done = message.type === "snapshot" && !message.more ? this.#pages.end() : null;
        if (done) this.#to.message(done.covers);
        return this.#to.message({ ...message, missing: done?.missing });
      }
      case "gap":
        // In the middle of a connection: a snapshot of everything this connection wants follows.
        if (!this.#pages.open) this.#pages.begin(this.#everything(), this.#ask.all);
        return this.#to.message(message);
      case "ping":
        this.#to.message(message);
        return this.#send({ type: "pong", ts: message.ts, cursor: this.#ask.again().since ?? undefined });
      case "bye":
        // A hub that turns us away was reached: not the transport's failure.
        this.#heard = true;
        this.#code = message.code;
        return this.#to.message(message);
    }
  }

  #everything() {
    const { held, fresh } = this.#ask.again();
    return [...held, ...fresh];
  }

  #outcome({ id, mode }) {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (!asked) return;
    if (mode === "snapshot") this.#pages.begin(asked.skus, Boolean(asked.all));
    else this.#to.message({ type: "covers", skus: asked.skus, all: Boolean(asked.all) });
  }

  #watch() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.close();
      this.#end();
    }, this.#silenceMs);
  }

  #end(code = 1006) {
    clearTimeout(this.#silence);
    this.#to.ended({ code: this.#code || code, early: !this.#heard });
  }
}

/** What event streams and polls share: they ask for everything in the URL. */
function question(path, base, ask) {
  const { held, fresh, all, allHeld, since } = ask;
  const address = new URL(path, base);
  const skus = [...held, ...fresh];
  if (all) address.searchParams.set("all", "true");
  else if (skus.some((sku) => sku.includes(","))) for (const sku of skus) address.searchParams.append("sku", sku);
  else address.searchParams.set("skus", skus.join());
  // One address has one cursor: with something new among the SKUs, everything is asked for anew.
  const resumes = all ? allHeld : held.length > 0 && fresh.length === 0;
  if (resumes) address.searchParams.set("since", since);
  return { address, resumes, skus: all ? [] : skus };
}

class StreamLink {
  #base;
  #ask;
  #to;
  #source;
  #pages = new Pages();
  #heard = false;
  #code = 0;
  #timer = 0;

  constructor(base, ask, to) {
    this.#base = base;
    this.#ask = ask;
    this.#to = to;
  }

  start() {
    const { address, resumes, skus } = question("/v1/stock/stream", this.#base, this.#ask);
    const { all } = this.#ask;
    if (!resumes) this.#pages.begin(skus, all);
    this.#source = new EventSource(address);
    this.#timer = setTimeout(() => this.#end(), OPEN_TIMEOUT_MS);
    this.#source.onopen = () => {
      clearTimeout(this.#timer);
      this.#heard = true;
      this.#to.alive();
    };
    // Its own way to reconnect knows neither our cursor rules nor our patience.
    this.#source.onerror = () => this.#end();
    const on = (name, act) => this.#source.addEventListener(name, ({ data }) => act(JSON.parse(data)));
    on("stock_update", (message) => {
      this.#pages.note(message.items);
      this.#to.message(message);
    });
    on("snapshot", (message) => {
      this.#pages.note(message.items);
      const done = message.more ? null : this.#pages.end();
      if (done) this.#to.message(done.covers);
      this.#to.message({ ...message, missing: done?.missing });
    });
    on("gap", (message) => {
      if (!this.#pages.open) this.#pages.begin(skus, all);
      this.#to.message(message);
    });
    on("bye", (message) => {
      this.#code = message.code;
      this.#to.message(message);
      this.#end();
    });
  }

  more() {
    this.#restart();
  }

  // What still comes for SKUs that nobody wants is ignored by the feed.
  less() {}

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
  }

  #restart() {
    this.close();
    this.#ask = this.#ask.again();
    this.#pages = new Pages();
    this.start();
  }

  #end() {
    this.close();
    this.#to.ended({ code: this.#code || 1006, early: !this.#heard });
  }
}

class PollLink {
  #base;
  #ask;
  #to;
  #abort = new AbortController();
  #heard = false;

  constructor(base, ask, to) {
    this.#base = base;
    this.#ask = ask;
    this.#to = to;
  }

  async start() {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      this.#ask = this.#ask.again();
      const { address, skus } = question("/v1/stock/poll", this.#base, this.#ask);
      address.searchParams.set("wait", POLL_WAIT_S);
      let answer;
      let body;
      try {
        answer = await fetch(address, { signal, cache: "no-store", credentials: "omit" });
        body = answer.status === 200 ? await answer.json() : null;
      } catch {
        if (!signal.aborted) this.#end();
        return;
      }
      if (signal.aborted) return;
      if (!body && answer.status !== 304) return this.#end(answer);
      this.#heard = true;
      this.#to.alive();
      if (body) this.#answer(body, skus);
      // Nothing changed of what was asked for: the newer cursor keeps the next question small.
      else if (answer.headers.get("etag")) this.#to.message({ type: "ping", cursor: answer.headers.get("etag").replaceAll('"', "") });
    }
  }

  #answer({ mode, cursor, items }, skus) {
    const whole = mode === "snapshot";
    const { all } = this.#ask;
    if (whole) this.#to.message({ type: "covers", skus, all });
    const missing = whole ? { scope: all ? null : skus, seen: new Set(items.map((item) => item.sku)) } : undefined;
    this.#to.message({ type: whole ? "snapshot" : "stock_update", cursor, items, missing });
  }

  more() {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.start();
  }

  less() {}

  close() {
    this.#abort.abort();
  }

  #end(answer) {
    const after = Number(answer?.headers.get("retry-after")) * 1_000;
    this.#to.ended({
      // A hub that says what is wrong with the question will say so again.
      code: answer?.status === 422 ? 4000 : 1006,
      early: !this.#heard,
      retryAfterMs: after > 0 ? between(after / 2, after * 1.5) : undefined,
    });
  }
}

function available(transport) {
  return {
    websocket: typeof WebSocket === "function",
    eventstream: typeof EventSource === "function",
    poll: typeof fetch === "function",
  }[transport];
}

// Storage may be forbidden; then nothing is remembered.
function remembered() {
  try {
    return sessionStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}

function remember(transport) {
  try {
    sessionStorage.setItem(REMEMBERED, transport);
  } catch {}
}

function between(low, high) {
  return Math.round(low + Math.random() * (high - low));
}

function generationOf(cursor) {
  return cursor ? cursor.slice(0, cursor.indexOf(".")) : null;
}

/** Cuts a list so that no part is longer than `bytes` as JSON. */
function parts(skus, bytes) {
  const encoder = new TextEncoder();
  const result = [[]];
  let size = 0;
  for (const sku of skus) {
    const own = encoder.encode(JSON.stringify(sku)).length + 1;
    if (size + own > bytes && size > 0) {
      result.push([]);
      size = 0;
    }
    result.at(-1).push(sku);
    size += own;
  }
  return result;
}

// ---------------------------------------------------------------------------------------------------------------------------
// <stock-level sku="PHONE-001" low="3">
//
// Attributes: sku, low (default 3), hub (default: where this file came from), and the words: text-in, text-low, text-out,
// text-unknown, with {n} for the number. Its state attribute (unknown, in, low, out) and the parts "dot" and "text" are for
// your style sheet. A "stock" event bubbles with the item.

const ANNOUNCE_AFTER_MS = 1_000;
const feeds = new Map();

/** One feed per hub, however many elements. */
function shared(hub) {
  if (feeds.has(hub)) return feeds.get(hub);
  const listeners = new Map();
  const feed = connect({ url: hub, onStock: (item) => listeners.get(item.sku)?.forEach((show) => show(item)) });
  const join = (sku, show) => {
    if (!listeners.has(sku)) listeners.set(sku, new Set());
    listeners.get(sku).add(show);
    feed.add(sku);
    const known = feed.get(sku);
    if (known) show(known);
    return () => {
      listeners.get(sku)?.delete(show);
      if (listeners.get(sku)?.size === 0) {
        listeners.delete(sku);
        feed.remove(sku);
      }
    };
  };
  feeds.set(hub, { join });
  return feeds.get(hub);
}

const STYLE = `
  :host { display: inline-flex; align-items: center; gap: 0.5em; font-variant-numeric: tabular-nums; min-inline-size: 9ch; }
  :host([hidden]) { display: none; }
  [part="dot"] { inline-size: 0.6em; block-size: 0.6em; border-radius: 50%; background: currentColor; opacity: 0.35; flex: none; }
  :host([state="in"]) [part="dot"] { color: var(--stock-in, #1a7f37); opacity: 1; }
  :host([state="low"]) [part="dot"] { color: var(--stock-low, #b35900); opacity: 1; }
  :host([state="out"]) [part="dot"] { color: var(--stock-out, #a40e26); opacity: 1; }
  .said { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;

function define() {
  // A style sheet made in code is allowed by a strict content security policy; a <style> element is not.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);

  class StockLevel extends HTMLElement {
    static observedAttributes = ["sku", "low", "hub", "text-in", "text-low", "text-out", "text-unknown"];
    #leave = null;
    #item = null;
    #text = document.createElement("span");
    #said = document.createElement("span");
    #timer = 0;

    constructor() {
      super();
      const root = this.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [sheet];
      const dot = document.createElement("span");
      dot.part = "dot";
      dot.ariaHidden = "true";
      this.#text.part = "text";
      this.#said.className = "said";
      this.#said.setAttribute("role", "status");
      root.append(dot, this.#text, this.#said);
    }

    connectedCallback() {
      this.#join();
    }

    disconnectedCallback() {
      this.#leave?.();
      this.#leave = null;
      clearTimeout(this.#timer);
    }

    attributeChangedCallback(name, before, after) {
      if (before === after || !this.isConnected) return;
      if (name === "sku" || name === "hub") this.#join();
      else this.#draw();
    }

    get item() {
      return this.#item;
    }

    #join() {
      this.#leave?.();
      this.#leave = null;
      this.#item = null;
      this.#draw();
      const sku = this.getAttribute("sku");
      if (sku) this.#leave = shared(this.getAttribute("hub") ?? HOME).join(sku, (item) => this.#show(item));
    }

    #show(item) {
      const first = this.#item === null;
      this.#item = item;
      this.#draw();
      if (!first) this.#announce();
      this.dispatchEvent(new CustomEvent("stock", { detail: item, bubbles: true, composed: true }));
    }

    #state() {
      const low = Number(this.getAttribute("low") ?? 3);
      if (!this.#item) return "unknown";
      if (!this.#item.in_stock) return "out";
      return this.#item.stock <= low ? "low" : "in";
    }

    #draw() {
      const state = this.#state();
      const words = { unknown: "–", in: "{n} in stock", low: "Only {n} left", out: "Sold out" };
      const number = this.#item ? `${this.#item.stock}${this.#item.more ? "+" : ""}` : "";
      this.setAttribute("state", state);
      this.#text.textContent = (this.getAttribute(`text-${state}`) ?? words[state]).replace("{n}", number);
    }

    // Not every step of a countdown is worth interrupting a listener, and nothing is read twice: the words are taken away again.
    #announce() {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        this.#said.textContent = this.#text.textContent;
        this.#timer = setTimeout(() => (this.#said.textContent = ""), 3_000);
      }, ANNOUNCE_AFTER_MS);
    }
  }

  customElements.define("stock-level", StockLevel);
}

if (globalThis.customElements && !customElements.get("stock-level")) define();
