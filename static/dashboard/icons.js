// Icons as strokes on a 24 px grid; decoration only, so they are hidden from screen readers.

import { svg } from "./dom.js";

const PATHS = {
  home: "M4 11 12 4l8 7v8a1 1 0 0 1-1 1h-4v-6H9v6H5a1 1 0 0 1-1-1z",
  box: "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8",
  receipt: "M6 3h12v18l-3-2-3 2-3-2-3 2zM9 8h6M9 12h6",
  inbox: "M4 13 6.500 5h11L20 13v6H4zM4 13h4.500a3.500 3.500 0 0 0 7 0H20",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  store: "M4 9l1.500-5h13L20 9M4 9a2.670 2.670 0 0 0 5.330 0 2.670 2.670 0 0 0 5.340 0A2.670 2.670 0 0 0 20 9M5 11v9h14v-9M10 20v-5h4v5",
  chart: "M4 20V4M4 20h16M8 16v-4M12 16V8M16 16v-6",
  bolt: "M13 3 5 14h6l-1 7 8-11h-6z",
  bell: "M6 16V11a6 6 0 0 1 12 0v5l1.500 2h-15zM10 20.500h4",
  scale: "M12 4v16M7 20h10M5 7h14M5 7l-2.500 6h5zM19 7l-2.500 6h5z",
  gear: "M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM12 3v3M12 18v3M3 12h3M18 12h3M5.600 5.600l2.100 2.100M16.300 16.300l2.100 2.100M18.400 5.600l-2.100 2.100M7.700 16.300l-2.100 2.100",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  check: "M5 12.500 10 17 19 7",
  cross: "M6 6l12 12M18 6 6 18",
  right: "M9 6l6 6-6 6",
  left: "M15 6l-6 6 6 6",
  search: "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.500 15.500 20 20",
  refresh: "M20 11a8 8 0 0 0-14.500-4L4 9M4 5v4h4M4 13a8 8 0 0 0 14.500 4L20 15M20 19v-4h-4",
  warn: "M12 4 3 19h18zM12 10v4M12 16.500v.01",
  link: "M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1",
  letter: "M4 6h16v12H4zM4 7l8 6 8-6",
  clock: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4l3 2",
  pause: "M9 6v12M15 6v12",
  play: "M8 5l11 7-11 7z",
  key: "M14.500 4a5.500 5.500 0 0 0-5.300 7L4 16.200V20h4v-2.500h2.500V15l1.800-1.800A5.500 5.500 0 1 0 14.500 4zM16 8v.01",
  people: "M9 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM3 20a6 6 0 0 1 12 0M16 5.500a3 3 0 0 1 0 5.500M17.500 14.500A6 6 0 0 1 21 20",
  sliders: "M5 4v8M5 16v4M12 4v3M12 11v9M19 4v10M19 18v2M3 14h4M10 9h4M17 16h4",
  send: "M4 12 20 4l-5 16-3-7z",
  file: "M7 3h7l4 4v14H7zM14 3v4h4M10 12h5M10 16h5",
  flag: "M6 21V4h11l-2 4 2 4H6",
  out: "M14 5H5v14h9M10 12h10M17 8l4 4-4 4",
  question: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM9.800 9.800a2.300 2.300 0 1 1 3.200 2.100c-.7.3-1 .8-1 1.600M12 16.500v.01",
  edit: "M5 19v-3L16 5l3 3L8 19zM13.500 7.500l3 3",
  truck: "M3 6h11v10H3zM14 10h4l3 3v3h-7M7 16a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM17 16a2 2 0 1 0 0 4 2 2 0 0 0 0-4z",
  rocket: "M12 3c4 3 5 7 4 12H8C7 10 8 6 12 3zM12 9v.01M8 12l-3 3v3l3-2M16 12l3 3v3l-3-2M10 18l2 3 2-3",
};

export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, svg("path", { d: PATHS[name] }));
}
