/**
 * One request from its head to its answer: version, route, handler, errors, access log.
 *
 * Never throws: whatever goes wrong becomes an answer, or, where one was begun, the end of the connection.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Engine } from "#engine/engine-types.ts";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import type { Admitted, Authorization } from "./authorization.ts";
import { answerFor } from "./error-table.ts";
import { decodeFilters } from "./filters.ts";
import { handlers } from "./handlers.ts";
import { sendTakeoverHead } from "./hijack.ts";
import { readJson } from "./json-body.ts";
import { allOperations } from "./operations.ts";
import { Query } from "./query.ts";
import { sendEmpty, sendJson, sendText } from "./reply.ts";
import { discardRest, type RequestBody } from "./request-body.ts";
import type { RequestContext, SpokenVersions } from "./request-context.ts";
import { createRouter, type Match } from "./router.ts";
import { type ApiVersion, compareVersions, negotiate, splitVersion } from "./versions.ts";
import { acceptWebSocket } from "./websocket.ts";

export interface DispatchOptions {
  engine: Engine;
  logger: Logger;
  spoken: SpokenVersions;
  experimental: boolean;
  /** What the Server header says. */
  product: string;
  /** Called at the end of every request. */
  onAnswered: () => void;
  /** Asked about every request and answer while it has plugins. */
  authorization?: Authorization;
}

export interface Incoming {
  request: IncomingMessage;
  response: ServerResponse;
  body: RequestBody;
  signal: AbortSignal;
  /** Set where the connection may be taken over. */
  socket?: Socket;
}

export type Dispatch = (incoming: Incoming) => Promise<void>;

export function createDispatch(options: DispatchOptions): Dispatch {
  const route = createRouter(allOperations);

  return async (incoming) => {
    const { request, response } = incoming;
    const begun = performance.now();
    const { path, search } = splitUrl(request.url ?? "/");
    let operation = "";
    let admitted: Admitted | undefined;
    response.setHeader("Api-Version", options.spoken.newest);
    response.setHeader("Docker-Experimental", String(options.experimental));
    response.setHeader("Ostype", "linux");
    response.setHeader("Server", options.product);
    try {
      const { version, match } = find(path, request.method ?? "");
      operation = match.operation.id;
      if (options.authorization?.active === true) {
        admitted = await options.authorization.admit(request, response, incoming.body, operation);
      }
      const handler = handlers[operation];
      if (handler === undefined) throw notServed(match);
      const shown = admitted === undefined ? incoming : { ...incoming, body: admitted.body };
      await handler(contextFor(shown, match, version, search));
    } catch (error) {
      answerError(incoming, error, operation || `${request.method} ${path}`);
    }
    if (admitted !== undefined) {
      await admitted.settled().catch((error) => answerError(incoming, error, operation));
    }
    if (incoming.socket === undefined) discardRest(request);
    options.onAnswered();
    options.logger.debug("request", {
      method: request.method,
      // Without the query: it may hold what is nobody's business.
      path,
      operation,
      status: response.statusCode,
      milliseconds: Math.round((performance.now() - begun) * 100) / 100,
    });
  };

  function find(rawPath: string, method: string): { version: ApiVersion; match: Match } {
    const { version: requested, path } = splitVersion(decodePath(rawPath));
    const match = route(method, path);
    if (match === undefined) {
      throw new BerthError("not-found", "page not found", { operation: "route request", object: path });
    }
    return { version: negotiate(requested, options.spoken.oldest, options.spoken.newest), match };
  }

  function contextFor(incoming: Incoming, match: Match, version: ApiVersion, search: string): RequestContext {
    const { request, response, body, signal, socket } = incoming;
    const query = new Query(search);
    return {
      engine: options.engine,
      logger: options.logger,
      operation: match.operation.id,
      request,
      response,
      version,
      spoken: options.spoken,
      experimental: options.experimental,
      parameters: match.parameters,
      query,
      body,
      signal,
      filters: () => decodeFilters(query.text("filters")),
      json: (shape, jsonOptions) => readJson(request, body, shape, jsonOptions),
      takeOver(contentType) {
        if (socket === undefined) throw notTakenOver(match, "tcp");
        response.statusCode = request.headers.upgrade === undefined ? 200 : 101;
        sendTakeoverHead(request, response, socket, contentType);
        return socket;
      },
      async takeWebSocket() {
        if (socket === undefined) throw notTakenOver(match, "websocket");
        const messages = await acceptWebSocket(request, socket);
        response.statusCode = 101;
        response.detachSocket(socket);
        return messages;
      },
    };
  }

  function answerError({ request, response }: Incoming, error: unknown, operation: string): void {
    const { status, body } = answerFor(error, options.logger, operation);
    if (response.destroyed || response.writableEnded) return;
    if (response.headersSent) {
      // Half an answer can't be mended; an abrupt end tells the client that it isn't whole.
      response.destroy();
      return;
    }
    for (const name of ["Content-Type", "Content-Length"]) response.removeHeader(name);
    if (status === 304 || request.method === "HEAD") sendEmpty(response, status);
    else if (predatesJson(request.url ?? "")) sendText(response, status, `${body.message}\n`);
    else sendJson(response, status, body);
  }
}

/** Clients of an API older than 1.24 know errors as plain text only, as dockerd still gives them. */
function predatesJson(url: string): boolean {
  const { version } = splitVersion(splitUrl(url).path);
  return version !== undefined && compareVersions(version, "1.24") < 0;
}

function notTakenOver({ operation }: Match, protocol: string): BerthError {
  const message = `this connection cannot be taken over: ask for it with Upgrade: ${protocol}`;
  return new BerthError("invalid", message, { operation: operation.id });
}

function notServed({ operation }: Match): BerthError {
  const { method, path, id } = operation;
  return new BerthError("not-implemented", `${method} ${path} (${id}) is not implemented in this Berth`, {
    operation: id,
  });
}

function splitUrl(url: string): { path: string; search: string } {
  // A proxy's form: the whole address.
  const relative = url.replace(/^https?:\/\/[^/?]*/i, "");
  const at = relative.indexOf("?");
  return at < 0
    ? { path: relative, search: "" }
    : { path: relative.slice(0, at), search: relative.slice(at + 1) };
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch (cause) {
    throw new BerthError("invalid", "invalid escape in the path", {
      operation: "route request",
      object: path,
      cause,
    });
  }
}
