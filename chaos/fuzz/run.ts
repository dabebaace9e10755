/**
 * Many requests, most of them wrong, from several clients at once. Afterwards the daemon is there, holds no more than
 * before, and every failure it called its own has its cause in the log.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { ContainerSummary } from "#api-types/container.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { heldBy, moreThan } from "../check-leftovers.ts";
import { Dice } from "../dice.ts";
import { wrongForLong } from "../soon.ts";
import { anyOperation, Grammar } from "./grammar.ts";
import { mutated } from "./mutate.ts";
import { type Outcome, send, sendRaw } from "./send.ts";

export interface FuzzOptions {
  requests: number;
  seed: number;
  /** Clients at once. */
  workers: number;
  /**
   * Milliseconds in which the daemon comes to rest, before and after: what it keeps for a while is given back, and its
   * heap is collected.
   */
  rest: number;
  say(line: string): void;
}

export interface FuzzReport {
  findings: readonly string[];
  text: string;
}

/** Milliseconds for answers that come at once, however busy the daemon is; only a hang gets there. */
const PATIENCE = 60_000;
/** For those that may be as long as the client likes, or wait behind a stop that may. */
const LOOK = 250;
const ENDLESS =
  /Events|Logs|Wait|Attach|Stats|ExecStart|Stop|Restart|Pause|Unpause|Rename|Update|Commit|NetworkConnect|NetworkDisconnect|Top|ImageCreate|ImagePush|SystemAuth|ImageSearch|Distribution|Archive|Export|ContainerDelete|ContainerStart/;
/** MiB more than at first that heap and caches may have after any number of requests. */
const GROWTH = 150;
/** After so many requests what has gathered is removed: a full machine refuses everything alike. */
const SWEEP = 2000;

const WORDS = [
  ...[
    "a",
    "name",
    "berth/busybox",
    "berth/busybox:latest",
    "none",
    "host",
    "bridge",
    "default",
    "true",
    "false",
    "0",
    "1",
  ],
  ...[
    "80",
    "80/tcp",
    "127.0.0.1",
    "10.1.0.0/16",
    "fd00::/64",
    "container:a",
    "service:a",
    "private",
    "local",
    "json-file",
  ],
  ...[
    "always",
    "no",
    "running",
    "tmpfs",
    "volume",
    "bind",
    "/data",
    "/data:ro",
    "vol:/data",
    "nobody",
    "1000:1000",
    "SIGTERM",
  ],
  ...[
    "KEY=value",
    "max-size",
    "1m",
    "net.ipv4.ip_forward",
    "size",
    "apparmor=unconfined",
    "seccomp=unconfined",
    "-1",
    "",
  ],
  ...[
    "../..",
    "%00",
    "\u0000",
    "x y",
    "ü",
    "a".repeat(300),
    "latest",
    "nofile",
    "all",
    "nvidia",
    "macvlan",
    "parent",
  ],
];

export async function fuzzRun(options: FuzzOptions): Promise<FuzzReport> {
  const daemon = await TestDaemon.start({ subnet: 91 });
  try {
    return await fuzz(daemon, options);
  } finally {
    await daemon.stop();
  }
}

async function fuzz(
  daemon: TestDaemon,
  { requests, seed, workers, rest, say }: FuzzOptions,
): Promise<FuzzReport> {
  const dice = new Dice(seed);
  const names: string[] = [];
  const grammar = new Grammar(dice, () => [...WORDS, ...names]);
  const statuses = new Map<number, number>();
  const failures = new Map<string, number>();
  const findings: string[] = [];
  const known = new Set<string>();
  await refresh(daemon, names, known);
  daemon.ok("run", "--rm", "-p", "80", "berth/busybox", "true");
  await clear(daemon, known);
  await sleep(rest);
  const first = heldBy(daemon, known);
  const memory = [residentOf(daemon.pid)];
  await refresh(daemon, names, known);
  for (let done = 0; done < requests && daemon.running; done += SWEEP) {
    let left = Math.min(SWEEP, requests - done);
    const work = async () => {
      while (left-- > 0 && daemon.running) {
        const { operation, outcome } = await one(daemon, grammar, dice);
        statuses.set(outcome.status, (statuses.get(outcome.status) ?? 0) + 1);
        if (outcome.status === 500) add(failures, `${operation}: ${outcome.body.trim()}`);
        if (outcome.timedOut && !ENDLESS.test(operation)) findings.push(`${operation} has no end`);
        learn(names, outcome);
      }
    };
    await Promise.all(Array.from({ length: workers }, work));
    await refresh(daemon, names, known);
    memory.push(residentOf(daemon.pid));
    say(`${Math.min(done + SWEEP, requests)} requests; ${memory.at(-1)} MiB resident`);
  }
  if (!daemon.running) findings.push(`the daemon came to its end:\n${daemon.log().slice(-3000)}`);
  else {
    findings.push(...(await leftovers(daemon, first, known)));
    await sleep(rest);
    memory.push(residentOf(daemon.pid));
    const [before = 0] = memory;
    const after = memory.at(-1) ?? 0;
    if (after > before + GROWTH) findings.push(`${before} MiB resident at first, and ${after} after a rest`);
  }
  findings.push(...unexplained(failures, daemon.log()));
  const text = [
    `seed ${seed}, ${requests} requests; MiB resident: ${tenOf(memory).join(", ")} (the last after a rest)`,
    [...statuses]
      .sort(([a], [b]) => a - b)
      .map(([status, times]) => `${times} × ${status || "no answer"}`)
      .join(", "),
    ...[...failures]
      .sort((a, b) => b[1] - a[1])
      .map(([what, times]) => `  500 × ${times}: ${what.slice(0, 300)}`),
    ...surprises(daemon.log()).map((surprise) => `  not expected: ${surprise}`),
    `${findings.length} findings`,
    ...findings.map((finding) => `  ${finding}`),
  ].join("\n");
  return { findings, text };
}

