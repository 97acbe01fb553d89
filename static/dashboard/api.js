// Calls to the hub. Every failure comes out as a `Problem` that a page can show: what happened, and what to do.

import { session } from "./session.js";

/** What the hub, or the way to it, answered instead of doing it (RFC 9457). */
export class Problem extends Error {
  constructor(status, body, retryAfter = null) {
    super(body.detail ?? body.title ?? `The hub answered ${status}.`);
    this.status = status;
    this.body = body;
    this.title = body.title ?? "That did not work";
    this.detail = body.detail ?? null;
    this.errors = body.errors ?? [];
    this.slug = (body.type ?? "").split(":").pop();
    this.retryAfter = retryAfter;
  }

  /** The hub has no such address: an older hub, or a part that is switched off. */
  get absent() {
    return this.slug === "not-found" || this.status === 405;
  }
}

const UNREACHABLE = {
  type: "urn:stockhub:problem:unreachable",
  title: "The hub cannot be reached",
  detail: "Look at your connection. Nothing is lost: what was already done stays done.",
};

const SECRET = /^\/v1\/(auth\/|admin\/(tokens|storefront-keys|users|sinks|live)\b)|\/rotate-secret$/;

/** One call; `body` goes as JSON unless it is text (then as `kind`). Gives the parsed answer, or text where it is no JSON. */
export async function call(method, path, { body, kind, query, accept, signal, headers = {} } = {}) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  const sent = { accept: accept ?? "application/json", ...headers };
  if (session.token) sent.authorization = `Bearer ${session.token}`;
  if (body !== undefined) sent["content-type"] = kind ?? "application/json";
  // A write that is sent twice because the line broke is done once. What answers with a secret is not kept by the hub, so it cannot be.
  if (method !== "GET" && !SECRET.test(path)) sent["idempotency-key"] ??= randomId();
  const request = { method, headers: sent, signal, body: body === undefined || kind ? body : JSON.stringify(body), credentials: "same-origin" };
  const answer = await patiently(url, request);
  const text = await answer.text();
  const json = answer.headers.get("content-type")?.includes("json");
  const parsed = json && text ? JSON.parse(text) : text;
  if (answer.ok) return parsed;
  const problem = new Problem(answer.status, json ? parsed : { title: `The hub answered ${answer.status}` }, Number(answer.headers.get("retry-after")) || null);
  if (answer.status === 401 && session.user && !path.startsWith("/v1/auth/")) session.ended();
  throw problem;
}

/** A hub that asks for patience, or a line that broke, gets one more try with the same key. */
async function patiently(url, request) {
  const safe = request.method === "GET" || request.headers["idempotency-key"];
  for (let again = safe ? 1 : 0; ; again--) {
    try {
      const answer = await fetch(url, request);
      const wait = Number(answer.headers.get("retry-after"));
      if (answer.status !== 503 || again < 1 || !(wait <= 3)) return answer;
      await new Promise((done) => setTimeout(done, wait * 1000));
    } catch (error) {
      if (error.name === "AbortError") throw error;
      if (again < 1) throw new Problem(0, UNREACHABLE);
      await new Promise((done) => setTimeout(done, 400));
    }
  }
}

export const get = (path, query, more) => call("GET", path, { query, ...more });
export const post = (path, body, more) => call("POST", path, { body, ...more });
export const put = (path, body, more) => call("PUT", path, { body, ...more });
export const patch = (path, body, more) => call("PATCH", path, { body, ...more });
export const remove = (path, more) => call("DELETE", path, more);

/** A page of a search. One call looks through a stretch of a long list; this goes on from there until the page is full, `looks` times at most. */
export async function search(path, query, { looks = 5, ...more } = {}) {
  let page = await get(path, query, more);
  for (let n = 1; n < looks && page.looked_back_to && page.items.length < query.limit; n++) {
    const next = await get(path, { ...query, limit: query.limit - page.items.length, cursor: page.next_cursor }, more);
    page = { ...next, items: [...page.items, ...next.items] };
  }
  return page;
}

/** An answer, or this instead where the hub has no such address (yet) or this person may not ask. */
export async function getOr(instead, path, query, more) {
  try {
    return await get(path, query, more);
  } catch (error) {
    if (error instanceof Problem && (error.absent || error.status === 403)) return instead;
    throw error;
  }
}

/** `randomUUID` is not there on a plain-HTTP address that is not loopback. */
export function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Fetches a file the way a link cannot: with the token. */
export async function download(path, name, { query, accept = "text/csv" } = {}) {
  const text = await call("GET", path, { query, accept });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: accept }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
