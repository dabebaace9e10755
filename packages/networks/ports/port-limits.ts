/** How many ports there are to give: the kernel's range of random ones, and the sockets that may hold them. */
import { readFileSync } from "node:fs";
import { descriptorLimit } from "#kernel/process-limits.ts";

/** Used where the kernel's own range cannot be read. */
const fallbackRange = { first: 49_153, last: 65_535 };
/** Of the descriptors the daemon may have, the part that ports may take; and the most that ever are. */
const share = 0.75;
export const mostSockets = 100_000;

/** Sockets that a process with so many descriptors may hold ports with. */
export function roomForSockets(descriptors: number): number {
  return Math.min(Math.floor(descriptors * share), mostSockets);
}

/** The kernel's range for connections' own ports, which is also where Docker takes random ports from. */
export function readEphemeralRange(path = "/proc/sys/net/ipv4/ip_local_port_range"): {
  first: number;
  last: number;
} {
  try {
    const [first, last] = readFileSync(path, "utf8").trim().split(/\s+/).map(Number);
    if (first !== undefined && last !== undefined && first >= 1 && first <= last) return { first, last };
  } catch {
    // No /proc: the fallback is as good.
  }
  return fallbackRange;
}

/** How many descriptors this process may have; Node has raised it as far as it may. */
export function readDescriptorLimit(): number {
  try {
    const limit = descriptorLimit();
    return Number.isFinite(limit) ? limit : mostSockets * 2;
  } catch {
    return 1024; // What every process has.
  }
}
