/** `--systemd-cgroup` with a real systemd. Runs in the virtual machine. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { it } from "node:test";
import { slowness } from "#test/fixtures/eventually.ts";

const COMMAND = resolve(import.meta.dirname, "../../../bin/berth-oci");
const skip = !existsSync("/run/systemd/private") && "systemd is not the first process here";

it("a container is a scope of systemd's, limited, updated, and gone with it", { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-scope-"));
  mkdirSync(join(directory, "rootfs/bin"), { recursive: true });
  cpSync("/bin/busybox", join(directory, "rootfs/bin/busybox"));
  symlinkSync("busybox", join(directory, "rootfs/bin/sleep"));
  const log = join(directory, "log");
  writeFileSync(log, "");
  const oci = (...args: string[]) => {
    const ran = spawnSync(
      COMMAND,
      ["--root", join(directory, "state"), "--log", log, "--systemd-cgroup", ...args],
      {
        stdio: ["ignore", "ignore", "ignore"],
        timeout: 60_000 * slowness(),
      },
    );
    return ran.status;
  };
  assert.equal(oci("spec", "-b", directory), 0);
  const path = join(directory, "config.json");
  const spec = JSON.parse(readFileSync(path, "utf8"));
  Object.assign(spec.process, { terminal: false, args: ["sleep", "1000"] });
  spec.linux.cgroupsPath = "system.slice:berth:one";
  spec.linux.resources = { memory: { limit: 64 << 20 }, pids: { limit: 20 } };
  writeFileSync(path, JSON.stringify(spec));
  assert.equal(
    oci("run", "-d", "--pid-file", join(directory, "pid"), "-b", directory, "one"),
    0,
    readFileSync(log, "utf8"),
  );
  const pid = readFileSync(join(directory, "pid"), "utf8");
  const scope = "/system.slice/berth-one.scope";
  assert.equal(readFileSync(`/proc/${pid}/cgroup`, "utf8").trim(), `0::${scope}`);
  const value = (file: string) => readFileSync(`/sys/fs/cgroup${scope}/${file}`, "utf8").trim();
  assert.deepEqual([value("memory.max"), value("pids.max")], [String(64 << 20), "20"]);
  assert.equal(oci("update", "--memory", "100m", "--pids-limit", "30", "one"), 0);
  assert.deepEqual([value("memory.max"), value("pids.max")], [String(100 << 20), "30"]);
  assert.equal(oci("exec", "one", "sleep", "0"), 0);
  assert.equal(oci("pause", "one"), 0);
  assert.equal(oci("resume", "one"), 0);
  assert.equal(oci("delete", "-f", "one"), 0);
  assert.equal(existsSync(`/sys/fs/cgroup${scope}`), false);

  // Without a path of its own, and with a property that an annotation gives.
  delete spec.linux.cgroupsPath;
  spec.annotations = { "org.systemd.property.CPUWeight": "uint64 55" };
  spec.process.args = ["sleep", "0"];
  writeFileSync(path, JSON.stringify(spec));
  assert.equal(oci("create", "-b", directory, "two"), 0, readFileSync(log, "utf8"));
  const usual = "/sys/fs/cgroup/system.slice/berth-two.scope";
  const found = existsSync(usual) ? usual : readdirSync("/sys/fs/cgroup/system.slice").join(" ");
  assert.equal(found, usual);
  assert.equal(readFileSync(`${usual}/cpu.weight`, "utf8").trim(), "55");
  assert.equal(oci("start", "two"), 0);
  assert.equal(oci("delete", "-f", "two"), 0);
  assert.equal(existsSync(usual), false);
});
