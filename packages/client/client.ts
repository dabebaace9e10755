/**
 * A small HTTP client of the Docker Engine API: requests, JSON, streams, and connections taken over for attach and
 * exec. It knows HTTP and the API's error form; what the endpoints mean is its callers' business. One connection is
 * kept and used again; `close` lets the process end.
 */
import { readFileSync } from "node:fs";
import http from "node:http";
import type { Duplex, Readable } from "node:stream";
import type { Endpoint } from "#client/endpoint.ts";
import { BerthError, type ErrorCode } from "#errors/errors.ts";

/** An answer of the daemon with a status of 400 or more. */
export class DaemonError extends BerthError {
  readonly status: number;
  constructor(status: number, message: string, operation: string) {
    super(codeOfStatus(status), message, { operation });
    this.name = "DaemonError";
    this.status = status;
  }
}

/** Nobody answers at the endpoint. */
export class NoDaemonError extends BerthError {
  constructor(endpoint: Endpoint, cause: unknown) {
    super("unavailable", `Cannot connect to the Berth daemon at ${endpoint.host}. Is berthd running?`, {
      operation: "connect to the daemon",
      object: endpoint.host,
      cause,
    });
    this.name = "NoDaemonError";
  }
}

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

export interface RequestOptions {
  query?: Query;
  /** Sent as JSON. */
  body?: unknown;
  /** Sent as it comes, chunked; not together with `body`. */
  stream?: Readable;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** A connection taken over: raw bytes both ways. `multiplexed` when the output has Docker's stream frames. */
export interface HijackedStream {
  socket: Duplex;
  multiplexed: boolean;
}

export class Client {
  readonly endpoint: Endpoint;
  readonly #agent: http.Agent;
  readonly #tls: Promise<typeof import("node:https")> | undefined;

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint;
    this.#tls = endpoint.tls && import("node:https");
    this.#agent = new http.Agent({ keepAlive: true });
  }

  /** Does a daemon answer? Throws NoDaemonError if not. */
  async ping(): Promise<void> {
    await this.text("GET", "/_ping");
  }

  /** The JSON body of an answer; undefined when there is none. Throws DaemonError, NoDaemonError. */
  async json<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const text = await this.text(method, path, options);
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  /** The body of an answer as text. */
  async text(method: string, path: string, options: RequestOptions = {}): Promise<string> {
    return await readAll(await this.request(method, path, options));
  }

  /** Sends a request and resolves with the answer's head; its body is yet to be read. Throws for 400 and above. */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<http.IncomingMessage> {
    const request = await this.#open(method, path, options, {});
    return await new Promise((resolve, reject) => {
      request.on("error", (cause) => reject(this.#explain(cause)));
      request.on("response", (response) => {
        if ((response.statusCode ?? 0) < 400) resolve(response);
        else void refusal(response, `${method} ${path}`).then(reject, reject);
      });
      send(request, options);
    });
  }

  /** Sends a request that turns its connection into a stream (attach, exec start). */
  async hijack(method: string, path: string, options: RequestOptions = {}): Promise<HijackedStream> {
    const request = await this.#open(method, path, options, { Connection: "Upgrade", Upgrade: "tcp" });
    return await new Promise((resolve, reject) => {
      request.on("error", (cause) => reject(this.#explain(cause)));
      request.on("upgrade", (response, socket: Duplex, head: Buffer) => {
        if (head.length > 0) socket.unshift(head);
        const type = response.headers["content-type"] ?? "";
        resolve({ socket, multiplexed: type.includes("multiplexed") });
      });
      request.on("response", (response) => {
        if ((response.statusCode ?? 0) >= 400)
          void refusal(response, `${method} ${path}`).then(reject, reject);
        else reject(new DaemonError(500, "the daemon did not hand over the connection", `${method} ${path}`));
      });
      send(request, options);
    });
  }

  /** Gives up the kept connection. */
  close(): void {
    this.#agent.destroy();
  }

  async #open(
    method: string,
    path: string,
    options: RequestOptions,
    headers: Record<string, string>,
  ): Promise<http.ClientRequest> {
    const { socketPath, address, tls } = this.endpoint;
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    const common: http.RequestOptions = {
      method,
      path: path + encodeQuery(options.query),
      headers: {
        "User-Agent": "berth",
        ...(body !== undefined && {
          "Content-Type": "application/json",
          "Content-Length": Buffer.byteLength(body),
        }),
        ...(body === undefined &&
          options.stream === undefined &&
          method !== "GET" &&
          method !== "HEAD" && { "Content-Length": 0 }),
        ...options.headers,
        ...headers,
      },
      ...(options.signal && { signal: options.signal }),
    };
    if (socketPath !== undefined)
      return http.request({ ...common, socketPath, host: "berth", agent: this.#agent });
    const target = { ...common, host: address?.host, port: address?.port };
    if (!tls) return http.request({ ...target, agent: this.#agent });
    const https = await (this.#tls ?? import("node:https"));
    return https.request({
      ...target,
      agent: false,
      ca: readFileSync(tls.ca),
      cert: readFileSync(tls.cert),
      key: readFileSync(tls.key),
      rejectUnauthorized: tls.verify,
    });
  }

  #explain(cause: Error & { code?: string }): Error {
    const gone = [
      "ECONNREFUSED",
      "ENOENT",
      "ENOTSOCK",
      "EHOSTUNREACH",
      "ENETUNREACH",
      "ETIMEDOUT",
      "ENOTFOUND",
    ];
    if (gone.includes(cause.code ?? "")) return new NoDaemonError(this.endpoint, cause);
    if (cause.code === "EACCES" || cause.code === "EPERM") {
      return new BerthError(
        "forbidden",
        `permission denied while trying to connect to the Berth daemon at ${this.endpoint.host}`,
        {
          operation: "connect to the daemon",
          hint: "Run it as root, or as a member of the socket's group.",
          cause,
        },
      );
    }
    if (cause.code === "ECONNRESET") {
      return new BerthError("unavailable", "the daemon closed the connection before it answered", {
        operation: "talk to the daemon",
        cause,
      });
    }
    return cause;
  }
}

function send(request: http.ClientRequest, options: RequestOptions): void {
  if (options.stream) {
    options.stream.on("error", (error) => request.destroy(error));
    options.stream.pipe(request);
  } else request.end(options.body === undefined ? undefined : JSON.stringify(options.body));
}

function encodeQuery(query: Query | undefined): string {
  if (query === undefined) return "";
  const parts: string[] = [];
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === "") continue;
    const values = Array.isArray(value) ? value : [typeof value === "boolean" ? Number(value) : value];
    for (const one of values) parts.push(`${name}=${encodeURIComponent(String(one))}`);
  }
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

async function readAll(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

async function refusal(response: http.IncomingMessage, operation: string): Promise<DaemonError> {
  const status = response.statusCode ?? 500;
  const text = await readAll(response);
  let message = text.trim();
  try {
    const parsed: unknown = JSON.parse(text);
    if (parsed !== null && typeof parsed === "object" && "message" in parsed)
      message = String(parsed.message);
  } catch {
    // Not JSON: a proxy's or an old daemon's plain text says it as well.
  }
  return new DaemonError(status, message || `the daemon answered ${status}`, operation);
}

function codeOfStatus(status: number): ErrorCode {
  const codes: Record<number, ErrorCode> = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    409: "conflict",
    413: "too-large",
    501: "not-implemented",
    503: "unavailable",
  };
  return codes[status] ?? "internal";
}
