/**
 * Storage drivers beside each other: the same work gives the same answers (those of devicemapper: test/vm), each has its own
 * looks, and a data root keeps its driver.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { LoopFileSystem } from "#test/fixtures/loop-file-system.ts";
import { prepareSameAnswers, testSameAnswers } from "#test/integration/storage-answers.ts";

const withoutBtrfs = LoopFileSystem.missing("btrfs");
const drivers = [
  "overlay2",
  "vfs",
  ...(withoutBtrfs === undefined ? ["btrfs"] : []),
  ...(existsSync("/dev/fuse") ? ["aufs"] : []),
];

describe("storage drivers beside each other", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  const daemons = new Map<string, TestDaemon>();
  let disk: LoopFileSystem | undefined;
  before(async () => {
    if (withoutBtrfs === undefined) disk = LoopFileSystem.make("btrfs");
    for (const [index, driver] of drivers.entries()) {
      const daemon = await TestDaemon.start({
        flags: ["-s", driver],
        subnet: 79 + index,
        ...(driver === "btrfs" && disk && { place: disk.path }),
      });
      daemons.set(driver, daemon);
    }
    prepareSameAnswers(daemons);
  });
  after(async () => {
    // All of them, though one may not.
    const stopped = await Promise.allSettled([...daemons.values()].map((daemon) => daemon.stop()));
    disk?.[Symbol.dispose]();
    for (const stop of stopped) if (stop.status === "rejected") throw stop.reason;
  });

  const docker = (daemon: TestDaemon, ...args: string[]): string => {
    const ran = daemon.docker(...args);
    assert.equal(ran.code, 0, `docker ${args.join(" ")}: ${ran.stderr}`);
    return ran.stdout;
  };
  testSameAnswers(daemons);

  test("vfs tells nothing more of itself, and has a directory for each layer", async () => {
    const vfs = daemons.get("vfs") as TestDaemon;
    assert.equal(docker(vfs, "inspect", "--format", "{{json .GraphDriver.Data}}", "work").trim(), "null");
    assert.equal(docker(vfs, "info", "--format", "{{json .DriverStatus}}").trim(), "null");
    // What another test has removed may still be on its way out.
    await eventually(() => {
      const layers = readdirSync(join(vfs.dataRoot, "vfs", "dir"));
      assert.ok(
        layers.every((name) => /^[0-9a-f]{64}(-init)?$/.test(name)),
        layers.join(),
      );
    });
  });

  test("btrfs: docker info, and a subvolume for each layer", { skip: withoutBtrfs }, async () => {
    const daemon = daemons.get("btrfs") as TestDaemon;
    const pairs = JSON.parse(docker(daemon, "info", "--format", "{{json .DriverStatus}}"));
    assert.deepEqual(
      pairs.map(([key]: [string, string]) => key),
      ["Build Version", "Library Version"],
    );
    assert.match(pairs[0][1], /^Btrfs v\d/);
    const subvolumes = join(daemon.dataRoot, "btrfs/subvolumes");
    const work = docker(daemon, "inspect", "-f", "{{.Id}}", "work").trim();
    // What another test has removed may still be on its way out.
    await eventually(() => {
      const names = readdirSync(subvolumes);
      assert.ok(names.includes(work) && names.includes(`${work}-init`), names.join());
      for (const name of names) {
        // Beside the layers, what containers of an image begin as.
        assert.match(name, /^([0-9a-f]{64}(-init)?|\.init-[0-9a-f-]{36})$/);
        // Every subvolume's root has this number.
        assert.equal(statSync(join(subvolumes, name)).ino, 256);
      }
    });
  });

  const fill = "dd if=/dev/zero of=/file bs=1M count=64; echo $?; rm /file && echo again >/note && cat /note";

  test("btrfs: a container is stopped by its size, its neighbour goes on", { skip: withoutBtrfs }, () => {
    const daemon = daemons.get("btrfs") as TestDaemon;
    const limited = daemon.docker(
      ...["run", "--rm", "--network", "none", "--storage-opt", "size=40M", "berth/busybox", "sh", "-c", fill],
    );
    assert.match(limited.stderr, /Disk quota exceeded/);
    assert.equal(limited.stdout, "1\nagain\n", limited.stderr);
    const free = docker(daemon, "run", "--rm", "--network", "none", "berth/busybox", "sh", "-c", fill);
    assert.equal(free, "0\nagain\n");
  });

  test("a size that cannot be kept is refused, and why", { skip: withoutBtrfs }, () => {
    const refused = (driver: string, option: string) =>
      (daemons.get(driver) as TestDaemon).refused("create", "--storage-opt", option, "berth/busybox");
    assert.match(refused("overlay2", "size=1G"), /supported only for overlay over .*'pquota' mount option/);
    assert.match(refused("vfs", "size=1G"), /--storage-opt is not supported for vfs/);
    assert.match(refused("btrfs", "size=0"), /invalid storage size: 0B/);
    assert.match(refused("btrfs", "size=much"), /invalid size: 'much'/);
    assert.match(refused("btrfs", "speed=1"), /Unknown option speed/);
  });

  test("btrfs: what a container leaves goes, subvolumes it made itself too", {
    skip: withoutBtrfs,
  }, async () => {
    const daemon = daemons.get("btrfs") as TestDaemon;
    const subvolumes = join(daemon.dataRoot, "btrfs/subvolumes");
    // Beside those that are ready for the next containers.
    const layers = () =>
      readdirSync(subvolumes)
        .filter((name) => !name.startsWith(".init-"))
        .sort();
    // What another test has removed may still be on its way out.
    await eventually(() => assert.ok(layers().every((name) => !name.startsWith(".gone-"))));
    const before = layers();
    const id = docker(daemon, "create", "berth/busybox").trim();
    const own = join(subvolumes, id);
    // As a program of the container's may.
    const script = [
      "btrfs subvolume create one && btrfs subvolume create one/two && mkdir -p one/two/deep/er",
      "btrfs subvolume create one/two/deep/er/three && touch one/two/deep/er/three/file",
      "btrfs subvolume snapshot -r one/two/deep/er/three home/taken && btrfs property set one/two ro true",
      "btrfs property set . ro true",
    ].join(" && ");
    execFileSync("sh", ["-ec", script], { cwd: own });
    docker(daemon, "rm", id);
    await eventually(() => assert.deepEqual(layers(), before));
    const list = execFileSync("btrfs", ["subvolume", "list", daemon.dataRoot], { encoding: "utf8" });
    const left = list
      .trim()
      .split("\n")
      .filter((line) => !line.includes("/.init-"));
    assert.equal(left.length, before.length, list);
  });

  test("another driver is refused while there are layers, and its name is in what it says", async () => {
    const daemon = daemons.get("vfs") as TestDaemon;
    await daemon.kill("SIGTERM");
    const other = new TestDaemon({ flags: ["-s", "overlay2"], subnet: 80 });
    Object.assign(other, {
      directory: daemon.directory,
      dataRoot: daemon.dataRoot,
      execRoot: daemon.execRoot,
      socket: daemon.socket,
    });
    await assert.rejects(other.boot(), {
      message: /holds layers of storage driver vfs; they cannot be used with overlay2/,
    });
    await daemon.boot();
    assert.equal(docker(daemon, "ps", "-aq", "--filter", "name=work").trim().length, 12);
  });
});
