import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cgroupDirectories, cgroupPath, controllerDirectory } from "#runtime/cgroups/container-cgroup.ts";
import { oomKills } from "#runtime/cgroups/events.ts";
import { deviceRules, limitsV1 } from "#runtime/cgroups/limits-v1.ts";
import { limitsV2, weightFromBlkio, weightFromShares } from "#runtime/cgroups/limits-v2.ts";
import { DEFAULT_DEVICE_RULES } from "#runtime/default-spec.ts";
import type { SpecResources } from "#runtime/spec-types.ts";

const show = (writes: { file: string; value: string }[]) =>
  writes.map(({ file, value }) => `${file}=${value}`);

const resources: SpecResources = {
  memory: { limit: 1 << 26, swap: 1 << 27, reservation: 1 << 25, swappiness: 0, disableOOMKiller: true },
  cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: "0-1", mems: "0", burst: 1000 },
  pids: { limit: 50 },
  blockIO: {
    weight: 500,
    throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1024 }],
    throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: 10 }],
  },
  hugepageLimits: [{ pageSize: "2MB", limit: 0 }],
};

describe("limits of version 1", () => {
  it("are files in an order the kernel takes", () => {
    assert.deepEqual(show(limitsV1(resources)), [
      "cpuset.cpus=0-1",
      "cpuset.mems=0",
      "cpu.shares=512",
      "cpu.cfs_period_us=100000",
      "cpu.cfs_quota_us=50000",
      "cpu.cfs_burst_us=1000",
      "memory.limit_in_bytes=67108864",
      "memory.memsw.limit_in_bytes=134217728",
      "memory.soft_limit_in_bytes=33554432",
      "memory.swappiness=0",
      "memory.oom_control=1",
      "pids.max=50",
      "blkio.weight=500",
      "blkio.bfq.weight=500",
      "blkio.throttle.read_bps_device=8:0 1024",
      "blkio.throttle.write_iops_device=8:0 10",
      "hugetlb.2MB.limit_in_bytes=0",
      "hugetlb.2MB.rsvd.limit_in_bytes=0",
    ]);
  });

  it("are none where nothing is limited", () => {
    assert.deepEqual(limitsV1({}), []);
    assert.deepEqual(limitsV1({ memory: { limit: 0 }, pids: { limit: 0 }, cpu: { shares: 0 } }), []);
    assert.deepEqual(show(limitsV1({ pids: { limit: -1 } })), ["pids.max=max"]);
    assert.deepEqual(show(limitsV1({ memory: { limit: 1 << 26, swap: -1 } })), [
      "memory.limit_in_bytes=67108864",
      "memory.memsw.limit_in_bytes=-1",
    ]);
  });

  it("say which devices may be used", () => {
    const writes = show(limitsV1({ devices: [...DEFAULT_DEVICE_RULES] }));
    assert.equal(writes[0], "devices.deny=a");
    assert.ok(writes.includes("devices.allow=c 1:3 rwm"));
    assert.ok(writes.includes("devices.allow=c *:* m"));
    assert.deepEqual(deviceRules({ allow: true, type: "b", major: 8, access: "r" }), ["b 8:* r"]);
  });
});

describe("limits of version 2", () => {
  it("are converted", () => {
    assert.deepEqual(show(limitsV2(resources)), [
      "cpuset.cpus=0-1",
      "cpuset.mems=0",
      `cpu.weight=${weightFromShares(512)}`,
      "cpu.max=50000 100000",
      "cpu.max.burst=1000",
      "memory.swap.max=67108864",
      "memory.max=67108864",
      "memory.low=33554432",
      "pids.max=50",
      "io.bfq.weight=500",
      `io.weight=default ${weightFromBlkio(500)}`,
      "io.max=8:0 rbps=1024",
      "io.max=8:0 wiops=10",
      "hugetlb.2MB.max=0",
      "hugetlb.2MB.rsvd.max=0",
    ]);
    assert.deepEqual(show(limitsV2({ cpu: { period: 5000 }, memory: { limit: -1, swap: -1 } })), [
      "cpu.max=max 5000",
      "memory.swap.max=max",
      "memory.max=max",
    ]);
  });

  it("keep the ends and the middle of the scales", () => {
    assert.deepEqual([2, 1024, 262144].map(weightFromShares), [1, 100, 10000]);
    assert.deepEqual([10, 1000].map(weightFromBlkio), [1, 10000]);
  });

  it("pass on files named outright, and no path", () => {
    assert.deepEqual(show(limitsV2({ unified: { "memory.high": "1G" } })), ["memory.high=1G"]);
    for (const file of ["../memory.max", "memory/x", "tasks", "cgroup.procs/../x"]) {
      assert.throws(() => limitsV2({ unified: { [file]: "1" } }), /invalid unified resource/);
    }
    assert.throws(() => limitsV2({ memory: { limit: 10, swap: 5 } }), /below memory/);
  });
});

describe("control group paths", () => {
  const v1 = {
    cpu: "/c/cpu,cpuacct",
    cpuacct: "/c/cpu,cpuacct",
    pids: "/c/pids",
    "name=systemd": "/c/systemd",
  };
  const layout = { version: 1 as const, v1, v2Controllers: [] };

  it("are below berth, or below the parent asked for", () => {
    assert.equal(cgroupPath("abc"), "berth/abc");
    assert.equal(cgroupPath("/my/own"), "my/own");
    assert.equal(cgroupPath({ id: "abc", hostConfig: { CgroupParent: "/mine" } }), "mine/abc");
    assert.throws(() => cgroupPath("../../x"), /invalid cgroup path/);
    assert.throws(
      () => cgroupPath({ id: "abc", hostConfig: { CgroupParent: "a/../.." } }),
      /invalid cgroup path/,
    );
  });

  it("are one per hierarchy", () => {
    assert.deepEqual(
      cgroupDirectories(layout, "abc").map(({ path }) => path),
      ["/c/cpu,cpuacct/berth/abc", "/c/pids/berth/abc", "/c/systemd/berth/abc"],
    );
    assert.equal(controllerDirectory(layout, "abc", "cpuacct"), "/c/cpu,cpuacct/berth/abc");
    assert.equal(controllerDirectory(layout, "abc", "memory"), undefined);
    const v2 = { version: 2 as const, v1: {}, v2: "/sys/fs/cgroup", v2Controllers: ["pids"] };
    assert.equal(controllerDirectory(v2, "abc", "freezer"), "/sys/fs/cgroup/berth/abc");
  });

  it("count memory kills in either version's file", () => {
    assert.equal(oomKills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
    assert.equal(oomKills("low 0\nhigh 0\nmax 5\noom 1\noom_kill 1\noom_group_kill 0\n"), 1);
    assert.equal(oomKills("oom_kill_disable 0\nunder_oom 0\n"), 0);
  });
});
