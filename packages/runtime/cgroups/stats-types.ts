/** The form of runc's `events --stats` (its types/events.go); what is left out at 0 is left out there. */
import type { Counter, Pressure } from "#runtime/cgroups/stat-files.ts";

export interface ContainerStats {
  cpu: {
    /** Nanoseconds. */
    usage: {
      total?: Counter;
      percpu?: Counter[];
      percpu_kernel?: Counter[];
      percpu_user?: Counter[];
      kernel: Counter;
      user: Counter;
    };
    throttling: { periods?: Counter; throttledPeriods?: Counter; throttledTime?: Counter };
    psi?: Pressure;
  };
  cpuset: { cpus?: number[]; mems?: number[] } & Record<CpusetFlag, Counter>;
  memory: {
    cache?: Counter;
    usage: MemoryUsage;
    /** Memory and swap together, in both versions. */
    swap: MemoryUsage;
    kernel: MemoryUsage;
    kernelTCP: MemoryUsage;
    raw?: Record<string, Counter>;
    psi?: Pressure;
    event_count?: Record<string, Counter>;
  };
  pids: { current?: Counter; limit?: Counter };
  blkio: Partial<Record<BlockCounter, BlockEntry[]>> & { psi?: Pressure };
  hugetlb: Record<string, { usage?: Counter; max?: Counter; failcnt: Counter }>;
  intel_rdt: Record<string, never>;
  network_interfaces: NetworkInterfaceStats[] | null;
}

/** The part of it that engines look at every second. */
export type EngineStats = Pick<ContainerStats, "cpu" | "pids" | "blkio"> & {
  memory: Pick<ContainerStats["memory"], "usage" | "raw">;
};

export const CPUSET_FLAGS = [
  "cpu_exclusive",
  "mem_hardwall",
  "mem_exclusive",
  "memory_migrate",
  "memory_spread_page",
  "memory_spread_slab",
  "memory_pressure",
  "sched_load_balance",
  "sched_relax_domain_level",
] as const;
export type CpusetFlag = (typeof CPUSET_FLAGS)[number];

export interface MemoryUsage {
  limit: Counter;
  usage?: Counter;
  max?: Counter;
  failcnt: Counter;
}

export type BlockCounter =
  | "ioServiceBytesRecursive"
  | "ioServicedRecursive"
  | "ioQueueRecursive"
  | "ioServiceTimeRecursive"
  | "ioWaitTimeRecursive"
  | "ioMergedRecursive"
  | "ioTimeRecursive"
  | "sectorsRecursive";

export interface BlockEntry {
  major?: number;
  minor?: number;
  op?: string;
  value?: Counter;
}

/** As runc has them, capitals and all. */
export interface NetworkInterfaceStats {
  Name: string;
  RxBytes: number;
  RxPackets: number;
  RxErrors: number;
  RxDropped: number;
  TxBytes: number;
  TxPackets: number;
  TxErrors: number;
  TxDropped: number;
}

/** Leaves out what is 0 or empty, as runc does with most fields. */
export function withoutZeros<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(fields).filter(
      ([, value]) =>
        value !== undefined && value !== 0 && value !== "" && !(Array.isArray(value) && value.length === 0),
    ),
  ) as Partial<T>;
}
