/** Boots the virtual machine, and tells what the tests in it have come to. */
import { spawn, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { makeImage } from "#test/vm/image.ts";

const QEMU = "qemu-system-x86_64";
/** What the guest's tests are told of the host's environment: how much of what repeats, and which tests alone. */
const TOLD = [
  "BERTH_RANDOM_OPERATIONS",
  "BERTH_RANDOM_SEED",
  "BERTH_DRIVER_CRASHES",
  "BERTH_POWER_CUTS",
  "BERTH_TEST_NAMES",
];
/** How long all of it may take, ms; only a hang gets there. */
const PATIENCE_MS = 2_000_000;

/** One test of the guest's. */
export interface GuestResult {
  name: string;
  file?: string;
  skip?: string | false;
  error?: string;
  /** Milliseconds of the guest's. */
  duration_ms?: number;
}

/** Why it cannot be booted here; false if it can. */
export function vmMissing(): string | false {
  if (process.arch !== "x64") return "the virtual machine is for x86-64";
  return spawnSync(QEMU, ["--version"]).status === 0 ? false : `${QEMU} is not installed`;
}

/** Runs these test files in the machine, so many at once. Throws with the end of its console if it didn't come to the end. */
export async function testInMachine(
  cgroup: "v1" | "v2" | "systemd",
  files: readonly string[],
  { atOnce = 1 } = {},
): Promise<GuestResult[]> {
  const told = TOLD.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const { kernel, initramfs } = makeImage({
    ...Object.fromEntries(told),
    BERTH_FILES_AT_ONCE: String(atOnce),
  });
  const words = [
    "console=ttyS0",
    // What the kernel says of processes that it kills would come in the midst of a result's line.
    "loglevel=1",
    "panic=-1",
    // A busy host's timer interrupts come late; a kernel that checks them takes the board for broken and panics.
    "no_timer_check",
    `berth.cgroup=${cgroup}`,
    `berth.files=${files.join(",")}`,
  ];
  if (cgroup !== "v1") words.push("cgroup_no_v1=all", "swapaccount=1");
  const args = [
    "-accel",
    "tcg,thread=multi",
    "-cpu",
    "max",
    "-smp",
    "2",
    "-m",
    "3072",
    "-nographic",
    "-no-reboot",
  ];
  const child = spawn(
    QEMU,
    [...args, "-net", "none", "-kernel", kernel, "-initrd", initramfs, "-append", words.join(" ")],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  // More of what repeats was asked for, it may be.
  const patience = told.length > 0 ? 4 * PATIENCE_MS : PATIENCE_MS;
  let reason = "did not come to the end";
  const timer = setTimeout(() => {
    reason += ` in ${patience} ms`;
    child.kill("SIGKILL");
  }, patience);
  const results: GuestResult[] = [];
  const console_: string[] = [];
  let ended = false;
  for await (const line of createInterface({ input: child.stdout })) {
    const text = line.replace(/\r$/, "");
    if (text.startsWith("@@{")) {
      const told = JSON.parse(text.slice(2)) as GuestResult | { note: string };
      if ("note" in told) console.log(`in the virtual machine: ${told.note}`);
      else results.push(told);
    } else if (text.startsWith("@@ended")) ended = true;
    else console_.push(text);
  }
  clearTimeout(timer);
  rmSync(initramfs, { force: true });
  if (!ended || results.length === 0) {
    throw new Error(`the virtual machine ${reason}:\n${console_.slice(-60).join("\n")}`);
  }
  return results;
}
