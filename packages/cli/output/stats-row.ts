/** One line of `stats`: what a container uses, in the words of the table. Pure. */
import type { ListFormat } from "#cli/output/table.ts";
import { shortId } from "#cli/output/text.ts";
import { humanSize } from "#go-values/size.ts";

/** As much of the API's message as is shown. */
export interface StatsMessage {
  read: string;
  name: string;
  id: string;
  cpu_stats: CpuCounters;
  precpu_stats: CpuCounters;
  memory_stats: { usage?: number; limit?: number; stats?: Record<string, number> };
  pids_stats: { current?: number };
  blkio_stats: { io_service_bytes_recursive?: { op: string; value: number }[] | null };
  networks?: Record<string, { rx_bytes: number; tx_bytes: number }>;
}

interface CpuCounters {
  cpu_usage: { total_usage: number; percpu_usage?: number[] };
  system_cpu_usage?: number;
  online_cpus?: number;
}

export const statsFormat: ListFormat = {
  columns:
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
  headings: {
    Container: "CONTAINER",
    ID: "CONTAINER ID",
    Name: "NAME",
    CPUPerc: "CPU %",
    MemUsage: "MEM USAGE / LIMIT",
    MemPerc: "MEM %",
    NetIO: "NET I/O",
    BlockIO: "BLOCK I/O",
    PIDs: "PIDS",
  },
  quiet: "ID",
};

/** `asked`: the name it was asked for by. Without a message nothing is known yet. */
export function statsRow(asked: string, message: StatsMessage | undefined, truncate: boolean): object {
  if (message === undefined) {
    const unknown = {
      CPUPerc: "--",
      MemUsage: "-- / --",
      MemPerc: "--",
      NetIO: "--",
      BlockIO: "--",
      PIDs: "--",
    };
    return { Container: asked, ID: asked, Name: "--", ...unknown };
  }
  const { memory_stats, networks = {}, blkio_stats } = message;
  const used = memoryUsed(memory_stats);
  const limit = memory_stats.limit ?? 0;
  const interfaces = Object.values(networks);
  const bytes = (letter: string) =>
    sum(
      (blkio_stats.io_service_bytes_recursive ?? [])
        .filter(({ op }) => op.toLowerCase().startsWith(letter))
        .map(({ value }) => value),
    );
  return {
    Container: asked,
    ID: truncate ? shortId(message.id) : message.id,
    Name: message.name.replace(/^\//, ""),
    CPUPerc: `${processorShare(message).toFixed(2)}%`,
    MemUsage: `${binarySize(used)} / ${binarySize(limit)}`,
    MemPerc: `${(limit > 0 ? (used / limit) * 100 : 0).toFixed(2)}%`,
    NetIO: `${humanSize(sum(interfaces.map(({ rx_bytes }) => rx_bytes)), 3)} / ${humanSize(sum(interfaces.map(({ tx_bytes }) => tx_bytes)), 3)}`,
    BlockIO: `${humanSize(bytes("r"), 3)} / ${humanSize(bytes("w"), 3)}`,
    PIDs: String(message.pids_stats.current ?? 0),
  };
}

/** Of one processor in per cent: two of them at full speed are 200. */
function processorShare({ cpu_stats, precpu_stats }: StatsMessage): number {
  const used = cpu_stats.cpu_usage.total_usage - precpu_stats.cpu_usage.total_usage;
  const passed = (cpu_stats.system_cpu_usage ?? 0) - (precpu_stats.system_cpu_usage ?? 0);
  const processors = cpu_stats.online_cpus || cpu_stats.cpu_usage.percpu_usage?.length || 1;
  return used > 0 && passed > 0 ? (used / passed) * processors * 100 : 0;
}

/** Without the cache that goes as soon as memory is wanted; the counter is called differently in the two versions. */
function memoryUsed({ usage = 0, stats = {} }: StatsMessage["memory_stats"]): number {
  const cache = stats.total_inactive_file ?? stats.inactive_file ?? 0;
  return cache < usage ? usage - cache : usage;
}

/** "1.5MiB": four significant digits. */
export function binarySize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${Number(size.toPrecision(4))}${units[unit]}`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
