/**
 * Version 2 with its controllers: only where the host has no version 1 (a virtual machine, for one). What needs no
 * controller is in cgroups.root.test.ts.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { after, afterEach, describe, it } from "node:test";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { updateCgroups } from "#runtime/cgroups/apply-update.ts";
import { type CgroupPlacement, cgroupDirectories } from "#runtime/cgroups/container-cgroup.ts";
import { execPlacement } from "#runtime/cgroups/exec-group.ts";
import { signalAll } from "#runtime/cgroups/kill.ts";
import { watchOom } from "#runtime/cgroups/oom-events.ts";
import { prepareParentGroup } from "#runtime/cgroups/parent-group.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";
import { prepareCgroups, settleCgroups } from "#runtime/cgroups/settle.ts";
import { readContainerStats } from "#runtime/cgroups/stats.ts";
import type { SpecResources } from "#runtime/spec-types.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const layout = readCgroupLayout();
const root = layout.v2 ?? "";
const PARENT = `berth-cgroups-${process.pid}`;
const NOBODY = 65_534;
const children: ChildProcess[] = [];
const made: CgroupPlacement[] = [];

const plan = (name: string) => ({
  id: name,
  cgroupsPath: `/${PARENT}/${name}`,
  systemd: false,
  rootless: false,
});

async function group(name: string): Promise<CgroupPlacement & { path: string }> {
  const placed = await settleCgroups(layout, plan(name));
  prepareCgroups(layout, placed);
  const path = cgroupDirectories(layout, placed)[0]?.path ?? "";
  mkdirSync(path);
  made.push(placed);
  return { ...placed, path };
}

async function inside(path: string, script: string): Promise<ChildProcess> {
  const child = spawn("sh", ["-c", `read go; ${script}`], { stdio: ["pipe", "pipe", "ignore"] });
  children.push(child);
  writeFileSync(`${path}/cgroup.procs`, String(child.pid));
  child.stdin?.write("go\n");
  return child;
}

describe("control groups of version 2 with controllers", {
  skip: layout.version !== 2 && "version 1 here",
}, () => {
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
    for (const placed of made.splice(0)) await removeContainerCgroups(layout, placed);
  });
  after(() => {
    if (existsSync(`${root}/${PARENT}`)) rmdirSync(`${root}/${PARENT}`);
  });

  it("get their controllers from all the groups above", async () => {
    const { path } = await group("deep/er/x");
    const has = readFileSync(`${path}/cgroup.controllers`, "utf8").trim().split(" ");
    for (const name of ["cpu", "memory", "pids"]) assert.ok(has.includes(name), name);
    await removeContainerCgroups(layout, made.splice(0)[0] as CgroupPlacement);
    for (const name of ["deep/er", "deep"]) rmdirSync(`${root}/${PARENT}/${name}`);
  });

  it("take other limits, growing and shrinking", async () => {
    const { path, ...placed } = await group("update");
    const read = (file: string) => readFileSync(`${path}/${file}`, "utf8").trim();
    const steps: SpecResources[] = [
      {
        memory: { limit: 64 << 20, reservation: 1 << 20 },
        cpu: { quota: 50_000, period: 100_000, shares: 1024 },
      },
      { cpu: { quota: 5000, period: 5000, burst: 1000 }, pids: { limit: 9 } },
      { memory: { limit: 32 << 20 }, cpu: { quota: 1000 }, pids: { limit: -1 } },
      { memory: { limit: -1 }, cpu: { quota: -1 }, unified: { "memory.high": "5242880" } },
    ];
    let current: SpecResources = {};
    const seen: string[][] = [];
    for (const change of steps) {
      current = await updateCgroups(layout, placed, { current, change });
      seen.push(["memory.max", "memory.low", "cpu.max", "cpu.weight", "pids.max", "memory.high"].map(read));
    }
    assert.deepEqual(seen, [
      [String(64 << 20), String(1 << 20), "50000 100000", "100", "max", "max"],
      [String(64 << 20), String(1 << 20), "5000 5000", "100", "9", "max"],
      [String(32 << 20), String(1 << 20), "1000 5000", "100", "max", "max"],
      ["max", String(1 << 20), "max 5000", "100", "max", "5242880"],
    ]);
  });

  it("keep what they have if that is asked for before a limit is written", async () => {
    const { path, ...placed } = await group("check");
    await inside(path, "a=$(head -c 8000000 /dev/zero | tr '\\0' x); sleep 1000");
    await eventually(() => assert.ok(Number(readFileSync(`${path}/memory.current`, "utf8")) > 8_000_000));
    const change = { memory: { limit: 1 << 20, checkBeforeUpdate: true } };
    await assert.rejects(
      updateCgroups(layout, placed, { current: {}, change }),
      /rejecting memory limit 1048576/,
    );
    assert.equal(readFileSync(`${path}/memory.max`, "utf8").trim(), "max");
  });

  it("tell of kills for want of memory, and count", async () => {
    const { path, ...placed } = await group("oom");
    await updateCgroups(layout, placed, { current: {}, change: { memory: { limit: 4 << 20 } } });
    // Where there is swap it would take what doesn't fit.
    if (existsSync(`${path}/memory.swap.max`)) writeFileSync(`${path}/memory.swap.max`, "0");
    let told = 0;
    const watch = watchOom(layout, placed, () => told++);
    // The one that grows is the one the kernel takes, so that the shell is there to be counted.
    const grow = "sh -c 'echo 1000 >/proc/$$/oom_score_adj; exec tail -c 29000000 >/dev/null'";
    await inside(path, `head -c 30000000 /dev/zero | ${grow}; sleep 1000`);
    await eventually(() => {
      assert.ok(told > 0);
      assert.equal(readContainerStats(layout, placed).memory.event_count?.oom_kill, told);
    });
    const stats = readContainerStats(layout, placed);
    assert.equal(stats.memory.usage.limit, 4 << 20);
    assert.ok(Number(stats.cpu.usage.total) > 0);
    assert.ok(Number(stats.pids.current) > 0);
    await signalAll(layout, placed, 9);
    await removeContainerCgroups(layout, placed);
    await watch.ended;
  });

  it("take an exec where the first process has gone to, once they pass their controllers on", async () => {
    const { path, ...placed } = await group("inner");
    const child = await inside(path, "exec sleep 1000");
    const groupOf = () => execPlacement(layout, placed, { pid: child.pid ?? 0, below: [] }).groups[root];
    assert.equal(groupOf(), `${PARENT}/inner`);
    mkdirSync(`${path}/init`);
    writeFileSync(`${path}/init/cgroup.procs`, String(child.pid));
    assert.equal(groupOf(), `${PARENT}/inner`);
    writeFileSync(`${path}/cgroup.subtree_control`, "+pids");
    assert.equal(groupOf(), `${PARENT}/inner/init`);
  });

  it("pass their controllers on in a container too, where the root has processes in it", async () => {
    const { path } = await group("namespace");
    const child = await inside(path, "exec sleep 1000");
    // What a daemon in a container takes for the root.
    prepareParentGroup({ ...layout, v2: path }, "berth");
    assert.match(readFileSync(`${path}/berth/cgroup.controllers`, "utf8"), /memory/);
    assert.equal(readFileSync(`${path}/init/cgroup.procs`, "utf8").trim(), String(child.pid));
    prepareParentGroup({ ...layout, v2: path }, "berth");
  });

  it("are within a user's reach where they are delegated to him, and only there", async () => {
    const { path } = await group("user");
    const own = `${path}/session`;
    mkdirSync(own);
    const settle = () => {
      const script = `
        import { settleCgroups } from "#runtime/cgroups/settle.ts";
        import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
        import { writeFileSync } from "node:fs";
        writeFileSync("${own}/cgroup.procs", String(process.pid));
        process.setgroups([]); process.setgid(${NOBODY}); process.setuid(${NOBODY});
        const placed = await settleCgroups(readCgroupLayout(), { id: "mine", systemd: false, rootless: true });
        console.log(JSON.stringify(placed));`;
      const { stdout, stderr } = spawnSync(
        process.execPath,
        ["--input-type=module-typescript", "-e", script],
        {
          cwd: import.meta.dirname,
          encoding: "utf8",
        },
      );
      assert.ok(stdout !== "", stderr);
      return JSON.parse(stdout);
    };
    assert.deepEqual(settle(), { groups: {}, rootless: true });
    for (const file of ["", "/cgroup.procs", "/cgroup.subtree_control"])
      chownSync(`${path}${file}`, NOBODY, NOBODY);
    assert.deepEqual(settle(), { groups: { [root]: `${PARENT}/user/mine` }, rootless: true });
  });
});
