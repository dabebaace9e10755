/**
 * Taking a connection over: attach and exec start answer a head and then speak bare bytes both ways.
 *
 * Two forms: a client that asks for `Upgrade: tcp` gets "101 UPGRADED", one that doesn't gets a "200 OK" and
 * the same bytes. Node hands over the connection, with what came behind the head, only for requests that ask
 * for an upgrade; for the second form the parser is told to treat the request as one (`treatAsUpgrade`). Owns
 * nothing: the engine ends what it is given; `finish` sees it out.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

export const rawStream = "application/vnd.docker.raw-stream";
export const multiplexedStream = "application/vnd.docker.multiplexed-stream";

const takeoverPaths: Readonly<Record<string, RegExp>> = {
  POST: /^(?:\/v[0-9.]+)?\/(?:containers\/.+\/attach|exec\/.+\/start)$/s,
  GET: /^(?:\/v[0-9.]+)?\/containers\/.+\/attach\/ws$/s,
};

/** May this request take its connection over? Decided on method and path alone. */
export function takesOver(request: Pick<IncomingMessage, "method" | "url">): boolean {
  const { method = "", url } = request;
  const paths = takeoverPaths[method];
  if (paths === undefined || url === undefined) return false;
  const end = url.indexOf("?");
  return paths.test(end < 0 ? url : url.slice(0, end));
}

interface Parser {
  onIncoming: (request: IncomingMessage, keepAlive: boolean) => number;
}

/** What an HTTP parser of Node answers to "the head is complete" so that the rest is left alone. */
const leaveTheRest = 2;

/**
 * Makes requests that take over, but do not ask for an upgrade, arrive as "upgrade" events all the same.
 * Relies on the parser Node hangs on a connection; a Node without it serves the upgrade form only.
 */
export function treatAsUpgrade(server: Server, connectionEvent: "connection" | "secureConnection"): void {
  server.on(connectionEvent, (socket: Duplex & { parser?: Parser | null }) => {
    const parser = socket.parser;
    if (parser === undefined || parser === null || typeof parser.onIncoming !== "function") return;
    const ordinary = parser.onIncoming;
    parser.onIncoming = (request, keepAlive) => {
      if (!takesOver(request)) return ordinary(request, keepAlive);
      (request as IncomingMessage & { upgrade: boolean }).upgrade = true;
      return leaveTheRest;
    };
  });
}

/** Writes the head by hand: from here on nothing of HTTP is left on the connection. */
export function sendTakeoverHead(
  request: IncomingMessage,
  response: ServerResponse,
  socket: Socket,
  contentType: string,
): void {
  const upgrade = request.headers.upgrade !== undefined;
  const lines = [upgrade ? "HTTP/1.1 101 UPGRADED" : "HTTP/1.1 200 OK", `Content-Type: ${contentType}`];
  if (upgrade) lines.push("Connection: Upgrade", "Upgrade: tcp");
  for (const name of response.getHeaderNames()) lines.push(`${name}: ${response.getHeader(name)}`);
  response.detachSocket(socket);
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
}

/** How long a client has to hang up after everything was said, in milliseconds. */
const lingerTime = 10_000;

/**
 * Sees a taken-over connection out: what was written is flushed, our side closed, and the client's remaining
 * bytes thrown away until it hangs up, since closing over unread bytes could cost it the end of the output.
 */
export function finish(socket: Duplex): void {
  if (socket.destroyed) return;
  const timer = setTimeout(() => socket.destroy(), lingerTime);
  timer.unref();
  socket.on("close", () => clearTimeout(timer));
  // Once both sides have ended the socket closes by itself.
  socket.end();
  socket.unpipe();
  socket.resume();
}
