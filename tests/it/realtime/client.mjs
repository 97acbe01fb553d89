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

// Node has no EventSource. This one does what the client needs of it: named events, open, error, close.
if (transport === "eventstream") {
  globalThis.EventSource = class extends EventTarget {
    #abort = new AbortController();

    constructor(address) {
      super();
      this.#read(address).catch(() => this.#abort.signal.aborted || this.onerror?.());
    }

    async #read(address) {
      const answer = await fetch(address, { signal: this.#abort.signal });
      if (answer.status !== 200) throw new Error(`${answer.status}`);
      this.onopen?.();
      let text = "";
      for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
        const blocks = (text + part).split("\n\n");
        text = blocks.pop();
        for (const block of blocks) this.#tell(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
      }
      throw new Error("the stream ended");
    }

    #tell(lines) {
      const { event, data } = Object.fromEntries(lines.map(([name, value]) => [name, value]));
      if (event) this.dispatchEvent(Object.assign(new Event(event), { data }));
    }

    close() {
      this.#abort.abort();
    }
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
