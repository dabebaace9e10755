/**
 * Which parameters and body fields the API's handlers take: each is given, alone, to a real API server before an engine that
 * only notes what it is asked. What changes neither what the engine is asked nor the answer is not taken.
 *
 * Whether the engine behind heeds what it is asked is for the observation of a real daemon to say (observe.ts).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, Readable } from "node:stream";
import { createApiServer } from "#api/server.ts";
import type { Engine } from "#engine/engine-types.ts";
import { BerthError } from "#errors/errors.ts";
import {
  type ApiOperation,
  compareWithType,
  engineApi,
  fieldsOf,
  objectWith,
  samplesOf,
} from "./engine-api.ts";

export interface Taken {
  query: string[];
  headers: string[];
  body: string[];
}

/** What an operation must be given for the rest to be looked at; where there are several, each is tried. */
const needed: Record<string, string[]> = {
  ContainerArchive: ["path=/a"],
  ContainerArchiveInfo: ["path=/a"],
  ContainerLogs: ["stdout=1", "stderr=1"],
  ContainerResize: ["h=1&w=1", "h=1&w=7", "h=7&w=1"],
  ExecResize: ["h=1&w=1", "h=1&w=7", "h=7&w=1"],
  ContainerStats: ["stream=0", ""],
  ImageCreate: ["fromImage=a", "fromSrc=-", ""],
  ImageGetAll: ["names=a"],
  ImageSearch: ["term=a"],
  PutContainerArchive: ["path=/a"],
};

const neededBody: Record<string, object> = {
  ContainerCreate: { Image: "a" },
  ContainerExec: { Cmd: ["a"] },
};

/** Values for parameters that do not take any. */
const accepted: Record<string, string[]> = {
  condition: ["removed"],
  filters: ['{"label":["a"]}'],
  type: ["volume"],
  platform: ["linux/amd64", '{"os":"linux","architecture":"amd64"}'],
  platforms: ['{"os":"linux","architecture":"amd64"}'],
  since: ["7"],
  until: ["7"],
  tail: ["7"],
  signal: ["SIGUSR1"],
  limit: ["7"],
  fromSrc: ["-"],
  scope: ["local", "swarm"],
};

const byType: Record<string, string[]> = { boolean: ["1", "0"], integer: ["7"], json: ['{"a":"b"}'] };

/** Where another answer than without it may be an error: what it asks for is not there. */
const refusing = new Set(["NetworkInspect scope"]);

const registryAuth = Buffer.from(JSON.stringify({ username: "a", password: "b" })).toString("base64url");

