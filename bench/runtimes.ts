/**
 * The runtime beside runc and crun: one container that runs `true` and ends, from a configuration to nothing left.
 *
 * As the daemon does it (compiled and executed, no command line), and as whole command lines, whose bare start-up is
 * shown too: Berth's is a Node program's.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { readHostFacts } from "#kernel/host-facts.ts";
import { createLauncherClient } from "#program/launcher-client.ts";
import type { LauncherClient } from "#program/launcher-client.types.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";
import { compileContainer } from "#runtime/compile-container.ts";
import { DEFAULT_DEVICE_RULES } from "#runtime/default-spec.ts";
import type { Spec } from "#runtime/spec-types.ts";
import { debianPeers } from "#test/fixtures/debian-peers.ts";
import { timed } from "./clients/engine-api.ts";
import type { Setting } from "./engines.ts";
import { checkInterrupted } from "./interruption.ts";
import { type Contestant, interleave } from "./measure.ts";
import { BERTH, FLOOR, type Goal, makeRow, type Row } from "./rows.ts";

const ROOT = resolve(import.meta.dirname, "..");
const ROUNDS = 15;
const SECTION = "runtimes";
const NODE =
  "berth-oci is a Node program, and Node alone takes longer to start than all that crun does; the daemon never starts it";

/** `archive` is a root file system's tar. Without unpacked peers there is nothing to compare with, nor their template. */
export async function benchRuntimes(
  directory: string,
  archive: string,
  { absent, only, rig }: Setting,
): Promise<Row[]> {
  if (absent.dockerd !== undefined) {
    console.error(`bench: WITHOUT runtimes: runc and crun: ${absent.dockerd}`);
    return [];
  }
  const bundle = join(directory, "bundle");
  makeBundle(bundle, archive);
  const client = createLauncherClient({
    launcherPath: join(ROOT, "build/launcher"),
    socketPath: join(directory, "launcher.sock"),
  });
  await client.ensureZygote();
  const lines = commandLines(directory, bundle);
  const run = { runc: lines.run("runc"), crun: lines.run("crun") };
  const floor = bareContestant(rig);
  const cases: { name: string; contestants: Contestant[]; goal: Goal }[] = [
    {
      name: "a container that runs true, by a daemon's runtime",
      contestants: [fromDaemon(directory, bundle, client), run.runc, run.crun, floor],
      goal: {
        budget: 1 / 2,
        reference: "runc",
        note: "berth: compiled and executed by the process that is there, as berthd does; runc and crun: started for it, as their engines do",
      },
    },
    {
      name: "the same as a command line",
      contestants: [lines.run(BERTH), run.runc, run.crun, floor],
      goal: { why: NODE },
    },
    { name: "the command line's --version", contestants: lines.versions(), goal: { why: NODE } },
  ];
  try {
    const rows: Row[] = [];
    for (const { name, contestants, goal } of cases.filter((one) => one.name.includes(only))) {
      console.error(`bench: ${name} …`);
      for (const contestant of contestants) await contestant.run(); // The first is not like the others.
      checkInterrupted();
      const { values, missing } = await interleave(contestants, ROUNDS);
      rows.push(makeRow({ section: SECTION, name, unit: "ms", values, missing }, goal));
    }
    return rows;
  } finally {
    // The zygote ends with its socket's name.
    rmSync(join(directory, "launcher.sock"), { force: true });
  }
}

function bareContestant({ launcher }: Setting["rig"]): Contestant {
  return {
    name: FLOOR,
    run: () => {
      const prepared = launcher.prepare(["true"], { log: "none" });
      return timed(async () => {
        await launcher.launch(prepared);
        await launcher.end(prepared);
      });
    },
  };
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
function fromDaemon(directory: string, bundle: string, client: LauncherClient): Contestant {
  const spec = JSON.parse(readFileSync(join(bundle, "config.json"), "utf8")) as Spec;
  // The daemon's runtime does as it is told; runc and crun allow these by themselves.
  if (spec.linux?.resources !== undefined) spec.linux.resources.devices = [...DEFAULT_DEVICE_RULES];
  const cgroups = readCgroupLayout();
  const host = readHostFacts();
  let count = 0;
  const once = async () => {
    const id = `bench${process.pid}r${count++}`;
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
  };
  return { name: BERTH, run: () => timed(once) };
}

function commandLines(directory: string, bundle: string) {
  const peers = debianPeers();
  const program: Record<string, string> = {
    runc: peers.program("runc"),
    crun: peers.program("crun"),
    [BERTH]: join(ROOT, "bin/berth-oci"),
  };
  // crun refuses a layout that has both versions of control groups: it gets a mount table without the second one.
  const own = ["unshare", "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"'];
  const contestant = (name: string, ...args: string[]): Contestant => ({
    name,
    run: () =>
      timed(async () => {
        const [command = "", ...rest] = [...(name === "crun" ? own : []), program[name] ?? "", ...args];
        const ran = spawnSync(command, rest, { env: peers.env, stdio: ["ignore", "ignore", "pipe"] });
        if (ran.status !== 0) throw new Error(`${name}: ${ran.stderr}`);
      }),
  });
  return {
    run: (name: string) =>
      contestant(
        name,
        "--root",
        join(directory, `r-${name}`),
        "run",
        "-b",
        bundle,
        `bench-${name}-${process.pid}`,
      ),
    versions: () => [BERTH, "runc", "crun"].map((name) => contestant(name, "--version")),
  };
}
