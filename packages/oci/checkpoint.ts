/**
 * `checkpoint` and `restore` by criu, where it is installed: a container's processes into files, and out of them again.
 * What criu cannot know by itself is told to it: which mounts come from outside, and where the standard streams led.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { readStartTicks } from "#kernel/process-status.ts";
import { readBundle } from "#oci/bundle.ts";
import { statusOf } from "#oci/container-status.ts";
import { isRootless, writePidFile } from "#oci/create.ts";
import { deleteContainer } from "#oci/delete.ts";
import type { StateDirectory, StoredContainer } from "#oci/state-directory.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";
import { settleCgroups } from "#runtime/cgroups/settle.ts";
import type { Spec } from "#runtime/spec-types.ts";

/** Where the standard streams of the dumped process led: descriptor → text of its link in /proc. */
const STREAMS_FILE = "descriptors.json";

export interface CriuOptions {
  imagePath: string;
  workPath?: string | undefined;
  tcpEstablished: boolean;
  externalUnixSockets: boolean;
  shellJob: boolean;
  fileLocks: boolean;
  manageCgroups?: string | undefined;
}

export interface CheckpointOptions extends CriuOptions {
  leaveRunning: boolean;
  preDump: boolean;
  parentPath?: string | undefined;
}

/** Throws "unavailable" without criu, "conflict" for a container that doesn't run, or what criu says. */
export async function checkpointContainer(
  states: StateDirectory,
  container: StoredContainer,
  options: CheckpointOptions,
): Promise<void> {
  const status = statusOf(states, container);
  if (status !== "running" && status !== "paused") {
    throw new BerthError("conflict", `cannot checkpoint a container that is ${status}`, {
      operation: "checkpoint container",
      object: container.id,
    });
  }
  const directory = resolve(options.imagePath);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const links = ["0", "1", "2"].map((fd) => readlinkSync(`/proc/${container.pid}/fd/${fd}`));
  writeFileSync(join(directory, STREAMS_FILE), JSON.stringify(links));
  const verb = options.preDump ? "pre-dump" : "dump";
  runCriu(verb, options, [
    ...["--tree", String(container.pid), "--root", container.rootfs],
    ...(options.leaveRunning && !options.preDump ? ["--leave-running"] : []),
    ...(options.parentPath === undefined ? [] : ["--prev-images-dir", options.parentPath, "--track-mem"]),
    ...externalMounts(container.spec).flatMap(({ destination }) => [
      "--external",
      `mnt[${destination}]:${cookie(destination)}`,
    ]),
  ]);
  if (!options.leaveRunning && !options.preDump) await deleteContainer(states, container.id, { force: true });
}

export interface RestoreOptions extends CriuOptions {
  id: string;
  bundle: string;
  pidFile?: string | undefined;
}

/** The restored container goes on by itself, as a child of the caller's subreaper. */
export async function restoreContainer(
  states: StateDirectory,
  options: RestoreOptions,
): Promise<StoredContainer> {
  const bundle = readBundle(options.bundle);
  const layout = readCgroupLayout();
  const owner = await settleCgroups(layout, {
    id: options.id,
    cgroupsPath: bundle.spec.linux?.cgroupsPath,
    systemd: false,
    rootless: isRootless(),
  });
  const directory = states.claim(options.id);
  const pidFile = join(directory, "restored.pid");
  try {
    const links = JSON.parse(readFileSync(join(options.imagePath, STREAMS_FILE), "utf8")) as string[];
    withMountedRoot(bundle.rootfs, () =>
      runCriu("restore", options, [
        ...["--root", bundle.rootfs, "--restore-detached", "--restore-sibling", "--pidfile", pidFile],
        ...links.flatMap((link, fd) => (/^pipe:/.test(link) ? ["--inherit-fd", `fd[${fd}]:${link}`] : [])),
        ...externalMounts(bundle.spec).flatMap(({ destination, source }) => [
          "--external",
          `mnt[${cookie(destination)}]:${source}`,
        ]),
      ]),
    );
    const pid = Number(readFileSync(pidFile, "utf8"));
    const container: StoredContainer = {
      id: options.id,
      pid,
      startTicks: readStartTicks(pid) ?? "",
      bundle: bundle.path,
      rootfs: bundle.rootfs,
      created: new Date().toISOString(),
      spec: bundle.spec,
      cgroupOwner: owner,
      resources: bundle.spec.linux?.resources ?? {},
      labels: [],
      execveInstructions: [],
    };
    states.save(container);
    if (options.pidFile !== undefined) writePidFile(options.pidFile, pid);
    return container;
  } catch (error) {
    await removeContainerCgroups(layout, owner).catch(() => undefined);
    states.remove(options.id);
    throw error;
  } finally {
    rmSync(pidFile, { force: true });
  }
}

interface ExternalMount {
  destination: string;
  source: string;
}

/** Bind mounts, and the masked files, which are the host's null device. */
function externalMounts(spec: Spec): ExternalMount[] {
  const binds = (spec.mounts ?? [])
    .filter(
      ({ type, options = [] }) => type === "bind" || options.includes("bind") || options.includes("rbind"),
    )
    .map(({ destination, source = "" }) => ({ destination, source }));
  return binds;
}

function cookie(destination: string): string {
  return destination;
}

/** criu restores into a root that has to be a mount point. */
function withMountedRoot(rootfs: string, use: () => void): void {
  mount(["--bind", rootfs, rootfs]);
  try {
    use();
  } finally {
    spawnSync("umount", ["-l", rootfs]);
  }
}

function mount(args: string[]): void {
  const ran = spawnSync("mount", args, { encoding: "utf8" });
  if (ran.status !== 0)
    throw new BerthError("internal", `mount: ${ran.stderr.trim()}`, { operation: "restore container" });
}

function runCriu(verb: string, options: CriuOptions, args: readonly string[]): void {
  const work = resolve(options.workPath ?? options.imagePath);
  mkdirSync(work, { recursive: true, mode: 0o700 });
  const log = `${verb}.log`;
  const common = [
    ...["--images-dir", resolve(options.imagePath), "--work-dir", work, "--log-file", log, "-v4"],
    ...(options.tcpEstablished ? ["--tcp-established"] : []),
    ...(options.externalUnixSockets ? ["--ext-unix-sk"] : []),
    ...(options.shellJob ? ["--shell-job"] : []),
    ...(options.fileLocks ? ["--file-locks"] : []),
    `--manage-cgroups=${options.manageCgroups ?? "soft"}`,
  ];
  const ran = spawnSync("criu", [verb, ...common, ...args], { stdio: ["inherit", "inherit", "inherit"] });
  if (ran.error !== undefined) {
    throw new BerthError("unavailable", `criu cannot be run: ${ran.error.message}`, {
      operation: verb,
      hint: "install criu",
    });
  }
  if (ran.status !== 0) {
    throw new BerthError("internal", `criu failed: ${lastErrors(join(work, log))}`, {
      operation: verb,
      hint: `all of what it says is in ${join(work, log)}`,
    });
  }
}

function lastErrors(path: string): string {
  try {
    const lines = readFileSync(path, "utf8")
      .split("\n")
      .filter((line) => line.includes("Error"));
    return lines.slice(-3).join("; ") || "it gives no reason";
  } catch {
    return "it has written no log";
  }
}
