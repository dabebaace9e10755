/**
 * An engine without containers behind it, for tests of the API: it keeps names and states, and "runs" a
 * handful of commands in memory.
 *
 *   echo WORDS   prints them and ends          cat         copies its input to its output until that ends
 *   exit N       ends with that code           sleep       runs until killed
 *   fail         cannot be started
 */
import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { type Duplex, PassThrough, Readable } from "node:stream";
import type {
  ContainerCreateRequest,
  ContainerInspect,
  ContainerSummary,
  ExecCreateRequest,
  ExecInspect,
} from "#api-types/container.ts";
import type { EventMessage } from "#api-types/system.ts";
import type {
  ContainerService,
  Engine,
  EventService,
  ExecService,
  NetworkService,
  SystemService,
  WaitCondition,
} from "#engine/engine-types.ts";
import type { FileService } from "#engine/files/file-service-types.ts";
import { BerthError } from "#errors/errors.ts";
import type { ImageService } from "#images/image-types.ts";
import type { VolumeService } from "#volumes/volume-types.ts";

export class FakeProcess {
  readonly stdin = new PassThrough();
  readonly output = new PassThrough();
  readonly ended: Promise<number>;
  #end: (code: number) => void = () => {};

  constructor(command: readonly string[]) {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.output.setMaxListeners(0);
    const [program = "", ...words] = command;
    if (program === "cat") {
      this.stdin.pipe(this.output);
      this.output.on("finish", () => this.#end(0));
    } else if (program !== "sleep") {
      this.output.end(program === "echo" ? `${words.join(" ")}\n` : "");
      this.#end(program === "exit" ? Number(words[0]) : 0);
    }
  }

  kill(): void {
    this.output.end();
    this.#end(137);
  }
}

interface FakeContainer {
  id: string;
  name: string;
  request: ContainerCreateRequest;
  process: FakeProcess | undefined;
  exitCode: number | undefined;
  log: string;
  changes: EventEmitter;
  /** Where attached clients wait for the process. */
  started: Promise<FakeProcess>;
  start: (process: FakeProcess) => void;
}

/** One frame of Docker's framing. */
export function stdoutFrame(payload: Buffer | string): Buffer {
  const bytes = Buffer.from(payload);
  const head = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

export class FakeEngine implements Engine {
  /** "noun.verb arguments" of what was called, for tests to look at. */
  readonly calls: unknown[][] = [];
  readonly #containers = new Map<string, FakeContainer>();
  readonly #execs = new Map<
    string,
    { container: FakeContainer; request: ExecCreateRequest; exitCode: number | null }
  >();
  readonly #events = new EventEmitter();

  readonly containers: ContainerService = {
    create: async (name, request, platform) => {
      this.calls.push(["create", name, request, platform]);
      if (request.Image === "missing") throw notFound(`No such image: ${request.Image}:latest`);
      if (name !== "" && [...this.#containers.values()].some((other) => other.name === name)) {
        throw new BerthError("conflict", `Conflict. The container name "/${name}" is already in use`, {
          operation: "create container",
          object: name,
          hint: "Remove or rename it.",
        });
      }
      const id = randomBytes(32).toString("hex");
      let start: (process: FakeProcess) => void = () => {};
      const started = new Promise<FakeProcess>((resolve) => {
        start = resolve;
      });
      const container: FakeContainer = {
        id,
        name: name || id.slice(0, 8),
        request,
        process: undefined,
        exitCode: undefined,
        log: "",
        changes: new EventEmitter(),
        started,
        start,
      };
      this.#containers.set(id, container);
      this.emit("create", id);
      return { Id: id, Warnings: [] };
    },
    start: async (name) => {
      const container = this.#find(name);
      this.calls.push(["start", name]);
      if (container.process !== undefined && container.exitCode === undefined) throw notModified();
      if (container.request.Cmd?.[0] === "fail") {
        throw new BerthError("start-failed", 'exec: "fail": executable file not found in $PATH', {
          operation: "start container",
          object: name,
        });
      }
      this.#run(container);
    },
    listCheckpoints: async (name, directory) => {
      this.calls.push(["list checkpoints", name, directory]);
      return [{ Name: "one" }];
    },
    createCheckpoint: async (name, request) => void this.calls.push(["create checkpoint", name, request]),
    removeCheckpoint: async (name, which) => void this.calls.push(["remove checkpoint", name, which]),
    stop: async (name, options) => {
      this.calls.push(["stop", name, options]);
      const container = this.#find(name);
      if (container.process === undefined || container.exitCode !== undefined) throw notModified();
      container.process.kill();
      await container.process.ended;
    },
    restart: async (name, options) => void this.calls.push(["restart", name, options]),
    kill: async (name, signal) => {
      this.calls.push(["kill", name, signal]);
      this.#find(name).process?.kill();
    },
    pause: async (name) => void this.calls.push(["pause", name]),
    unpause: async (name) => void this.calls.push(["unpause", name]),
    rename: async (name, to) => {
      this.#find(name).name = to;
    },
    update: async (name, change) => {
      this.calls.push(["update", name, change]);
      this.#find(name);
      return change.Memory === 1 ? ["a warning"] : [];
    },
    remove: async (name, options) => {
      this.calls.push(["remove", name, options]);
      const container = this.#find(name);
      container.process?.kill();
      this.#containers.delete(container.id);
      container.changes.emit("removed");
      this.emit("destroy", container.id);
    },
    resize: async (name, rows, columns) => void this.calls.push(["resize", name, rows, columns]),
    wait: async (name, condition, signal) => {
      const container = this.#find(name);
      this.calls.push(["wait", name, condition]);
      return { result: this.#wait(container, condition, signal) };
    },
    inspect: async (name) => this.#inspect(this.#find(name)),
    list: async (options) => {
      this.calls.push(["list", options]);
      const shown = [...this.#containers.values()].filter(
        (container) => options.all || status(container) === "running",
      );
      return JSON.stringify(shown.map(summary));
    },
    stats: (name, options, signal) => {
      this.calls.push(["stats", name, options]);
      this.#find(name);
      return statsLines(options.stream, signal);
    },
    top: async (name, psArguments) => {
      this.calls.push(["top", name, psArguments]);
      return { Titles: ["PID", "CMD"], Processes: [["1", "sleep"]] };
    },
    logs: async (name, options, signal) => {
      this.calls.push(["logs", name, options]);
      const container = this.#find(name);
      const tty = container.request.Tty ?? false;
      const stream = new PassThrough();
      const put = (chunk: string) => stream.write(tty ? chunk : stdoutFrame(chunk));
      if (container.log !== "") put(container.log);
      if (options.follow && container.exitCode === undefined) {
        container.changes.on("output", put);
        container.changes.once("exit", () => stream.end());
        signal.addEventListener("abort", () => {
          this.calls.push(["logs aborted", name]);
          stream.destroy();
        });
      } else {
        stream.end();
      }
      return { tty, stream };
    },
    attach: async (name, options) => {
      this.calls.push(["attach", name, options]);
      const container = this.#find(name);
      const tty = container.request.Tty ?? false;
      return {
        tty,
        connect: async (client) => converse(await container.started, client, tty, options.stdin),
      };
    },
    imageUsers: () =>
      [...this.#containers.values()].map((container) => ({
        id: container.id.slice(0, 12),
        running: status(container) === "running",
      })),
    prune: async (filters) => {
      this.calls.push(["prune", filters]);
      return { ContainersDeleted: null, SpaceReclaimed: 0 };
    },
    stageTimes: (name) => [{ operation: "create", stage: `of ${this.#find(name).name}`, milliseconds: 1 }],
    describeProgram: async (name) => `program of ${this.#find(name).name}\n`,
  };

  readonly execs: ExecService = {
    create: async (name, request) => {
      const container = this.#find(name);
      this.calls.push(["exec create", name, request]);
      const Id = randomBytes(32).toString("hex");
      this.#execs.set(Id, { container, request, exitCode: null });
      return { Id };
    },
    start: async (id, options) => {
      this.calls.push(["exec start", id, options]);
      const exec = this.#findExec(id);
      const tty = exec.request.Tty ?? false;
      const run = async (client?: Duplex): Promise<void> => {
        if (exec.request.Cmd?.[0] === "fail") {
          exec.exitCode = 127;
          throw new BerthError("start-failed", 'exec: "fail": executable file not found in $PATH', {
            operation: "start exec",
          });
        }
        const process = new FakeProcess(exec.request.Cmd ?? []);
        if (client !== undefined) await converse(process, client, tty, exec.request.AttachStdin ?? false);
        exec.exitCode = await process.ended;
      };
      if (!options.detach) return { tty, connect: run };
      await run();
      return undefined;
    },
    resize: async (id, rows, columns) => void this.calls.push(["exec resize", id, rows, columns]),
    inspect: (id) => {
      const { container, request, exitCode } = this.#findExec(id);
      return {
        ID: id,
        Running: exitCode === null,
        ExitCode: exitCode,
        ContainerID: container.id,
        ProcessConfig: { entrypoint: request.Cmd?.[0] ?? "" },
      } as ExecInspect;
    },
  };

  readonly images = {
    pull: async ({ name, tag, report, auth, signal }) => {
      this.calls.push(["pull", name, tag, auth]);
      if (name.includes("missing")) throw notFound(`manifest for ${name}:${tag} not found: manifest unknown`);
      report({ status: `Pulling from ${name}`, id: tag });
      if (name.includes("slow")) await new Promise((resolve) => signal?.addEventListener("abort", resolve));
      if (signal?.aborted) {
        this.calls.push(["pull aborted", name]);
        return;
      }
      if (name.includes("broken")) {
        throw new BerthError("internal", "unexpected EOF", { operation: "pull image", object: name });
      }
      report({
        status: "Downloading",
        id: "0123456789ab",
        progressDetail: { current: 1, total: 2 },
        progress: "[=>  ]",
      });
      report({ status: "Pull complete", id: "0123456789ab", progressDetail: {} });
      report({ status: `Status: Downloaded newer image for ${name}:${tag}` });
    },
    load: async (archive, { quiet, report }) => {
      let size = 0;
      for await (const chunk of archive) {
        size += (chunk as Buffer).length;
        if (size === 3) throw new BerthError("invalid", "not an archive", { operation: "load images" });
      }
      this.calls.push(["load", size, quiet]);
      report({ stream: `Loaded image: loaded:${size}\n` });
    },
    importArchive: async (archive, { reference, message, changes, address }) => {
      let size = 0;
      for await (const chunk of archive) size += (chunk as Buffer).length;
      this.calls.push(["import", address ?? size, reference, message, changes]);
      return `sha256:${"1".repeat(64)}`;
    },
    list: async (options) => {
      this.calls.push(["image list", options]);
      return [
        {
          Id: `sha256:${"1".repeat(64)}`,
          ParentId: "",
          RepoTags: ["busybox:latest"],
          RepoDigests: [],
          Created: 1_700_000_000,
          Size: 4_000_000,
          SharedSize: -1,
          Labels: null,
          Containers: -1,
        },
      ];
    },
    inspect: async (reference) => {
      this.calls.push(["image inspect", reference]);
      if (reference.includes("missing")) throw notFound(`No such image: ${reference}`);
      return {
        Id: `sha256:${"1".repeat(64)}`,
        RepoTags: [reference],
        RepoDigests: [],
        Size: 5,
        Os: "linux",
        Architecture: "amd64",
        Config: {},
      } as never;
    },
    history: async (reference) => [
      { Id: reference, Created: 0, CreatedBy: "", Tags: null, Size: 0, Comment: "" },
    ],
    tag: (reference, repository, tag) => void this.calls.push(["tag", reference, repository, tag]),
    prune: async (filters, inUse) => {
      this.calls.push(["image prune", filters, inUse("busybox")]);
      return { ImagesDeleted: null, SpaceReclaimed: 0 };
    },
    remove: async (reference, { inUse, force }) => {
      this.calls.push(["image remove", reference, force, inUse("busybox")]);
      return [{ Untagged: reference }];
    },
  } as Partial<ImageService> as ImageService;

  readonly files = {
    changes: async () => [{ path: "/new", kind: 1 }],
    commit: async (name, options) => {
      this.calls.push(["commit", name, options]);
      return `sha256:${"c".repeat(64)}`;
    },
  } as Partial<FileService> as FileService;

  readonly networks = {
    list: () => [network("bridge"), network("host"), network("mine")],
    inspect: (name) => {
      if (!["bridge", "host", "mine"].includes(name)) throw notFound(`network ${name} not found`);
      return network(name);
    },
    prune: async (filters) => {
      this.calls.push(["network prune", filters]);
      return { NetworksDeleted: null };
    },
  } as Partial<NetworkService> as NetworkService;

  readonly volumes = {
    create: async (request) => {
      this.calls.push(["volume create", request]);
      return volume(request.Name ?? "anonymous");
    },
    inspect: async (name) => {
      if (name !== "data") throw notFound(`get ${name}: no such volume`);
      return volume(name);
    },
    list: async () => ({ Volumes: [volume("data")], Warnings: [] }),
    remove: async (name, force) => void this.calls.push(["volume remove", name, force]),
    prune: async (filters) => {
      this.calls.push(["volume prune", filters]);
      return { VolumesDeleted: [], SpaceReclaimed: 0 };
    },
  } as Partial<VolumeService> as VolumeService;

  readonly events: EventService = {
    subscribe: (options) => {
      this.calls.push(["events", options]);
      return this.#subscribe(options.signal);
    },
  };

  readonly system: SystemService = {
    version: async () => ({
      Platform: { Name: "Berth" },
      Components: [{ Name: "Engine", Version: "0.1.0", Details: { Arch: "amd64" } }],
      Version: "0.1.0",
      Os: "linux",
      Arch: "amd64",
    }),
    info: async () => ({
      ID: "fake",
      ServerVersion: "0.1.0",
      Driver: "overlay2",
      OSType: "linux",
      Architecture: "x86_64",
      CgroupVersion: "1",
      Swarm: { LocalNodeState: "inactive" },
    }),
    diskUsage: async (types) => {
      this.calls.push(["disk usage", types]);
      return { LayersSize: 0, Images: [], Containers: [], Volumes: [], BuildCache: [] };
    },
    pruneBuildCache: async (filters) => {
      this.calls.push(["build prune", filters]);
      return { CachesDeleted: null, SpaceReclaimed: 0 };
    },
    authenticate: async (auth) => {
      this.calls.push(["authenticate", auth]);
      if (auth.password !== "right") {
        throw new BerthError("unauthorized", "unauthorized: incorrect username or password", {
          operation: "log in",
        });
      }
      return { Status: "Login Succeeded", IdentityToken: "" };
    },
  };

  emit(action: string, id: string, attributes: Record<string, string> = {}): void {
    const event: EventMessage = {
      status: action,
      id,
      Type: "container",
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      scope: "local",
      time: 1_700_000_000,
      timeNano: 1_700_000_000_000_000_000,
    };
    this.#events.emit("event", event);
  }

  /** How many live subscriptions there are. */
  get subscribers(): number {
    return this.#events.listenerCount("event");
  }

  /** Was it called, with arguments that begin with these? */
  called(...wanted: unknown[]): boolean {
    return this.calls.some((call) => wanted.every((value, index) => call[index] === value));
  }

  async *#subscribe(signal: AbortSignal): AsyncGenerator<EventMessage> {
    const stream = new Readable({ objectMode: true, read() {} });
    const push = (event: EventMessage): void => void stream.push(event);
    this.#events.on("event", push);
    signal.addEventListener("abort", () => stream.push(null));
    try {
      yield* stream;
    } finally {
      this.#events.off("event", push);
    }
  }

  #find(name: string): FakeContainer {
    const found = [...this.#containers.values()].find(
      (container) => container.name === name || (name.length > 3 && container.id.startsWith(name)),
    );
    if (found === undefined) throw notFound(`No such container: ${name}`);
    return found;
  }

