/**
 * Sizes of containers and volumes on ext4, by the daemon: what programs without CAP_SYS_RESOURCE meet there. Runs in the virtual
 * machine.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { FileDescriptor } from "#kernel/fd.ts";
import { keepsProjectLimits } from "#kernel/project-quota.ts";
import { O_RDONLY, open } from "#kernel/syscalls.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { LoopFileSystem } from "#test/fixtures/loop-file-system.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

function makeDisk(): LoopFileSystem | undefined {
  if (LoopFileSystem.missing("ext4") !== undefined) return undefined;
  try {
    const disk = LoopFileSystem.make("ext4", { make: ["-O", "project,quota"], options: "prjquota" });
    using root = new FileDescriptor(open(disk.path, O_RDONLY));
    if (keepsProjectLimits(root.number)) return disk;
    disk[Symbol.dispose]();
  } catch {
    // The kernel does not know the option.
  }
  return undefined;
}

const disk = makeDisk();

describe("sizes on ext4", { skip: disk === undefined && "this kernel has no project quotas" }, () => {
  const socket = "/run/sizes.sock";
  let daemon: ChildProcess;
  const berth = (...args: string[]) =>
    execFileSync(join(ROOT, "bin/berth"), ["-H", `unix://${socket}`, ...args], {
      encoding: "utf8",
      env: { ...process.env, BERTH_NO_SETUP: "1" },
    });
  const run = (...args: string[]) => berth("run", "--rm", "--network", "none", ...args);

  before(async () => {
    const roots = ["--data-root", join(disk?.path ?? "", "data"), "--exec-root", "/run/sizes"];
    const rest = ["-H", `unix://${socket}`, "--pidfile", "/run/sizes.pid", "--bridge", "none"];
    daemon = spawn(join(ROOT, "bin/berthd"), [...roots, ...rest], {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, BERTH_NO_SETUP: "1" },
    });
    await eventually(() => assert.ok(existsSync(socket)));
    berth("load", "-i", join(ROOT, "build/busybox.tar"));
  });
  after(async () => {
    console.log("note: driver overlay2 (ext4 with project quotas) ran containers under a daemon");
    const ended = new Promise((done) => daemon.once("exit", done));
    daemon.kill("SIGTERM");
    await ended;
    disk?.[Symbol.dispose]();
  });

  const fill = (place: string) =>
    ["berth/busybox", "sh", "-c"].concat(
      `dd if=/dev/zero of=${place}/file bs=1M count=20 2>&1 | grep -o 'quota exceeded\\|20+0 records out'; rm ${place}/file`,
    );

  test("a container is stopped by its size, its neighbour goes on", () => {
    assert.equal(run("--storage-opt", "size=10M", ...fill("/")), "quota exceeded\n");
    assert.equal(run(...fill("/")), "20+0 records out\n");
  });

  test("so is what is written to a volume", () => {
    berth("volume", "create", "-o", "size=10M", "small");
    assert.equal(run("-v", "small:/data", ...fill("/data")), "quota exceeded\n");
    assert.equal(run("-v", "large:/data", ...fill("/data")), "20+0 records out\n");
    assert.match(run("-v", "small:/data", "berth/busybox", "df", "-k", "/data"), / 10240 /);
  });
});
