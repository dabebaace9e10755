/** What an answer about a container's use of the machine is made of, read and not looked at. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const FILES = [
  // Version 1, controller by controller.
  ...["memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.failcnt", "memory.limit_in_bytes"],
  ...["cpuacct.usage", "cpuacct.usage_percpu", "cpuacct.stat"],
  ...["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"],
  // Version 2.
  ...["memory.current", "memory.max", "io.stat"],
  // Both.
  ...["memory.stat", "cpu.stat", "pids.current", "pids.max"],
];

/** Of a container with these control groups and this first process. */
export function readCounters(groups: readonly string[], pid: number): void {
  for (const group of groups) for (const file of FILES) readIfThere(join(group, file));
  readIfThere(`/proc/${pid}/net/dev`);
}

function readIfThere(path: string): void {
  try {
    readFileSync(path);
  } catch {
    // Another controller's, or the other version's.
  }
}
