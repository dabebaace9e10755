/**
 * One HTTP exchange with a registry: redirects, time limits, and failures in the words Docker's users know.
 *
 * Built on node:http and node:https because they alone give what is needed without a dependency: TLS and proxies that
 * differ by host, no hidden retries, bodies read and written at our own pace. Used by the event loop (manifests, tokens:
 * small) and by the transfer workers (blobs). Must never send credentials on to another host.
 */
import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import { agentFor, type Transport } from "./transport.ts";

const redirectLimit = 10;
/** The header of an answer may take so many times the patience for silence; a registry that digests a large blob is slow. */
const headerPatience = 4;

export interface ExchangeRequest {
  method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  url: string;
  headers: Record<string, string>;
  transport: Transport;
  /** In errors, in place of `url`. */
  shown?: string;
  /** A stream is sent in chunks, at the pace of the other side, and cannot follow redirects. */
  body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  signal?: AbortSignal | undefined;
}

export interface ExchangeResponse {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** After redirects. */
  url: string;
  /** The same for errors. */
  shown: string;
  /** Must be read to its end or destroyed. */
  body: IncomingMessage;
  /** The transport's, milliseconds. */
  patience: number;
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

/**
 * Sends a request and follows redirects; answers whatever the status is. Throws ExchangeError where no answer came, and the
 * signal's reason where it was aborted.
 */
export async function exchange(request: ExchangeRequest): Promise<ExchangeResponse> {
  let current = request;
  for (let hop = 0; hop <= redirectLimit; hop++) {
    const response = await send(current, await agentFor(current.transport, new URL(current.url)));
    const location = response.headers.location;
    if (![301, 302, 303, 307, 308].includes(response.status) || location === undefined) return response;
    if (isStream(current.body)) return response;
    response.body.destroy();
    current = redirected(current, location);
  }
  throw new ExchangeError(
    `${verb(request)} "${shownUrl(request)}": stopped after ${redirectLimit} redirects`,
    "EREDIRECT",
  );
}

/** The whole body, at most `limit` bytes; throws ExchangeError code "ETOOBIG" beyond, ETIMEDOUT where it only trickles. */
export async function readBody(response: ExchangeResponse, limit: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  const deadline = setTimeout(
    () => response.body.destroy(timeout()),
    response.patience * headerPatience,
  ).unref();
  try {
    for await (const piece of response.body as AsyncIterable<Buffer>) {
      length += piece.length;
      if (length > limit) throw new ExchangeError(`the answer is larger than ${limit} bytes`, "ETOOBIG");
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof ExchangeError) throw error;
    if ((error as NodeJS.ErrnoException).code === "ETIMEDOUT") {
      throw new ExchangeError(`Get "${response.shown}": i/o timeout`, "ETIMEDOUT", error);
    }
    throw new ExchangeError(`Get "${response.shown}": unexpected EOF`, "EPIPE", error);
  } finally {
    clearTimeout(deadline);
    response.body.destroy();
  }
  return Buffer.concat(pieces);
}

function redirected(request: ExchangeRequest, location: string): ExchangeRequest {
  let target: URL;
  try {
    target = new URL(location, request.url);
  } catch (cause) {
    throw new ExchangeError(`${verb(request)} "${shownUrl(request)}": invalid redirect`, "EREDIRECT", cause);
  }
  const from = new URL(request.url);
  if (target.protocol !== "http:" && target.protocol !== "https:") {
    throw new ExchangeError(
      `${verb(request)} "${shownUrl(request)}": redirect to ${target.protocol}`,
      "EREDIRECT",
    );
  }
  if (from.protocol === "https:" && target.protocol === "http:" && !request.transport.insecure) {
    throw new ExchangeError(
      `${verb(request)} "${shownUrl(request)}": redirect from https to http (${target.host}) refused`,
      "EREDIRECT",
    );
  }
  const headers = { ...request.headers };
  const sameOrigin = target.host === from.host && target.protocol === from.protocol;
  if (!sameOrigin) delete headers.authorization;
  if (!sameOrigin && request.method === "POST" && request.body !== undefined) {
    throw new ExchangeError(
      `${verb(request)} "${shownUrl(request)}": redirect of a form to ${target.host} refused`,
      "EREDIRECT",
    );
  }
  // Storage behind a registry is often reached by addresses that are a credential in themselves.
  return { ...request, url: target.href, shown: target.origin + target.pathname, headers };
}

function shownUrl({ url, shown, method }: ExchangeRequest): string {
  if (shown !== undefined) return shown;
  // What follows the "?" of an upload's address is the registry's own and lets anybody go on with it.
  return method === "PATCH" || method === "PUT" ? url.replace(/\?.*$/, "") : url;
}

function send(request: ExchangeRequest, agent: http.Agent): Promise<ExchangeResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<ExchangeResponse>();
  const url = new URL(request.url);
  const { body, signal, transport } = request;
  const { patience } = transport;
  const options: https.RequestOptions = {
    method: request.method,
    headers: {
      "user-agent": "berth",
      "accept-encoding": "identity",
      ...(body === undefined || isStream(body) ? {} : { "content-length": Buffer.byteLength(body) }),
      ...request.headers,
    },
    agent,
    timeout: patience,
    ...(signal === undefined ? {} : { signal }),
  };
  const outgoing = url.protocol === "https:" ? https.request(url, options) : http.request(url, options);
  let answer: IncomingMessage | undefined;
  // What gets an upload may be silent for a while: it digests what it got.
  const silenceLimit = body === undefined ? 1 : headerPatience;
  let silences = 0;
  const unanswered = () => timeout(outgoing.socket?.connecting === false ? awaitingText : undefined);
  const onSilence = () => {
    silences++;
    if (answer !== undefined) answer.destroy(timeout());
    else if (!outgoing.writableFinished || silences >= silenceLimit) outgoing.destroy(unanswered());
    else outgoing.socket?.setTimeout(patience);
  };
  // A request passes on only the first of its connection's time-outs.
  outgoing.on("socket", (socket) => {
    socket.on("timeout", onSilence);
    outgoing.once("close", () => socket.off("timeout", onSilence));
  });
  const trickle = isStream(body)
    ? undefined
    : setTimeout(() => outgoing.destroy(unanswered()), patience * headerPatience);
  outgoing.on("response", (message) => {
    clearTimeout(trickle);
    answer = message;
    const { statusCode: status = 0, headers } = message;
    resolve({ status, headers, url: request.url, shown: shownUrl(request), body: message, patience });
  });
  outgoing.on("close", () => clearTimeout(trickle));
  outgoing.on("error", (error: NodeJS.ErrnoException) => {
    reject(signal?.aborted === true ? signal.reason : explain(request, url, error));
  });
  if (!isStream(body)) {
    outgoing.end(body);
    return promise;
  }
  pump(body, outgoing).catch((error) => {
    // What the source of the bytes says is not the network's fault and must not look like it.
    reject(signal?.aborted === true ? signal.reason : error);
    outgoing.destroy();
  });
  return promise;
}

