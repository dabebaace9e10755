/**
 * The launcher without an engine: programs compiled beforehand, of the shape that the engine compiles for the benchmark's
 * containers, and nothing around them. What it takes is what no engine above it can go below.
 *
 * Owns a zygote, a root file system, a bridge and everything that runs from them; all gone when it is disposed of.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { readHostFacts } from "#kernel/host-facts.ts";
import { bridgeProgram, emptyProgram, randomMac, sandboxProgram } from "#networks/drivers/sandbox-program.ts";
import { parseAddress, parseCidr } from "#networks/ipam/prefix.ts";
import { createLauncherClient } from "#program/launcher-client.ts";
import type { LauncherClient, ShimHandle } from "#program/launcher-client.types.ts";
import { cgroupDirectories } from "#runtime/cgroups/container-cgroup.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";
import { compileContainer } from "#runtime/compile-container.ts";
import { compileExec } from "#runtime/compile-exec.ts";
import { defaultSpec } from "#runtime/default-spec.ts";
import type { CompiledLaunch, ContainerLaunch, SandboxProgram, StdioPlan } from "#runtime/launch-types.ts";
import { makeBridge, removeLink } from "../peers/links.ts";
import { processesWith } from "../peers/processes.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const SUBNET = "198.18.0.0/16";
/** Index of the first link it makes: far above what the kernel gives out. */
const FIRST_LINK = 400_000_000 + (process.pid % 100_000) * 10_000;
const MTU = 1500;

export interface BareOptions {
  /** A veth pair on a bridge, with address and route. */
  network?: boolean;
  stdio?: Partial<StdioPlan>;
  log?: ContainerLaunch["log"]["format"];
}

/** Compiled and with its directories made. */
export interface Prepared {
  id: string;
  directory: string;
  launch: ContainerLaunch;
  compiled: CompiledLaunch;
}

