/** Live stock in a web page. See stockhub.js for a copy-paste example. */

export type Transport = "websocket" | "eventstream" | "poll";

/** What a storefront may know of a product. */
export interface StockItem {
  sku: string;
  /** What may be sold now; never negative. */
  stock: number;
  in_stock: boolean;
  /** Rises with every change of this SKU, within one generation of the hub's data. */
  version: number;
  /** There is more than `stock` says; the shop caps what it shows. */
  more?: boolean;
  /** No longer listed. */
  removed?: boolean;
}

export type FeedStatus =
  /** Nothing to follow yet. */
  | { state: "idle" }
  | { state: "connecting"; transport: Transport }
  | { state: "live"; transport: Transport }
  /** The connection ended and is tried again; `code` is the close code. */
  | { state: "waiting"; code?: number; retryInMs: number }
  /** The tab is hidden. What was missed is made good when it is shown. */
  | { state: "paused" }
  /** Ended for good: by `close()`, or by the hub (codes 4000 to 4099). */
  | { state: "closed"; code?: number };

export interface ConnectOptions {
  /** The hub, like `https://hub.example`. Default: where stockhub.js was loaded from. */
  url?: string | URL;
  skus?: Iterable<string>;
  /** Follow every listed SKU. */
  all?: boolean;
  /** Called once per new state of a SKU, never with an older one after a newer. */
  onStock?: (item: StockItem) => void;
  onStatus?: (status: FeedStatus) => void;
  /** Use only this transport. Default: WebSocket, then event stream, then long-poll. */
  transport?: Transport;
  /** How long the tab may be hidden before the connection is let go. Default 5000. */
  hideAfterMs?: number;
}

export interface Feed {
  add(...skus: (string | string[])[]): void;
  remove(...skus: (string | string[])[]): void;
  get(sku: string): StockItem | undefined;
  close(): void;
  readonly status: FeedStatus;
  /** Opaque: the place in the hub's stream up to which everything is known. */
  readonly cursor: string | null;
}

export function connect(options?: ConnectOptions): Feed;

/** `<stock-level sku="PHONE-001" low="3">` */
export interface StockLevelElement extends HTMLElement {
  readonly item: StockItem | null;
}

declare global {
  interface HTMLElementTagNameMap {
    "stock-level": StockLevelElement;
  }
  interface HTMLElementEventMap {
    /** A `<stock-level>` shows a new state. Bubbles. */
    stock: CustomEvent<StockItem>;
  }
}