export class Probe implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "berth-probe-"));
  readonly #socket = join(this.#directory, "api.sock");
  #calls: unknown[] = [];
  #failing = false;
  readonly #server = createApiServer({
    engine: recordingEngine(
      (call) => this.#calls.push(call),
      () => this.#failing,
    ),
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    productVersion: "0.1.0",
  });

  static async start(): Promise<Probe> {
    const probe = new Probe();
    await probe.#server.listen([`unix://${probe.#socket}`]);
    return probe;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close(0);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async taken(id: string): Promise<Taken> {
    const operation = engineApi.operations[id];
    if (operation === undefined) throw new Error(`the specification has no ${id}`);
    const query: string[] = [];
    for (const [name, type] of Object.entries(operation.query ?? {}))
      if (await this.#takesParameter(id, operation, name, type)) query.push(name);
    const headers: string[] = [];
    for (const name of operation.headers ?? []) {
      const given = { headers: { [name]: name === "X-Registry-Auth" ? registryAuth : "probe" } };
      const bases = (needed[id] ?? [""]).map((base) => ({ query: base }));
      if (await this.#differs(operation, bases, (base) => [{ ...base, ...given }])) headers.push(name);
    }
    return { query, headers, body: await this.#takenOfBody(id, operation) };
  }

  /** Fields of answers that only tell of a failure under way, which is not had by asking. */
  async failureFields(id: string): Promise<string[]> {
    const query = { ContainerWait: "", ImageCreate: "fromImage=a", ImagePush: "" }[id];
    if (query === undefined) return [];
    const operation = engineApi.operations[id];
    if (operation?.answer === undefined) return [];
    this.#failing = true;
    const { text } = await this.#outcome(operation, { query });
    this.#failing = false;
    const seen = new Set<string>();
    for (const line of text.split("\n").filter(Boolean))
      compareWithType(operation.answer, JSON.parse(line), seen, new Set());
    return [...seen];
  }

  async #takesParameter(id: string, operation: ApiOperation, name: string, type: string): Promise<boolean> {
    const values = accepted[name] ?? byType[type.replace(/^\[(.*)\]$/, "$1")] ?? ["probe"];
    const body = operation.body === undefined ? {} : { body: neededBody[id] ?? {} };
    const bases = (needed[id] ?? [""]).map((query) => ({ query, ...body }));
    return await this.#differs(
      operation,
      bases,
      ({ query }) => {
        const rest = query.split("&").filter((pair) => pair !== "" && !pair.startsWith(`${name}=`));
        return values.map((value) => ({
          query: [...rest, `${name}=${encodeURIComponent(value)}`].join("&"),
          ...body,
        }));
      },
      refusing.has(`${id} ${name}`),
    );
  }

  /** Is anything else asked or answered than for the base alone? */
  async #differs<T extends Given>(
    operation: ApiOperation,
    bases: T[],
    given: (base: T) => Given[],
    refused = false,
  ): Promise<boolean> {
    for (const base of bases) {
      const without = JSON.stringify(await this.#outcome(operation, base));
      for (const more of given(base)) {
        const outcome = await this.#outcome(operation, more);
        if ((refused || outcome.status < 400) && JSON.stringify(outcome) !== without) return true;
      }
    }
    return false;
  }

  async #takenOfBody(id: string, operation: ApiOperation): Promise<string[]> {
    if (operation.body === undefined || operation.body === "binary") return [];
    const fields = fieldsOf(operation.body);
    const taken: string[] = [];
    for (const { path, type } of fields) {
      if (isObject(type)) continue;
      const said = new Set<string>();
      let heard = false;
      for (const value of path.endsWith("ConsoleSize") ? sizes : samplesOf(type)) {
        const outcome = await this.#outcome(operation, {
          ...(needed[id]?.[0] !== undefined && { query: needed[id][0] }),
          body: { ...neededBody[id], ...(objectWith(path, value) as object) },
        });
        said.add(JSON.stringify(outcome));
        if (outcome.status < 400) heard = true;
      }
      if (heard && said.size > 1) taken.push(path);
    }
    // An object is taken if anything in it is.
    for (const { path } of fields.filter(({ type }) => isObject(type))) {
      const inside = (other: string) => other.startsWith(path) && /^[.[{]/.test(other.slice(path.length));
      if (taken.some(inside)) taken.push(path);
    }
    return taken;
  }

  async #outcome(operation: ApiOperation, given: Given): Promise<Outcome> {
    this.#calls = [];
    const bytes = given.body === undefined ? undefined : JSON.stringify(given.body);
    const path = operation.path.replace(/\{[^}]*\}/, "probe");
    return await new Promise<Outcome>((resolve, reject) => {
      const request = httpRequest({
        socketPath: this.#socket,
        method: operation.method,
        path: `/v${engineApi.version}${path}${given.query ? `?${given.query}` : ""}`,
        agent: false,
        headers: {
          ...given.headers,
          ...(bytes !== undefined && {
            "Content-Type": "application/json",
            "Content-Length": String(Buffer.byteLength(bytes)),
          }),
          ...(/attach|start$/.test(path) && { Connection: "Upgrade", Upgrade: "tcp" }),
          ...(path.endsWith("/ws") && {
            Connection: "Upgrade",
            Upgrade: "websocket",
            "Sec-WebSocket-Key": "cHJvYmVwcm9iZXByb2JlIQ==",
            "Sec-WebSocket-Version": "13",
          }),
        },
      });
      const finish = (status: number, text: string) =>
        resolve({ status, text, calls: JSON.parse(JSON.stringify(this.#calls, plain)) });
      request.on("upgrade", (response, socket) => {
        socket.destroy();
        finish(response.statusCode ?? 0, "");
      });
      request.on("response", (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          text += chunk;
        });
        response.on("end", () => finish(response.statusCode ?? 0, text));
        response.on("error", () => finish(response.statusCode ?? 0, text));
      });
      request.on("error", reject);
      request.end(bytes);
    });
  }
}

