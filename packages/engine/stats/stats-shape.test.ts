import assert from "node:assert/strict";
import { test } from "node:test";
import { NOTHING, sampleOf, statsMessage } from "#engine/stats/stats-shape.ts";
import { counter } from "#runtime/cgroups/stat-files.ts";

const FACTS = {
  read: "2026-01-02T03:04:05Z",
  systemCpu: 9,
  onlineCpus: 2,
  totalMemory: 1000,
  networks: undefined,
};
const USED = {
  cpu: { usage: { total: 7, percpu: [3, 4], kernel: 1, user: 2 }, throttling: { periods: 5 } },
  memory: {
    usage: { limit: counter("9223372036854771712"), usage: 10, max: 20, failcnt: 1 },
    raw: { cache: 3 },
  },
  pids: { current: 2 },
  blkio: { ioServiceBytesRecursive: [{ major: 8, op: "Read", value: 5 }] },
};

test("version 1 in Docker's words; who has no limit has the machine's", () => {
  const sample = sampleOf(USED, { ...FACTS, version: 1 });
  assert.deepEqual(sample.memory_stats, {
    usage: 10,
    max_usage: 20,
    stats: { cache: 3 },
    failcnt: 1,
    limit: 1000,
  });
  assert.deepEqual(sample.cpu_stats, {
    cpu_usage: { total_usage: 7, percpu_usage: [3, 4], usage_in_kernelmode: 1, usage_in_usermode: 2 },
    system_cpu_usage: 9,
    online_cpus: 2,
    throttling_data: { periods: 5, throttled_periods: 0, throttled_time: 0 },
  });
  assert.deepEqual(sample.blkio_stats.io_service_bytes_recursive, [
    { major: 8, minor: 0, op: "Read", value: 5 },
  ]);
  assert.deepEqual(sample.blkio_stats.io_time_recursive, []);
});

test("version 2 has neither a peak nor lists of what isn't counted", () => {
  const sample = sampleOf(USED, { ...FACTS, version: 2 });
  assert.deepEqual(sample.memory_stats, { usage: 10, stats: { cache: 3 }, limit: 1000 });
  assert.deepEqual(sample.blkio_stats.io_service_bytes_recursive, [
    { major: 8, minor: 0, op: "read", value: 5 },
  ]);
  assert.equal(sample.blkio_stats.io_time_recursive, null);
});

test("a message carries the sample before, and the networks where there are any", () => {
  const before = sampleOf(USED, { ...FACTS, version: 1 });
  const eth0 = { Name: "eth0", RxBytes: 1, RxPackets: 2, RxErrors: 3, RxDropped: 4 };
  const networks = [{ ...eth0, TxBytes: 5, TxPackets: 6, TxErrors: 7, TxDropped: 8 }];
  const now = sampleOf(USED, { ...FACTS, version: 1, read: "2026-01-02T03:04:06Z", networks });
  const message = statsMessage({ name: "web", id: "abc" }, now, before);
  assert.deepEqual([message.name, message.id, message.preread], ["/web", "abc", before.read]);
  assert.equal(message.precpu_stats, before.cpu_stats);
  assert.deepEqual(message.networks, {
    eth0: {
      rx_bytes: 1,
      rx_packets: 2,
      rx_errors: 3,
      rx_dropped: 4,
      tx_bytes: 5,
      tx_packets: 6,
      tx_errors: 7,
      tx_dropped: 8,
    },
  });
  assert.equal("networks" in statsMessage({ name: "web", id: "abc" }, NOTHING, undefined), false);
});
