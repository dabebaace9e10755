/**
 * Processes added to a running container. Each has a shim of its own, so one exec's end, output or fault concerns
 * nobody else. Execs are kept in memory only, until their container goes or five minutes after their end, as dockerd does.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import type { ExecCreateRequest, ExecInspect } from "#api-types/container.ts";
import type { Container } from "#engine/containers/container.ts";
import { execDirectory } from "#engine/containers/container-paths.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import type { ExecService } from "#engine/engine-types.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { addExec, runExec, UNSEEN_MARK } from "#engine/exec/run-exec.ts";
import { joinStreams } from "#engine/streams/attach.ts";
import { parseDetachKeys } from "#engine/streams/detach-keys.ts";
import { frame } from "#engine/streams/multiplex.ts";
import { BerthError } from "#errors/errors.ts";
import type { ShimHandle } from "#program/launcher-client.types.ts";

export interface Exec {
  readonly id: string;
  readonly container: Container;
  readonly request: ExecCreateRequest;
  /** Run by a health check. */
  readonly isProbe: boolean;
  state: "created" | "running" | "ended";
  exitCode: number | null;
  pid: number;
  shim: ShimHandle | undefined;
  /** Settles when the end of a started exec has been recorded. */
  ended: Promise<void>;
}

export class ExecRegistry implements ExecService {
  readonly #context: EngineContext;

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
    parseDetachKeys(request.DetachKeys ?? "", "Invalid escape keys");
    return { Id: addExec(this.#context, container, request).id };
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
    mustRun(exec.container, exec.container.id);
    exec.state = "running";
    if (options.detach) {
      await runExec(this.#context, exec, {
        expectedAttaches: 0,
        consoleSize: options.consoleSize ?? undefined,
      });
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
    const user = request.User || container.record.config.User;
    return {
      ID: id,
      Running: state === "running",
      ExitCode: exitCode,
      ProcessConfig: {
        tty: request.Tty ?? false,
        entrypoint,
        arguments: args,
        privileged: request.Privileged ?? false,
        ...(user ? { user } : {}),
      },
      OpenStdin: request.AttachStdin ?? false,
      OpenStderr: request.AttachStderr ?? false,
      OpenStdout: request.AttachStdout ?? false,
      // It goes by itself.
      CanRemove: false,
      ContainerID: container.id,
      // As Docker tells them: the bytes, in base64.
      DetachKeys: request.DetachKeys ? parseDetachKeys(request.DetachKeys).toString("base64") : "",
      Pid: pid,
    };
  }

  async #runAttached(
    exec: Exec,
    client: Duplex,
    tty: boolean,
    consoleSize: [number, number] | undefined,
  ): Promise<void> {
    let joined: Promise<"ended" | "detached"> = Promise.resolve("ended");
    const attach = async (socket: string) => {
      joined = this.#join(exec, client, socket, tty);
      await joined;
    };
    try {
      await runExec(this.#context, exec, { expectedAttaches: 1, consoleSize, attach });
    } catch (error) {
      // The connection is taken over already: the reason can only be told as output, as dockerd does.
      const text = `${error instanceof Error ? error.message : String(error)}\r\n`;
      client.end(tty ? text : frame(1, text));
      return;
    }
    // Both: output may still be on its way when the process is gone, and the client asks for the exit code as soon as its
    // connection ends.
    if ((await joined) === "ended") await exec.ended;
    client.end();
  }

  async #join(exec: Exec, client: Duplex, socket: string, tty: boolean): Promise<"ended" | "detached"> {
    const { request } = exec;
    const stdin = request.AttachStdin ?? false;
    const shim = await this.#context.launcher.attach(socket, {
      stdin,
      stdout: request.AttachStdout ?? false,
      stderr: request.AttachStderr ?? false,
    });
    if (tty) rm(join(execDirectory(this.#context.config, exec.id), UNSEEN_MARK)).catch(() => undefined);
    let how: "ended" | "detached" = "ended";
    await joinStreams(client, shim, {
      stdin,
      detachKeys: tty ? parseDetachKeys(request.DetachKeys ?? "") : undefined,
      onDetach: () => {
        publishContainerEvent(this.#context, exec.container, "exec_detach", { execID: exec.id });
        how = "detached";
      },
    });
    return how;
  }

  #get(id: string): Exec {
    const exec = this.#context.execs.get(id);
    if (exec === undefined) {
      throw new BerthError("not-found", `No such exec instance: ${id}`, {
        operation: "look up exec",
        object: id,
      });
    }
    return exec;
  }
}

function mustRun(container: Container, called: string = container.record.name): void {
  const { record } = container;
  const detail = { operation: "exec", object: record.name };
  if (record.state.Paused) {
    const text = `Container ${called} is paused, unpause the container before exec`;
    throw new BerthError("conflict", text, detail);
  }
  if (record.state.Restarting) {
    const text = `Container ${record.id} is restarting, wait until the container is running`;
    throw new BerthError("conflict", text, detail);
  }
  if (!record.state.Running || container.live === undefined) {
    throw new BerthError("conflict", `container ${record.id} is not running`, detail);
  }
}
