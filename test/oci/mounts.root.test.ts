/** What of mounts and names is the command line's part. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { defaultSpec } from "#runtime/default-spec.ts";
import type { SpecMount } from "#runtime/spec-types.ts";

const COMMAND = resolve(import.meta.dirname, "../../bin/berth-oci");
let bundle: string;
before(() => {
  bundle = mkdtempSync(join(tmpdir(), "berth-mounts-oci-"));
  for (const name of ["bin", "proc", "sys", "dev"])
    mkdirSync(join(bundle, "rootfs", name), { recursive: true });
  copyFileSync("/bin/busybox", join(bundle, "rootfs/bin/busybox"));
});
after(() => rmSync(bundle, { recursive: true, force: true }));

function run(script: string, mounts: SpecMount[]) {
  const architecture = process.arch === "arm64" ? "arm64" : "x64";
  const spec = defaultSpec({ architecture, kernelRelease: "6.1.0" });
  spec.process.args = ["/bin/busybox", "sh", "-c", script];
  spec.hostname = "host-name";
  spec.domainname = "domain.name";
  spec.mounts.push(...mounts);
  writeFileSync(join(bundle, "config.json"), JSON.stringify(spec));
  // From elsewhere than the bundle.
  const args = ["--root", join(bundle, "state"), "run", "-b", bundle, `mounts${process.pid}`];
  const { status, stdout, stderr } = spawnSync(COMMAND, args, { cwd: "/", encoding: "utf8" });
  return { status, stdout, stderr };
}

describe("a bundle", () => {
  it("finds sources of bind mounts relative to the bundle", () => {
    mkdirSync(join(bundle, "data"));
    writeFileSync(join(bundle, "data/file"), "of the bundle\n");
    for (const source of ["data", "./data/../data"]) {
      const mount = { destination: "/mnt", type: "none", source, options: ["rbind"] };
      const { stdout, stderr } = run("busybox cat /mnt/file", [mount]);
      assert.equal(stdout, "of the bundle\n", stderr);
    }
    const missing = { destination: "/mnt", source: "nothing", options: ["bind"] };
    const { status, stderr } = run("true", [missing]);
    assert.equal(status, 1);
    assert.match(stderr, new RegExp(`bind mount source path ${bundle}/nothing: no such file`));
  });

  it("is told of a destination that is not absolute, and runs", () => {
    const { stdout, stderr } = run("busybox grep -c ' /rel/here ' /proc/mounts", [
      { destination: "rel/here", type: "tmpfs", source: "tmpfs" },
    ]);
    assert.equal(stdout, "1\n");
    assert.match(stderr, /level=warning .*mount destination rel\/here is not absolute/);
  });

  it("names the host and its domain", () => {
    const { stdout } = run("busybox hostname; busybox cat /proc/sys/kernel/domainname", []);
    assert.equal(stdout, "host-name\ndomain.name\n");
  });
});
