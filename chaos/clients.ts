/** The real clients: requests of the API, and the docker command line for part of the work. */
import { request } from "node:http";
import type { TestDaemon } from "#test/fixtures/daemon.ts";

/** How long a client waits for an answer, ms; only a hang gets there. */
const PATIENCE_MS = 60_000;

export interface Answer {
  /** 0: none came. */
  status: number;
  body: string;
}

export class Clients {
  readonly #daemon: TestDaemon;
  requests = 0;
  unanswered = 0;

  constructor(daemon: TestDaemon) {
    this.#daemon = daemon;
  }

  /** Never rejects: no answer is an answer here, and half a one is none. */
  async ask(method: string, path: string, body?: unknown): Promise<Answer> {
    return await this.#count(exchange(this.#daemon.socket, method, path, body));
  }

  /** The command line: its exit code 0 is an answer, everything else leaves doubt. */
  async docker(...args: string[]): Promise<Answer> {
    const ran = this.#daemon.dockerAsync(...args);
    return await this.#count(
      ran.then(({ code, stdout, stderr }) =>
        code === 0 ? { status: 200, body: stdout } : { status: 0, body: stderr },
      ),
    );
  }

  /** For checks, when all is quiet: what is asked is answered. */
  async get<T>(path: string): Promise<T> {
    const { status, body } = await this.ask("GET", path);
    if (status !== 200) throw new Error(`GET ${path}: ${status} ${body}`);
    return JSON.parse(body) as T;
  }

  async #count(answer: Promise<Answer>): Promise<Answer> {
    this.requests++;
    const { promise: enough, resolve } = Promise.withResolvers<Answer>();
    const timer = setTimeout(() => resolve({ status: 0, body: "no answer in a minute" }), PATIENCE_MS);
    const first = await Promise.race([answer, enough]);
    clearTimeout(timer);
    if (first.status === 0) this.unanswered++;
    return first;
  }
}

/** One request on a connection of its own. A Buffer goes as it is, everything else as JSON. */
function exchange(socketPath: string, method: string, path: string, body: unknown): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const headers = body === undefined || Buffer.isBuffer(body) ? {} : { "Content-Type": "application/json" };
  const sent = request({ socketPath, method, path, headers, agent: false }, (answer) => {
    let text = "";
    answer.on("data", (chunk) => {
      text += chunk;
    });
    answer.on("error", () => {});
    answer.on("close", () => resolve({ status: answer.complete ? (answer.statusCode ?? 0) : 0, body: text }));
  });
  sent.on("error", (error) => resolve({ status: 0, body: String(error) }));
  sent.end(body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  return promise;
}
