/**
 * `berth-oci run`: a bundle's container in the foreground. Its output is this program's output, its exit code the exit
 * code; afterwards nothing of it is left.
 */
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join, resolve } from "node:path";
import { copyOutput } from "#client/demultiplex.ts";
import { BerthError } from "#errors/errors.ts";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { readHostFacts } from "#kernel/host-facts.ts";
import { createLauncherClient } from "#program/launcher-client.ts";
import type { ShimHandle } from "#program/launcher-client.types.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";
import { compileContainer } from "#runtime/compile-container.ts";
import { explainStartFailure } from "#runtime/explain.ts";
import type { ContainerLaunch } from "#runtime/launch-types.ts";
import type { Spec } from "#runtime/spec-types.ts";

export interface RunOptions {
  id: string;
  bundle: string;
  root: string;
  pidFile: string | undefined;
}

/** Answers the container's exit code. */
export async function runBundle(options: RunOptions): Promise<number> {
  const { id, root } = options;
  if (!/^[\w+.-]+$/.test(id) || id === "." || id === "..")
    throw refuse(`invalid container id: ${JSON.stringify(id)}`);
  const spec = readSpec(options.bundle);
  const directory = join(root, id);
  if (existsSync(directory)) {
    throw new BerthError("conflict", `container with id exists: ${id}`, { operation: "run", object: id });
  }
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const cgroups = readCgroupLayout();
  const terminal = spec.process?.terminal ?? false;
  const { rows, columns } = process.stdout;
  const launch: ContainerLaunch = {
    id,
    spec,
    rootfs: { kind: "directory", path: resolve(options.bundle, spec.root?.path ?? "rootfs") },
    cgroups,
    sandbox: { host: [], container: [], sysctls: {} },
    stdio: {
      terminal,
      openStdin: true,
      stdinOnce: true,
      expectedAttaches: 1,
      ...(rows !== undefined && columns !== undefined && { rows, columns }),
    },
    log: { format: "none", path: "", attrs: "" },
    execDirectory: directory,
    host: readHostFacts(),
  };
  try {
    const exitCode = await runInForeground(launch, options);
    return exitCode;
  } finally {
    await removeContainerCgroups(cgroups, spec.linux?.cgroupsPath || id);
    rmSync(directory, { recursive: true, force: true });
  }
}

function readSpec(bundle: string): Spec {
  const path = join(bundle, "config.json");
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new BerthError("not-found", `JSON specification file ${path} not found`, {
      operation: "read bundle",
      object: path,
      hint: "make one with: berth-oci spec",
      cause,
    });
  }
  try {
    return JSON.parse(text) as Spec;
  } catch (cause) {
    throw refuse(`${path} is not JSON: ${cause instanceof Error ? cause.message : cause}`);
  }
}

async function runInForeground(launch: ContainerLaunch, { root, pidFile }: RunOptions): Promise<number> {
  const compiled = compileContainer(launch);
  const client = createLauncherClient({
    launcherPath: launcherPath(),
    socketPath: join(root, "launcher.sock"),
  });
  await client.ensureZygote();
  const shim = client.launch(compiled.program, compiled.controlSocket);
  const attached = shim.listening
    .then(() => client.attach(compiled.controlSocket, { stdin: true, stdout: true, stderr: true }))
    .then((socket) => joinStreams(socket, shim, launch.stdio.terminal));
  attached.catch(() => undefined);
  shim.exited.catch(() => undefined);
  try {
    const pid = await shim.started;
    if (pidFile !== undefined) writeFileSync(pidFile, String(pid));
  } catch (cause) {
    throw explainStartFailure(compiled, cause, launch.spec.process?.args?.[0] ?? "");
  }
  const forward = (signal: NodeJS.Signals, number: number) => process.on(signal, () => shim.signal(number));
  forward("SIGTERM", 15);
  forward("SIGINT", 2);
  forward("SIGHUP", 1);
  const { exitCode } = await shim.exited;
  await attached;
  shim.close();
  // Whoever is still typing keeps nobody waiting.
  process.stdin.destroy();
  return exitCode;
}

async function joinStreams(socket: Socket, shim: ShimHandle, terminal: boolean): Promise<void> {
  const raw = terminal && process.stdin.isTTY;
  if (raw) process.stdin.setRawMode(true);
  const resize = () => shim.resize(process.stdout.rows, process.stdout.columns);
  if (terminal && process.stdout.isTTY) process.stdout.on("resize", resize);
  process.stdin.pipe(socket);
  try {
    await copyOutput(socket, !terminal, process.stdout, process.stderr);
    if (!socket.destroyed) await once(socket, "close");
  } finally {
    process.stdout.off("resize", resize);
    if (raw) process.stdin.setRawMode(false);
  }
}

/** Beside the bundle's build directory, from source as well. */
function launcherPath(): string {
  const here = import.meta.dirname;
  const found = [join(here, "../build/launcher"), join(here, "../../build/launcher")].find(existsSync);
  if (found !== undefined) return found;
  throw new BerthError("internal", "the launcher is not built", {
    operation: "run",
    hint: "run npm run setup",
  });
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "run" });
}