/** Sends all of `body`, or as much as the other side wants: an answer before the end is a refusal. */
async function pump(body: AsyncIterable<Uint8Array>, outgoing: http.ClientRequest): Promise<void> {
  let over = false;
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  for (const event of ["response", "error", "close"]) {
    outgoing.once(event, () => {
      over = true;
      end();
    });
  }
  for await (const piece of body) {
    if (over) return;
    if (outgoing.write(piece)) continue;
    const { promise: drained, resolve: drain } = Promise.withResolvers<void>();
    outgoing.once("drain", drain);
    await Promise.race([drained, ended]);
    outgoing.off("drain", drain);
  }
  if (!over) outgoing.end();
}

function isStream(body: ExchangeRequest["body"]): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && Symbol.asyncIterator in body;
}

const awaitingText = "net/http: timeout awaiting response headers";

function timeout(text = "i/o timeout"): Error {
  return Object.assign(new Error(text), { code: "ETIMEDOUT" });
}

function verb(request: ExchangeRequest): string {
  return request.method.charAt(0) + request.method.slice(1).toLowerCase();
}

/** Docker passes on Go's network errors; people and scripts know those texts. */
function explain(request: ExchangeRequest, url: URL, error: NodeJS.ErrnoException): ExchangeError {
  const code = error.code ?? "EUNKNOWN";
  return new ExchangeError(`${verb(request)} "${shownUrl(request)}": ${reasonText(url, error)}`, code, error);
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
      return error.message === awaitingText ? awaitingText : `dial tcp ${where}: i/o timeout`;
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
      return remoteAlert(error) ?? first.message;
  }
}

/** What the other side of a TLS connection complains of: most often that it wants a certificate of ours. */
function remoteAlert(error: NodeJS.ErrnoException): string | undefined {
  const alert = /^ERR_SSL_(?:TLSV1\d?|SSLV3|SSL\/TLS)_ALERT_(\w+)$/.exec(error.code ?? "")?.[1];
  return alert === undefined ? undefined : `remote error: tls: ${alert.toLowerCase().replaceAll("_", " ")}`;
}
