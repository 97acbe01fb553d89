// Every page: its address after `#`, the file that makes it, and its place in the navigation.

const page = (path, file, more = {}) => ({ path, file, ...more });

/** Fixed names stand before patterns that would take them. */
export const ROUTES = [
  page("/", "overview"),
  page("/start", "start"),
  page("/products", "products"),
  page("/products/import", "import", { of: "/products" }),
  page("/products/:sku", "product", { of: "/products" }),
  page("/products/:sku/timeline", "timeline", { of: "/products" }),
  page("/products/:sku/why", "explain", { of: "/products" }),
  page("/orders", "orders"),
  page("/orders/:id", "order", { of: "/orders" }),
  page("/todo", "todo"),
  page("/unmapped", "unmapped", { of: "/todo" }),
  page("/dead-letters", "letters", { of: "/todo" }),
  page("/oversells", "oversells", { of: "/todo" }),
  page("/alerts", "alerts", { of: "/todo" }),
  page("/marketplaces", "marketplaces"),
  page("/marketplaces/:code", "marketplace", { of: "/marketplaces" }),
  page("/webhooks", "webhooks"),
  page("/webhooks/:id", "webhooks", { of: "/webhooks" }),
  page("/reconciliations", "reconciliations"),
  page("/reconciliations/:id", "reconciliations", { of: "/reconciliations" }),
  page("/syncs", "syncs"),
  page("/syncs/:id", "syncs", { of: "/syncs" }),
  page("/analytics", "analytics"),
  page("/settings", "settings"),
  page("/settings/rules", "rules", { of: "/settings" }),
  page("/settings/sinks", "sinks", { of: "/settings" }),
  page("/settings/:part", "people", { of: "/settings" }),
];

/** Groups of the side bar; the first four and "More" are the tabs of a phone. */
export const NAVIGATION = [
  [null, [["/", "Overview", "home"], ["/products", "Products", "box"], ["/orders", "Orders", "receipt"], ["/todo", "To do", "inbox"]]],
  ["Channels", [["/marketplaces", "Marketplaces", "store"], ["/syncs", "Syncs", "refresh"], ["/reconciliations", "Reconciliations", "scale"], ["/webhooks", "Webhooks", "bolt"]]],
  ["Business", [["/analytics", "Analytics", "chart"], ["/settings", "Settings", "gear"]]],
];

/** The route of an address, with the values of its pattern. */
export function match(path) {
  const parts = path.split("/");
  for (const route of ROUTES) {
    const wanted = route.path.split("/");
    if (wanted.length !== parts.length) continue;
    const params = {};
    const fits = wanted.every((name, n) => {
      if (!name.startsWith(":")) return name === parts[n];
      params[name.slice(1)] = decode(parts[n]);
      return parts[n] !== "";
    });
    if (fits) return { ...route, params };
  }
  return null;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The address of a product, whatever its SKU holds. */
export const productHref = (sku, more = "") => `#/products/${encodeURIComponent(sku)}${more}`;
