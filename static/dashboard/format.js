// Numbers, money, times and the hub's own words, as people read them.

const number = new Intl.NumberFormat("en");
const absolute = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });
const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

/** The dash stands for "not known". */
export const count = (value) => (value === null || value === undefined ? "–" : number.format(value));
export const signed = (value) => (value > 0 ? `+${number.format(value)}` : number.format(value).replace("-", "−"));
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** `whole`: from a thousand on without its small change. */
export function money(value, currency, { whole } = {}) {
  const [amount, code] = typeof value === "object" && value ? [value.amount, value.currency] : [value, currency];
  if (amount === null || amount === undefined) return "–";
  if (!code) return amount;
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency: code, currencyDisplay: "narrowSymbol", ...(whole && Math.abs(amount) >= 1_000 ? { maximumFractionDigits: 0 } : {}) }).format(amount);
  } catch {
    return `${amount} ${code}`;
  }
}

export const percent = (ratio) => (ratio === null || ratio === undefined ? "–" : `${(ratio * 100).toFixed(ratio > 0.99 && ratio < 1 ? 2 : 0)} %`);

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 1 ? "< 1 ms" : value < 1_000 ? `${Math.round(value)} ms` : `${(value / 1_000).toFixed(1)} s`;
}

export const full = (time) => absolute.format(new Date(time));

/** "2 min ago"; older than a day the date. */
export function relative(time, now = Date.now()) {
  const seconds = (new Date(time) - now) / 1_000;
  const size = Math.abs(seconds);
  if (size < 10) return "just now";
  if (size < 60) return ago.format(Math.round(seconds), "second");
  if (size < 3_600) return ago.format(Math.round(seconds / 60), "minute");
  if (size < 86_400) return ago.format(Math.round(seconds / 3_600), "hour");
  return `${date.format(new Date(time))}, ${clock.format(new Date(time))}`;
}

export const dayOf = (text) => date.format(new Date(`${text}T12:00:00Z`));

/** UTC day, so many days back: what the hub's analytics counts in. */
export const utcDay = (back = 0) => new Date(Date.now() - back * 86_400_000).toISOString().slice(0, 10);

const WORDS = {
  marketplace_sale: "Sold", sale: "Sold", order_cancelled: "Cancelled", returned: "Returned", topup: "Topped up", manual: "Changed by hand",
  adjusted: "Corrected", reserved: "Held", released: "Hold released", shipped: "Shipped", moved: "Moved", reconciliation: "Reconciled",
  opening: "Opening stock", order_created: "Sold", api_sync: "Synced", count: "Counted", api: "API",
};

/** Snake case as a sentence: `low_stock` → "Low stock". */
export function words(text) {
  if (!text) return "";
  const known = WORDS[text] ?? text.replaceAll(/[_.-]+/g, " ");
  return known.charAt(0).toUpperCase() + known.slice(1);
}

/** `token:anna` → "anna (token)"; the rest as it is. */
export function actor(text) {
  if (!text) return "";
  const [kind, ...rest] = text.split(":");
  const name = rest.join(":");
  if (!name) return text;
  return kind === "user" ? name : kind === "marketplace" ? name : `${name} (${kind})`;
}
