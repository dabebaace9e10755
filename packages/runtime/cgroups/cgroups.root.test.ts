/**
 * Real control groups, without containers: version 1's on a host that has them, and version 2's kernel interface (what
 * needs no controller) wherever such a hierarchy is mounted at all.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { after, afterEach, describe, it } from "node:test";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { updateCgroups } from "#runtime/cgroups/apply-update.ts";
import {
  type CgroupPlacement,
  cgroupDirectories,
  controllerDirectory,
} from "#runtime/cgroups/container-cgroup.ts";
import { execPlacement } from "#runtime/cgroups/exec-group.ts";
import { freeze, isFrozenNow, thaw } from "#runtime/cgroups/freezer.ts";
import { signalAll } from "#runtime/cgroups/kill.ts";
import { watchOom } from "#runtime/cgroups/oom-events.ts";
import { containerProcesses } from "#runtime/cgroups/processes.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";
import { settleCgroups } from "#runtime/cgroups/settle.ts";
import { readContainerStats } from "#runtime/cgroups/stats.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const host = readCgroupLayout();
const second: CgroupLayout = {
  version: 2,
  v1: {},
  v2Controllers: [],
  ...(host.v2 !== undefined && { v2: host.v2 }),
};
const PARENT = `berth-cgroups-${process.pid}`;
const children: ChildProcess[] = [];
const made: [CgroupLayout, CgroupPlacement][] = [];

afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const [layout, placed] of made.splice(0))
    await removeContainerCgroups(layout, { groups: placed.groups });
});
after(() => {
  for (const layout of [host, second]) {
    if (layout.version === 2 && layout.v2 === undefined) continue;
    for (const { path } of cgroupDirectories(layout, `/${PARENT}`)) if (existsSync(path)) rmdirSync(path);
  }
});

/** Groups as a container's program makes them, in those hierarchies that take a process without further ado. */
async function groups(layout: CgroupLayout, name: string): Promise<CgroupPlacement> {
  const settled = await settleCgroups(layout, {
    id: name,
    cgroupsPath: `/${PARENT}/${name}`,
    systemd: false,
    rootless: false,
  });
  const cpuset = layout.v1.cpuset;
  const placed = {
    ...settled,
    groups: Object.fromEntries(Object.entries(settled.groups).filter(([root]) => root !== cpuset)),
  };
  for (const { path } of cgroupDirectories(layout, placed)) mkdirSync(path, { recursive: true });
  made.push([layout, placed]);
  return placed;
}

/** A shell in the groups. */
async function inside(layout: CgroupLayout, placed: CgroupPlacement, script: string): Promise<ChildProcess> {
  const child = spawn("sh", ["-c", `read go; ${script}`], { stdio: ["pipe", "pipe", "ignore"] });
  children.push(child);
  for (const { path } of cgroupDirectories(layout, placed))
    writeFileSync(`${path}/cgroup.procs`, String(child.pid));
  child.stdin?.write("go\n");
  return child;
}

const ended = (child: ChildProcess) =>
  eventually(() => assert.ok(child.exitCode !== null || child.signalCode !== null));

