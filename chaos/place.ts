/** The namespaces a chaos run has to itself: loopback and nothing else, and a /sys that shows its own links. */
import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Has the process been started again in namespaces of its own? */
export function insideOwnPlace(): boolean {
  return process.env.BERTH_CHAOS_INSIDE === "1";
}

export function enterOwnPlace(): void {
  const sys = mkdtempSync(join(tmpdir(), "berth-chaos-sys-"));
  const run = (program: string, ...args: string[]) => execFileSync(program, args);
  run("ip", "link", "set", "lo", "up");
  // /sys of the machine goes on showing the machine's links; a new one has no cgroups below it.
  run("mount", "-t", "sysfs", "sysfs", sys);
  run("mount", "--rbind", "/sys/fs/cgroup", join(sys, "fs/cgroup"));
  run("mount", "--rbind", sys, "/sys");
  run("umount", "-l", sys);
  run("rmdir", sys);
}
