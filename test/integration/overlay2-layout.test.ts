/**
 * What people look at below the data root to see how containers are stored: every step as they do it by hand, with the
 * docker command line and coreutils.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { getXattr } from "#kernel/xattr-syscalls.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

describe("overlay2 on disk", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  let daemon: TestDaemon;
  let home: string;
  before(async () => {
    daemon = await TestDaemon.start({ subnet: 78 });
    daemon.loadBusybox();
    home = join(daemon.dataRoot, "overlay2");
  });
  after(() => daemon.stop());

  const docker = (...args: string[]): string => {
    const ran = daemon.docker(...args);
    assert.equal(ran.code, 0, ran.stderr);
    return ran.stdout.trim();
  };
  const data = (container: string) =>
    JSON.parse(docker("inspect", "--format", "{{json .GraphDriver.Data}}", container)) as Record<
      "LowerDir" | "MergedDir" | "UpperDir" | "WorkDir",
      string
    >;
  const layerOf = (container: string) => data(container).UpperDir.split("/").at(-2) ?? "";

  test("docker info tells the driver and what it found", () => {
    assert.equal(docker("info", "--format", "{{.Driver}}"), "overlay2");
    const pairs = new Map(
      JSON.parse(docker("info", "--format", "{{json .DriverStatus}}")) as [string, string][],
    );
    const backing = execFileSync("stat", ["-f", "-c", "%T", daemon.dataRoot], { encoding: "utf8" }).trim();
    if (backing === "ext2/ext3") assert.equal(pairs.get("Backing Filesystem"), "extfs");
    assert.equal(pairs.get("Supports d_type"), "true");
    assert.equal(pairs.get("Native Overlay Diff"), "true");
    assert.equal(pairs.get("userxattr"), "false");
  });

  test("a file that is made, one that is changed, one that is deleted", () => {
    const script = "echo new > /made; chmod 0600 /etc/passwd; rm /etc/group; mkdir /d";
    docker("run", "--name", "field", "--network", "none", "berth/busybox", "sh", "-c", script);
    const { UpperDir, LowerDir } = data("field");
    assert.equal(readFileSync(join(UpperDir, "made"), "utf8"), "new\n");
    // Copied up whole, and the one below is as it was.
    const below = LowerDir.split(":").find((directory) => existsSync(join(directory, "etc/passwd"))) ?? "";
    assert.equal(
      readFileSync(join(UpperDir, "etc/passwd"), "utf8"),
      readFileSync(join(below, "etc/passwd"), "utf8"),
    );
    assert.equal(statSync(join(UpperDir, "etc/passwd")).mode & 0o777, 0o600);
    assert.notEqual(statSync(join(below, "etc/passwd")).mode & 0o777, 0o600);
    const whiteout = lstatSync(join(UpperDir, "etc/group"));
    assert.ok(whiteout.isCharacterDevice());
    assert.equal(whiteout.rdev, 0);
    assert.deepEqual(readdirSync(UpperDir).sort(), ["d", "etc", "made"]);
    docker("rm", "field");
  });

  test("link, lower, l/ and the init layer", () => {
    docker("create", "--name", "layout", "berth/busybox");
    const layer = layerOf("layout");
    const link = (name: string) => readFileSync(join(home, name, "link"), "utf8");
    assert.match(link(layer), /^[A-Z2-7]{26}$/);
    assert.equal(readlinkSync(join(home, "l", link(layer))), `../${layer}/diff`);
    const lower = readFileSync(join(home, layer, "lower"), "utf8").split(":");
    assert.equal(lower[0], `l/${link(`${layer}-init`)}`);
    // Every short name leads to a layer, and in the order that inspect tells.
    const { LowerDir, MergedDir, WorkDir } = data("layout");
    assert.deepEqual(
      lower.map((name) => join(home, "l", readlinkSync(join(home, name)))),
      LowerDir.split(":"),
    );
    const init = readdirSync(join(home, `${layer}-init`, "diff"), { recursive: true, encoding: "utf8" });
    for (const name of [
      ".dockerenv",
      "dev/console",
      "etc/hostname",
      "etc/hosts",
      "etc/mtab",
      "etc/resolv.conf",
    ]) {
      assert.ok(init.includes(name), name);
    }
    assert.deepEqual(readdirSync(join(home, layer, "diff")), []);
    assert.ok(existsSync(MergedDir) && existsSync(WorkDir));
    docker("rm", "layout");
    return eventually(() => {
      assert.ok(!existsSync(join(home, layer)) && !existsSync(join(home, `${layer}-init`)));
      assert.deepEqual(
        readdirSync(join(home, "l")).length,
        readdirSync(home).filter((name) => name !== "l" && !name.startsWith(".")).length,
      );
    });
  });

  test("a directory that is replaced is opaque, and its old names do not show", () => {
    docker(
      "run",
      "--name",
      "opaque",
      "--network",
      "none",
      "berth/busybox",
      "sh",
      "-c",
      "rm -r /home; mkdir /home; echo x > /home/only",
    );
    const { UpperDir } = data("opaque");
    assert.equal(getXattr(join(UpperDir, "home"), "trusted.overlay.opaque")?.toString(), "y");
    docker("rm", "opaque");
  });

  test("the merged directory is the mount's, where the container runs", () => {
    docker("run", "-d", "--name", "running", "--network", "none", "berth/busybox", "sleep", "1000");
    const { MergedDir, UpperDir } = data("running");
    const options = docker("exec", "running", "grep", " / ", "/proc/mounts");
    assert.match(options, /^overlay \/ overlay rw,/);
    assert.match(options, new RegExp(`upperdir=${layerOf("running")}/diff`));
    docker("exec", "running", "sh", "-c", "echo live > /live");
    assert.equal(readFileSync(join(UpperDir, "live"), "utf8"), "live\n");
    assert.ok(existsSync(MergedDir));
    docker("rm", "-f", "running");
  });
});
