/** Counters of a version 2 control group. (kernel Documentation/admin-guide/cgroup-v2.rst) */
import { type CgroupOwner, controllerDirectory } from "#runtime/cgroups/container-cgroup.ts";
import {
  type Counter,
  counter,
  keyed,
  numberList,
  type Pressure,
  pressure,
  readStat,
  sum,
} from "#runtime/cgroups/stat-files.ts";
import {
  type BlockEntry,
  type ContainerStats,
  CPUSET_FLAGS,
  type CpusetFlag,
  type EngineStats,
  withoutZeros,
} from "#runtime/cgroups/stats-types.ts";
import { hugePageSizes } from "#runtime/cgroups/stats-v1.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

const US_NS = 1000;
const NOTHING = { limit: 0, failcnt: 0 };

export function statsV2(
  layout: CgroupLayout,
  owner: CgroupOwner,
): Omit<ContainerStats, "intel_rdt" | "network_interfaces"> {
  const directory = controllerDirectory(layout, owner, "");
  const read = (file: string) => readStat(directory, file);
  const limit = read("pids.max");
  return {
    cpu: cpu(keyed(read("cpu.stat")), pressure(read("cpu.pressure"))),
    cpuset: {
      ...withoutZeros({
        cpus: numberList(read("cpuset.cpus.effective")),
        mems: numberList(read("cpuset.mems.effective")),
      }),
      ...(Object.fromEntries(CPUSET_FLAGS.map((name) => [name, 0])) as Record<CpusetFlag, Counter>),
    },
    memory: memory(read),
    pids: withoutZeros({
      current: counter(read("pids.current")),
      limit: limit.trim() === "max" ? 0 : counter(limit),
    }),
    blkio: { ...blockIo(read("io.stat")), ...psi(read("io.pressure")) },
    hugetlb: hugetlb(directory),
  };
}

/** What engines tell, and nothing that takes reading further files. */
export function engineStatsV2(layout: CgroupLayout, owner: CgroupOwner): EngineStats {
  const directory = controllerDirectory(layout, owner, "");
  const read = (file: string) => readStat(directory, file);
  const limit = read("pids.max");
  return {
    cpu: cpu(keyed(read("cpu.stat")), undefined),
    memory: {
      usage: {
        limit: counter(read("memory.max")),
        ...withoutZeros({ usage: counter(read("memory.current")) }),
        failcnt: 0,
      },
      raw: keyed(read("memory.stat")),
    },
    pids: withoutZeros({ current: counter(read("pids.current")), limit: counter(limit) }),
    blkio: blockIo(read("io.stat")),
  };
}

function psi(text: string): { psi?: Pressure } {
  const found = pressure(text);
  return found === undefined ? {} : { psi: found };
}

function cpu(stat: Record<string, Counter>, measured: Pressure | undefined): ContainerStats["cpu"] {
  const nanoseconds = (name: string) => Number(stat[name] ?? 0) * US_NS;
  return {
    usage: {
      ...withoutZeros({ total: nanoseconds("usage_usec") }),
      kernel: nanoseconds("system_usec"),
      user: nanoseconds("user_usec"),
    },
    throttling: withoutZeros({
      periods: stat.nr_periods ?? 0,
      throttledPeriods: stat.nr_throttled ?? 0,
      throttledTime: nanoseconds("throttled_usec"),
    }),
    ...(measured && { psi: measured }),
  };
}

function memory(read: (file: string) => string): ContainerStats["memory"] {
  const raw = keyed(read("memory.stat"));
  const used = counter(read("memory.current"));
  const limit = counter(read("memory.max"));
  const events = keyed(read("memory.events"));
  const counted = read("memory.swap.current") !== "";
  return {
    ...withoutZeros({ cache: raw.file ?? 0 }),
    usage: {
      limit,
      ...withoutZeros({ usage: used, max: counter(read("memory.peak")) }),
      failcnt: events.max ?? 0,
    },
    // Version 2 counts swap by itself; told is both together, as in version 1.
    swap: counted
      ? {
          limit: sum(limit, counter(read("memory.swap.max"))),
          ...withoutZeros({ usage: sum(used, counter(read("memory.swap.current"))) }),
          failcnt: keyed(read("memory.swap.events")).max ?? 0,
        }
      : NOTHING,
    kernel: NOTHING,
    kernelTCP: NOTHING,
    raw,
    ...psi(read("memory.pressure")),
    event_count: withoutZeros({
      low: events.low,
      high: events.high,
      max: events.max,
      oom: events.oom,
      oom_kill: events.oom_kill,
    }) as Record<string, Counter>,
  };
}

const OPERATIONS: Record<string, { op: string; list: "ioServiceBytesRecursive" | "ioServicedRecursive" }> = {
  rbytes: { op: "Read", list: "ioServiceBytesRecursive" },
  wbytes: { op: "Write", list: "ioServiceBytesRecursive" },
  rios: { op: "Read", list: "ioServicedRecursive" },
  wios: { op: "Write", list: "ioServicedRecursive" },
};

/** "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0" */
export function blockIo(text: string): ContainerStats["blkio"] {
  const lists = { ioServiceBytesRecursive: [] as BlockEntry[], ioServicedRecursive: [] as BlockEntry[] };
  for (const line of text.split("\n")) {
    const [device = "", ...fields] = line.split(" ");
    const [, major, minor] = /^(\d+):(\d+)$/.exec(device) ?? [];
    if (major === undefined) continue;
    for (const field of fields) {
      const [name = "", value = ""] = field.split("=");
      const known = OPERATIONS[name];
      if (known === undefined) continue;
      const { op, list } = known;
      lists[list].push(
        withoutZeros({ major: Number(major), minor: Number(minor), op, value: counter(value) }),
      );
    }
  }
  return withoutZeros(lists);
}

function hugetlb(directory: string | undefined): ContainerStats["hugetlb"] {
  const all: ContainerStats["hugetlb"] = {};
  for (const size of hugePageSizes(directory, ".current")) {
    const events = keyed(readStat(directory, `hugetlb.${size}.events`));
    all[size] = {
      ...withoutZeros({ usage: counter(readStat(directory, `hugetlb.${size}.current`)) }),
      failcnt: events.max ?? 0,
    };
  }
  return all;
}
