/**
 * The engines that are measured side by side: each with roots and a bridge of its own, under the same load, in turn.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { removeEmptyParents } from "#test/fixtures/cgroups.ts";
import { debianPeers } from "#test/fixtures/debian-peers.ts";
import { rememberChains, removeBridgeRules, removeUnusedUserChain } from "#test/fixtures/firewall.ts";
import { claimSubnet } from "#test/fixtures/subnet.ts";
import type { BenchHost } from "./bench-host.ts";

export interface Peer {
  name: string;
  /** Path of its API socket. */
  socket: string;
  /** Where it keeps images and containers. */
  dataRoot: string;
  /** Process ids of everything that exists while it is idle. */
  daemonProcesses(): number[];
  /** Process ids of what exists because of one running container, without the container itself. */
  shimProcesses(containerPid: number): number[];
  /** Where it is alone; undefined for the machine itself. */
  host: BenchHost | undefined;
  stop(): Promise<void>;
}

const ROOT = resolve(import.meta.dirname, "..");

/** A Berth with everything of its own under `directory`; with `host` the only engine in that network. */
export async function startBerth(directory: string, host?: BenchHost): Promise<Peer> {
  const socket = join(directory, "berth.sock");
  const execRoot = join(directory, "run");
  const args = ["--data-root", join(directory, "data"), "--exec-root", execRoot, "-H", `unix://${socket}`];
  // Room for a thousand containers, and names of this run: others may be under way.
  const subnet = await claimSubnet(204, 4);
  const bridge = `benchb${process.pid}`;
  args.push("--pidfile", join(directory, "pid"), "--bridge", bridge, "--bip", `10.213.${subnet.number}.1/22`);
  const daemon = start([...enter(host), join(ROOT, "bin/berthd"), ...args], directory, process.env);
  await answers(socket, daemon, directory);
  const launcher = () => processesWith(join(execRoot, "launcher.sock"));
  return {
    name: "berth",
    socket,
    dataRoot: join(directory, "data"),
    daemonProcesses: () => [...tree(daemon.pid ?? 0), ...launcher()],
    shimProcesses: (containerPid) => [parentOf(containerPid)],
    host,
    stop: async () => {
      await end(daemon);
      for (const pid of launcher()) process.kill(pid);
      removeEmptyParents();
      subnet.release();
      // Links and rules go with the network they are in.
      if (host !== undefined) return;
      removeLink(bridge);
      removeBridgeRules(bridge);
      removeUnusedUserChain();
    },
  };
}

/** Debian's dockerd, with its containerd; as startBerth. */
export async function startDocker(directory: string, host?: BenchHost): Promise<Peer> {
  const peers = debianPeers();
  const restoreChains = rememberChains();
  const socket = join(directory, "docker.sock");
  const config = join(directory, "daemon.json");
  mkdirSync(directory, { recursive: true });
  writeFileSync(config, "{}");
  const subnet = await claimSubnet(208, 4);
  const bridge = `benchd${process.pid}`;
  const ip = (...words: string[]) => {
    const [command = "", ...args] = [...enter(host), "ip", ...words];
    execFileSync(command, args);
  };
  ip("link", "add", bridge, "type", "bridge");
  ip("addr", "add", `10.213.${subnet.number}.1/22`, "dev", bridge);
  ip("link", "set", bridge, "up");
  const args = [
    "--data-root",
    join(directory, "data"),
    "--exec-root",
    join(directory, "run"),
    "-H",
    `unix://${socket}`,
  ];
  args.push("--pidfile", join(directory, "pid"), "--bridge", bridge, "--config-file", config);
  const daemon = start([...enter(host), peers.program("dockerd"), ...args], directory, peers.env);
  await answers(socket, daemon, directory);
  return {
    name: "dockerd",
    socket,
    dataRoot: join(directory, "data"),
    daemonProcesses: () => tree(daemon.pid ?? 0),
    shimProcesses: (containerPid) => [parentOf(containerPid)],
    host,
    stop: async () => {
      await end(daemon);
      subnet.release();
      if (host !== undefined) return;
      removeLink(bridge);
      removeBridgeRules(bridge);
      restoreChains();
      removeUnusedUserChain();
    },
  };
}

/** Words before a command that is to run in that network. */
function enter(host: BenchHost | undefined): string[] {
  return host === undefined ? [] : ["nsenter", `--net=${host.networkPath}`];
}

function start(command: string[], directory: string, env: NodeJS.ProcessEnv): ChildProcess {
  mkdirSync(directory, { recursive: true });
  const shell = 'exec "$0" "$@" >>"$BENCH_LOG" 2>&1';
  return spawn("sh", ["-c", shell, ...command], {
    env: { ...env, BENCH_LOG: join(directory, "log") },
    stdio: "ignore",
  });
}

async function answers(socket: string, daemon: ChildProcess, directory: string): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (existsSync(socket)) return;
    if (daemon.exitCode !== null) break;
    await sleep(100);
  }
  const log = readFileSync(join(directory, "log"), "utf8").split("\n").slice(-15).join("\n");
  throw new Error(`${daemon.spawnfile} did not start:\n${log}`);
}

async function end(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null) return;
  const ended = new Promise((done) => daemon.once("exit", done));
  daemon.kill("SIGTERM");
  await Promise.race([ended, sleep(20_000, undefined, { ref: false })]);
}

/** A process and all its descendants. */
export function tree(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .split(" ")
    .filter(Boolean)
    .map(Number);
  return [pid, ...children.flatMap(tree)];
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** Processes that have `word` among their arguments. */
function processesWith(word: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(word);
      } catch {
        return false; // It ended in between.
      }
    });
}

/** Proportional set size, KiB (kernel Documentation/filesystems/proc.rst, smaps_rollup). */
export function pss(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1]);
}

function removeLink(name: string): void {
  if (existsSync(`/sys/class/net/${name}`)) execFileSync("ip", ["link", "del", name]);
}
