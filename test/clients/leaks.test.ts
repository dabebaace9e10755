/** Everything a container held is given back: counted after many. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 9 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

/** Open descriptors of a process, by what they are. */
function descriptors(pid: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const kind = readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/[:[\]\d]+/g, "");
      counts[kind] = (counts[kind] ?? 0) + 1;
    } catch {
      // Closed in between.
    }
  }
  return counts;
}

function held() {
  const [launcher = 0] = daemon.launchers();
  return {
    daemon: descriptors(daemon.pid),
    launcher: descriptors(launcher),
    mounts: daemon.mounts(),
    links: readdirSync(`/sys/class/net/${daemon.bridge}/brif`),
    // Init layers are kept for the next containers of an image, sixteen at most.
    layers: readdirSync(join(daemon.dataRoot, "overlay2")).filter((name) => !name.startsWith(".spare-"))
      .length,
    short: readdirSync(join(daemon.dataRoot, "overlay2/l")).length,
    containers: readdirSync(join(daemon.dataRoot, "containers")),
    runs: readdirSync(join(daemon.execRoot, "containers")),
    execs: readdirSync(join(daemon.execRoot, "execs")),
    volumes: readdirSync(join(daemon.dataRoot, "volumes")),
    shims: readdirSync("/proc").filter((name) => isOrphanShim(name, launcher)).length,
  };
}

function isOrphanShim(pid: string, launcher: number): boolean {
  if (!/^\d+$/.test(pid) || !existsSync(`/proc/${pid}/status`)) return false;
  try {
    return new RegExp(`^PPid:\\s+${launcher}$`, "m").test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false; // It ended in between.
  }
}

/** All but the descriptors, which may become fewer. */
function rest({ daemon: _daemon, launcher: _launcher, ...others }: ReturnType<typeof held>) {
  return others;
}

test("after forty runs with volumes, ports, execs and failures everything is as before", async () => {
  const cycle = async (n: number) => {
    const name = `n${n}`;
    await daemon.dockerAsync(
      "run",
      "-d",
      "--name",
      name,
      "-v",
      "/anonymous",
      "-p",
      "80",
      IMAGE,
      "sleep",
      "100",
    );
    await daemon.dockerAsync("exec", name, "true");
    await daemon.dockerAsync("run", "--rm", IMAGE, "no-such-command");
    await daemon.dockerAsync("logs", name);
    await daemon.dockerAsync("rm", "-f", "-v", name);
    await daemon.dockerAsync("run", "--rm", IMAGE, "true");
  };
  await cycle(0);
  // The image's layer, and the directory of short names.
  const idle = { containers: [], runs: [], execs: [], volumes: [], links: [], shims: 0, layers: 2, short: 1 };
  await eventually(() => {
    const { mounts: _mounts, ...now } = rest(held());
    assert.deepEqual(now, idle);
  });
  // SQLite keeps the descriptor that the first backup was read by, for the next one.
  await eventually(() => assert.ok(existsSync(join(daemon.dataRoot, "berth.db.backup"))));
  const earlier = held();
  for (let n = 1; n <= 20; n += 4) await Promise.all([0, 1, 2, 3].map((more) => cycle(n + more)));
  // Clean-up goes on behind the answers. Workers and idle connections may have ended meanwhile; there must not be more.
  await eventually(() => {
    const later = held();
    for (const side of ["daemon", "launcher"] as const) {
      for (const [kind, count] of Object.entries(later[side])) {
        const before = earlier[side][kind] ?? 0;
        assert.ok(count <= before, `${side} holds ${count} of ${kind}, ${before} before`);
      }
    }
    assert.deepEqual(rest(later), rest(earlier));
  });
});
