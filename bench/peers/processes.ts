/** Processes of an engine: how they are started and ended, found again, and what memory they have. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { BenchHost } from "./bench-host.ts";

/** How long a daemon may take to answer and to end, ms; only a hang gets there. */
const START_MS = 120_000;
const END_MS = 30_000;
/** Between two looks for an answer, ms: what the start of a daemon is measured to. */
const LOOK_MS = 2;

/** Words before a command that is to run in that network. */
export function enter(host: BenchHost | undefined): string[] {
  return host === undefined ? [] : ["nsenter", `--net=${host.networkPath}`];
}

/** A daemon in a session of its own, which writes to `directory`/log. */
export function startDaemon(
  command: readonly string[],
  directory: string,
  env: NodeJS.ProcessEnv,
): ChildProcess {
  mkdirSync(directory, { recursive: true });
  const shell = 'exec "$0" "$@" >>"$BENCH_LOG" 2>&1';
  return spawn("sh", ["-c", shell, ...command], {
    env: { ...env, BENCH_LOG: join(directory, "log") },
    stdio: "ignore",
    // What the terminal sends to this process is not for it: it is ended in order.
    detached: true,
  });
}

/** Until /_ping is answered. Throws the end of the daemon's log if it ends before, or never answers. */
export async function answering(socket: string, daemon: ChildProcess, directory: string): Promise<void> {
  for (const limit = Date.now() + START_MS; Date.now() < limit && running(daemon); await sleep(LOOK_MS)) {
    if (await pings(socket)) return;
  }
  const log = readFileSync(join(directory, "log"), "utf8").split("\n").slice(-15).join("\n");
  throw new Error(`${daemon.spawnargs.slice(3).join(" ")} did not start:\n${log}`);
}

function pings(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({ socketPath, path: "/_ping", agent: false }, (answer) => {
      answer.resume().on("end", () => resolve(answer.statusCode === 200));
    });
    asked.on("error", () => resolve(false));
    asked.end();
  });
}

function running(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

export async function endDaemon(daemon: ChildProcess | undefined): Promise<void> {
  if (daemon === undefined || !running(daemon)) return;
  const ended = new Promise((done) => daemon.once("exit", done));
  daemon.kill("SIGTERM");
  await Promise.race([ended, sleep(END_MS, undefined, { ref: false })]);
  if (!running(daemon)) return;
  daemon.kill("SIGKILL");
  await ended;
}

/** A process and all its descendants; those that are there. */
export function tree(pid: number | undefined): number[] {
  if (pid === undefined) return [];
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return [pid, ...children.split(" ").filter(Boolean).map(Number).flatMap(tree)];
  } catch {
    return []; // It ended.
  }
}

/** Processes that have `text` in their arguments. */
export function processesWith(text: string): number[] {
  return allProcesses().filter((pid) => read(`/proc/${pid}/cmdline`).includes(text));
}

/** 0 of one that ended. */
export function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
}

/** Whether it runs in a process namespace of its own: something of a container's. */
export function isContained(pid: number): boolean {
  return (/^NSpid:\s+(.*)$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? "").split("\t").length > 1;
}

function allProcesses(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // It ended in between.
  }
}

/** Proportional set size, KiB (kernel Documentation/filesystems/proc.rst, smaps_rollup); 0 of one that ended. */
export function pss(pid: number, ...parts: ("Pss" | "Pss_Anon" | "Pss_Shmem")[]): number {
  const text = read(`/proc/${pid}/smaps_rollup`);
  const names = parts.length > 0 ? parts : ["Pss"];
  return names.reduce(
    (sum, name) => sum + Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0),
    0,
  );
}

export function pssOf(pids: Iterable<number>): number {
  return [...new Set(pids)].reduce((sum, pid) => sum + pss(pid), 0);
}

/** Without pages of files: those are the programs', and shared with whoever else runs one of them, so that a figure would grow and shrink with others' work. */
export function ownPssOf(pids: Iterable<number>): number {
  return [...new Set(pids)].reduce((sum, pid) => sum + pss(pid, "Pss_Anon", "Pss_Shmem"), 0);
}