/** The one list of the API whose length is given. */
const sizes = [
  [7, 7],
  [8, 8],
];

function isObject(type: string): boolean {
  return engineApi.types[type.replaceAll(/[[\]{}]/g, "")] !== undefined;
}

interface Given {
  query?: string;
  headers?: Record<string, string>;
  body?: object;
}

interface Outcome {
  status: number;
  text: string;
  calls: unknown;
}

/** What cannot be written as JSON, or says nothing of what was asked. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function" || value instanceof AbortSignal || value instanceof Readable)
    return undefined;
  return value;
}

/** Notes each call as "noun.verb" and arguments; answers something that any handler can work with. */
function recordingEngine(note: (call: unknown[]) => void, failing: () => boolean): Engine {
  const report = async (options: unknown) => {
    (options as { report(message: object): void }).report({ status: "a" });
    if (failing()) throw new BerthError("internal", "failed", { operation: "probe" });
  };
  const answers: Record<string, (parameters: unknown[]) => unknown> = {
    "images.pull": ([options]) => report(options),
    "images.push": ([options]) => report(options),
    "images.save": () => undefined,
    "containers.wait": () => ({
      result: failing()
        ? Promise.reject(new BerthError("internal", "failed", { operation: "probe" }))
        : Promise.resolve({ StatusCode: 0 }),
    }),
    "containers.logs": () => ({ tty: false, stream: Readable.from([]) }),
    "containers.attach": () => ({ tty: false, connect: async (client: Duplex) => void client.end() }),
    "execs.start": () => ({ tty: false, connect: async (client: Duplex) => void client.end() }),
    "files.stat": () => status,
    "files.changes": () => [],
    "images.list": () => [],
    "containers.list": () => "[]",
    "containers.update": () => [],
    "networks.list": () => [network],
    "networks.inspect": () => network,
  };
  return new Proxy(
    {},
    {
      get: (_, noun) =>
        verbs(String(noun), (verb, parameters) => {
          note([verb, ...parameters]);
          const answer = answers[verb];
          return answer === undefined ? anything : answer(parameters);
        }),
    },
  ) as Engine;
}

function verbs(noun: string, call: (verb: string, parameters: unknown[]) => unknown): unknown {
  return new Proxy(() => {}, {
    get: (_, verb) => verbs(`${noun}.${String(verb)}`, call),
    apply: (_, _this, parameters: unknown[]) => call(noun, parameters),
  });
}

const network = { Name: "a", Id: "a", Driver: "bridge", Scope: "local", Labels: {}, Containers: {} };

const status = { name: "a", size: 1, mode: 0o644, modifiedAt: 0n, linkTarget: "" };

/** Every property of it is it again, it can be called and iterated (empty), and is {} as JSON. */
const anything: unknown = new Proxy(() => {}, {
  get(_, name) {
    if (name === "then") return undefined;
    if (name === "toJSON") return () => ({});
    if (name === "status") return status;
    if (name === Symbol.toPrimitive) return () => "";
    if (name === Symbol.iterator) return [][Symbol.iterator].bind([]);
    if (name === Symbol.asyncIterator) return async function* () {};
    if (name === Symbol.dispose) return () => {};
    return anything;
  },
  apply: () => anything,
});
