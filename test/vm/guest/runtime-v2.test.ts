/** berth-oci on version 2: limits, devices, counters, freezing, out of memory. Runs in the virtual machine. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { before, describe, it } from "node:test";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import type { SpecResources } from "#runtime/spec-types.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const COMMAND = resolve(import.meta.dirname, "../../../bin/berth-oci");
const skip = readCgroupLayout().version === 1 && "this host has control groups version 1";

describe("berth-oci on control groups version 2", { skip }, () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "berth-v2-"));
    mkdirSync(join(directory, "rootfs/bin"), { recursive: true });
    mkdirSync(join(directory, "rootfs/tmp"));
    cpSync("/bin/busybox", join(directory, "rootfs/bin/busybox"));
    for (const name of ["sh", "cat", "sleep", "head", "mknod", "rm", "tail"]) {
      symlinkSync("busybox", join(directory, "rootfs/bin", name));
    }
    assert.equal(oci("spec", "-b", directory), 0);
  });

  function oci(...args: string[]): number | null {
    return spawnSync(COMMAND, ["--root", join(directory, "state"), ...args], { stdio: "ignore" }).status;
  }
  function output(...args: string[]): string {
    return spawnSync(COMMAND, ["--root", join(directory, "state"), ...args], {
      encoding: "utf8",
    }).stdout.trim();
  }
  function configure(args: string[], resources: SpecResources): void {
    const path = join(directory, "config.json");
    const spec = JSON.parse(readFileSync(path, "utf8"));
    Object.assign(spec.process, { terminal: false, args });
    spec.process.capabilities.bounding.push("CAP_MKNOD");
    for (const set of ["effective", "permitted"])
      spec.process.capabilities[set] = spec.process.capabilities.bounding;
    spec.linux.resources = resources;
    writeFileSync(path, JSON.stringify(spec));
  }
  const groupOf = (id: string) => {
    const { pid } = JSON.parse(output("state", id)) as { pid: number };
    return `/sys/fs/cgroup${readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("::")[1]}`;
  };
  const value = (id: string, file: string) => readFileSync(join(groupOf(id), file), "utf8").trim();

  it("has the limits, converted from version 1's words", () => {
    configure(["sleep", "1000"], {
      memory: { limit: 64 << 20, swap: 64 << 20, reservation: 32 << 20 },
      cpu: { shares: 1024, quota: 50_000, period: 100_000, cpus: "0" },
      pids: { limit: 30 },
      unified: { "memory.high": "60000000" },
    });
    assert.equal(oci("run", "-d", "-b", directory, "limits"), 0);
    assert.equal(value("limits", "memory.max"), String(64 << 20));
    assert.equal(value("limits", "memory.low"), String(32 << 20));
    assert.match(value("limits", "memory.high"), /^5999\d{4}$/);
    assert.equal(value("limits", "cpu.max"), "50000 100000");
    assert.equal(value("limits", "cpu.weight"), "100");
    assert.equal(value("limits", "cpuset.cpus"), "0");
    assert.equal(value("limits", "pids.max"), "30");
    assert.equal(
      oci("update", "--memory", "100m", "--memory-swap", "200m", "--pids-limit", "40", "limits"),
      0,
    );
    assert.equal(value("limits", "memory.max"), String(100 << 20));
    assert.equal(value("limits", "pids.max"), "40");
    const stats = JSON.parse(output("events", "--stats", "limits")).data;
    assert.equal(stats.pids.limit, 40);
    assert.ok(stats.cpu.usage.total > 0 && stats.memory.usage.usage > 0);
    const group = groupOf("limits");
    assert.equal(oci("delete", "-f", "limits"), 0);
    assert.equal(existsSync(group), false);
  });

  it("refuses devices by a filter in the kernel", () => {
    const script =
      "mknod /tmp/mem c 1 1 && (head -c1 /tmp/mem || echo refused) 2>/dev/null; head -c1 /dev/zero | cat -v; rm /tmp/mem";
    configure(["sh", "-c", script], {});
    assert.equal(output("run", "-b", directory, "devices"), "refused\n^@");
  });

  it("freezes and thaws", () => {
    configure(["sleep", "1000"], {});
    assert.equal(oci("run", "-d", "-b", directory, "frozen"), 0);
    assert.equal(oci("pause", "frozen"), 0);
    assert.match(value("frozen", "cgroup.events"), /frozen 1/);
    assert.equal(JSON.parse(output("state", "frozen")).status, "paused");
    assert.equal(oci("resume", "frozen"), 0);
    assert.match(value("frozen", "cgroup.events"), /frozen 0/);
    assert.equal(oci("delete", "-f", "frozen"), 0);
  });

  it("ends a container that runs out of memory", async () => {
    configure(["sh", "-c", "tail /dev/zero"], { memory: { limit: 16 << 20, swap: 16 << 20 } });
    assert.equal(oci("run", "-d", "-b", directory, "oom"), 0);
    await eventually(() => assert.equal(JSON.parse(output("state", "oom")).status, "stopped"));
    assert.equal(oci("delete", "oom"), 0);
  });

  it("runs a further process in the container's group", () => {
    configure(["sleep", "1000"], {});
    assert.equal(oci("run", "-d", "-b", directory, "exec"), 0);
    const group = groupOf("exec").replace("/sys/fs/cgroup", "");
    assert.equal(output("exec", "exec", "cat", "/proc/self/cgroup"), `0::${group}`);
    assert.equal(oci("delete", "-f", "exec"), 0);
  });
});