export class BareLauncher implements AsyncDisposable {
  readonly #directory: string;
  readonly #client: LauncherClient;
  readonly #cgroups = readCgroupLayout();
  readonly #host = readHostFacts();
  readonly #bridge = `benchf${process.pid}`;
  readonly #running = new Map<string, ShimHandle>();
  #count = 0;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#client = createLauncherClient({
      launcherPath: join(ROOT, "build/launcher"),
      socketPath: this.#socket,
    });
  }

  /** `archive`: of the root file system. */
  static async start(directory: string, archive: string): Promise<BareLauncher> {
    mkdirSync(join(directory, "rootfs"), { recursive: true });
    execFileSync("tar", ["-C", join(directory, "rootfs"), "-xf", archive]);
    const launcher = new BareLauncher(directory);
    await launcher.#client.ensureZygote();
    makeBridge(launcher.#bridge, "198.18.0.1/16", undefined);
    return launcher;
  }

  get #socket(): string {
    return join(this.#directory, "launcher.sock");
  }

  prepare(
    args: readonly string[],
    { network = false, stdio = {}, log = "json-file" }: BareOptions = {},
  ): Prepared {
    const id = `bench${process.pid}x${this.#count++}`;
    const directory = join(this.#directory, id);
    for (const part of ["upper", "work", "merged"]) mkdirSync(join(directory, part), { recursive: true });
    const execDirectory = join(directory, "run");
    mkdirSync(execDirectory, { mode: 0o700 });
    const { architecture, kernelRelease } = this.#host;
    const spec = defaultSpec({ architecture, kernelRelease });
    spec.process.args = [...args];
    const launch: ContainerLaunch = {
      id,
      spec,
      rootfs: {
        kind: "overlay",
        base: this.#directory,
        lower: ["rootfs"],
        upper: `${id}/upper`,
        work: `${id}/work`,
        merged: `${id}/merged`,
        options: [],
      },
      cgroups: this.#cgroups,
      sandbox: network ? this.#sandbox() : emptyProgram(),
      stdio: { terminal: false, openStdin: false, stdinOnce: false, expectedAttaches: 0, ...stdio },
      log: { format: log, path: join(directory, "log"), attrs: "" },
      execDirectory,
      host: this.#host,
    };
    return { id, directory, launch, compiled: compileContainer(launch) };
  }

  #sandbox(): SandboxProgram {
    const n = this.#count % 60_000;
    const subnet = parseCidr(SUBNET)?.prefix;
    const address = parseAddress(`198.18.${(n >> 8) & 255}.${n & 255 || 1}`);
    const gateway = parseAddress("198.18.0.1");
    if (subnet === undefined || address === undefined || gateway === undefined) throw new Error(SUBNET);
    const index = Number(readFileSync(`/sys/class/net/${this.#bridge}/ifindex`, "utf8"));
    const endpoint = bridgeProgram({
      link: { name: "eth0", index: 16 },
      bridge: { name: this.#bridge, index },
      veth: { name: `bf${process.pid}x${n}`.slice(0, 15), index: FIRST_LINK + (n % 10_000) },
      ipv4: { address, subnet },
      ipv6: undefined,
      linkLocal: [],
      gateways: [gateway],
      namespaceHasIpv6: false,
      sysctls: {},
      mtu: MTU,
      mac: randomMac(),
      hairpin: false,
      isolated: false,
    });
    return sandboxProgram([endpoint], { kernel: true, wanted: false });
  }

  /** Until its process runs. */
  async launch({ id, compiled }: Prepared): Promise<{ shim: ShimHandle; pid: number }> {
    const shim = this.#client.launch(compiled.program, compiled.controlSocket);
    shim.exited.catch(() => undefined); // Awaited by `end`.
    this.#running.set(id, shim);
    return { shim, pid: await shim.started };
  }

  /** The connection of an attached client. */
  attach({ compiled }: Prepared, streams: { stdin: boolean; stdout: boolean; stderr: boolean }) {
    return this.#client.attach(compiled.controlSocket, streams);
  }

  /** Directories of its control groups. */
  groupsOf({ id }: Prepared): string[] {
    return cgroupDirectories(this.#cgroups, id).map(({ path }) => path);
  }

  /** Waits for its end, and removes what it was in. */
  async end(prepared: Prepared): Promise<void> {
    const shim = this.#running.get(prepared.id);
    await shim?.exited;
    shim?.close();
    this.#running.delete(prepared.id);
    await removeContainerCgroups(this.#cgroups, prepared.id);
    rmSync(prepared.directory, { recursive: true, force: true });
  }

  /** Ends it at once. */
  async kill(prepared: Prepared): Promise<void> {
    this.#running.get(prepared.id)?.signal(9);
    await this.end(prepared);
  }

  /** A program in it, compiled beforehand; the answer executes it to its end. */
  prepareExec(container: Prepared, pid: number, args: readonly string[]): () => Promise<void> {
    const id = `bench${process.pid}x${this.#count++}`;
    const execDirectory = join(this.#directory, `exec-${id}`);
    mkdirSync(execDirectory, { mode: 0o700 });
    const { spec } = container.launch;
    if (spec.process === undefined) throw new Error("a container without a process");
    const compiled = compileExec({
      id,
      containerId: container.id,
      pid,
      spec,
      process: { ...spec.process, args: [...args] },
      privileged: false,
      cgroups: this.#cgroups,
      execDirectory,
      stdio: { terminal: false, openStdin: false, stdinOnce: false, expectedAttaches: 0 },
      host: this.#host,
    });
    return async () => {
      const shim = this.#client.launch(compiled.program, compiled.controlSocket);
      await shim.started;
      const { exitCode } = await shim.exited;
      shim.close();
      rmSync(execDirectory, { recursive: true, force: true });
      if (exitCode !== 0) throw new Error(`${args.join(" ")} in a container: ${exitCode}`);
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [id, shim] of this.#running) {
      shim.signal(9);
      await shim.exited.catch(() => undefined);
      await removeContainerCgroups(this.#cgroups, id).catch(() => undefined);
    }
    // The zygote ends with its socket's name; its shims have ended.
    rmSync(this.#socket, { force: true });
    removeLink(this.#bridge);
    for (let look = 0; look < 50 && processesWith(this.#socket).length > 0; look++) await sleep(20);
  }
}
