/** Counters of /proc: what the machine's processors did, and what went over interfaces. Parsing is pure. (proc(5)) */
import { readFileSync } from "node:fs";

/** /proc/stat counts in USER_HZ, which is 100 wherever Linux runs. */
const TICK_NS = 10_000_000;

/** Nanoseconds of all processors together since boot, idle ones too, and how many there are. */
export function parseProcessorTime(stat: string): { total: number; count: number } {
  const [all = "", ...rest] = stat.split("\n", 4097);
  // user, nice, system, idle, iowait, irq, softirq: as Docker adds them up.
  const ticks = all.trim().split(/\s+/).slice(1, 8).map(Number);
  const total = ticks.reduce((sum, tick) => sum + tick, 0) * TICK_NS;
  return { total, count: rest.findIndex((line) => !line.startsWith("cpu")) };
}

export function readProcessorTime(): { total: number; count: number } {
  return parseProcessorTime(readFileSync("/proc/stat", "latin1"));
}

export interface InterfaceCounters {
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

/** /proc/<pid>/net/dev: two lines of titles, then a line per interface; without the loopback. */
export function parseInterfaceCounters(text: string): InterfaceCounters[] {
  return text
    .split("\n")
    .slice(2)
    .flatMap((line): InterfaceCounters[] => {
      const colon = line.lastIndexOf(":");
      const Name = line.slice(0, colon).trim();
      if (colon < 0 || Name === "lo") return [];
      const field = line
        .slice(colon + 1)
        .trim()
        .split(/\s+/)
        .map(Number);
      const at = (index: number) => field[index] ?? 0;
      return [
        {
          Name,
          RxBytes: at(0),
          RxPackets: at(1),
          RxErrors: at(2),
          RxDropped: at(3),
          TxBytes: at(8),
          TxPackets: at(9),
          TxErrors: at(10),
          TxDropped: at(11),
        },
      ];
    });
}

/** Of the network that process is in; none if it has ended. */
export function readInterfaceCounters(pid: number): InterfaceCounters[] {
  try {
    return parseInterfaceCounters(readFileSync(`/proc/${pid}/net/dev`, "latin1"));
  } catch {
    return []; // It ended in between.
  }
}

/** Processes killed for want of memory since boot, on the whole machine, in containers too (/proc/vmstat). */
export function readOomKillsOfHost(): number {
  const [, count] = /^oom_kill (\d+)$/m.exec(readFileSync("/proc/vmstat", "latin1")) ?? [];
  return Number(count ?? 0);
}
