/** The real clients: requests of the API, and the docker command line for part of the work. */
import { spawn } from "node:child_process";
import { request } from "node:http";
import type { TestDaemon } from "#test/fixtures/daemon.ts";

/** How long a client waits for an answer, ms; only a hang gets there. */
const PATIENCE_MS = 60_000;

export interface Answer {
  /** 0: none came. */
  status: number;
  body: string;
}

/** How a command came to its end. */
export interface Ended {
  /** 0 to 255; null where a signal ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
}

export class Clients {
  readonly #daemon: TestDaemon;
  readonly #trace: (line: string) => void;
  requests = 0;
  unanswered = 0;

  /** `trace`: is told of every request and its answer. */
  constructor(daemon: TestDaemon, trace: (line: string) => void) {
    this.#daemon = daemon;
    this.#trace = trace;
  }

  /** Never rejects: no answer is an answer here, and half a one is none. */
  async ask(method: string, path: string, body?: unknown): Promise<Answer> {
    const asked = `${method} ${path}`;
    return await this.#count(asked, exchange(this.#daemon.socket, method, path, body));
  }

  /** The command line: its exit code 0 is an answer, everything else leaves doubt. */
  async docker(...args: string[]): Promise<Answer> {
    const ran = this.#daemon.dockerAsync(...args);
    return await this.#count(
      `docker ${args.join(" ")}`,
      ran.then(({ code, stdout, stderr }) =>
        code === 0 ? { status: 200, body: stdout } : { status: 0, body: stderr },
      ),
    );
  }

  /** The command line with something to read, whose exit code may be a container's. */
  async dockerWith(input: string, ...args: string[]): Promise<Ended> {
    this.requests++;
    const { promise, resolve } = Promise.withResolvers<Ended>();
    const child = spawn("docker", args, { env: this.#daemon.environment, stdio: ["pipe", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    child.stdin.on("error", () => {});
    const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
    child.on("close", (code) => {
      clearTimeout(timer);
      this.#trace(`docker ${args.join(" ")}: ${code} ${stderr.slice(0, 200)}`);
      resolve({ code, stdout, stderr });
    });
    child.stdin.end(input);
    return await promise;
  }

  /** An answer that may be long in coming: it is waited for as long as the daemon likes. */
  async listen(method: string, path: string): Promise<Answer> {
    return await exchange(this.#daemon.socket, method, path, undefined);
  }

  /** What comes of an endless answer in so many ms. */
  async glance(method: string, path: string, milliseconds: number): Promise<Answer> {
    this.requests++;
    return await exchange(this.#daemon.socket, method, path, undefined, milliseconds);
  }

  /** For checks, when all is quiet: what is asked is answered. */
  async get<T>(path: string): Promise<T> {
    const { status, body } = await this.ask("GET", path);
    if (status !== 200) throw new Error(`GET ${path}: ${status} ${body}`);
    return JSON.parse(body) as T;
  }

  /** A command in a container, to its end: its code and what it wrote; undefined where it was not to be had. */
  async exec(id: string, ...command: string[]): Promise<{ code: number | null; text: string } | undefined> {
    const made = await this.ask("POST", `/containers/${id}/exec`, {
      AttachStdout: true,
      AttachStderr: true,
      Tty: true,
      Cmd: command,
    });
    if (made.status !== 201) return undefined;
    const { Id } = JSON.parse(made.body) as { Id: string };
    const ran = await this.ask("POST", `/exec/${Id}/start`, { Detach: false, Tty: true });
    if (ran.status !== 200) return undefined;
    const seen = await this.ask("GET", `/exec/${Id}/json`);
    if (seen.status !== 200) return undefined;
    return { code: (JSON.parse(seen.body) as { ExitCode: number | null }).ExitCode, text: ran.body };
  }

  async #count(asked: string, answer: Promise<Answer>): Promise<Answer> {
    this.requests++;
    const began = new Date().toISOString();
    const { promise: enough, resolve } = Promise.withResolvers<Answer>();
    const timer = setTimeout(() => resolve({ status: 0, body: "no answer in a minute" }), PATIENCE_MS);
    const first = await Promise.race([answer, enough]);
    clearTimeout(timer);
    if (first.status === 0) this.unanswered++;
    this.#trace(`${began} ${asked}: ${first.status} ${first.body.slice(0, 200)}`);
    return first;
  }
}

/**
 * One request on a connection of its own. A Buffer goes as it is, everything else as JSON. With `atMost` (ms) it is ended
 * then, and what had come is the answer.
 */
function exchange(
  socketPath: string,
  method: string,
  path: string,
  body: unknown,
  atMost?: number,
): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const headers = body === undefined || Buffer.isBuffer(body) ? {} : { "Content-Type": "application/json" };
  const sent = request({ socketPath, method, path, headers, agent: false }, (answer) => {
    let text = "";
    answer.on("data", (chunk) => {
      text += chunk;
    });
    answer.on("error", () => {});
    const whole = () => answer.complete || atMost !== undefined;
    answer.on("close", () => resolve({ status: whole() ? (answer.statusCode ?? 0) : 0, body: text }));
  });
  sent.on("error", (error) => resolve({ status: 0, body: String(error) }));
  sent.end(body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  if (atMost !== undefined) {
    const timer = setTimeout(() => sent.destroy(), atMost);
    sent.on("close", () => clearTimeout(timer));
  }
  return promise;
}
