/** Checkpoint and restore by criu. Runs in the virtual machine, whose kernel criu knows. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { it } from "node:test";
import { eventually, slowness } from "#test/fixtures/eventually.ts";

const COMMAND = resolve(import.meta.dirname, "../../../bin/berth-oci");
const check = spawnSync("criu", ["check"], { encoding: "utf8" });
const usable = check.status === 0;

it("a container goes on counting after checkpoint and restore", {
  skip: !usable && `no criu that knows this kernel: ${check.stderr ?? check.error}`,
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-criu-"));
  const rootfs = join(directory, "rootfs");
  mkdirSync(join(rootfs, "bin"), { recursive: true });
  mkdirSync(join(rootfs, "tmp"));
  cpSync("/bin/busybox", join(rootfs, "bin/busybox"));
  for (const name of ["sh", "sleep", "mv"]) symlinkSync("busybox", join(rootfs, "bin", name));
  const oci = (...args: string[]) => {
    const null_ = openSync("/dev/null", "r+");
    const ran = spawnSync(COMMAND, ["--root", join(directory, "state"), ...args], {
      stdio: [null_, null_, "pipe"],
      timeout: 60_000 * slowness(),
    });
    closeSync(null_);
    return { code: ran.status, stderr: String(ran.stderr) };
  };
  assert.equal(oci("spec", "-b", directory).code, 0);
  const path = join(directory, "config.json");
  const spec = JSON.parse(readFileSync(path, "utf8"));
  const script = "n=0; while :; do n=$((n+1)); echo $n > /tmp/new; mv /tmp/new /tmp/count; sleep 0.1; done";
  Object.assign(spec.process, { terminal: false, args: ["sh", "-c", script] });
  spec.root.readonly = false;
  spec.linux.namespaces = spec.linux.namespaces.filter(
    ({ type }: { type: string }) => type !== "network" && type !== "cgroup",
  );
  spec.linux.maskedPaths = [];
  delete spec.linux.sysctl;
  writeFileSync(path, JSON.stringify(spec));
  const count = () => Number(readFileSync(join(rootfs, "tmp/count"), "utf8"));
  const run = spawnSync(COMMAND, ["--root", join(directory, "state"), "run", "-d", "-b", directory, "one"], {
    stdio: "ignore",
  });
  assert.equal(run.status, 0);
  await eventually(() => assert.ok(count() > 3));
  const image = join(directory, "image");
  const dumped = oci("checkpoint", "--image-path", image, "one");
  assert.equal(dumped.code, 0, dumped.stderr);
  assert.notEqual(oci("state", "one").code, 0);
  const before = count();
  const restored = oci("restore", "-d", "--image-path", image, "-b", directory, "two");
  assert.equal(restored.code, 0, restored.stderr);
  await eventually(() => assert.ok(count() > before));
  assert.ok(count() < before + 1000);
  assert.equal(oci("delete", "-f", "two").code, 0);
});
