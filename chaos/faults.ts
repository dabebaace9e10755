/** What goes wrong. Each fault happens while clients work, and is over when its promise resolves. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ContainerInspect } from "#api-types/container.ts";
import type { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import type { Dice } from "./dice.ts";
import type { Gate } from "./gate.ts";
import type { Ledger } from "./ledger.ts";
import { processes } from "./processes.ts";

export interface Victim {
  daemon: TestDaemon;
  dice: Dice;
  ledger: Ledger;
  /** Between the daemon and the registry. */
  gate: Gate;
}

export interface Fault {
  name: string;
  weight: number;
  /** Does the daemon come to its end by it? After every other one it must still be there. */
  ends: boolean;
  /** Can a container's start fail by it? Then what a policy starts again may stay down. */
  hinders?: boolean;
  /** Do the commands fail by it too of a container that is started meanwhile? */
  reachesInside?: boolean;
  happen(victim: Victim): Promise<void>;
}

export const FAULTS: readonly Fault[] = [
  { name: "killed", weight: 6, ends: true, happen: ({ daemon }) => daemon.kill("SIGKILL") },
  { name: "killed while it starts", weight: 3, ends: true, happen: killedWhileItStarts },
  { name: "told to stop", weight: 1, ends: true, happen: ({ daemon }) => daemon.kill("SIGTERM") },
  { name: "frozen", weight: 2, ends: false, happen: frozen },
  { name: "frozen and killed", weight: 1, ends: true, happen: frozenAndKilled },
  { name: "out of memory", weight: 2, ends: true, happen: outOfMemory },
  { name: "disk full", weight: 3, ends: false, hinders: true, happen: diskFull },
  { name: "disk full and killed", weight: 2, ends: true, hinders: true, happen: diskFullAndKilled },
  { name: "no inodes", weight: 2, ends: false, hinders: true, happen: noInodes },
  { name: "fsync fails", weight: 2, ends: false, hinders: true, happen: failing("fsync,fdatasync", ["EIO"]) },
  {
    name: "rename fails",
    weight: 2,
    ends: false,
    hinders: true,
    happen: failing("rename,renameat,renameat2", ["EIO", "ENOSPC"]),
  },
  {
    name: "mount fails",
    weight: 2,
    ends: false,
    hinders: true,
    happen: failing("mount,fsmount,move_mount", ["ENOMEM", "EPERM"]),
  },
  {
    name: "clone fails",
    weight: 2,
    ends: false,
    hinders: true,
    reachesInside: true,
    happen: failing("clone,clone3,fork,vfork", ["EAGAIN", "ENOMEM"]),
  },
  { name: "no descriptors", weight: 2, ends: false, hinders: true, happen: noDescriptors },
  { name: "registry cut", weight: 3, ends: false, happen: cutRegistry },
  { name: "rules flushed", weight: 2, ends: false, happen: flushRules },
  { name: "links deleted", weight: 2, ends: false, happen: deleteLinks },
  { name: "shim killed", weight: 2, ends: false, happen: killShims },
  { name: "zygote killed", weight: 2, ends: false, hinders: true, happen: killOther("berth-zygote") },
  { name: "port proxy killed", weight: 2, ends: false, happen: killOther("berth-proxy") },
];

/** To one that may have come to its end meanwhile. */
function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function frozen({ daemon, dice }: Victim): Promise<void> {
  send(daemon.pid, "SIGSTOP");
  await sleep(dice.between(200, 3000));
  send(daemon.pid, "SIGCONT");
}

async function frozenAndKilled({ daemon, dice }: Victim): Promise<void> {
  send(daemon.pid, "SIGSTOP");
  await sleep(dice.between(200, 1500));
  await daemon.kill("SIGKILL");
}

/** Again and again, at any moment of finding everything again. */
async function killedWhileItStarts({ daemon, dice }: Victim): Promise<void> {
  await daemon.kill("SIGKILL");
  for (let times = dice.between(1, 3); times > 0; times--) {
    const started = daemon.boot().catch(() => {});
    await sleep(dice.between(20, 700));
    await daemon.kill("SIGKILL");
    await started;
  }
}

/** Its own cgroup with next to no room to grow: the kernel kills it in whatever it does. */
async function outOfMemory({ daemon }: Victim): Promise<void> {
  const cgroup = `/sys/fs/cgroup/memory/berth-chaos-${process.pid}`;
  mkdirSync(cgroup);
  try {
    writeFileSync(join(cgroup, "cgroup.procs"), String(daemon.pid));
    const used = Number(readFileSync(join(cgroup, "memory.usage_in_bytes"), "utf8"));
    writeFileSync(join(cgroup, "memory.limit_in_bytes"), String(used + (2 << 20)));
    const gone = daemon.ended().then(() => true);
    if (!(await Promise.race([gone, sleep(5000, false)]))) await daemon.kill("SIGKILL");
  } finally {
    // The dead leave it a moment after their parent has heard of them.
    await eventually(() => rmdirSync(cgroup));
  }
}

function losesLines(ledger: Ledger): void {
  for (const container of ledger.containers.values()) container.lostLines = true;
}

async function fullDisk({ daemon, dice, ledger }: Victim): Promise<() => void> {
  losesLines(ledger);
  const ballast = join(daemon.dataRoot, "ballast");
  const { bavail, bsize } = statfsSync(daemon.dataRoot);
  const size = Math.max(0, bavail * bsize - dice.between(0, 300_000));
  spawnSync("fallocate", ["-l", String(size), ballast]);
  await sleep(dice.between(500, 2500));
  // What began while it was full is as lossy as what ran before.
  losesLines(ledger);
  return () => rmSync(ballast, { force: true });
}

