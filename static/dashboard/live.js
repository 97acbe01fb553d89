// What happens in the hub, as it happens: a WebSocket with a one-time ticket, or a steady look where that is not there.

import { post, Problem } from "./api.js";

const TICK = 5_000;
const WAITS = [500, 1_000, 2_000, 5_000, 10_000];

/** Listeners get `{type:"change", kind, …}`, or `{type:"tick"}` when it is time to look. */
const listeners = new Set();
const watchers = new Set();
let state = "off";
let socket = null;
let timer = null;
let tries = 0;
let running = false;

export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** "live", "polling", "waiting" or "off", now and whenever it changes. */
export function onState(watcher) {
  watchers.add(watcher);
  watcher(state);
  return () => watchers.delete(watcher);
}

export function start() {
  if (running) return;
  running = true;
  connect();
}

export function stop() {
  running = false;
  clearTimeout(timer);
  socket?.close();
  socket = null;
  become("off");
}

document.addEventListener("visibilitychange", () => {
  // A page that was hidden may have missed anything.
  if (running && !document.hidden) tell({ type: "tick" });
});
addEventListener("online", () => running && state !== "live" && (clearTimeout(timer), connect()));

function become(next) {
  if (next === state) return;
  state = next;
  for (const watcher of watchers) watcher(state);
}

function tell(change) {
  for (const listener of listeners) listener(change);
}

async function connect() {
  if (!running) return;
  let ticket;
  try {
    ({ ticket } = await post("/v1/admin/live/ticket"));
  } catch (error) {
    if (error instanceof Problem && error.absent) return poll();
    return retry();
  }
  if (!running) return;
  const url = new URL("/v1/admin/live", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("ticket", ticket);
  socket = new WebSocket(url);
  socket.onopen = () => {
    // Whatever happened since the last look is fetched once.
    if (tries) tell({ type: "tick" });
    tries = 0;
    become("live");
  };
  socket.onmessage = ({ data }) => {
    const frame = parse(data);
    if (frame?.type === "change") tell(frame);
    // The hub says that it could not keep up with us: look at everything.
    else if (frame?.type === "gap" || frame?.type === "resync") tell({ type: "tick" });
  };
  socket.onclose = () => {
    socket = null;
    if (running) retry();
  };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function retry() {
  become("waiting");
  const wait = WAITS[Math.min(tries++, WAITS.length - 1)] * (0.75 + Math.random() / 2);
  timer = setTimeout(connect, wait);
}

function poll() {
  become("polling");
  timer = setTimeout(() => {
    if (!document.hidden) tell({ type: "tick" });
    if (running) poll();
  }, TICK);
}
