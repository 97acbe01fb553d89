// Small charts as SVG. Each has a text for those who cannot see it, and its numbers stand in a table beside it or behind it.

import { h, svg } from "./dom.js";
import { count } from "./format.js";
import { hue } from "./ui.js";

/** Values per marketplace as bars with their numbers: readable without colour. */
export function bars(label, items, { format = count } = {}) {
  const most = Math.max(1, ...items.map(({ value }) => value));
  return h("ul", { class: "bars", "aria-label": label }, items.map(({ code, name, value, href, sub }) =>
    h("li", { key: code },
      h("span", { class: "bar-name" }, h("span", { class: `dot m${hue(code)}`, "aria-hidden": "true" }), href ? h("a", { href }, name) : name),
      h("span", { class: "bar-value num", "data-live": true }, format(value)),
      svg("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
        svg("rect", { width: 100, height: 6, rx: 1, class: "bar-rest" }),
        svg("rect", { width: (100 * Math.max(value, 0)) / most, height: 6, rx: 1, class: `m${hue(code)}` })),
      sub && h("span", { class: "bar-sub" }, sub))));
}

const [HEIGHT, LEFT, BOTTOM, TOP] = [240, 44, 24, 12];

/**
 * Days as stacked columns. `days` are labels, `series` are `{code, name, values}`. The title of each column says its numbers; the whole
 * is summed up in `label`.
 */
export function columns(label, days, series, { format = count } = {}) {
  // Drawn for the room there is, so that its words keep their size.
  const WIDTH = innerWidth < 720 ? 360 : 720;
  const sums = days.map((_, n) => series.reduce((sum, { values }) => sum + Math.max(values[n], 0), 0));
  const scale = steps(Math.max(...sums, 1));
  const top = scale[scale.length - 1];
  const height = HEIGHT - BOTTOM - TOP;
  const step = (WIDTH - LEFT) / days.length;
  const y = (value) => TOP + height * (1 - value / top);
  const every = Math.ceil(days.length / (WIDTH / 90));
  return svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    scale.map((value) => svg("g", {}, svg("line", { class: "rule", x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 8, y: y(value) + 4, class: "axis end" }, format(value)))),
    days.map((day, n) => {
      let base = 0;
      const parts = series.map(({ code, name, values }) => {
        const value = Math.max(values[n], 0);
        base += value;
        return value ? { code, name, value, top: base } : null;
      }).filter(Boolean);
      const x = LEFT + step * n + step * 0.15;
      const title = `${day}: ${format(sums[n])}${parts.map((p) => `\n${p.name}: ${format(p.value)}`).join("")}`;
      return svg("g", { class: "column" }, svg("title", {}, title), svg("rect", { class: "hit", x: LEFT + step * n, y: TOP, width: step, height }),
        parts.map((p) => svg("rect", { class: `m${hue(p.code)}`, x, width: Math.max(step * 0.7, 1), y: y(p.top), height: Math.max(y(p.top - p.value) - y(p.top) - (parts.length > 1 ? 1 : 0), 0.5), rx: 1.500 })),
        n % every === 0 ? svg("text", { class: "axis middle", x: LEFT + step * (n + 0.5), y: HEIGHT - 6 }, day) : null);
    }));
}

/** Round marks from nothing to just above the highest. */
function steps(most) {
  const raw = most / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const size = Math.max(1, [1, 2, 2.500, 5, 10].map((n) => n * power).find((n) => n >= raw) ?? raw);
  return Array.from({ length: Math.ceil(most / size) + 1 }, (_, n) => n * size);
}

export const legend = (series) =>
  h("ul", { class: "legend" }, series.map(({ code, name }) => h("li", {}, h("span", { class: `dot m${hue(code)}`, "aria-hidden": "true" }), name)));
