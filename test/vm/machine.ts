/** Boots the virtual machine, and tells what the tests in it have come to. */
import { spawn, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { makeImage } from "#test/vm/image.ts";

const QEMU = "qemu-system-x86_64";
/** How long all of it may take, ms; only a hang gets there. */
const PATIENCE_MS = 1_000_000;

/** One test of the guest's. */
export interface GuestResult {
  name: string;
  skip?: string | false;
  error?: string;
}

/** Why it cannot be booted here; false if it can. */
export function vmMissing(): string | false {
  if (process.arch !== "x64") return "the virtual machine is for x86-64";
  return spawnSync(QEMU, ["--version"]).status === 0 ? false : `${QEMU} is not installed`;
}

/** Runs these test files in the machine. Throws with the end of its console if it didn't come to the end. */
export async function testInMachine(
  cgroup: "v1" | "v2" | "systemd",
  files: readonly string[],
): Promise<GuestResult[]> {
  const { kernel, initramfs } = makeImage();
  const words = [
    "console=ttyS0",
    "quiet",
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
  let reason = "did not come to the end";
  const timer = setTimeout(() => {
    reason += ` in ${PATIENCE_MS} ms`;
    child.kill("SIGKILL");
  }, PATIENCE_MS);
  const results: GuestResult[] = [];
  const console_: string[] = [];
  let ended = false;
  for await (const line of createInterface({ input: child.stdout })) {
    const text = line.replace(/\r$/, "");
    if (text.startsWith("@@{")) results.push(JSON.parse(text.slice(2)) as GuestResult);
    else if (text.startsWith("@@ended")) ended = true;
    else console_.push(text);
  }
  clearTimeout(timer);
  rmSync(initramfs, { force: true });
  if (!ended || results.length === 0) {
    throw new Error(`the virtual machine ${reason}:\n${console_.slice(-60).join("\n")}`);
  }
  return results;
}
