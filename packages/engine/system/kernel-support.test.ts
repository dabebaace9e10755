import assert from "node:assert/strict";
import { test } from "node:test";
import { refuseDeviceRequests } from "#engine/launch/device-requests.ts";
import { checkRealtime, discardKernelMemory } from "#engine/system/kernel-support.ts";

test("real-time scheduling has to be the kernel's, and no more than there is time", () => {
  const check = (CpuRealtimePeriod: number, CpuRealtimeRuntime: number, cpuRealtime = true) =>
    checkRealtime({ CpuRealtimePeriod, CpuRealtimeRuntime }, { cpuRealtime });
  check(0, 0, false);
  check(1000, 1000);
  check(0, 5000);
  assert.throws(() => check(1000, 1001), /runtime cannot be higher than cpu real-time period/);
  assert.throws(() => check(1000, 0, false), /does not support CPU real-time scheduler/);
  assert.throws(() => check(0, 1000, false), /does not support CPU real-time scheduler/);
});

test("a limit of kernel memory is warned of and taken out", () => {
  const limited = { KernelMemory: 64 << 20, Memory: 1 };
  assert.deepEqual(discardKernelMemory(limited), [
    "Specifying a kernel memory limit is deprecated and will be removed in a future release.",
  ]);
  assert.deepEqual(limited, { Memory: 1 });
  assert.deepEqual(discardKernelMemory({}), []);
  assert.throws(() => discardKernelMemory({ KernelMemory: 1 }), /Minimum kernel memory limit allowed is 6MB/);
});

test("nobody drives the devices that are asked for", () => {
  refuseDeviceRequests({});
  refuseDeviceRequests({ DeviceRequests: [] });
  const refused = (request: object) =>
    assert.throws(() => refuseDeviceRequests({ DeviceRequests: [request] }), {
      message: 'could not select device driver "x" with capabilities: [[a b] [c]]',
    });
  refused({ Driver: "x", Capabilities: [["a", "b"], ["c"]] });
});
