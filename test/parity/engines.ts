/**
 * Debian's dockerd and Berth side by side, asked the same by the same command line and in the same version of the API.
 * What differs by nature (ids, times, addresses) is replaced by what it is.
 */
import { spawnSync } from "node:child_process";
import { request as httpRequest } from "node:http";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { Dockerd } from "#test/fixtures/peer-engines.ts";
import { words } from "#test/parity/compare.ts";

/** What Debian's dockerd speaks; so that both answer in the same shapes. */
const API_VERSION = "1.41";
const PATIENCE_MS = 300_000;

export interface Answer {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Reply {
  status: number;
  /** The message of a refusal; empty where there is none. */
  message: string;
  /** Of the first line, where there are several; undefined where it is no JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape are looked into.
  json: any;
}

export interface ParityEngine {
  readonly name: "berth" | "dockerd";
  docker(line: readonly string[], options?: { neutral?: boolean }): Answer;
  /** A bare request in the version both speak, or in another. */
  request(method: string, path: string, body?: unknown, version?: string): Promise<Reply>;
}

export class ParityEngines implements AsyncDisposable {
  readonly dockerd: ParityEngine;
  readonly berth: ParityEngine;
  readonly #daemon: TestDaemon;
  readonly #peer: Dockerd;

  private constructor(daemon: TestDaemon, peer: Dockerd) {
    this.#daemon = daemon;
    this.#peer = peer;
    this.dockerd = engine("dockerd", peer.socket, peer.directory);
    this.berth = engine("berth", daemon.socket, daemon.directory);
  }

  /** `flags`: more for dockerd. */
  static async start(flags: readonly string[] = []): Promise<ParityEngines> {
    const berth = await TestDaemon.start({ subnet: 41 });
    try {
      berth.loadBusybox();
      return new ParityEngines(berth, await Dockerd.start({ flags }));
    } catch (error) {
      await berth.stop();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A container that is left holds mounts under the directory that is to be deleted.
    const left = words(this.dockerd.docker(["ps", "-aq", "--no-trunc"], { neutral: false }).stdout);
    if (left.length > 0) this.dockerd.docker(["rm", "-f", "-v", ...left]);
    try {
      await this.#peer[Symbol.asyncDispose]();
    } finally {
      await this.#daemon.stop();
    }
  }
}

function engine(name: ParityEngine["name"], socket: string, directory: string): ParityEngine {
  const env = {
    ...process.env,
    DOCKER_HOST: `unix://${socket}`,
    DOCKER_API_VERSION: API_VERSION,
    DOCKER_CONFIG: `${directory}/docker-config`,
  };
  return {
    name,
    docker(line, options = {}) {
      const ran = spawnSync("docker", line, {
        env,
        input: "",
        encoding: "utf8",
        timeout: PATIENCE_MS,
        killSignal: "SIGKILL",
      });
      const text = options.neutral === false ? String : neutral;
      return { code: ran.status, stdout: text(ran.stdout), stderr: text(ran.stderr) };
    },
    request: (method, path, body, version = API_VERSION) =>
      request(socket, method, `/v${version}${path}`, body),
  };
}

function request(socketPath: string, method: string, path: string, body: unknown): Promise<Reply> {
  const bytes = body === undefined ? "" : JSON.stringify(body);
  const headers = {
    "Content-Length": String(Buffer.byteLength(bytes)),
    ...(body !== undefined && { "Content-Type": "application/json" }),
  };
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ socketPath, method, path, agent: false, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => {
        const json = jsonOf(text) ?? jsonOf(text.split("\n", 1)[0] ?? "");
        const message = neutral(String(json?.message ?? ""));
        resolve({ status: response.statusCode ?? 0, message, json });
      });
    });
    sent.on("error", reject);
    sent.end(bytes);
  });
}

// biome-ignore lint/suspicious/noExplicitAny: answers of every shape are looked into.
function jsonOf(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Without what two engines cannot have in common. */
export function neutral(text: string): string {
  return text
    .replace(/\b[0-9a-f]{64}\b/g, "<id>")
    .replace(/\b[0-9a-f]{12}\b/g, "<short id>")
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)/g, "<time>")
    .replace(/\/tmp\/berth-(dockerd|test)-\w+\/data/g, "<data root>")
    .replace(/\b10\.213\.4[01]\.\d+/g, "<address>")
    .replace(/\b(02:42|[0-9a-f]{2}:[0-9a-f]{2}):[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}\b/g, "<mac>");
}
