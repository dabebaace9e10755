/** A daemon's other processes: zygote, shims, port proxy. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import type { ContainerInspect } from "#api-types/container.ts";
import type { TestDaemon } from "#test/fixtures/daemon.ts";
import { textOf } from "#test/fixtures/process-files.ts";

export interface SeenProcess {
  pid: number;
  /** "berth-zygote", "berth-shim", "berth-proxy" */
  name: string;
}

/** Those whose command line names its exec root. */
export function allProcesses(daemon: TestDaemon): SeenProcess[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        const own = words.some((word) => word.startsWith(`${daemon.execRoot}/`) && word.endsWith(".sock"));
        const name = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
        return own && name.startsWith("berth-") ? [{ pid: Number(pid), name }] : [];
      } catch {
        return []; // It ended in between.
      }
    });
}

export function processes(daemon: TestDaemon, name: string): number[] {
  return allProcesses(daemon)
    .filter((one) => one.name === name)
    .map(({ pid }) => pid);
}

export interface SeenShim {
  pid: number;
  /** Its working directory: the run, or the exec. */
  directory: string;
  children: { pid: number; group: string }[];
}

/** Those of zygotes that were killed as well. A shim's child is called like it until it is somebody else's program. */
export function shimsOf(daemon: TestDaemon): SeenShim[] {
  const seen = processes(daemon, "berth-shim").map(shimSeen);
  const children = new Set(seen.flatMap((shim) => shim.children.map(({ pid }) => pid)));
  return seen.filter(({ pid }) => !children.has(pid));
}

function shimSeen(pid: number): SeenShim {
  const children = textOf(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
  return {
    pid,
    directory: linkOf(`/proc/${pid}/cwd`),
    children: children.map((child) => ({ pid: child, group: textOf(`/proc/${child}/cgroup`) })),
  };
}

/** All that tells why it is still there: what it waits for, what it has open, whose it is, and what the daemon says. */
export function describeShim({ pid, directory, children }: SeenShim, running: readonly ContainerInspect[]) {
  const known = running.find(
    ({ Id }) => Id.startsWith(basename(directory)) || children.some(({ group }) => group.includes(Id)),
  );
  const daemon =
    known === undefined
      ? "no running container"
      : `${known.Name}, ${known.State.Status}, pid ${known.State.Pid}`;
  return [
    `shim ${pid} in ${directory} of ${daemon}`,
    describeProcess(pid),
    ...children.map(
      (child) => `child ${child.pid}: ${describeProcess(child.pid)}, ${linkOf(`/proc/${child.pid}/ns/pid`)}`,
    ),
  ].join("\n    ");
}

function describeProcess(pid: number): string {
  const state = /^State:\s+(.*)$/m.exec(textOf(`/proc/${pid}/status`))?.[1] ?? "gone";
  const command = textOf(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
  const open = namesIn(`/proc/${pid}/fd`).map((fd) => `${fd}=${linkOf(`/proc/${pid}/fd/${fd}`)}`);
  return `"${command}", ${state}, in ${textOf(`/proc/${pid}/wchan`)}, ${ageOf(pid)} s old, ${open.join(" ")}`;
}

/** Seconds since its start, which the kernel counts in hundredths. */
function ageOf(pid: number): number {
  const fields = textOf(`/proc/${pid}/stat`)
    .replace(/^.*\) /, "")
    .split(" ");
  return Math.round(Number(textOf("/proc/uptime").split(" ")[0]) - Number(fields[19]) / 100);
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
