import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { mergeResources, updateWrites } from "#runtime/cgroups/update.ts";
import type { SpecResources } from "#runtime/spec-types.ts";

const current: SpecResources = {
  memory: { limit: 100, swap: 200 },
  cpu: { shares: 512, quota: 50_000, period: 100_000 },
  pids: { limit: 5 },
};
const show = (version: 1 | 2, change: SpecResources, before = current) =>
  updateWrites(version, before, change).map(
    ({ file, value, again }) => `${file}=${value}${again ? "?" : ""}`,
  );

describe("resources after an update", () => {
  it("are the old ones where nothing else is said", () => {
    assert.deepEqual(
      mergeResources(current, { memory: { limit: 150, swap: 0 }, cpu: {}, pids: { limit: 0 } }),
      {
        ...current,
        memory: { limit: 150, swap: 200 },
      },
    );
    assert.deepEqual(mergeResources({}, { cpu: { idle: 0, shares: 0, burst: 0 } }), {
      cpu: { idle: 0, burst: 0 },
    });
    assert.equal(mergeResources(current, { memory: { limit: -1 } }).memory?.swap, -1);
    assert.deepEqual(current.memory, { limit: 100, swap: 200 }, "what it goes out from stays as it is");
  });

  it("leave devices alone", () => {
    assert.deepEqual(mergeResources(current, { devices: [{ allow: true }] }), current);
    assert.deepEqual(show(1, { devices: [{ allow: true }] }), []);
  });
});

describe("the writes of an update", () => {
  it("try memory and swap before memory and repeat it after, in version 1", () => {
    assert.deepEqual(show(1, { memory: { limit: 300, swap: 400 } }), [
      "memory.memsw.limit_in_bytes=400?",
      "memory.limit_in_bytes=300",
      "memory.memsw.limit_in_bytes=400",
    ]);
    assert.deepEqual(show(1, { memory: { limit: -1 } }), [
      "memory.memsw.limit_in_bytes=-1?",
      "memory.limit_in_bytes=-1",
      "memory.memsw.limit_in_bytes=-1",
    ]);
    assert.deepEqual(show(1, { memory: { limit: 50 } }), ["memory.limit_in_bytes=50"]);
  });

  it("try a period before its quota and repeat it after, in version 1", () => {
    assert.deepEqual(show(1, { cpu: { quota: 20_000, burst: 5 } }), [
      "cpu.cfs_period_us=100000?",
      "cpu.cfs_burst_us=5?",
      "cpu.cfs_quota_us=20000",
      "cpu.cfs_period_us=100000",
      "cpu.cfs_burst_us=5",
    ]);
  });

  it("know both halves of version 2's files", () => {
    assert.deepEqual(show(2, { cpu: { quota: 20_000 } }), ["cpu.max=20000 100000"]);
    assert.deepEqual(show(2, { cpu: { period: 10_000 } }), ["cpu.max=50000 10000"]);
    assert.deepEqual(show(2, { cpu: { quota: -1 } }), ["cpu.max=max 100000"]);
    assert.deepEqual(show(2, { memory: { swap: 150 } }), ["memory.swap.max=50", "memory.max=100"]);
    assert.deepEqual(show(2, { memory: { limit: -1 } }), ["memory.swap.max=max", "memory.max=max"]);
    assert.deepEqual(show(2, { pids: { limit: -1 } }), ["pids.max=max"]);
  });

  it("give back the weight of a group that is idle no longer", () => {
    assert.deepEqual(show(1, { cpu: { idle: 1 } }), ["cpu.idle=1"]);
    assert.deepEqual(show(1, { cpu: { idle: 0 } }), ["cpu.idle=0", "cpu.shares=512"]);
    assert.deepEqual(show(1, { cpu: { idle: 1, shares: 7 } }), ["cpu.idle=1"]);
  });

  it("write large numbers with all their digits", () => {
    assert.deepEqual(show(1, { memory: { reservation: 2 ** 63 - 4096 } }, {}), [
      "memory.soft_limit_in_bytes=9223372036854771712",
    ]);
  });
});
