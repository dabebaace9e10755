import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { checkResources } from "#runtime/cgroups/check-resources.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";
import type { SpecResources } from "#runtime/spec-types.ts";

const names = [
  "cpu",
  "cpuset",
  "memory",
  "pids",
  "blkio",
  "devices",
  "hugetlb",
  "net_cls",
  "net_prio",
  "rdma",
];
const v1: CgroupLayout = {
  version: 1,
  v1: Object.fromEntries(names.map((name) => [name, `/c/${name}`])),
  v2Controllers: [],
};
const v2: CgroupLayout = {
  version: 2,
  v1: {},
  v2: "/c",
  v2Controllers: ["cpu", "cpuset", "memory", "pids", "io", "hugetlb", "rdma"],
};
const bare: CgroupLayout = { version: 1, v1: { pids: "/c/pids" }, v2Controllers: [] };

/** Field by field: what is refused there, and by which words. */
const wrong: [layouts: CgroupLayout[], resources: unknown, message: RegExp][] = [
  [[v1, v2], { memory: { limit: -2 } }, /^linux\.resources\.memory\.limit: -2 is not -1 or more/],
  [[v1, v2], { memory: { limit: 1.5 } }, /^linux\.resources\.memory\.limit: 1\.5 is not an integer/],
  [[v1, v2], { memory: { limit: "1G" } }, /^linux\.resources\.memory\.limit: "1G" is not an integer/],
  [[v1, v2], { memory: { limit: 10, swap: 5 } }, /^linux\.resources\.memory\.swap: .*below memory/],
  [[v1, v2], { memory: { swap: 5 } }, /^linux\.resources\.memory\.swap: .*needs a limit of memory/],
  [[v1, v2], { memory: { reservation: -7 } }, /^linux\.resources\.memory\.reservation/],
  [[v1], { memory: { swappiness: 101 } }, /^linux\.resources\.memory\.swappiness: 101 is not 0 to 100/],
  [[v2], { memory: { swappiness: 10 } }, /^linux\.resources\.memory\.swappiness: .*version 2/],
  [[v2], { memory: { disableOOMKiller: true } }, /^linux\.resources\.memory\.disableOOMKiller: .*version 2/],
  [[v1], { cpu: { shares: 1 } }, /^linux\.resources\.cpu\.shares: the minimum allowed cpu-shares is 2/],
  [
    [v1],
    { cpu: { shares: 300_000 } },
    /^linux\.resources\.cpu\.shares: the maximum allowed cpu-shares is 262144/,
  ],
  [[v1, v2], { cpu: { shares: -1 } }, /^linux\.resources\.cpu\.shares/],
  [[v1, v2], { cpu: { quota: 999 } }, /^linux\.resources\.cpu\.quota: 999 is below/],
  [[v1, v2], { cpu: { period: 999 } }, /^linux\.resources\.cpu\.period: 999 is not 1000 to 1000000/],
  [[v1, v2], { cpu: { quota: 1000, burst: 1001 } }, /^linux\.resources\.cpu\.burst: .*above the quota/],
  [[v1, v2], { cpu: { idle: 2 } }, /^linux\.resources\.cpu\.idle/],
  [[v1, v2], { cpu: { cpus: "3-1" } }, /^linux\.resources\.cpu\.cpus: "3-1" is no list/],
  [[v1, v2], { cpu: { mems: "a" } }, /^linux\.resources\.cpu\.mems/],
  [[v1], { cpu: { realtimePeriod: 5, realtimeRuntime: 6 } }, /^linux\.resources\.cpu\.realtimeRuntime/],
  [[v2], { cpu: { realtimeRuntime: 6 } }, /^linux\.resources\.cpu\.realtimeRuntime: .*version 2/],
  [[v1, v2], { pids: { limit: -2 } }, /^linux\.resources\.pids\.limit/],
  [[v1, v2], { blockIO: { weight: 9 } }, /^linux\.resources\.blockIO\.weight: 9 is not 10 to 1000/],
  [[v2], { blockIO: { leafWeight: 10 } }, /^linux\.resources\.blockIO\.leafWeight: .*version 2/],
  [
    [v1, v2],
    { blockIO: { weightDevice: [{ major: 8, minor: 0, weight: 5 }] } },
    /^linux\.resources\.blockIO\.weightDevice\[0\]\.weight/,
  ],
  [
    [v1, v2],
    { blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0, rate: -1 }] } },
    /^linux\.resources\.blockIO\.throttleReadBpsDevice\[0\]\.rate/,
  ],
  [
    [v1, v2],
    { blockIO: { throttleWriteIOPSDevice: [{ major: 8, rate: 1 }] } },
    /^linux\.resources\.blockIO\.throttleWriteIOPSDevice\[0\]\.minor: is missing/,
  ],
  [
    [v1, v2],
    { hugepageLimits: [{ pageSize: "2M", limit: 1 }] },
    /^linux\.resources\.hugepageLimits\[0\]\.pageSize/,
  ],
  [
    [v1, v2],
    { hugepageLimits: [{ pageSize: "2MB", limit: -1 }] },
    /^linux\.resources\.hugepageLimits\[0\]\.limit/,
  ],
  [[v1], { network: { classID: 2 ** 32 } }, /^linux\.resources\.network\.classID/],
  [[v2], { network: { classID: 1 } }, /^linux\.resources\.network\.classID: .*version 2/],
  [
    [v1],
    { network: { priorities: [{ name: "a b", priority: 1 }] } },
    /^linux\.resources\.network\.priorities\[0\]\.name/,
  ],
  [[v1, v2], { rdma: { x: { hcaHandles: -1 } } }, /^linux\.resources\.rdma\["x"\]\.hcaHandles/],
  [[v1], { unified: { "memory.high": "1" } }, /^linux\.resources\.unified: cannot use unified on cgroup v1/],
  [[v2], { unified: { "a/b": "1" } }, /^linux\.resources\.unified\["a\/b"\]: must be a file name/],
  [[v2], { unified: { tasks: "1" } }, /^linux\.resources\.unified\["tasks"\]: .*CONTROLLER\.PARAMETER/],
  [
    [v2],
    { unified: { "misc.max": "1" } },
    /^linux\.resources\.unified\["misc.max"\]: .*"misc" not available/,
  ],
  [[v1, v2], { devices: [{ allow: true, type: "x" }] }, /^linux\.resources\.devices\[0\]\.type/],
  [[v1, v2], { devices: [{ allow: true, access: "rx" }] }, /^linux\.resources\.devices\[0\]\.access/],
  [[v1, v2], { devices: [{ access: "r" }] }, /^linux\.resources\.devices\[0\]\.allow/],
  [[v1, v2], { devices: [{ allow: true, type: "c", major: -2 }] }, /^linux\.resources\.devices\[0\]\.major/],
  [[bare], { memory: { limit: 1 << 20 } }, /^linux\.resources\.memory\.limit: there is no memory controller/],
  [
    [bare],
    { hugepageLimits: [{ pageSize: "2MB", limit: 0 }] },
    /^linux\.resources\.hugepageLimits\[0\]: .*hugetlb/,
  ],
  [[bare], { devices: [{ allow: false }] }, /^linux\.resources\.devices: there is no devices controller/],
];

