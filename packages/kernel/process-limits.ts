/** What the kernel lets this process have (proc(5), /proc/PID/limits). */
import { readFileSync } from "node:fs";

/** How many descriptors, Infinity without a limit; Node has raised it as far as it may. Throws where there is no /proc. */
export function descriptorLimit(): number {
  const [, limit] = /^Max open files +(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
  return limit === undefined || limit === "unlimited" ? Number.POSITIVE_INFINITY : Number(limit);
}
