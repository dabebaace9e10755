/** Counters of version 1 control groups. (kernel Documentation/admin-guide/cgroup-v1) */
import { readdirSync } from "node:fs";
import { type CgroupOwner, controllerDirectory } from "#runtime/cgroups/container-cgroup.ts";
import { isGone } from "#runtime/cgroups/processes.ts";
import { type Counter, counter, keyed, numberList, readStat } from "#runtime/cgroups/stat-files.ts";
import {
  type BlockCounter,
  type BlockEntry,
  type ContainerStats,
  CPUSET_FLAGS,
  type CpusetFlag,
  type EngineStats,
  type MemoryUsage,
  withoutZeros,
} from "#runtime/cgroups/stats-types.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** cpuacct.stat counts in USER_HZ, which is 100 wherever Linux runs. */
const TICK_NS = 10_000_000;

export function statsV1(
  layout: CgroupLayout,
  owner: CgroupOwner,
): Omit<ContainerStats, "intel_rdt" | "network_interfaces"> {
  const directory = (controller: string) => controllerDirectory(layout, owner, controller);
  return {
    cpu: cpu(directory("cpuacct"), directory("cpu")),
    cpuset: cpuset(directory("cpuset")),
    memory: memory(directory("memory")),
    pids: pidsStats(directory("pids")),
    blkio: blkio(directory("blkio")),
    hugetlb: hugetlb(directory("hugetlb")),
  };
}

/** What engines tell, and nothing that takes reading further files. */
export function engineStatsV1(layout: CgroupLayout, owner: CgroupOwner): EngineStats {
  const directory = (controller: string) => controllerDirectory(layout, owner, controller);
  const memoryGroup = directory("memory");
  return {
    cpu: cpu(directory("cpuacct"), directory("cpu"), { each: false }),
    memory: {
      usage: memoryUsage(memoryGroup, ""),
      raw: keyed(readStat(memoryGroup, "memory.stat")),
    },
    pids: pidsStats(directory("pids")),
    blkio: blkio(directory("blkio")),
  };
}

function pidsStats(directory: string | undefined): ContainerStats["pids"] {
  const limit = readStat(directory, "pids.max");
  return withoutZeros({
    current: counter(readStat(directory, "pids.current")),
    limit: limit.trim() === "max" ? 0 : counter(limit),
  });
}

/** `each`: kernel and user apart for each processor. */
function cpu(
  accounted: string | undefined,
  limited: string | undefined,
  { each: apart = true } = {},
): ContainerStats["cpu"] {
  const { user = 0, system = 0 } = keyed(readStat(accounted, "cpuacct.stat"));
  const each = (apart ? readStat(accounted, "cpuacct.usage_all") : "")
    .split("\n")
    .slice(1)
    .filter(Boolean)
    .map((line) => line.split(" "));
  const { nr_periods = 0, nr_throttled = 0, throttled_time = 0 } = keyed(readStat(limited, "cpu.stat"));
  return {
    usage: {
      ...withoutZeros({
        total: counter(readStat(accounted, "cpuacct.usage")),
        percpu: readStat(accounted, "cpuacct.usage_percpu").trim().split(" ").filter(Boolean).map(counter),
        percpu_kernel: each.map(([, , kernel = ""]) => counter(kernel)),
        percpu_user: each.map(([, own = ""]) => counter(own)),
      }),
      kernel: Number(system) * TICK_NS,
      user: Number(user) * TICK_NS,
    },
    throttling: withoutZeros({
      periods: nr_periods,
      throttledPeriods: nr_throttled,
      throttledTime: throttled_time,
    }),
  };
}

function cpuset(directory: string | undefined): ContainerStats["cpuset"] {
  const flags = CPUSET_FLAGS.map((name) => [name, counter(readStat(directory, `cpuset.${name}`))] as const);
  return {
    ...withoutZeros({
      cpus: numberList(readStat(directory, "cpuset.cpus")),
      mems: numberList(readStat(directory, "cpuset.mems")),
    }),
    ...(Object.fromEntries(flags) as Record<CpusetFlag, Counter>),
  };
}

