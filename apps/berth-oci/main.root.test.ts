import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Spec } from "#runtime/spec-types.ts";

const main = join(import.meta.dirname, "main.ts");
let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-oci-"));
  mkdirSync(join(directory, "rootfs/bin"), { recursive: true });
  copyFileSync("/bin/busybox", join(directory, "rootfs/bin/busybox"));
  for (const name of ["sh", "cat", "hostname"]) symlinkSync("busybox", join(directory, "rootfs/bin", name));
});
after(() => rmSync(directory, { recursive: true, force: true }));

function oci(args: string[], input = "") {
  const command = [
    "--disable-warning=ExperimentalWarning",
    main,
    "--root",
    join(directory, "state"),
    ...args,
  ];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, {
    cwd: directory,
    input,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

describe("berth-oci", () => {
  it("tells its version and its commands, and refuses others", () => {
    assert.match(oci(["--version"]).stdout, /^berth-oci version \d/);
    assert.match(oci(["--help"]).stdout, /Usage: berth-oci/);
    for (const args of [
      ["nosuch"],
      ["run"],
      ["start"],
      ["exec", "x"],
      ["run", "--nosuch", "a"],
      ["run", "a", "b"],
      ["run", "../x"],
      ["--nosuch"],
      ["spec", "x"],
    ]) {
      const { status, stderr } = oci(args);
      assert.equal(status, 1, args.join(" "));
      assert.match(stderr, /^time="[^"]+" level=error msg="/);
    }
  });

  it("writes a configuration and runs it, with its streams and its exit code", () => {
    assert.match(oci(["run", "early"]).stderr, /JSON specification file config\.json not found/);
    assert.equal(oci(["spec"]).status, 0);
    assert.match(oci(["spec"]).stderr, /config\.json exists/);
    const path = join(directory, "config.json");
    const spec = JSON.parse(readFileSync(path, "utf8")) as Spec;
    Object.assign(spec.process as object, {
      terminal: false,
      args: ["sh", "-c", "cat; hostname; echo err >&2; exit 5"],
    });
    writeFileSync(path, JSON.stringify(spec));
    const result = oci(["run", "--pid-file", "pid", "one"], "typed\n");
    assert.deepEqual(result, { status: 5, stdout: "typed\nberth\n", stderr: "err\n" });
    assert.match(readFileSync(join(directory, "pid"), "utf8"), /^\d+$/);
    assert.ok(!existsSync(join(directory, "state/one")));
    assert.ok(!existsSync("/sys/fs/cgroup/pids/berth/one"));
    Object.assign(spec.process as object, { args: ["nosuch"] });
    writeFileSync(path, JSON.stringify(spec));
    const missing = oci(["run", "two"]);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /executable file not found in \$PATH/);
    assert.ok(!existsSync(join(directory, "state/two")));
  });
});
