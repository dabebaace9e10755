/**
 * One HTTP exchange with a registry: redirects, time limits, and failures in the words Docker's users know.
 *
 * Built on node:http and node:https because they alone give what is needed without a dependency: TLS that can be left
 * unverified per host, no hidden retries, proxies from the environment, a body read at our own pace. Used by the event loop
 * (manifests, tokens: small) and by the transfer worker (blobs). Must never send credentials on to another host.
 */
import http, { type IncomingMessage } from "node:http";
import https from "node:https";

/** Time until the answer's header, and between two pieces of its body. Docker's dial limit is 30 s as well. */
const silenceLimitMs = 30_000;
const redirectLimit = 10;

export interface ExchangeRequest {
  method: "GET" | "HEAD" | "POST";
  url: string;
  headers: Record<string, string>;
  /** Accept any TLS certificate. */
  insecure: boolean;
  body?: string;
  signal?: AbortSignal | undefined;
}

export interface ExchangeResponse {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** After redirects. */
  url: string;
  /** Must be read to its end or destroyed. */
  body: IncomingMessage;
}

/** The connection failed or broke: worth another attempt, unless it was refused from the start. */
export class ExchangeError extends Error {
  /** errno name or Node's code: "ECONNREFUSED", "ENOTFOUND", "EPROTO". */
  readonly code: string;

  constructor(message: string, code: string, cause?: unknown) {
    super(message, { cause });
    this.name = "ExchangeError";
    this.code = code;
  }
}

interface Agents {
  http: http.Agent;
  https: https.Agent;
  insecure: https.Agent;
}

let agents: Agents | undefined;

/** Connections are kept and shared by everything in this thread; idle ones do not keep the process alive. */
function agentsOfThread(): Agents {
  agents ??= {
    http: new http.Agent({ keepAlive: true, proxyEnv: process.env }),
    https: new https.Agent({ keepAlive: true, proxyEnv: process.env }),
    insecure: new https.Agent({ keepAlive: true, rejectUnauthorized: false, proxyEnv: process.env }),
  };
  return agents;
}

/** Closes the thread's kept connections. */
export function closeConnections(): void {
  agents?.http.destroy();
  agents?.https.destroy();
  agents?.insecure.destroy();
  agents = undefined;
}

/**
 * Sends a request and follows redirects; answers whatever the status is. Throws ExchangeError where no answer came, and the
 * signal's reason where it was aborted.
 */
export async function exchange(request: ExchangeRequest): Promise<ExchangeResponse> {
  let current = request;
  for (let hop = 0; hop <= redirectLimit; hop++) {
    const response = await send(current);
    const location = response.headers.location;
    if (![301, 302, 303, 307, 308].includes(response.status) || location === undefined) return response;
    response.body.destroy();
    current = redirected(current, location);
  }
  throw new ExchangeError(
    `${verb(request)} "${request.url}": stopped after ${redirectLimit} redirects`,
    "EREDIRECT",
  );
}

/** The whole body, at most `limit` bytes; throws ExchangeError code "ETOOBIG" beyond. */
export async function readBody(response: ExchangeResponse, limit: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  try {
    for await (const piece of response.body as AsyncIterable<Buffer>) {
      length += piece.length;
      if (length > limit) throw new ExchangeError(`the answer is larger than ${limit} bytes`, "ETOOBIG");
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof ExchangeError) throw error;
    throw new ExchangeError(`Get "${response.url}": unexpected EOF`, "EPIPE", error);
  } finally {
    response.body.destroy();
  }
  return Buffer.concat(pieces);
}

function redirected(request: ExchangeRequest, location: string): ExchangeRequest {
  let target: URL;
  try {
    target = new URL(location, request.url);
  } catch (cause) {
    throw new ExchangeError(`${verb(request)} "${request.url}": invalid redirect`, "EREDIRECT", cause);
  }
  const from = new URL(request.url);
  if (target.protocol !== "http:" && target.protocol !== "https:") {
    throw new ExchangeError(`${verb(request)} "${request.url}": redirect to ${target.protocol}`, "EREDIRECT");
  }
  if (from.protocol === "https:" && target.protocol === "http:" && !request.insecure) {
    throw new ExchangeError(
      `${verb(request)} "${request.url}": redirect from https to http (${target.host}) refused`,
      "EREDIRECT",
    );
  }
  const headers = { ...request.headers };
  const sameOrigin = target.host === from.host && target.protocol === from.protocol;
  if (!sameOrigin) delete headers.authorization;
  return { ...request, url: target.href, headers };
}

function send(request: ExchangeRequest): Promise<ExchangeResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<ExchangeResponse>();
  const url = new URL(request.url);
  const kept = agentsOfThread();
  const secure = url.protocol === "https:";
  const options: https.RequestOptions = {
    method: request.method,
    headers: {
      "user-agent": "berth",
      "accept-encoding": "identity",
      ...(request.body === undefined ? {} : { "content-length": Buffer.byteLength(request.body) }),
      ...request.headers,
    },
    agent: secure ? (request.insecure ? kept.insecure : kept.https) : kept.http,
    timeout: silenceLimitMs,
    ...(request.signal === undefined ? {} : { signal: request.signal }),
  };
  const outgoing = secure ? https.request(url, options) : http.request(url, options);
  outgoing.on("response", (body) => {
    resolve({ status: body.statusCode ?? 0, headers: body.headers, url: request.url, body });
  });
  outgoing.on("timeout", () =>
    outgoing.destroy(Object.assign(new Error("i/o timeout"), { code: "ETIMEDOUT" })),
  );
  outgoing.on("error", (error: NodeJS.ErrnoException) => {
    reject(request.signal?.aborted === true ? request.signal.reason : explain(request, url, error));
  });
  outgoing.end(request.body);
  return promise;
}

function verb(request: ExchangeRequest): string {
  return request.method.charAt(0) + request.method.slice(1).toLowerCase();
}

/** Docker passes on Go's network errors; people and scripts know those texts. */
function explain(request: ExchangeRequest, url: URL, error: NodeJS.ErrnoException): ExchangeError {
  const code = error.code ?? "EUNKNOWN";
  return new ExchangeError(`${verb(request)} "${request.url}": ${reasonText(url, error)}`, code, error);
}

function reasonText(url: URL, error: NodeJS.ErrnoException): string {
  const first = error instanceof AggregateError ? (error.errors[0] as NodeJS.ErrnoException) : error;
  const { address, port } = first as { address?: string; port?: number };
  const where =
    address === undefined ? url.host : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  switch (first.code ?? error.code) {
    case "ECONNREFUSED":
      return `dial tcp ${where}: connect: connection refused`;
    case "EHOSTUNREACH":
      return `dial tcp ${where}: connect: no route to host`;
    case "ENETUNREACH":
      return `dial tcp ${where}: connect: network is unreachable`;
    case "ENOTFOUND":
      return `dial tcp: lookup ${url.hostname}: no such host`;
    case "EAI_AGAIN":
      return `dial tcp: lookup ${url.hostname}: Temporary failure in name resolution`;
    case "ETIMEDOUT":
      return `dial tcp ${where}: i/o timeout`;
    case "ECONNRESET":
      return first.message === "socket hang up" ? "EOF" : "read: connection reset by peer";
    case "EPROTO":
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
      return "http: server gave HTTP response to HTTPS client";
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return `tls: failed to verify certificate: x509: certificate is not valid for ${url.hostname}`;
    case "CERT_HAS_EXPIRED":
      return "tls: failed to verify certificate: x509: certificate has expired or is not yet valid";
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    default:
      return first.message;
  }
}
