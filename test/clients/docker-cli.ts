/**
 * The real docker command line as a test instrument: is it here, what does it send, what does it print. An engine that
 * answers from a list stands in for the daemon.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Why the tests with docker's command line cannot run here; false when they can. Wants version 28. */
export function dockerCliMissing(): string | false {
  const { stdout, error } = spawnSync("docker", ["--version"], { encoding: "utf8" });
  if (error !== undefined) return "the docker command line is not installed";
  const version = /version (\d+)\./.exec(stdout)?.[1] ?? "?";
  return version === "28" ? false : `the docker command line here is version ${version}, not 28`;
}

export interface Recorded {
  code: number;
  stdout: string;
  stderr: string;
  /** Body of POST /containers/create; undefined if it came to none. */
  body: unknown;
  query: Record<string, string>;
}

export interface RunOptions {
  cwd: string;
  env: Record<string, string>;
  /** On stdin; nothing otherwise. */
  input?: string;
}

/** Answers by path, for requests other than GET by method and path ("POST /images/prune"). */
export type Answers = Record<string, unknown>;

/** Runs programs against a server that records the create request and answers the rest from a list. */
export class RecordingEngine implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "berth-recording-"));
  readonly #server: http.Server;
  #body: unknown;
  #query: Record<string, string> = {};

  constructor(answers: Answers = {}) {
    this.#server = http.createServer((request, response) => {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        response.setHeader("Api-Version", "1.51");
        response.setHeader("Ostype", "linux");
        const url = new URL(request.url ?? "", "http://engine");
        if (url.pathname.endsWith("/containers/create")) {
          this.#body = JSON.parse(body);
          this.#query = Object.fromEntries(url.searchParams);
          response.statusCode = 201;
          response.end(JSON.stringify({ Id: "c".repeat(64), Warnings: [] }));
        } else if (url.pathname.endsWith("/_ping")) response.end("OK");
        else {
          const path = url.pathname.replace(/^\/v[\d.]+/, "");
          const answer = answers[request.method === "GET" ? path : `${request.method} ${path}`];
          if (request.method !== "GET") this.#query = Object.fromEntries(url.searchParams);
          response.setHeader("Content-Type", "application/json");
          response.statusCode = answer === undefined ? 404 : 200;
          response.end(JSON.stringify(answer ?? { message: "No such thing: x" }));
        }
      });
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.socket, resolve));
  }

  get socket(): string {
    return join(this.#directory, "engine.sock");
  }

  async docker(argv: string[], options: RunOptions): Promise<Recorded> {
    return await this.run("docker", argv, options);
  }

  async run(program: string, argv: string[], options: RunOptions): Promise<Recorded> {
    this.#body = undefined;
    this.#query = {};
    const child = spawn(program, argv, {
      cwd: options.cwd,
      env: {
        PATH: process.env.PATH,
        HOME: this.#directory,
        DOCKER_HOST: `unix://${this.socket}`,
        ...options.env,
      },
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    child.stdin?.end(options.input);
    const output = { stdout: "", stderr: "" };
    child.stdout?.on("data", (chunk) => {
      output.stdout += chunk;
    });
    child.stderr?.on("data", (chunk) => {
      output.stderr += chunk;
    });
    const code = await new Promise<number>((resolve) => child.on("close", (status) => resolve(status ?? -1)));
    return { code, ...output, body: this.#body, query: this.#query };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
