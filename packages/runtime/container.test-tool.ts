/**
 * Real containers for the runtime's tests: a busybox root, a launcher built from the sources, and the way from a
 * configuration to output and exit code. Needs root. Everything is gone when the fixture is disposed of.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { readHostFacts } from "#kernel/host-facts.ts";
import { createLauncherClient } from "#program/launcher-client.ts";
import type { ExitRecord, LauncherClient, ShimHandle } from "#program/launcher-client.types.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";
import { compileContainer } from "#runtime/compile-container.ts";
import { compileExec } from "#runtime/compile-exec.ts";
import { defaultSpec } from "#runtime/default-spec.ts";
import type { CompiledLaunch, ContainerLaunch, ExecLaunch } from "#runtime/launch-types.ts";
import type { Spec, SpecProcess } from "#runtime/spec-types.ts";

export type FullSpec = Spec & Required<Pick<Spec, "process" | "linux" | "mounts">>;

const APPLETS =
  "sh cat ls echo true false id mount umount unshare hostname sleep stat touch mkdir ln ps kill stty ip mknod chroot env pwd head wc readlink dd grep sync nc mountpoint sed setsid tty find".split(
    " ",
  );

export interface RunOptions {
  args?: string[];
  /** Changes to the default configuration. */
  spec?: ((spec: FullSpec) => void) | undefined;
  launch?: ((launch: ContainerLaunch) => void) | undefined;
}

export interface Running extends AsyncDisposable {
  id: string;
  pid: number;
  launch: ContainerLaunch;
  compiled: CompiledLaunch;
  shim: ShimHandle;
  /** What it has printed so far, both streams. */
  output(): string;
  exited: Promise<ExitRecord>;
}

export class Containers implements AsyncDisposable {
  readonly directory: string;
  readonly rootfs: string;
  readonly client: LauncherClient;
  readonly launcherPath: string;
  cgroups = readCgroupLayout();
  readonly host = readHostFacts();
  #count = 0;
  readonly #running: Running[] = [];

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), "berth-runtime-"));
    chmodSync(this.directory, 0o755);
    this.launcherPath = join(this.directory, "launcher");
    // A machine without a compiler brings one that was built elsewhere.
    const { BERTH_TEST_LAUNCHER } = process.env;
    if (BERTH_TEST_LAUNCHER) copyFileSync(BERTH_TEST_LAUNCHER, this.launcherPath);
    else execFileSync("sh", [join(import.meta.dirname, "../../launcher/build.sh"), this.directory]);
    this.client = createLauncherClient({
      launcherPath: this.launcherPath,
      socketPath: join(this.directory, "launcher.sock"),
    });
    this.rootfs = this.makeRootfs("rootfs");
  }

  /** A new root directory with busybox in it. */
  makeRootfs(name: string): string {
    const root = join(this.directory, name);
    for (const part of ["bin", "proc", "dev", "sys", "etc", "tmp", "root", "sbin"]) {
      mkdirSync(join(root, part), { recursive: true });
    }
    chmodSync(join(root, "tmp"), 0o1777);
    copyFileSync("/bin/busybox", join(root, "bin/busybox"));
    for (const applet of APPLETS) symlinkSync("busybox", join(root, "bin", applet));
    writeFileSync(
      join(root, "etc/passwd"),
      "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    );
    return root;
  }

  /** The launch of a default container; not started. */
  prepare(options: RunOptions = {}): ContainerLaunch {
    const id = `test${process.pid}x${this.#count++}`;
    const execDirectory = join(this.directory, `run-${id}`);
    mkdirSync(execDirectory, { mode: 0o700 });
    const { architecture, kernelRelease } = this.host;
    const spec = defaultSpec({ architecture, kernelRelease });
    if (options.args !== undefined) spec.process.args = options.args;
    options.spec?.(spec);
    const launch: ContainerLaunch = {
      id,
      spec,
      rootfs: this.#overlay(id),
      cgroups: this.cgroups,
      sandbox: { host: [], container: [], sysctls: {} },
      stdio: { terminal: false, openStdin: false, stdinOnce: false, expectedAttaches: 0 },
      log: { format: "json-file", path: join(this.directory, `${id}.log`), attrs: "" },
      execDirectory,
      host: this.host,
    };
    options.launch?.(launch);
    return launch;
  }

  #overlay(id: string): ContainerLaunch["rootfs"] {
    for (const part of ["upper", "work", "merged"])
      mkdirSync(join(this.directory, id, part), { recursive: true });
    return {
      kind: "overlay",
      base: this.directory,
      lower: ["rootfs"],
      upper: `${id}/upper`,
      work: `${id}/work`,
      merged: `${id}/merged`,
      options: [],
    };
  }

  /** Starts it; rejects as the launcher does. */
  async start(options: RunOptions = {}): Promise<Running> {
    const launch = this.prepare(options);
    await this.client.ensureZygote();
    const compiled = compileContainer(launch);
    const shim = this.client.launch(compiled.program, compiled.controlSocket);
    // Nobody may be waiting for these yet when they fail.
    shim.exited.catch(() => undefined);
    const remove = () => removeContainerCgroups(this.cgroups, launch.spec.linux?.cgroupsPath ?? launch.id);
    let pid: number;
    try {
      pid = await shim.started;
    } catch (error) {
      await remove();
      throw Object.assign(error as Error, { compiled });
    }
    const running: Running = {
      id: launch.id,
      pid,
      launch,
      compiled,
      shim,
      exited: shim.exited,
      output: () => readLog(launch.log.path),
      [Symbol.asyncDispose]: async () => {
        await remove();
        await shim.exited.catch(() => undefined);
        shim.close();
      },
    };
    this.#running.push(running);
    return running;
  }

  /** Runs to the end. */
  async run(options: RunOptions = {}): Promise<{ output: string; exitCode: number }> {
    const running = await this.start(options);
    const { exitCode } = await running.exited;
    const output = running.output();
    await running[Symbol.asyncDispose]();
    return { output, exitCode };
  }

  /** What a shell prints in a container. */
  async shell(script: string, options: RunOptions = {}): Promise<string> {
    const { output, exitCode } = await this.run({ ...options, args: ["sh", "-c", script] });
    if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${output}`);
    return output;
  }

  /** Runs a further process to its end; its output goes to a file in the container's own root (`> /out`). */
  async exec(
    container: Running,
    change: Partial<SpecProcess>,
    launchChange: (launch: ExecLaunch) => void = () => undefined,
  ): Promise<{ exitCode: number; compiled: CompiledLaunch; shim: ShimHandle }> {
    const id = `exec${process.pid}x${this.#count++}`;
    const execDirectory = join(this.directory, `run-${id}`);
    mkdirSync(execDirectory, { mode: 0o700 });
    const { spec } = container.launch;
    const launch: ExecLaunch = {
      id,
      containerId: container.id,
      pid: container.pid,
      spec,
      process: { ...(spec.process as SpecProcess), ...change },
      privileged: false,
      cgroups: this.cgroups,
      stdio: { terminal: false, openStdin: false, stdinOnce: false, expectedAttaches: 0 },
      execDirectory,
      host: this.host,
    };
    launchChange(launch);
    const compiled = compileExec(launch);
    const shim = this.client.launch(compiled.program, compiled.controlSocket);
    shim.exited.catch(() => undefined);
    await shim.started;
    const { exitCode } = await shim.exited;
    shim.close();
    return { exitCode, compiled, shim };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of this.#running) await running[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function readLog(path: string): string {
  return readFileSync(path, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => (JSON.parse(line) as { log: string }).log)
    .join("");
}
