import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { newOoms, oomState } from "#runtime/cgroups/oom-events.ts";
import { counter, numberList, pressure, sum } from "#runtime/cgroups/stat-files.ts";
import { formatStats, readContainerStats, readEngineStats } from "#runtime/cgroups/stats.ts";
import { blockEntries } from "#runtime/cgroups/stats-v1.ts";
import { blockIo } from "#runtime/cgroups/stats-v2.ts";

const root = mkdtempSync(join(tmpdir(), "berth-cgroups-stats-"));
after(() => rmSync(root, { recursive: true }));

/** A group as the kernel would show it. */
function group(files: Record<string, string>, at: string): void {
  mkdirSync(join(root, at), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, at, name), text);
}

describe("counters", () => {
  it("stay exact beyond 2^53", () => {
    assert.equal(counter("12\n"), 12);
    assert.equal(counter("9223372036854771712"), 9223372036854771712n);
    assert.equal(counter("max"), 18446744073709551615n);
    assert.equal(counter(""), 0);
    assert.equal(sum(counter("max"), 5), counter("max"));
    assert.equal(formatStats({ a: counter("max"), b: 1 }), '{"a":18446744073709551615,"b":1}');
  });

  it("are read in the kernel's forms", () => {
    assert.deepEqual(numberList("0-2,5\n"), [0, 1, 2, 5]);
    assert.deepEqual(pressure("some avg10=0.10 avg60=1.00 avg300=0.00 total=12\n"), {
      some: { avg10: 0.1, avg60: 1, avg300: 0, total: 12 },
    });
    assert.equal(pressure(""), undefined);
    assert.deepEqual(blockEntries("8:0 Read 4096\n8:0 Total 4096\n8:16 7\nTotal 4103\n"), [
      { major: 8, op: "Read", value: 4096 },
      { major: 8, op: "Total", value: 4096 },
      { major: 8, minor: 16, value: 7 },
    ]);
    assert.deepEqual(blockIo("8:0 rbytes=1 wbytes=2 rios=3 wios=0 dbytes=9 dios=9\n"), {
      ioServiceBytesRecursive: [
        { major: 8, op: "Read", value: 1 },
        { major: 8, op: "Write", value: 2 },
      ],
      ioServicedRecursive: [
        { major: 8, op: "Read", value: 3 },
        { major: 8, op: "Write" },
      ],
    });
  });
});

describe("statistics", () => {
  it("of version 2 tell what runc tells", () => {
    group(
      {
        "cpu.stat":
          "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 1\nnr_throttled 0\nthrottled_usec 4\n",
        "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n",
        "memory.current": "100\n",
        "memory.max": "200\n",
        "memory.peak": "150\n",
        "memory.swap.current": "10\n",
        "memory.swap.max": "max\n",
        "memory.stat": "anon 1\nfile 40\n",
        "memory.events": "low 0\nhigh 0\nmax 6\noom 1\noom_kill 1\n",
        "pids.current": "3\n",
        "pids.max": "max\n",
        "hugetlb.2MB.current": "0\n",
        "hugetlb.2MB.events": "max 2\n",
        "hugetlb.2MB.rsvd.current": "0\n",
      },
      "two/c",
    );
    const layout = { version: 2 as const, v1: {}, v2: join(root, "two"), v2Controllers: ["memory"] };
    const stats = readContainerStats(layout, "/c");
    assert.deepEqual(stats.cpu, {
      usage: { total: 5000, kernel: 2000, user: 3000 },
      throttling: { periods: 1, throttledTime: 4000 },
      psi: { some: { avg10: 0, avg60: 0, avg300: 0, total: 9 } },
    });
    assert.deepEqual(stats.memory.usage, { limit: 200, usage: 100, max: 150, failcnt: 6 });
    assert.deepEqual(stats.memory.swap, { limit: counter("max"), usage: 110, failcnt: 0 });
    assert.equal(stats.memory.cache, 40);
    assert.deepEqual(stats.memory.event_count, { max: 6, oom: 1, oom_kill: 1 });
    assert.deepEqual(stats.pids, { current: 3 });
    assert.deepEqual(stats.hugetlb, { "2MB": { failcnt: 2 } });
    assert.equal(stats.network_interfaces, null);
    // Engines look at the same of it, but for what only version 1 has a word for.
    assert.deepEqual(readEngineStats(layout, "/c"), {
      cpu: { usage: stats.cpu.usage, throttling: stats.cpu.throttling },
      memory: { usage: { limit: 200, usage: 100, failcnt: 0 }, raw: stats.memory.raw },
      pids: { current: 3, limit: counter("max") },
      blkio: {},
    });
  });

  it("of version 1 believe the first who counts input and output", () => {
    group(
      {
        "blkio.bfq.io_service_bytes_recursive": "Total 0\n",
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 5\nTotal 5\n",
        "blkio.throttle.io_serviced_recursive": "8:0 Read 1\nTotal 1\n",
      },
      "blkio/c",
    );
    group(
      {
        "cpuacct.usage": "77\n",
        "cpuacct.stat": "user 2\nsystem 1\n",
        "cpuacct.usage_percpu": "70 7 \n",
        "cpuacct.usage_all": "cpu user system\n0 60 10\n1 7 0\n",
      },
      "cpuacct/c",
    );
    const v1 = { blkio: join(root, "blkio"), cpuacct: join(root, "cpuacct") };
    const stats = readContainerStats({ version: 1, v1, v2Controllers: [] }, "/c");
    assert.deepEqual(stats.blkio, {
      ioServiceBytesRecursive: [{ major: 8, op: "Read", value: 5 }],
      ioServicedRecursive: [{ major: 8, op: "Read", value: 1 }],
    });
    assert.deepEqual(stats.cpu.usage, {
      total: 77,
      percpu: [70, 7],
      percpu_kernel: [10, 0],
      percpu_user: [60, 7],
      kernel: 10_000_000,
      user: 20_000_000,
    });
    assert.deepEqual(stats.pids, {}, "what isn't counted is left out");
    const looked = readEngineStats({ version: 1, v1, v2Controllers: [] }, "/c");
    const { percpu_kernel: _kernel, percpu_user: _user, ...usage } = stats.cpu.usage;
    assert.deepEqual([looked.cpu.usage, looked.blkio], [usage, stats.blkio]);
  });
});

describe("out of memory", () => {
  it("is told once for each kill, and once for each time processes stand still", () => {
    const state = (kills: number, under = 0, disabled = 0) =>
      oomState(`oom_kill_disable ${disabled}\nunder_oom ${under}\noom_kill ${kills}\n`);
    assert.equal(newOoms(state(1), state(3)), 2);
    assert.equal(newOoms(state(3), state(3)), 0);
    assert.equal(newOoms(state(0), state(0, 1, 1)), 1);
    assert.equal(newOoms(state(0, 1, 1), state(0, 1, 1)), 0);
    assert.equal(newOoms(state(0), state(0, 1, 0)), 0, "it is being killed, which is told as a kill");
  });
});
