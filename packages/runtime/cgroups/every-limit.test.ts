/** Each field of linux.resources alone, and the files that it becomes in both versions. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { limitsV1 } from "#runtime/cgroups/limits-v1.ts";
import { limitsV2 } from "#runtime/cgroups/limits-v2.ts";
import type { SpecResources } from "#runtime/spec-types.ts";

const device = { major: 8, minor: 0 };
const EXPECTED: [SpecResources, v1: string[], v2: string[]][] = [
  // The kernel has no such limits any more, or has them always.
  [{ memory: { kernel: 1 << 20 } }, [], []],
  [{ memory: { useHierarchy: true } }, [], []],
  [{ memory: { kernelTCP: 1 << 20 } }, ["memory.kmem.tcp.limit_in_bytes=1048576"], []],
  [
    { cpu: { realtimeRuntime: 5, realtimePeriod: 6 } },
    ["cpu.rt_period_us=6", "cpu.rt_runtime_us=5"],
    [], // Refused before (check-resources.ts).
  ],
  [{ cpu: { idle: 1 } }, ["cpu.idle=1"], ["cpu.idle=1"]],
  [{ blockIO: { leafWeight: 20 } }, ["blkio.leaf_weight=20"], []],
  [
    { blockIO: { weightDevice: [{ ...device, weight: 300, leafWeight: 200 }] } },
    ["blkio.weight_device=8:0 300", "blkio.bfq.weight_device=8:0 300", "blkio.leaf_weight_device=8:0 200"],
    ["io.bfq.weight=8:0 300", "io.weight=8:0 2930"],
  ],
  [
    {
      blockIO: {
        throttleWriteBpsDevice: [{ ...device, rate: 5 }],
        throttleReadIOPSDevice: [{ ...device, rate: 6 }],
      },
    },
    ["blkio.throttle.write_bps_device=8:0 5", "blkio.throttle.read_iops_device=8:0 6"],
    ["io.max=8:0 wbps=5", "io.max=8:0 riops=6"],
  ],
  [
    { network: { classID: 0x10_0001, priorities: [{ name: "lo", priority: 3 }] } },
    ["net_cls.classid=1048577", "net_prio.ifpriomap=lo 3"],
    [],
  ],
  [
    { rdma: { mlx5_0: { hcaHandles: 3, hcaObjects: 4 } } },
    ["rdma.max=mlx5_0 hca_handle=3 hca_object=4"],
    ["rdma.max=mlx5_0 hca_handle=3 hca_object=4"],
  ],
];

describe("limits that are seldom asked for", () => {
  it("are files of both versions, where these have them", () => {
    const show = (writes: { file: string; value: string }[]) =>
      writes.map(({ file, value }) => `${file}=${value}`);
    for (const [resources, v1, v2] of EXPECTED) {
      assert.deepEqual([show(limitsV1(resources)), show(limitsV2(resources))], [v1, v2]);
    }
  });
});
