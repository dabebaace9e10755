/**
 * Authorization plugins: each request is shown to them before its handler runs, each answer that is given whole before it goes
 * out, in the order of the configuration; the first that says no ends it (Docker's protocol, AuthZPlugin).
 *
 * Fails closed: a plugin that is missing, silent or says that it failed lets nothing through. No JSON reaches a handler that
 * the plugins have not seen: what is too large to be shown is refused. Streams and connections that are taken over are never
 * held up: plugins see what asked for them. Credentials of registries are not shown to anybody.
 */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import type { TLSSocket } from "node:tls";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { jsonLimit, mediaType } from "./json-body.ts";
import type { RequestBody } from "./request-body.ts";

/** Not shown to plugins, as with dockerd. */
const CREDENTIAL_HEADERS = new Set(["authorization", "x-registry-auth", "x-registry-config"]);
/** Their bodies are archives, whatever the client calls them. */
const ARCHIVE_OPERATIONS = new Set(["ImageLoad", "ImageCreate", "ImageBuild", "PutContainerArchive"]);
/** Its body is a password. */
const LOGIN_OPERATION = "SystemAuth";

export interface AuthorizationOptions {
  /** Of the plugins, in order; may change while the server runs. */
  names: readonly string[];
  /** Asks one plugin; `method` as in the protocol. Throws Error where it cannot answer. */
  ask: (plugin: string, method: string, question: object) => Promise<Record<string, unknown>>;
  logger: Logger;
}

/** What a plugin is told (Docker's names); bodies are in base64, certificates in base64 of PEM. */
interface Question {
  User?: string;
  UserAuthNMethod?: string;
  RequestMethod?: string;
  RequestUri?: string;
  RequestBody?: string;
  RequestHeaders?: Record<string, string>;
  RequestPeerCertificates?: string[];
  ResponseStatusCode?: number;
  ResponseBody?: string;
  ResponseHeaders?: Record<string, string>;
}

/** A request that was let in. */
export interface Admitted {
  /** As the client's, though it has been read. */
  body: RequestBody;
  /** Resolves when the plugins have let the answer out, if there is one to ask about. Throws as `admit`. */
  settled(): Promise<void>;
}

export class Authorization {
  readonly #options: AuthorizationOptions;

  constructor(options: AuthorizationOptions) {
    this.#options = options;
  }

  /** Is there anybody to ask? */
  get active(): boolean {
    return this.#options.names.length > 0;
  }

  /**
   * Asks whether a request may go on; from then on its answer is held until `settled`. Throws BerthError "forbidden" with
   * Docker's text, "internal" for a plugin that cannot say, "too-large".
   */
  async admit(
    request: IncomingMessage,
    response: ServerResponse,
    body: RequestBody,
    operation: string,
  ): Promise<Admitted> {
    const shown = isShown(request, body, operation) ? await body.read(jsonLimit) : undefined;
    const question: Question = {
      ...identity(request),
      RequestMethod: request.method ?? "",
      RequestUri: request.url ?? "",
      ...(shown !== undefined && shown.length > 0 && operation !== LOGIN_OPERATION
        ? { RequestBody: shown.toString("base64") }
        : {}),
      RequestHeaders: requestHeaders(request),
    };
    await this.#ask("AuthZReq", question);
    const held = new HeldAnswer(response);
    return {
      body: shown === undefined ? body : readBefore(shown),
      settled: async () => {
        const answer = held.answer;
        if (answer === undefined) return held.letGo();
        const json = mediaType(String(answer.headers["Content-Type"] ?? "")) === "application/json";
        try {
          await this.#ask("AuthZRes", {
            ...question,
            ResponseStatusCode: answer.status,
            ResponseHeaders: answer.headers,
            ...(json && operation !== LOGIN_OPERATION
              ? { ResponseBody: answer.body.toString("base64") }
              : {}),
          });
        } catch (error) {
          held.discard();
          throw error;
        }
        held.letGo();
      },
    };
  }

  async #ask(method: "AuthZReq" | "AuthZRes", question: Question): Promise<void> {
    // Whoever is in the list twice is asked once.
    for (const name of new Set(this.#options.names)) {
      const { Allow, Msg } = await this.#answerOf(name, method, question);
      if (Allow === true) continue;
      const reason = typeof Msg === "string" ? Msg : "";
      const { RequestMethod: asked, User: user = "" } = question;
      this.#options.logger.warn("denied by a plugin", {
        plugin: name,
        call: method,
        method: asked,
        user,
        reason,
      });
      throw new BerthError("forbidden", `authorization denied by plugin ${name}: ${reason}`, {
        operation: "authorize request",
        object: name,
      });
    }
  }

  async #answerOf(name: string, method: string, question: Question): Promise<Record<string, unknown>> {
    try {
      return await this.#options.ask(name, `AuthZPlugin.${method}`, question);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new BerthError("internal", `plugin ${name} failed with error: ${reason}`, {
        operation: "authorize request",
        object: name,
        cause,
      });
    }
  }
}

