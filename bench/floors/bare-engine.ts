/**
 * An API that does nothing but what the launcher does: the floor of what Docker's command line asks for. Containers and execs
 * are programs compiled beforehand, lists and other answers texts at hand.
 */
import { mkdirSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { dirname } from "node:path";
import type { Duplex } from "node:stream";
import type { Client } from "../peers/peer-types.ts";

/** What the command line has to be told before it asks for anything. */
const VERSION = { "Api-Version": "1.41", Ostype: "linux", Server: "bare" };
const ID = "b".repeat(64);

export interface BareWork {
  /** Runs the container or the exec to its end. */
  run?(): Promise<void>;
  /** Answers by the end of a path: "/containers/json" → text. */
  answers?: Readonly<Record<string, string>>;
}

export class BareEngine implements AsyncDisposable {
  readonly socket: string;
  readonly #server: Server;
  readonly #work: BareWork;
  readonly #connections = new Set<Duplex>();
  /** Streams that end with the run, and waits that are answered then. */
  #attached: Duplex | undefined;
  #waiting: ServerResponse | undefined;
  #ended = false;

  private constructor(socket: string, work: BareWork) {
    this.socket = socket;
    this.#work = work;
    this.#server = createServer((asked, answer) => void this.#answer(asked, answer));
    this.#server.on("upgrade", (asked, connection) => void this.#upgrade(asked, connection));
    this.#server.on("connection", (connection: Socket) => {
      this.#connections.add(connection);
      connection.on("close", () => this.#connections.delete(connection));
    });
  }

  static async start(socket: string, work: BareWork): Promise<BareEngine> {
    mkdirSync(dirname(socket), { recursive: true });
    const engine = new BareEngine(socket, work);
    await new Promise<void>((resolve, reject) => {
      engine.#server.on("error", reject);
      engine.#server.listen(socket, resolve);
    });
    return engine;
  }

  get client(): Client {
    return { words: ["docker"], env: { ...process.env, DOCKER_HOST: `unix://${this.socket}` } };
  }

  async #answer(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const path = (asked.url ?? "").replace(/^\/v[\d.]+/, "").replace(/\?.*/, "");
    asked.resume();
    const json = (text: string, status = 200) =>
      answer.writeHead(status, { ...VERSION, "Content-Type": "application/json" }).end(text);
    const text = this.#work.answers?.[path];
    if (text !== undefined) json(text);
    else if (path === "/_ping") answer.writeHead(200, VERSION).end("OK");
    else if (path === "/containers/create") {
      this.#ended = false;
      json(JSON.stringify({ Id: ID, Warnings: [] }), 201);
    } else if (/^\/containers\/\w+\/start$/.test(path)) {
      await this.#run();
      answer.writeHead(204, VERSION).end();
    } else if (path.endsWith("/wait")) {
      answer.writeHead(200, { ...VERSION, "Content-Type": "application/json" }).flushHeaders();
      this.#waiting = answer;
      if (this.#ended) this.#tell();
    } else if (/^\/containers\/[\w-]+\/exec$/.test(path)) json(JSON.stringify({ Id: ID }), 201);
    else if (path.startsWith("/exec/")) json(JSON.stringify({ ID, Running: false, ExitCode: 0 }));
    else if (path.startsWith("/containers/"))
      json(JSON.stringify({ Id: ID, State: { Running: true }, Config: {} }));
    else json("{}");
  }

  /** Attach of a container, or the start of an exec. */
  async #upgrade(asked: IncomingMessage, connection: Duplex): Promise<void> {
    connection.on("error", () => {});
    connection.write(
      "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
    );
    this.#attached = connection;
    if ((asked.url ?? "").includes("/exec/")) await this.#run();
  }

  async #run(): Promise<void> {
    await this.#work.run?.();
    this.#ended = true;
    this.#tell();
  }

  #tell(): void {
    this.#attached?.end();
    this.#attached = undefined;
    this.#waiting?.end(JSON.stringify({ StatusCode: 0 }));
    this.#waiting = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.socket, { force: true });
  }
}
