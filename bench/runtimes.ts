/**
 * The runtime beside runc and crun: one container that runs `true` and ends, from a configuration to nothing left.
 *
 * As the daemon does it (compiled and executed, no command line), and as whole command lines, whose bare start-up is
 * shown too: Berth's is a Node program's.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { readHostFacts } from "#kernel/host-facts.ts";
import { createLauncherClient } from "#program/launcher-client.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";
import { compileContainer } from "#runtime/compile-container.ts";
import type { Spec } from "#runtime/spec-types.ts";
import { debianPeers } from "#test/fixtures/debian-peers.ts";
import { median, quantile } from "./statistics.ts";
import { printTable } from "./table.ts";

const ROOT = resolve(import.meta.dirname, "..");
const ROUNDS = 15;
const GAP_MS = 250;
/** Berth from the daemon may take this share of `runc run`'s time. */
const BUDGET = 1 / 2;

interface Contestant {
  name: string;
  run(): Promise<void> | void;
}

/** Measures them in turn and prints a table. `archive` is a root file system's tar. */
export async function benchRuntimes(directory: string, archive: string): Promise<Record<string, number>> {
  const bundle = join(directory, "bundle");
  makeBundle(bundle, archive);
  const client = createLauncherClient({
    launcherPath: join(ROOT, "build/launcher"),
    socketPath: join(directory, "launcher.sock"),
  });
  await client.ensureZygote();
  try {
    const contestants = [fromDaemon(directory, bundle, client), ...commandLines(directory, bundle)];
    for (const { run } of contestants) await run();
    const times = new Map(contestants.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round < ROUNDS; round++) {
      for (const { name, run } of contestants) {
        await sleep(GAP_MS);
        const start = performance.now();
        await run();
        times.get(name)?.push(performance.now() - start);
      }
    }
    return report(times);
  } finally {
    // The zygote ends with its socket's name.
    rmSync(join(directory, "launcher.sock"), { force: true });
  }
}

function report(times: Map<string, number[]>): Record<string, number> {
  const medians = Object.fromEntries([...times].map(([name, all]) => [name, median(all)]));
  const peer = medians["runc run"] ?? Number.NaN;
  const rows = [...times].map(([name, all]) => {
    const mine = median(all);
    const ratio = mine / peer;
    const verdict =
      name === "berth, from a daemon" ? `${ratio <= BUDGET ? "ok" : "OVER"}: at most 1/${1 / BUDGET}` : "";
    return [name, `${mine.toFixed(1)} / ${quantile(all, 0.95).toFixed(1)} ms`, ratio.toFixed(2), verdict];
  });
  printTable([["runtime", "median / p95", "of runc run", "budget"], ...rows]);
  return medians;
}

function makeBundle(bundle: string, archive: string): void {
  mkdirSync(join(bundle, "rootfs"), { recursive: true });
  execFileSync("tar", ["-C", join(bundle, "rootfs"), "-xf", archive]);
  // runc's own template: what all three know.
  const peers = debianPeers();
  execFileSync(peers.program("runc"), ["spec", "-b", bundle], { env: peers.env });
  const path = join(bundle, "config.json");
  const spec = JSON.parse(readFileSync(path, "utf8")) as Spec;
  Object.assign(spec.process ?? {}, { args: ["/bin/true"], terminal: false });
  writeFileSync(path, JSON.stringify(spec));
}

/** Compiled and executed by a process that runs already, as berthd does. */
function fromDaemon(
  directory: string,
  bundle: string,
  client: ReturnType<typeof createLauncherClient>,
): Contestant {
  const spec = JSON.parse(readFileSync(join(bundle, "config.json"), "utf8")) as Spec;
  const cgroups = readCgroupLayout();
  const host = readHostFacts();
  let count = 0;
  return {
    name: "berth, from a daemon",
    run: async () => {
      const id = `bench${process.pid}x${count++}`;
      const execDirectory = join(directory, id);
      mkdirSync(execDirectory, { mode: 0o700 });
      const compiled = compileContainer({
        id,
        spec,
        rootfs: { kind: "directory", path: join(bundle, "rootfs") },
        cgroups,
        sandbox: { host: [], container: [], sysctls: {} },
        stdio: { terminal: false, openStdin: false, stdinOnce: false, expectedAttaches: 0 },
        log: { format: "none", path: "", attrs: "" },
        execDirectory,
        host,
      });
      const shim = client.launch(compiled.program, compiled.controlSocket);
      await shim.started;
      await shim.exited;
      shim.close();
      await removeContainerCgroups(cgroups, id);
      rmSync(execDirectory, { recursive: true });
    },
  };
}

function commandLines(directory: string, bundle: string): Contestant[] {
  const peers = debianPeers();
  const run = (name: string, command: string, args: string[]): Contestant => ({
    name,
    run: () => {
      const ran = spawnSync(command, args, { env: peers.env, stdio: ["ignore", "ignore", "pipe"] });
      if (ran.status !== 0) throw new Error(`${name}: ${ran.stderr}`);
    },
  });
  const runWith = (name: string, command: string) =>
    run(`${name} run`, command, ["--root", join(directory, name), "run", "-b", bundle, `bench-${name}`]);
  // crun refuses a layout that has both versions of control groups: it gets a mount table without the second one.
  const crun = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"';
  const crunRun = ["--root", join(directory, "crun"), "run", "-b", bundle, "bench-crun"];
  const program = {
    runc: peers.program("runc"),
    crun: peers.program("crun"),
    berth: join(ROOT, "bin/berth-oci"),
  };
  return [
    runWith("berth-oci", program.berth),
    runWith("runc", program.runc),
    run("crun run", "unshare", ["-m", "sh", "-c", crun, program.crun, ...crunRun]),
    run("berth-oci --version", program.berth, ["--version"]),
    run("runc --version", program.runc, ["--version"]),
  ];
}