async function one(
  daemon: TestDaemon,
  grammar: Grammar,
  dice: Dice,
): Promise<{ operation: string; outcome: Outcome }> {
  const operation = anyOperation(dice);
  const request = grammar.request(operation);
  const patience = ENDLESS.test(operation) ? LOOK : PATIENCE;
  const short = (outcome: Promise<Outcome>) => outcome.then((ended) => ({ ...ended, timedOut: false }));
  const outcome = await dice.weighted<() => Promise<Outcome>>([
    [() => send(daemon.socket, request, patience), 10],
    // With another path it may have become an endless one, and without its rest it waits for that.
    [() => short(send(daemon.socket, mutated(request, dice), LOOK)), 8],
    [() => short(sendRaw(daemon.socket, dice.oneIn(2) ? request : mutated(request, dice), dice, LOOK)), 3],
  ])();
  return { operation, outcome };
}

/** What was just made is what the next requests are about. */
function learn(names: string[], { status, body }: Outcome): void {
  const id = status === 201 ? /"I[dD]":"([0-9a-f]{64})"/.exec(body)?.[1] : undefined;
  if (id === undefined) return;
  names.push(id);
  if (names.length > 60) names.splice(0, 10);
}

/** Everything is removed, the image comes back, and something is there for the next ones. */
async function refresh(daemon: TestDaemon, names: string[], known: Set<string>): Promise<void> {
  if (!daemon.running) return;
  await clear(daemon, known);
  daemon.loadBusybox();
  daemon.docker("network", "create", "net");
  names.splice(0, names.length, "running", "stopped", "net", "vol");
  // What clients had asked for that are gone may still come about, under these names.
  const run = (name: string, ...args: string[]) =>
    eventually(() => {
      daemon.docker("rm", "-f", "-v", name);
      daemon.ok("run", "--name", name, ...args);
    });
  await run("running", "-d", "-v", "vol:/data", "berth/busybox", "sleep", "1000");
  await run("stopped", "berth/busybox", "true");
}

/** `known`: is told of every container. */
async function clear(daemon: TestDaemon, known: Set<string>): Promise<void> {
  const { body } = await daemon.api("GET", "/containers/json?all=1");
  const ids = (JSON.parse(body) as ContainerSummary[]).map(({ Id }) => Id);
  for (const id of ids) known.add(id);
  for (let at = 0; at < ids.length; at += 50) daemon.docker("rm", "-f", "-v", ...ids.slice(at, at + 50));
  daemon.docker("network", "prune", "-f");
  daemon.docker("volume", "prune", "-af");
  daemon.docker("image", "prune", "-af");
}

async function leftovers(
  daemon: TestDaemon,
  first: ReturnType<typeof heldBy>,
  known: Set<string>,
): Promise<string[]> {
  await clear(daemon, known);
  const wrong = await wrongForLong(async () => {
    const more = moreThan(first, heldBy(daemon, known));
    return more === "" ? [] : [more];
  });
  return wrong.map((more) => `left behind: ${more}`);
}

/** Ten of them, the first and the last among these. */
function tenOf(memory: readonly number[]): number[] {
  if (memory.length <= 10) return [...memory];
  return Array.from({ length: 10 }, (_, at) => memory[Math.round((at * (memory.length - 1)) / 9)] ?? 0);
}

/** Failures whose text the log does not have. */
function unexplained(failures: ReadonlyMap<string, number>, log: string): string[] {
  return [...failures.keys()].flatMap((failure) => {
    const reference = /reference ([0-9a-f]{8})/.exec(failure)?.[1];
    const message = /"message":"((?:[^"\\]|\\.)*)"/.exec(failure)?.[1] ?? "";
    // It closed its side of the connection before its answer: that is the cause, and its own.
    if (message === "the client is gone") return [];
    const explained = log.includes(reference ?? message.slice(0, 60).split("\\")[0] ?? "");
    return explained ? [] : [`no cause in the log: ${failure}`];
  });
}

/** What the daemon had no words for, each once by its first lines. */
function surprises(log: string): string[] {
  const seen = new Map<string, string>();
  for (const [, operation = "", stack = ""] of log.matchAll(
    /msg="unexpected failure" operation=(\S+) .*stack="(.*)"/g,
  )) {
    const lines = stack.split("\\n").slice(0, 4);
    seen.set(`${operation} ${lines[1]}`, `${operation}: ${lines.join(" ")}`);
  }
  return [...seen.values()];
}

function residentOf(pid: number): number {
  return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024);
}

function add(counts: Map<string, number>, text: string): void {
  const key = text.replace(/[0-9a-f]{64}|reference [0-9a-f]{8}/g, (found) =>
    found.length === 64 ? "…" : found,
  );
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
