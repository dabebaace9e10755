/**
 * The API server: node:http in front, the engine behind, nothing in between that remembers anything but open
 * connections.
 *
 * Owns its listeners and connections. No time limit cuts a stream that is under way; only a head that doesn't
 * come within five minutes is.
 */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Engine } from "#engine/engine-types.ts";
import type { Logger } from "#errors/logger-types.ts";
import { descriptorLimit } from "#kernel/process-limits.ts";
import { Admission, connectionLimit } from "./admission.ts";
import type { Authorization } from "./authorization.ts";
import { Connections } from "./connections.ts";
import { createDispatch, type Dispatch, type Incoming } from "./dispatch.ts";
import { finish, takesOver, treatAsUpgrade } from "./hijack.ts";
import {
  closeListener,
  type Listener,
  type ListenOptions,
  openListeners,
  type TlsOptions,
} from "./listeners.ts";
import { bodyBeforeTakeover, bodyOf } from "./request-body.ts";
import { newestVersion, oldestVersion } from "./versions.ts";

export interface ApiServerOptions {
  engine: Engine;
  logger: Logger;
  /** Berth's version, for the Server header. */
  productVersion: string;
  /** "1.24" */
  oldestApiVersion?: string;
  newestApiVersion?: string;
  /** Experimental operations are served, and clients told so. */
  experimental?: boolean;
  /** Connections open at once; as many as there are descriptors for where none is given. */
  connectionLimit?: number;
  /** Called whenever a request has been answered, or has got its stream. */
  onAnswered?: () => void;
  /** Plugins that decide who may do what. */
  authorization?: Authorization;
}

export interface ApiServer {
  /**
   * Starts answering on all of `hosts` ("unix:///…", "tcp://…", "fd://") or on none; answers their addresses,
   * with the port where 0 was asked for. May be called again for more. Throws BerthError.
   */
  listen(hosts: readonly string[], options?: ListenOptions): Promise<string[]>;
  /**
   * Takes no more connections, ends what waits (events, wait, logs), gives what is under way `grace`
   * milliseconds, then hangs up.
   */
  close(grace?: number): Promise<void>;
}

const httpOptions: ServerOptions & {
  allowHalfOpen: boolean;
  shouldUpgradeCallback: (request: IncomingMessage) => boolean;
} = {
  // Uploads and streams take as long as they take.
  requestTimeout: 0,
  keepAliveTimeout: 0,
  headersTimeout: 300_000,
  // Credentials for many registries travel in one header.
  maxHeaderSize: 256 * 1024,
  // Finds dead remote clients of idle streams.
  keepAlive: true,
  keepAliveInitialDelay: 30_000,
  // For TLS, where it isn't Node's default as it is for plain HTTP.
  allowHalfOpen: true,
  // Offers to change to HTTP/2 and the like are passed over.
  shouldUpgradeCallback: takesOver,
};

/** How long a client may take for its TLS handshake, ms; nobody hangs up on it earlier, and the daemon's end waits for it. */
const handshakeTimeout = 10_000;

export function createApiServer(options: ApiServerOptions): ApiServer {
  const { engine, logger, productVersion } = options;
  const spoken = {
    oldest: options.oldestApiVersion ?? oldestVersion,
    newest: options.newestApiVersion ?? newestVersion,
  };
  const dispatch = createDispatch({
    engine,
    logger,
    spoken,
    experimental: options.experimental ?? false,
    product: `Berth/${productVersion} (linux)`,
    onAnswered: options.onAnswered ?? (() => undefined),
    ...(options.authorization && { authorization: options.authorization }),
  });
  const connections = new Connections();
  const admission = new Admission(options.connectionLimit ?? connectionLimit(descriptorLimit()), logger);
  const listeners: Listener[] = [];

  return {
    async listen(hosts, listenOptions = {}) {
      const opened = await openListeners(
        hosts,
        listenOptions,
        (tls) => {
          const server = createServer(tls, dispatch, connections, logger);
          admission.watch(server);
          return server;
        },
        logger,
      );
      listeners.push(...opened);
      for (const { address } of opened) logger.info("API listens", { address });
      return opened.map(({ address }) => address);
    },

    async close(grace = 2000) {
      const closed = listeners.splice(0).map(
        (listener) =>
          new Promise<void>((resolve) => {
            const { server } = listener;
            admission.end(server);
            // Connections fall idle one by one as they get their answers.
            const sweep = setInterval(() => server.closeIdleConnections(), 20);
            closeListener(listener, () => {
              clearInterval(sweep);
              resolve();
            });
          }),
      );
      connections.abortAll();
      const hangUp = setTimeout(() => connections.destroyAll(), grace);
      await Promise.all([...closed, connections.allGone()]);
      clearTimeout(hangUp);
    },
  };
}

function createServer(
  tls: TlsOptions | undefined,
  dispatch: Dispatch,
  connections: Connections,
  logger: Logger,
): Server {
  const server =
    tls === undefined
      ? createHttpServer(httpOptions)
      : createHttpsServer({
          ...httpOptions,
          cert: tls.cert,
          key: tls.key,
          ...(tls.ca === undefined ? {} : { ca: tls.ca }),
          requestCert: tls.verify,
          rejectUnauthorized: tls.verify,
          minVersion: "TLSv1.2",
          handshakeTimeout,
        });
  const connectionEvent = tls === undefined ? "connection" : "secureConnection";
  // A client that has said all it has to say, and shut its side down, still gets its answer.
  (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
  server.on(connectionEvent, (socket: Duplex) => connections.add(socket));
  treatAsUpgrade(server, connectionEvent);

  server.on("request", (request, response) => {
    const signal = connections.signalFor(request.socket, response);
    void dispatch({ request, response, body: bodyOf(request), signal });
  });
  server.on("upgrade", (request, socket, head) => {
    // Node has taken its listener off; a connection that breaks is seen as closed.
    socket.on("error", () => {});
    // What was asked before on it is still to be answered there: it cannot be another's already.
    if (connections.owesAnswer(socket)) socket.destroy();
    else void dispatch(incomingTakeover(request, socket as Socket, head, connections));
  });
  server.on("clientError", refuseMalformed);
  // Out of descriptors, for one: this connection is lost, the server goes on.
  server.on("error", (error) => logger.warn("could not take a connection", { reason: error.message }));
  return server;
}

/** A request whose connection Node has let go of: an ordinary answer still goes out over it, as the last. */
function incomingTakeover(
  request: IncomingMessage,
  socket: Socket,
  head: Buffer,
  connections: Connections,
): Incoming {
  if (head.length > 0) socket.unshift(head);
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.on("finish", () => {
    response.detachSocket(socket);
    finish(socket);
  });
  const signal = connections.signalFor(socket, response);
  return { request, response, body: bodyBeforeTakeover(request, socket), signal, socket };
}

function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  // Before its handshake is done nothing can be said to a client, and its connection would stay.
  const silent = error.code === "ECONNRESET" || error.code === "ERR_TLS_HANDSHAKE_TIMEOUT";
  if (silent || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, message] =
    error.code === "HPE_HEADER_OVERFLOW"
      ? ["431 Request Header Fields Too Large", "request header too large"]
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? ["408 Request Timeout", "the request's head did not come in time"]
        : ["400 Bad Request", "malformed HTTP request"];
  const body = `${JSON.stringify({ message })}\n`;
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}
