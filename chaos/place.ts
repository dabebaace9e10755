/** The namespaces such a run has to itself: loopback and nothing else, and a /sys that shows its own links. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Said to the process that is started again. */
const INSIDE = "BERTH_CHAOS_INSIDE";

/**
 * Starts the program again, with these options, in namespaces of its own, and does the work there. The exit code says
 * whether the work said that all is well.
 */
export async function inOwnPlace(
  program: string,
  options: Record<string, string | string[]>,
  work: () => Promise<boolean>,
): Promise<void> {
  if (process.env[INSIDE] === "1") {
    arrange();
    process.exitCode = (await work()) ? 0 : 1;
    return;
  }
  const again = [
    "--net",
    "--mount",
    "--propagation",
    "private",
    process.execPath,
    ...process.execArgv,
    program,
  ];
  const flags = Object.entries(options).flatMap(([name, value]) =>
    [value].flat().flatMap((one) => [`--${name}`, one]),
  );
  const env = { ...process.env, [INSIDE]: "1" };
  process.exitCode = spawnSync("unshare", [...again, ...flags], { stdio: "inherit", env }).status ?? 1;
}

function arrange(): void {
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