describe("resources that cannot be", () => {
  for (const [layouts, resources, message] of wrong) {
    it(`are refused by name: ${JSON.stringify(resources)}`, () => {
      for (const layout of layouts) {
        assert.throws(
          () => checkResources(resources as SpecResources, layout, "x"),
          (error) => isBerthError(error, "invalid") && message.test(error.message),
        );
      }
    });
  }
});

describe("resources that can be", () => {
  const right: SpecResources = {
    memory: { limit: 1 << 26, swap: -1, reservation: 1 << 25, kernel: 5, kernelTCP: -1, swappiness: -1 },
    cpu: { shares: 1024, quota: -1, period: 100_000, burst: 0, idle: 0, cpus: "0-1,3", mems: "0" },
    pids: { limit: -1 },
    blockIO: { weight: 0, throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 0 }] },
    hugepageLimits: [{ pageSize: "1GB", limit: 0 }],
    rdma: { mlx5_0: { hcaHandles: 2 } },
    devices: [
      { allow: false, access: "rwm" },
      { allow: true, type: "c", major: 1, minor: 3 },
    ],
  };

  it("are taken in both versions", () => {
    checkResources(right, v1, "x");
    checkResources(right, v2, "x");
    checkResources(undefined, bare, "x");
    checkResources({ ...right, unified: { "memory.high": "1", "cgroup.max.depth": "3" } }, v2, "x");
  });

  it("need no controller for what they don't say", () => {
    checkResources(
      { memory: { limit: 0 }, cpu: { shares: 0 }, blockIO: { weight: 0 }, network: {} },
      bare,
      "x",
    );
    checkResources(JSON.parse('{"memory":null,"cpu":{"shares":null},"devices":null}'), bare, "x");
  });

  it("need no control over devices without root's rights", () => {
    checkResources({ devices: [{ allow: false }] }, bare, { groups: { "/c/pids": "x" }, rootless: true });
  });
});
