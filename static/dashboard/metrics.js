// The hub's own figures, read from `/metrics` (Prometheus text).

import { call } from "./api.js";

/** Null where this person or hub does not give them. */
export async function readMetrics(signal) {
  try {
    return new Metrics(await call("GET", "/metrics", { accept: "text/plain", signal }));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null;
  }
}

class Metrics {
  constructor(text) {
    this.lines = [];
    for (const line of text.split("\n")) {
      const [, name, labels, value] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/i.exec(line) ?? [];
      if (!name) continue;
      const named = Object.fromEntries([...(labels ?? "").matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text]) => [key, text]));
      this.lines.push({ name, labels: named, value: Number(value) });
    }
  }

  #fits({ labels }, wanted) {
    return Object.entries(wanted).every(([name, value]) => labels[name] === value);
  }

  /** The sum over all lines of this name and these labels; undefined where there is none. */
  value(name, wanted = {}) {
    const lines = this.lines.filter((line) => line.name === name && this.#fits(line, wanted));
    return lines.length ? lines.reduce((sum, { value }) => sum + value, 0) : undefined;
  }

  /** `[bound, cumulative count]`, rising. */
  histogram(name, wanted = {}) {
    const sums = new Map();
    for (const line of this.lines) {
      if (line.name !== `${name}_bucket` || !this.#fits(line, wanted)) continue;
      const bound = line.labels.le === "+Inf" ? Infinity : Number(line.labels.le);
      sums.set(bound, (sums.get(bound) ?? 0) + line.value);
    }
    return [...sums].sort(([a], [b]) => a - b);
  }
}

/** The bound under which this part of all cases lies; null where there was no case. */
export function quantile(buckets, part) {
  const all = buckets.at(-1)?.[1] ?? 0;
  if (!all) return null;
  const [bound] = buckets.find(([, count]) => count >= part * all) ?? [null];
  return bound === Infinity ? buckets.at(-2)?.[0] ?? null : bound;
}
