// Node `ws` and Socket.IO as their documentation shows them: a map from SKU to sockets (rooms), one send each.
// Arguments: which, port. The packages stand beside this file, or where STOCKHUB_BENCH_MODULES says.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const [which, port] = process.argv.slice(2);
const load = createRequire(join(process.env.STOCKHUB_BENCH_MODULES || import.meta.dirname, "package.json"));
const names = (url) => new URL(url, "http://x").searchParams.get("skus")?.split(",").filter(Boolean) ?? [];

const server = createServer((request, response) => {
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    publish(body);
    response.writeHead(204).end();
  });
});
server.keepAliveTimeout = 600_000;
let publish;

if (which === "ws") {
  const { WebSocketServer } = load("ws");
  const everybody = new Set();
  const bySku = new Map();
  new WebSocketServer({ server, perMessageDeflate: false }).on("connection", (socket, request) => {
    const wanted = names(request.url);
    const places = wanted.length === 0 ? [everybody] : wanted.map((sku) => {
      if (!bySku.has(sku)) bySku.set(sku, new Set());
      return bySku.get(sku);
    });
    for (const place of places) place.add(socket);
    socket.on("close", () => places.forEach((place) => place.delete(socket)));
    socket.on("error", () => {});
  });
  publish = (body) => {
    for (const socket of everybody) socket.send(body, { binary: false });
    if (bySku.size > 0) for (const socket of bySku.get(JSON.parse(body).sku) ?? []) socket.send(body, { binary: false });
  };
} else {
  const { Server } = load("socket.io");
  const io = new Server(server, { perMessageDeflate: false, serveClient: false, transports: ["websocket"] });
  io.on("connection", (socket) => {
    const wanted = names(socket.handshake.url);
    socket.join(wanted.length === 0 ? "all" : wanted);
  });
  publish = (body) => {
    const change = JSON.parse(body);
    io.to(["all", change.sku]).emit("stock", change);
  };
}
server.listen(Number(port), "127.0.0.1", 4_096);
