import assert from "node:assert/strict";
import { test } from "node:test";
import type { HostConfig } from "#api-types/container.ts";
import { completeHostConfig, type HostLimits } from "#engine/requests/validate-host-config.ts";

const LIMITS: HostLimits = {
  cpus: 2,
  cgroupVersion: 1,
  swapLimit: true,
  memoryNodes: "0",
  blkioWeight: true,
  cpuRealtime: true,
  runtime: "berth",
  defaultShmSize: 64 << 20,
  defaultIpcMode: "private",
  defaultCgroupnsMode: "",
  cgroupParent: "",
  logDriver: "json-file",
  logOpts: { "max-file": "3" },
  init: false,
};
const complete = (given: HostConfig, limits: Partial<HostLimits> = {}) =>
  completeHostConfig(given, { ...LIMITS, ...limits });

test("defaults are those of Docker", () => {
  const { hostConfig } = complete({});
  assert.equal(hostConfig.NetworkMode, "bridge");
  assert.equal(hostConfig.IpcMode, "private");
  assert.equal(hostConfig.CgroupnsMode, "host");
  assert.equal(hostConfig.ShmSize, 64 << 20);
  assert.deepEqual(hostConfig.RestartPolicy, { Name: "no", MaximumRetryCount: 0 });
  assert.deepEqual(hostConfig.LogConfig, { Type: "json-file", Config: { "max-file": "3" } });
});

test("cgroup version 2 gives a private cgroup namespace, unless privileged", () => {
  assert.equal(complete({}, { cgroupVersion: 2 }).hostConfig.CgroupnsMode, "private");
  assert.equal(complete({ Privileged: true }, { cgroupVersion: 2 }).hostConfig.CgroupnsMode, "host");
});

test("a memory limit allows as much swap again", () => {
  assert.equal(complete({ Memory: 64 << 20 }).hostConfig.MemorySwap, 128 << 20);
});

test("without swap accounting a swap limit is dropped with a warning", () => {
  const { hostConfig, warnings } = complete(
    { Memory: 64 << 20, MemorySwap: 128 << 20 },
    { swapLimit: false },
  );
  assert.equal(hostConfig.MemorySwap, -1);
  assert.match(warnings[0] ?? "", /does not support swap limit/);
});

const REFUSED: [string, HostConfig, RegExp][] = [
  ["tiny memory", { Memory: 1024 }, /Minimum memory limit allowed is 6MB/],
  ["swap below memory", { Memory: 64 << 20, MemorySwap: 32 << 20 }, /larger than memory limit/],
  ["swap without memory", { MemorySwap: 32 << 20 }, /always set the Memory limit/],
  [
    "more CPUs than there are",
    { NanoCpus: 3e9 },
    /Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs/,
  ],
  ["NanoCpus and period", { NanoCpus: 1e9, CpuPeriod: 10_000 }, /Nano CPUs and CPU Period/],
  ["a CPU that isn't there", { CpusetCpus: "0-5" }, /Requested CPUs are not available/],
  ["a CPU list that is none", { CpusetCpus: "0-9999999999" }, /Invalid value/],
  ["a CPU list with a hole", { CpusetCpus: "0,,1" }, /Invalid value/],
  ["a CPU list that goes backwards", { CpusetCpus: "1-0" }, /Invalid value/],
  [
    "an unknown restart policy",
    { RestartPolicy: { Name: "maybe", MaximumRetryCount: 0 } },
    /unknown policy 'maybe'/,
  ],
  [
    "--rm with a restart policy",
    { AutoRemove: true, RestartPolicy: { Name: "always", MaximumRetryCount: 0 } },
    /can't create 'AutoRemove' container with restart policy/,
  ],
  ["a host's sysctl", { Sysctls: { "kernel.panic": "1" } }, /sysctl 'kernel.panic' is not allowed/],
];
for (const [what, given, message] of REFUSED) {
  test(`${what} is refused`, () => {
    assert.throws(() => complete(given), message);
  });
}

test("a list of CPUs may be as long as a request", () => {
  for (const CpusetCpus of ["0-1,0", "0,".repeat(2_000_000).slice(0, -1)]) {
    assert.equal(complete({ CpusetCpus }).hostConfig.CpusetCpus, CpusetCpus);
  }
});