async function diskFull(victim: Victim): Promise<void> {
  (await fullDisk(victim))();
}

async function diskFullAndKilled(victim: Victim): Promise<void> {
  const free = await fullDisk(victim);
  await victim.daemon.kill("SIGKILL");
  free();
}

/** Every file that is made fails; those that there are can be written. */
async function noInodes({ daemon, dice, ledger }: Victim): Promise<void> {
  losesLines(ledger);
  const ballast = join(daemon.dataRoot, "ballast");
  mkdirSync(ballast);
  const { ffree } = statfsSync(daemon.dataRoot);
  const names = `seq 1 ${Math.max(0, ffree - dice.between(0, 20))}`;
  const filling = spawn("sh", ["-c", `${names} | xargs touch 2>/dev/null`], {
    cwd: ballast,
    stdio: "ignore",
  });
  await new Promise((resolve) => filling.once("exit", resolve));
  await sleep(dice.between(500, 2500));
  losesLines(ledger);
  const emptying = spawn("rm", ["-rf", ballast], { stdio: "ignore" });
  await new Promise((resolve) => emptying.once("exit", resolve));
}

/** It may open next to nothing more than it has open now. */
async function noDescriptors({ daemon, dice }: Victim): Promise<void> {
  const limit = (value: string) => spawnSync("prlimit", ["--pid", String(daemon.pid), `--nofile=${value}`]);
  const before = /^Max open files +(\d+)/m.exec(readFileSync(`/proc/${daemon.pid}/limits`, "utf8"))?.[1];
  limit(`${readdirSync(`/proc/${daemon.pid}/fd`).length + dice.between(0, 12)}:`);
  await sleep(dice.between(500, 2000));
  limit(`${before}:`);
}

/** At once, or for a while each connection after so many bytes: in the middle of a blob. */
async function cutRegistry({ dice, gate }: Victim): Promise<void> {
  gate.cut();
  if (dice.oneIn(3)) return;
  gate.cutAfter(dice.between(100, 200_000));
  await sleep(dice.between(500, 2500));
  gate.cutAfter(undefined);
}

/** Who keeps containers: each ends with its own, and no other does. */
async function killShims({ daemon, dice, ledger }: Victim): Promise<void> {
  for (let times = dice.between(1, 3); times > 0; times--) {
    const container = dice.pick(ledger.free("running").filter(({ kind }) => kind === "counting"));
    const seen = container && (await daemon.api("GET", `/containers/${container.id}/json`));
    if (container === undefined || seen?.status !== 200) continue;
    const { Pid } = (JSON.parse(seen.body) as ContainerInspect).State;
    const shim = Pid === 0 ? 0 : parentOf(Pid);
    if (shim === 0 || !processes(daemon, "berth-shim").includes(shim)) continue;
    container.life = "told to end";
    container.mustEnd = true;
    killIfThere(shim);
  }
}

/** It may have come to its own end since it was looked for. */
function killIfThere(pid: number): void {
  try {
    send(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** The zygote or the port proxy; what it made goes on. */
function killOther(name: string): Fault["happen"] {
  return async ({ daemon }) => {
    for (const pid of processes(daemon, name)) killIfThere(pid);
  };
}

/** From some call on, for a while, these calls of the daemon and its launcher fail. */
function failing(calls: string, errors: readonly string[]): Fault["happen"] {
  return async ({ daemon, dice }) => {
    const error = dice.pick(errors);
    const pids = [daemon.pid, ...daemon.launchers()].flatMap((pid) => ["-p", String(pid)]);
    const rule = [`trace=${calls}`, `inject=${calls}:error=${error}:when=${dice.between(1, 8)}+`];
    const options = ["-f", "-qq", "-o", "/dev/null", ...rule.flatMap((one) => ["-e", one])];
    const strace = spawn("strace", [...options, ...pids], { stdio: "ignore" });
    await sleep(dice.between(500, 2000));
    await endOf(strace);
  };
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGINT");
  // It cannot let go of a process that waits for a child which it has stopped; the kernel can.
  const timer = setTimeout(() => child.kill("SIGKILL"), 2000);
  await ended;
  clearTimeout(timer);
}

async function flushRules({ dice }: Victim): Promise<void> {
  for (const table of ["filter", "nat", "mangle", "raw"]) {
    if (dice.oneIn(4)) continue;
    for (const program of ["iptables", "ip6tables"]) {
      spawnSync(program, ["-w", "-t", table, "-F"]);
      if (dice.oneIn(2)) spawnSync(program, ["-w", "-t", table, "-X"]);
    }
  }
  if (dice.oneIn(3)) spawnSync("iptables", ["-w", "-P", "FORWARD", dice.oneIn(2) ? "ACCEPT" : "DROP"]);
}

async function deleteLinks({ daemon, dice, ledger }: Victim): Promise<void> {
  for (const container of ledger.containers.values()) container.cutOff = true;
  const links = readdirSync(`/sys/class/net/${daemon.bridge}/brif`);
  for (let count = dice.between(1, 3); count > 0; count--) {
    const link = dice.pick(links);
    if (link !== undefined) spawnSync("ip", ["link", "del", link]);
  }
}

/** The programs that some faults need. */
export function missingPrograms(): string[] {
  return ["strace", "iptables", "fallocate", "prlimit", "nsenter", "docker", "docker-registry"].filter(
    (name) => {
      try {
        execFileSync("which", [name], { stdio: "ignore" });
        return false;
      } catch {
        return true;
      }
    },
  );
}
