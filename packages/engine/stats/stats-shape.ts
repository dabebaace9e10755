/**
 * Docker's form of what a container has used, from the runtime's. Pure. Times in nanoseconds, sizes in bytes; what is
 * left out at 0 is what Docker leaves out.
 */
import { ZERO_TIME } from "#engine/timestamps.ts";
import type { Counter } from "#runtime/cgroups/stat-files.ts";
import {
  type BlockCounter,
  type EngineStats,
  type NetworkInterfaceStats,
  withoutZeros,
} from "#runtime/cgroups/stats-types.ts";

export interface CpuStats {
  cpu_usage: {
    total_usage: Counter;
    percpu_usage?: Counter[];
    usage_in_kernelmode: Counter;
    usage_in_usermode: Counter;
  };
  /** Of the whole machine; undefined before the first sample. */
  system_cpu_usage?: number;
  online_cpus?: number;
  throttling_data: { periods: Counter; throttled_periods: Counter; throttled_time: Counter };
}

export interface BlockEntry {
  major: number;
  minor: number;
  op: string;
  value: Counter;
}

export interface Sample {
  read: string;
  pids_stats: { current?: Counter; limit?: Counter };
  blkio_stats: Record<string, BlockEntry[] | null>;
  cpu_stats: CpuStats;
  memory_stats: Record<string, Counter | Record<string, Counter>>;
  networks?: Record<string, Record<string, number>>;
}

/** What the sample needs beside the control groups' counters. */
export interface SampleFacts {
  read: string;
  version: 1 | 2;
  systemCpu: number;
  onlineCpus: number;
  /** The machine's, which is the limit of who has none. */
  totalMemory: number;
  /** Undefined where the container has no network of its own. */
  networks: NetworkInterfaceStats[] | undefined;
}

const BLOCK_LISTS: [BlockCounter, string][] = [
  ["ioServiceBytesRecursive", "io_service_bytes_recursive"],
  ["ioServicedRecursive", "io_serviced_recursive"],
  ["ioQueueRecursive", "io_queue_recursive"],
  ["ioServiceTimeRecursive", "io_service_time_recursive"],
  ["ioWaitTimeRecursive", "io_wait_time_recursive"],
  ["ioMergedRecursive", "io_merged_recursive"],
  ["ioTimeRecursive", "io_time_recursive"],
  ["sectorsRecursive", "sectors_recursive"],
];

const NO_CPU: CpuStats = {
  cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
};

/** Of a container that does not run. */
export const NOTHING: Sample = {
  read: ZERO_TIME,
  pids_stats: {},
  blkio_stats: Object.fromEntries(BLOCK_LISTS.map(([, name]) => [name, null])),
  cpu_stats: NO_CPU,
  memory_stats: {},
};

export function sampleOf(stats: EngineStats, facts: SampleFacts): Sample {
  return {
    read: facts.read,
    pids_stats: withoutZeros({
      current: stats.pids.current,
      limit: stats.pids.limit,
    }) as Sample["pids_stats"],
    blkio_stats: blockStats(stats, facts.version),
    cpu_stats: cpuStats(stats, facts),
    memory_stats: memoryStats(stats, facts),
    ...(facts.networks && { networks: networkStats(facts.networks) }),
  };
}

/** One message of the stream: the sample beside the one before, so that a client can tell the share of the processor. */
export function statsMessage(
  who: { name: string; id: string },
  sample: Sample,
  before: Sample | undefined,
): Record<string, unknown> {
  const { read, networks, ...rest } = sample;
  const { pids_stats, blkio_stats, cpu_stats, memory_stats } = rest;
  return {
    read,
    preread: before?.read ?? ZERO_TIME,
    pids_stats,
    blkio_stats,
    num_procs: 0,
    storage_stats: {},
    cpu_stats,
    precpu_stats: before?.cpu_stats ?? NO_CPU,
    memory_stats,
    name: `/${who.name}`,
    id: who.id,
    ...(networks && { networks }),
  };
}

function cpuStats({ cpu }: EngineStats, { systemCpu, onlineCpus }: SampleFacts): CpuStats {
  const { total = 0, percpu, kernel, user } = cpu.usage;
  const { periods = 0, throttledPeriods = 0, throttledTime = 0 } = cpu.throttling;
  return {
    cpu_usage: {
      total_usage: total,
      ...(percpu && { percpu_usage: percpu }),
      usage_in_kernelmode: kernel,
      usage_in_usermode: user,
    },
    system_cpu_usage: systemCpu,
    online_cpus: onlineCpus,
    throttling_data: { periods, throttled_periods: throttledPeriods, throttled_time: throttledTime },
  };
}

function memoryStats({ memory }: EngineStats, { version, totalMemory }: SampleFacts): Sample["memory_stats"] {
  const { limit, usage, max, failcnt } = memory.usage;
  const bounded = limit !== 0 && limit <= totalMemory ? limit : totalMemory;
  return {
    ...withoutZeros({ usage, max_usage: version === 1 ? max : 0 }),
    stats: memory.raw ?? {},
    ...withoutZeros({ failcnt: version === 1 ? failcnt : 0, limit: bounded }),
  } as Sample["memory_stats"];
}

function blockStats({ blkio }: EngineStats, version: 1 | 2): Sample["blkio_stats"] {
  return Object.fromEntries(
    BLOCK_LISTS.map(([from, to]) => {
      const entries = blkio[from]?.map(({ major = 0, minor = 0, op = "", value = 0 }) => ({
        major,
        minor,
        op: version === 2 ? op.toLowerCase() : op,
        value,
      }));
      return [to, entries ?? (version === 1 ? [] : null)];
    }),
  );
}

function networkStats(interfaces: NetworkInterfaceStats[]): Record<string, Record<string, number>> {
  return Object.fromEntries(
    interfaces.map((one) => [
      one.Name,
      {
        rx_bytes: one.RxBytes,
        rx_packets: one.RxPackets,
        rx_errors: one.RxErrors,
        rx_dropped: one.RxDropped,
        tx_bytes: one.TxBytes,
        tx_packets: one.TxPackets,
        tx_errors: one.TxErrors,
        tx_dropped: one.TxDropped,
      },
    ]),
  );
}