  #findExec(id: string): { container: FakeContainer; request: ExecCreateRequest; exitCode: number | null } {
    const exec = this.#execs.get(id);
    if (exec === undefined) throw notFound(`No such exec instance: ${id}`);
    return exec;
  }

  #run(container: FakeContainer): void {
    const process = new FakeProcess(container.request.Cmd ?? []);
    container.process = process;
    this.emit("start", container.id);
    container.start(process);
    // Attached clients are to see the output from its beginning.
    setImmediate(() => {
      process.output.on("data", (chunk: Buffer) => {
        container.log += chunk.toString();
        container.changes.emit("output", chunk.toString());
      });
    });
    void process.ended.then((code) =>
      setTimeout(() => {
        container.exitCode = code;
        container.changes.emit("exit");
        this.emit("die", container.id, { exitCode: String(code) });
        if (container.request.HostConfig?.AutoRemove) {
          this.#containers.delete(container.id);
          container.changes.emit("removed");
        }
      }, 5),
    );
  }

  async #wait(
    container: FakeContainer,
    condition: WaitCondition,
    signal: AbortSignal,
  ): Promise<{ StatusCode: number }> {
    const over =
      condition === "not-running" && (container.process === undefined || container.exitCode !== undefined);
    if (!over) {
      await new Promise<void>((resolve, reject) => {
        container.changes.once(condition === "removed" ? "removed" : "exit", resolve);
        signal.addEventListener("abort", () => {
          this.calls.push(["wait aborted", container.name]);
          reject(new Error("gone"));
        });
      });
    }
    return { StatusCode: container.exitCode ?? 0 };
  }

  #inspect(container: FakeContainer): ContainerInspect {
    return {
      Id: container.id,
      Name: `/${container.name}`,
      Config: container.request,
      HostConfig: container.request.HostConfig ?? {},
      State: {
        Status: status(container),
        Running: status(container) === "running",
        ExitCode: container.exitCode ?? 0,
      },
    } as ContainerInspect;
  }
}