function memory(directory: string | undefined): ContainerStats["memory"] {
  const raw = keyed(readStat(directory, "memory.stat"));
  const usage = (part: string) => memoryUsage(directory, part);
  return {
    ...withoutZeros({ cache: raw.cache ?? 0 }),
    usage: usage(""),
    swap: usage("memsw."),
    kernel: usage("kmem."),
    kernelTCP: usage("kmem.tcp."),
    raw,
  };
}

/** `part`: "" for memory, "memsw." with swap, "kmem." … */
function memoryUsage(directory: string | undefined, part: string): MemoryUsage {
  const read = (file: string) => counter(readStat(directory, `memory.${part}${file}`));
  return {
    limit: read("limit_in_bytes"),
    ...withoutZeros({ usage: read("usage_in_bytes"), max: read("max_usage_in_bytes") }),
    failcnt: read("failcnt"),
  };
}

const DETAILS: Record<string, BlockCounter> = {
  sectors_recursive: "sectorsRecursive",
  io_service_time_recursive: "ioServiceTimeRecursive",
  io_wait_time_recursive: "ioWaitTimeRecursive",
  io_merged_recursive: "ioMergedRecursive",
  io_queued_recursive: "ioQueueRecursive",
  time_recursive: "ioTimeRecursive",
};

/** Who counts depends on the I/O scheduler: the first of them that has counted anything is believed. */
function blkio(directory: string | undefined): ContainerStats["blkio"] {
  for (const [prefix, suffix] of [
    ["bfq.", "_recursive"],
    ["", "_recursive"],
    ["throttle.", "_recursive"],
    ["throttle.", ""],
  ]) {
    const read = (name: string) => blockEntries(readStat(directory, `blkio.${prefix}${name}`));
    const bytes = read(`io_service_bytes${suffix}`);
    if (bytes.length === 0) continue;
    const details = Object.entries(DETAILS).map(([file, name]) => [name, read(file)] as const);
    return {
      ioServiceBytesRecursive: bytes,
      ...withoutZeros({ ioServicedRecursive: read(`io_serviced${suffix}`) }),
      ...(prefix === "throttle." ? {} : withoutZeros(Object.fromEntries(details))),
    };
  }
  return {};
}

/** "8:0 Read 4096", or "8:0 12"; the sum over all devices isn't told. */
export function blockEntries(text: string): BlockEntry[] {
  return text.split("\n").flatMap((line): BlockEntry[] => {
    const [, major, minor, op = "", value = ""] = /^(\d+):(\d+)(?: ([A-Za-z]+))? (\d+)$/.exec(line) ?? [];
    if (major === undefined) return [];
    return [withoutZeros({ major: Number(major), minor: Number(minor), op, value: counter(value) })];
  });
}

function hugetlb(directory: string | undefined): ContainerStats["hugetlb"] {
  const all: ContainerStats["hugetlb"] = {};
  for (const size of hugePageSizes(directory, ".usage_in_bytes")) {
    const read = (file: string) => counter(readStat(directory, `hugetlb.${size}.${file}`));
    all[size] = {
      ...withoutZeros({ usage: read("usage_in_bytes"), max: read("max_usage_in_bytes") }),
      failcnt: read("failcnt"),
    };
  }
  return all;
}

/** "2MB", "1GB", by the files there are with that ending. */
export function hugePageSizes(directory: string | undefined, ending: string): string[] {
  if (directory === undefined) return [];
  try {
    return readdirSync(directory)
      .filter((name) => name.startsWith("hugetlb.") && name.endsWith(ending) && !name.includes(".rsvd."))
      .map((name) => name.slice("hugetlb.".length, -ending.length));
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}
