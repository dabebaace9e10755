/**
 * An API server over a fake engine on a socket of its own, and clients that speak plain HTTP and bare bytes
 * to it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LogFields, Logger } from "#errors/logger-types.ts";
import { Authorization, type AuthorizationOptions } from "../authorization.ts";
import { type ApiServer, createApiServer } from "../server.ts";
import { FakeEngine } from "./fake-engine.ts";

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of every shape.
  json: any;
}

export interface RequestOptions {
  headers?: Record<string, string>;
  /** Objects go as JSON with its content type. */
  body?: unknown;
}

export interface ServedOptions {
  experimental?: boolean;
  authorization?: Omit<AuthorizationOptions, "logger">;
}

export class Served implements AsyncDisposable {
  readonly engine = new FakeEngine();
  readonly log: { level: string; message: string; fields: LogFields | undefined }[] = [];
  readonly directory = mkdtempSync(join(tmpdir(), "berth-api-"));
  readonly socket = join(this.directory, "api.sock");
  readonly logger: Logger = {
    debug: (message, fields) => void this.log.push({ level: "debug", message, fields }),
    info: (message, fields) => void this.log.push({ level: "info", message, fields }),
    warn: (message, fields) => void this.log.push({ level: "warn", message, fields }),
    error: (message, fields) => void this.log.push({ level: "error", message, fields }),
  };
  readonly server: ApiServer;

  constructor({ experimental = false, authorization }: ServedOptions = {}) {
    this.server = createApiServer({
      engine: this.engine,
      logger: this.logger,
      productVersion: "0.1.0",
      experimental,
      ...(authorization && {
        authorization: new Authorization({ ...authorization, logger: this.logger }),
      }),
    });
  }

  static async start(options: ServedOptions = {}): Promise<Served> {
    const served = new Served(options);
    await served.server.listen([`unix://${served.socket}`]);
    return served;
  }

  /** The response as soon as its head is there. */
  open(method: string, path: string, { headers = {}, body }: RequestOptions = {}): Promise<IncomingMessage> {
    const bytes =
      body === undefined
        ? undefined
        : typeof body === "string" || Buffer.isBuffer(body)
          ? body
          : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        socketPath: this.socket,
        method,
        path,
        agent: false,
        headers: {
          ...(typeof body === "object" && !Buffer.isBuffer(body)
            ? { "Content-Type": "application/json" }
            : {}),
          ...(bytes === undefined ? {} : { "Content-Length": String(Buffer.byteLength(bytes)) }),
          ...headers,
        },
      });
      request.on("response", resolve);
      request.on("error", reject);
      request.end(bytes);
    });
  }

  async ask(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    const response = await this.open(method, path, options);
    const text = await textOf(response);
    const json = /json/.test(response.headers["content-type"] ?? "") ? parse(text) : undefined;
    return { status: response.statusCode ?? 0, headers: response.headers, text, json };
  }

  async createContainer(command: string[], more: object = {}): Promise<string> {
    const { json } = await this.ask("POST", "/containers/create", {
      body: { Image: "busybox", Cmd: command, ...more },
    });
    return json.Id;
  }

  /** A bare connection. */
  connect(): RawConnection {
    return new RawConnection(connect({ path: this.socket, allowHalfOpen: true }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close(0);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Headers of a WebSocket's handshake. */
export const webSocketHeaders =
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/** Collects what comes; can wait for a piece of it or for the end. */
export class RawConnection {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  ended = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
    });
    socket.on("end", () => {
      this.ended = true;
    });
    socket.on("error", () => {
      this.ended = true;
    });
  }

  send(bytes: string | Buffer): this {
    this.socket.write(bytes);
    return this;
  }

  /** What came, once it holds `piece`. */
  async until(piece: string): Promise<string> {
    await eventually(
      () => this.received.includes(piece) || this.ended,
      `to receive ${JSON.stringify(piece)}`,
    );
    return this.received.toString("latin1");
  }

  async end(): Promise<string> {
    await eventually(() => this.ended, "the end of the connection");
    return this.received.toString("latin1");
  }
}

export async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** Waits for something to become true; fails only after a time that nothing here needs. */
export async function eventually(condition: () => boolean, what: string): Promise<void> {
  for (const end = performance.now() + 90_000; performance.now() < end; ) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`waited in vain for ${what}`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A stream of several objects; tests look at the text.
    return undefined;
  }
}