/** JSON, whatever its length is said to be: what a handler would read as JSON, plugins have seen. */
function isShown(request: IncomingMessage, body: RequestBody, operation: string): boolean {
  if (body.length === 0 || ARCHIVE_OPERATIONS.has(operation)) return false;
  return mediaType(request.headers["content-type"] ?? "") === "application/json";
}

/** Who asks, as far as a certificate tells it. */
function identity(request: IncomingMessage): Question {
  const socket = request.socket as Partial<TLSSocket>;
  const certificate = socket.authorized === true ? socket.getPeerX509Certificate?.() : undefined;
  if (certificate === undefined) return {};
  const { CN } = socket.getPeerCertificate?.().subject ?? {};
  // Several names are possible; the last is the one that Go takes.
  const user = Array.isArray(CN) ? CN.at(-1) : CN;
  return {
    ...(user === undefined || user === "" ? {} : { User: user }),
    UserAuthNMethod: "TLS",
    RequestPeerCertificates: [Buffer.from(certificate.toString()).toString("base64")],
  };
}

/** With names as Go writes them: plugins look them up by those. Of several the last, without Host, which Go keeps elsewhere. */
function requestHeaders({ rawHeaders }: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? "").toLowerCase();
    if (name === "host" || CREDENTIAL_HEADERS.has(name)) continue;
    headers[goName(name)] = rawHeaders[index + 1] ?? "";
  }
  return headers;
}

/** "content-type": "Content-Type". */
function goName(name: string): string {
  return name.toLowerCase().replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
}

function readBefore(bytes: Buffer): RequestBody {
  return {
    length: bytes.length,
    stream: () => Readable.from([bytes]),
    read: async (limit) => {
      if (bytes.length <= limit) return bytes;
      throw new BerthError("too-large", `request body too large: the limit is ${limit} bytes`, {
        operation: "read request body",
      });
    },
  };
}

/**
 * An answer that stays here while it is whole: `writeHead` and one `end`. What is written piece by piece, or has its head sent
 * by itself, is a stream and goes out as it comes.
 */
class HeldAnswer {
  readonly #response: ServerResponse;
  #head: [number, OutgoingHttpHeaders] | undefined;
  #whole: Buffer | undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
    // Properties of this one object, in front of the methods of its class.
    Object.assign(response, {
      writeHead: (status: number, headers: OutgoingHttpHeaders = {}) => {
        this.#head = [status, headers];
        response.statusCode = status;
        return response;
      },
      flushHeaders: () => {
        this.letGo();
        response.flushHeaders();
      },
      write: (...words: Parameters<ServerResponse["write"]>) => {
        this.letGo();
        return response.write(...words);
      },
      end: (body?: string | Buffer) => {
        // The last word counts: a handler that failed after its answer.
        this.#whole = Buffer.from(body ?? "");
        return response;
      },
    });
  }

  get answer(): { status: number; headers: Record<string, string>; body: Buffer } | undefined {
    if (this.#whole === undefined) return undefined;
    const [status, headers] = this.#head ?? [this.#response.statusCode, {}];
    const all = { ...this.#response.getHeaders(), ...headers };
    return {
      status,
      headers: Object.fromEntries(Object.entries(all).map(([name, value]) => [goName(name), String(value)])),
      body: this.#whole,
    };
  }

  /** Out with it: from here on it is an answer like any other. */
  letGo(): void {
    const [head, whole] = [this.#head, this.#whole];
    this.discard();
    if (head !== undefined) this.#response.writeHead(...head);
    if (whole !== undefined) this.#response.end(whole.length > 0 ? whole : undefined);
  }

  /** As if nothing had been said. */
  discard(): void {
    for (const name of ["writeHead", "flushHeaders", "write", "end"])
      Reflect.deleteProperty(this.#response, name);
    this.#head = undefined;
    this.#whole = undefined;
  }
}
