// Runs the browser client outside a browser: what it calls back is printed, what is typed is done.
// Arguments: the client's file, the hub, the transport (or "any"), the SKUs.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [file, url, transport, skus] = process.argv.slice(2);
const print = (what) => console.log(JSON.stringify(what));

// A page that can be hidden.
const page = new EventTarget();
page.visibilityState = "visible";
globalThis.document = page;
globalThis.addEventListener = (...rest) => page.addEventListener(...rest);

if (transport === "broken-websocket") {
  globalThis.WebSocket = class {
    constructor() {
      setTimeout(() => this.onclose?.({ code: 1006 }), 5);
    }
    close() {}
  };
}

const { connect } = await import(pathToFileURL(file));
const feed = connect({
  url,
  skus: skus ? skus.split(",") : [],
  transport: ["any", "broken-websocket"].includes(transport) ? undefined : transport,
  hideAfterMs: 50,
  onStock: (item) => print({ stock: item }),
  onStatus: (status) => print({ status }),
});

const commands = {
  add: (sku) => feed.add(sku),
  remove: (sku) => feed.remove(sku),
  hide: () => look("hidden"),
  show: () => look("visible"),
  close: () => feed.close(),
};

function look(state) {
  page.visibilityState = state;
  page.dispatchEvent(new Event("visibilitychange"));
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const [command, argument] = line.split(" ");
  commands[command](argument);
  print({ did: line });
});