describe("control groups of version 1", { skip: host.version !== 1 && "no version 1 here" }, () => {
  const read = (placed: CgroupPlacement, controller: string, file: string) =>
    readFileSync(`${controllerDirectory(host, placed, controller)}/${file}`, "utf8").trim();

  it("take other limits, growing and shrinking", async () => {
    const placed = await groups(host, "update");
    const steps = [
      {
        memory: { limit: 64 << 20, swap: 96 << 20 },
        cpu: { quota: 50_000, period: 100_000 },
        pids: { limit: 9 },
      },
      { memory: { limit: 256 << 20, swap: 512 << 20 }, cpu: { quota: 5000, period: 5000, burst: 1000 } },
      { memory: { limit: 16 << 20, swap: 20 << 20 }, cpu: { quota: 1000 }, pids: { limit: -1 } },
      { memory: { limit: -1 }, cpu: { quota: -1 } },
    ];
    let current = {};
    const seen: string[][] = [];
    for (const change of steps) {
      current = await updateCgroups(host, placed, { current, change });
      seen.push([
        read(placed, "memory", "memory.limit_in_bytes"),
        read(placed, "memory", "memory.memsw.limit_in_bytes"),
        read(placed, "cpu", "cpu.cfs_quota_us"),
        read(placed, "cpu", "cpu.cfs_period_us"),
        read(placed, "pids", "pids.max"),
      ]);
    }
    const none = "9223372036854771712";
    assert.deepEqual(seen, [
      [String(64 << 20), String(96 << 20), "50000", "100000", "9"],
      [String(256 << 20), String(512 << 20), "5000", "5000", "9"],
      [String(16 << 20), String(20 << 20), "1000", "5000", "max"],
      [none, none, "-1", "5000", "max"],
    ]);
  });

  it("stay as they are when one of several limits is refused", async () => {
    const placed = await groups(host, "refused");
    const current = await updateCgroups(host, placed, {
      current: {},
      change: { cpu: { shares: 100 }, pids: { limit: 5 } },
    });
    const child = await inside(
      host,
      placed,
      "a=$(head -c 8000000 /dev/zero | tr '\\0' x); echo ready; sleep 1000",
    );
    await eventually(() => assert.ok(Number(read(placed, "memory", "memory.usage_in_bytes")) > 8_000_000));
    const change = { cpu: { shares: 900 }, memory: { limit: 1 << 20 }, pids: { limit: 50 } };
    await assert.rejects(
      // There is nothing to reclaim but what swap would take, which this limit leaves out.
      updateCgroups(host, placed, { current, change: { ...change, memory: { limit: 4096, swap: 4096 } } }),
      /unable to set memory limit|cannot set memory\.memsw/,
    );
    assert.equal(read(placed, "cpu", "cpu.shares"), "100");
    assert.equal(read(placed, "pids", "pids.max"), "5");
    assert.equal(child.exitCode, null);
  });

  it("count", async () => {
    const placed = await groups(host, "stats");
    await inside(host, placed, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000");
    await eventually(() => {
      const stats = readContainerStats(host, placed);
      assert.ok(Number(stats.cpu.usage.total) > 0);
      assert.ok(Number(stats.memory.usage.usage) > 0);
      assert.ok(Number(stats.pids.current) >= 1);
      assert.equal(stats.memory.usage.limit, 9223372036854771712n);
    });
  });

  it("tell of kills for want of memory", async () => {
    const placed = await groups(host, "oom");
    await updateCgroups(host, placed, { current: {}, change: { memory: { limit: 4 << 20, swap: 4 << 20 } } });
    let told = 0;
    const watch = watchOom(host, placed, () => told++, { pollMs: 20 });
    // The one that grows is the one the kernel takes.
    const grow = "sh -c 'echo 1000 >/proc/$$/oom_score_adj; exec tail -c 29000000 >/dev/null'";
    await inside(host, placed, `head -c 30000000 /dev/zero | ${grow}; sleep 1000`);
    await eventually(() => {
      assert.ok(told > 0);
      assert.match(read(placed, "memory", "memory.oom_control"), new RegExp(`^oom_kill ${told}$`, "m"));
    });
    await signalAll(host, placed, 9);
    await removeContainerCgroups(host, placed);
    await watch.ended;
  });

  it("stand still and go on, and are signalled as they are", async () => {
    const placed = await groups(host, "freeze");
    const child = await inside(host, placed, "sleep 1000 & sleep 1000; wait");
    await eventually(() => assert.equal(containerProcesses(host, placed).length, 3));
    await freeze(host, placed);
    assert.ok(isFrozenNow(host, placed));
    assert.equal(await signalAll(host, placed, 15), 3);
    assert.ok(isFrozenNow(host, placed), "what was paused stays so");
    await thaw(host, placed);
    await ended(child);
  });

  it("are refused where somebody else is in them, and left where they were before", async () => {
    const placed = await groups(host, "taken");
    assert.equal(placed.kept, undefined);
    const child = await inside(host, placed, "sleep 1000");
    const again = { id: "x", cgroupsPath: `/${PARENT}/taken`, systemd: false, rootless: false };
    await assert.rejects(
      settleCgroups(host, again),
      /container's cgroup is not empty: \d process\(es\) found/,
    );
    await signalAll(host, placed, 9);
    await ended(child);
    await eventually(async () => {
      const kept = await settleCgroups(host, again);
      const paths = cgroupDirectories(host, placed).map(({ path }) => path);
      assert.deepEqual(kept.kept?.toSorted(), paths.toSorted());
      const other = await inside(host, placed, "sleep 1000");
      mkdirSync(`${paths[0]}/inner`);
      await removeContainerCgroups(host, { ...placed, kept: paths });
      await ended(other);
      assert.ok(paths.every((path) => existsSync(path)));
      assert.ok(!existsSync(`${paths[0]}/inner`));
    });
  });

  it("go with all that was made in them", async () => {
    const placed = await groups(host, "nested");
    const directories = cgroupDirectories(host, placed);
    for (const { path } of directories) mkdirSync(`${path}/a/b`, { recursive: true });
    const freezer = controllerDirectory(host, placed, "freezer");
    const child = await inside(host, placed, "exec sleep 1000");
    for (const { path } of directories) writeFileSync(`${path}/a/b/cgroup.procs`, String(child.pid));
    writeFileSync(`${freezer}/a/b/freezer.state`, "FROZEN");
    assert.deepEqual(containerProcesses(host, placed, { nested: false }), []);
    assert.deepEqual(containerProcesses(host, placed), [child.pid]);
    await removeContainerCgroups(host, placed);
    assert.ok(directories.every(({ path }) => !existsSync(path)));
    await ended(child);
  });

  it("of an exec can be told one by one", async () => {
    const placed = await groups(host, "exec");
    const group = (controller: string, below: string[]) =>
      controllerDirectory(host, execPlacement(host, placed, { pid: process.pid, below }), controller);
    const own = controllerDirectory(host, placed, "pids");
    assert.equal(group("pids", []), own);
    assert.equal(group("pids", ["a/b"]), `${own}/a/b`);
    assert.equal(group("pids", ["memory:a"]), own);
    assert.equal(group("pids", ["a", "memory,pids:b"]), `${own}/b`);
    assert.throws(() => group("pids", ["../x"]), /bad sub cgroup/);
    assert.throws(() => group("pids", ["nosuch:x"]), /unknown controller/);
  });
});

describe("control groups of version 2", { skip: host.v2 === undefined && "no version 2 hierarchy" }, () => {
  it("stand still, go on, and die all at once, frozen and nested as they are", async () => {
    const placed = await groups(second, "two");
    const [directory] = cgroupDirectories(second, placed);
    const child = await inside(second, placed, "sleep 1000 & sleep 1000; wait");
    await eventually(() => assert.equal(containerProcesses(second, placed).length, 3));
    mkdirSync(`${directory?.path}/inner`);
    writeFileSync(`${directory?.path}/inner/cgroup.procs`, String(child.pid));
    assert.equal(containerProcesses(second, placed, { nested: false }).length, 2);
    await freeze(second, placed);
    assert.ok(isFrozenNow(second, placed));
    await assert.rejects(
      settleCgroups(second, { id: "x", cgroupsPath: `/${PARENT}/two`, systemd: false, rootless: false }),
      /not empty/,
    );
    assert.equal(await signalAll(second, placed, 9), 3);
    await ended(child);
    await removeContainerCgroups(second, placed);
    assert.ok(!existsSync(directory?.path ?? ""));
  });

  it("that are frozen take no new container", async () => {
    const placed = await groups(second, "cold");
    const [directory] = cgroupDirectories(second, placed);
    writeFileSync(`${directory?.path}/cgroup.freeze`, "1");
    await eventually(async () => {
      await assert.rejects(
        settleCgroups(second, { id: "x", cgroupsPath: `/${PARENT}/cold`, systemd: false, rootless: false }),
        /unexpectedly frozen/,
      );
    });
  });

  it("have one place for all, also for an exec", async () => {
    const placed = await groups(second, "one");
    assert.throws(
      () => execPlacement(second, placed, { pid: process.pid, below: ["cpu:x"] }),
      /one hierarchy/,
    );
    const below = execPlacement(second, placed, { pid: process.pid, below: ["a"] });
    assert.deepEqual(below.groups, { [host.v2 as string]: `${PARENT}/one/a` });
  });
});
