/**
 * Processes added to a running container. Each has a shim of its own, so one exec's end, output or fault concerns
 * nobody else. Execs are kept in memory only, until their container goes or five minutes after their end, as dockerd does.
 */
import { randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import type { Duplex } from "node:stream";
import type { ExecCreateRequest, ExecInspect } from "#api-types/container.ts";
import { joinStreams } from "#engine/attach.ts";
import type { Container } from "#engine/container.ts";
import { publishContainerEvent } from "#engine/container-events.ts";
import { execDirectory } from "#engine/container-paths.ts";
import { parseDetachKeys } from "#engine/detach-keys.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import type { ExecService } from "#engine/engine-types.ts";
import { frame } from "#engine/multiplex.ts";
import { prepareExec } from "#engine/prepare-exec.ts";
import { BerthError } from "#errors/errors.ts";
import type { ShimHandle } from "#program/launcher-client.types.ts";
import { compileExec } from "#runtime/compile-exec.ts";
import { explainExecFailure } from "#runtime/explain.ts";

/** How long an ended exec can still be inspected (dockerd's clean-up interval). */
const KEPT_MS = 5 * 60_000;

export interface Exec {
  readonly id: string;
  readonly container: Container;
  readonly request: ExecCreateRequest;
  state: "created" | "running" | "ended";
  exitCode: number | null;
  pid: number;
  shim: ShimHandle | undefined;
  /** Settles when the end of a started exec has been recorded. */
  ended: Promise<void>;
}

export class ExecRegistry implements ExecService {
  readonly #context: EngineContext;
  readonly #execs = new Map<string, Exec>();

  constructor(context: EngineContext) {
    this.#context = context;
  }

  async create(containerNameOrId: string, request: ExecCreateRequest): Promise<{ Id: string }> {
    const container = this.#context.containers.get(containerNameOrId);
    mustRun(container);
    if (!request.Cmd?.length) {
      throw new BerthError("invalid", "No exec command specified", {
        operation: "create exec",
        object: container.record.name,
      });
    }
    parseDetachKeys(request.DetachKeys ?? "");
    const id = randomBytes(32).toString("hex");
    this.#execs.set(id, {
      id,
      container,
      request,
      state: "created",
      exitCode: null,
      pid: 0,
      shim: undefined,
      ended: Promise.resolve(),
    });
    container.execIds.add(id);
    publishContainerEvent(this.#context, container, `exec_create: ${request.Cmd.join(" ")}`, { execID: id });
    return { Id: id };
  }

  async start(
    id: string,
    options: { detach: boolean; tty: boolean; consoleSize?: [number, number] | null },
  ): Promise<{ tty: boolean; connect: (client: Duplex) => Promise<void> } | undefined> {
    const exec = this.#get(id);
    if (exec.state !== "created") {
      const what = exec.state === "running" ? "is already running" : "has already run";
      throw new BerthError("conflict", `exec ${id} ${what}`, { operation: "start exec", object: id });
    }
    mustRun(exec.container);
    exec.state = "running";
    if (options.detach) {
      await this.#run(exec, 0, options.consoleSize ?? undefined);
      return undefined;
    }
    const tty = exec.request.Tty ?? false;
    return {
      tty,
      connect: (client) => this.#runAttached(exec, client, tty, options.consoleSize ?? undefined),
    };
  }

  async resize(id: string, rows: number, columns: number): Promise<void> {
    const exec = this.#get(id);
    if (exec.shim === undefined) {
      throw new BerthError("conflict", `exec ${id} is not running`, { operation: "resize exec", object: id });
    }
    exec.shim.resize(rows, columns);
  }

  inspect(id: string): ExecInspect {
    const { container, request, state, exitCode, pid } = this.#get(id);
    const [entrypoint = "", ...args] = request.Cmd ?? [];
    return {
      ID: id,
      Running: state === "running",
      ExitCode: exitCode,
      ProcessConfig: {
        tty: request.Tty ?? false,
        entrypoint,
        arguments: args,
        privileged: request.Privileged ?? false,
        ...(request.User ? { user: request.User } : {}),
      },
      OpenStdin: request.AttachStdin ?? false,
      OpenStderr: request.AttachStderr ?? false,
      OpenStdout: request.AttachStdout ?? false,
      CanRemove: state === "ended",
      ContainerID: container.id,
      DetachKeys: request.DetachKeys ?? "",
      Pid: pid,
    };
  }

  async #runAttached(
    exec: Exec,
    client: Duplex,
    tty: boolean,
    consoleSize: [number, number] | undefined,
  ): Promise<void> {
    let joined: Promise<void> = Promise.resolve();
    const attach = (socket: string) => {
      joined = this.#join(exec, client, socket, tty);
      return joined;
    };
    try {
      await this.#run(exec, 1, consoleSize, attach);
    } catch (error) {
      // The connection is taken over already: the reason can only be told as output, as dockerd does.
      const text = Buffer.from(`${error instanceof Error ? error.message : String(error)}\r\n`);
      client.end(tty ? text : frame(1, text));
      return;
    }
    // Both: output may still be on its way when the process is gone, and the client asks for the exit code as soon as its
    // connection ends.
    await Promise.all([joined, exec.ended]);
    client.end();
  }

  async #join(exec: Exec, client: Duplex, socket: string, tty: boolean): Promise<void> {
    const { request } = exec;
    const stdin = request.AttachStdin ?? false;
    const shim = await this.#context.launcher.attach(socket, {
      stdin,
      stdout: request.AttachStdout ?? false,
      stderr: request.AttachStderr ?? false,
    });
    await joinStreams(client, shim, {
      stdin,
      detachKeys: tty ? parseDetachKeys(request.DetachKeys ?? "") : undefined,
    });
  }

  /** Launches; resolves once the process runs. `attach` is called when the shim listens and must make one connection. */
  async #run(
    exec: Exec,
    expectedAttaches: number,
    consoleSize: [number, number] | undefined,
    attach?: (controlSocket: string) => Promise<void>,
  ): Promise<void> {
    const context = this.#context;
    const directory = execDirectory(context.config, exec.id);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const launch = await prepareExec(context, exec, directory, expectedAttaches, consoleSize);
      const compiled = compileExec(launch);
      const shim = context.launcher.launch(compiled.program, compiled.controlSocket);
      exec.shim = shim;
      if (attach !== undefined) {
        shim.listening.then(() => attach(compiled.controlSocket)).catch(() => undefined);
      }
      try {
        exec.pid = await shim.started;
      } catch (cause) {
        throw explainExecFailure(compiled, cause, exec.request.Cmd?.[0] ?? "");
      }
      publishContainerEvent(context, exec.container, `exec_start: ${exec.request.Cmd?.join(" ")}`, {
        execID: exec.id,
      });
      exec.ended = shim.exited.then((exit) => this.#ended(exec, exit.exitCode));
    } catch (error) {
      const code = error instanceof BerthError && "exitCode" in error ? Number(error.exitCode) : 126;
      this.#ended(exec, code);
      throw error;
    }
  }

  #ended(exec: Exec, exitCode: number): void {
    exec.state = "ended";
    exec.exitCode = exitCode;
    exec.pid = 0;
    exec.shim?.close();
    exec.shim = undefined;
    publishContainerEvent(this.#context, exec.container, "exec_die", {
      execID: exec.id,
      exitCode: String(exitCode),
    });
    const directory = execDirectory(this.#context.config, exec.id);
    this.#context.background.run("clean-up after an exec", () =>
      rm(directory, { recursive: true, force: true }),
    );
    exec.container.execIds.delete(exec.id);
    setTimeout(() => this.#execs.delete(exec.id), KEPT_MS).unref();
  }

  #get(id: string): Exec {
    const exec = this.#execs.get(id);
    if (exec === undefined) {
      throw new BerthError("not-found", `No such exec instance: ${id}`, {
        operation: "look up exec",
        object: id,
      });
    }
    return exec;
  }
}

function mustRun(container: Container): void {
  const { record } = container;
  if (record.state.Paused) {
    throw new BerthError(
      "conflict",
      `Container ${record.name} is paused, unpause the container before exec`,
      {
        operation: "exec",
        object: record.name,
      },
    );
  }
  if (!record.state.Running || container.live === undefined) {
    throw new BerthError("conflict", `container ${record.id} is not running`, {
      operation: "exec",
      object: record.name,
    });
  }
}
