/** What goes wrong. Each fault happens while clients work, and is over when its promise resolves. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestDaemon } from "#test/fixtures/daemon.ts";
import type { Dice } from "./dice.ts";
import type { Gate } from "./gate.ts";
import type { Ledger } from "./ledger.ts";

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
  happen(victim: Victim): Promise<void>;
}

export const FAULTS: readonly Fault[] = [
  { name: "killed", weight: 6, ends: true, happen: ({ daemon }) => daemon.kill("SIGKILL") },
  { name: "told to stop", weight: 1, ends: true, happen: ({ daemon }) => daemon.kill("SIGTERM") },
  { name: "frozen", weight: 2, ends: false, happen: frozen },
  { name: "frozen and killed", weight: 1, ends: true, happen: frozenAndKilled },
  { name: "out of memory", weight: 2, ends: true, happen: outOfMemory },
  { name: "disk full", weight: 3, ends: false, happen: diskFull },
  { name: "disk full and killed", weight: 2, ends: true, happen: diskFullAndKilled },
  { name: "fsync fails", weight: 2, ends: false, happen: failing("fsync,fdatasync", ["EIO"]) },
  {
    name: "rename fails",
    weight: 2,
    ends: false,
    happen: failing("rename,renameat,renameat2", ["EIO", "ENOSPC"]),
  },
  {
    name: "mount fails",
    weight: 2,
    ends: false,
    happen: failing("mount,fsmount,move_mount", ["ENOMEM", "EPERM"]),
  },
  { name: "registry cut", weight: 2, ends: false, happen: async ({ gate }) => gate.cut() },
  { name: "rules flushed", weight: 2, ends: false, happen: flushRules },
  { name: "links deleted", weight: 2, ends: false, happen: deleteLinks },
];

async function frozen({ daemon, dice }: Victim): Promise<void> {
  process.kill(daemon.pid, "SIGSTOP");
  await sleep(dice.between(200, 3000));
  process.kill(daemon.pid, "SIGCONT");
}

async function frozenAndKilled({ daemon, dice }: Victim): Promise<void> {
  process.kill(daemon.pid, "SIGSTOP");
  await sleep(dice.between(200, 1500));
  await daemon.kill("SIGKILL");
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
    rmdirSync(cgroup);
  }
}

async function fullDisk({ daemon, dice, ledger }: Victim): Promise<() => void> {
  for (const container of ledger.containers.values()) container.lostLines = true;
  const ballast = join(daemon.dataRoot, "ballast");
  const { bavail, bsize } = statfsSync(daemon.dataRoot);
  const size = Math.max(0, bavail * bsize - dice.between(0, 300_000));
  spawnSync("fallocate", ["-l", String(size), ballast]);
  await sleep(dice.between(500, 2500));
  // What began while it was full is as lossy as what ran before.
  for (const container of ledger.containers.values()) container.lostLines = true;
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
  await ended;
}

async function flushRules({ dice }: Victim): Promise<void> {
  for (const table of ["filter", "nat", "mangle", "raw"]) {
    if (dice.oneIn(4)) continue;
    for (const program of ["iptables", "ip6tables"]) {
      spawnSync(program, ["-w", "-t", table, "-F"]);
      if (dice.oneIn(2)) spawnSync(program, ["-w", "-t", table, "-X"]);
    }
  }
}

async function deleteLinks({ daemon, dice }: Victim): Promise<void> {
  const links = readdirSync(`/sys/class/net/${daemon.bridge}/brif`);
  for (let count = dice.between(1, 3); count > 0; count--) {
    const link = dice.pick(links);
    if (link !== undefined) spawnSync("ip", ["link", "del", link]);
  }
}

/** The programs that some faults need. */
export function missingPrograms(): string[] {
  return ["strace", "iptables", "fallocate"].filter((name) => {
    try {
      execFileSync("which", [name], { stdio: "ignore" });
      return false;
    } catch {
      return true;
    }
  });
}