async function converse(process: FakeProcess, client: Duplex, tty: boolean, stdin: boolean): Promise<void> {
  if (stdin) client.pipe(process.stdin);
  process.output.on("data", (chunk: Buffer) => client.write(tty ? chunk : stdoutFrame(chunk)));
  if (!process.output.readableEnded) await new Promise((resolve) => process.output.on("end", resolve));
}

function status(container: FakeContainer): "created" | "running" | "exited" {
  if (container.process === undefined) return "created";
  return container.exitCode === undefined ? "running" : "exited";
}

function summary(container: FakeContainer): ContainerSummary {
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    Image: container.request.Image ?? "",
    ImageID: container.request.Image ?? "",
    Command: (container.request.Cmd ?? []).join(" "),
    Created: 1_700_000_000,
    Ports: [],
    Labels: {},
    State: status(container),
    Status: "Up 1 second",
    HostConfig: { NetworkMode: "default" },
    NetworkSettings: { Networks: {} },
    Mounts: [],
  };
}

function network(name: string): ReturnType<NetworkService["inspect"]> {
  return {
    Name: name,
    Id: `${name}-id`,
    Driver: name === "host" ? "host" : "bridge",
    Scope: "local",
    Labels: name === "mine" ? { owner: "me" } : {},
    Containers: { abc: { Name: "x" } },
    Options: {},
  } as never;
}

function volume(name: string): Awaited<ReturnType<VolumeService["inspect"]>> {
  return {
    Name: name,
    Driver: "local",
    Mountpoint: `/volumes/${name}/_data`,
    CreatedAt: "2024-01-01T00:00:00Z",
    Labels: null,
    Scope: "local",
    Options: null,
  };
}

function notFound(message: string): BerthError {
  return new BerthError("not-found", message, { operation: "find" });
}

function notModified(): BerthError {
  return new BerthError("not-modified", "it is so already", { operation: "change state" });
}

/** One line, or two and then none until the client goes. */
async function* statsLines(stream: boolean, signal: AbortSignal): AsyncIterable<string> {
  yield '{"read":"1"}';
  if (!stream) return;
  yield '{"read":"2"}';
  await new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve());
  });
}
