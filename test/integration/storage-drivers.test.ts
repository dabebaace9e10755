/** The same work on every storage driver gives the same answers; a data root keeps its driver. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { LoopFileSystem } from "#test/fixtures/loop-file-system.ts";

const withoutBtrfs = LoopFileSystem.missing("btrfs");
const drivers = ["overlay2", "vfs", ...(withoutBtrfs === undefined ? ["btrfs"] : [])];

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
      daemon.loadBusybox();
      docker(daemon, "run", "--name", "work", "--network", "none", "berth/busybox", "sh", "-c", work);
    }
  });
  after(async () => {
    for (const daemon of daemons.values()) await daemon.stop();
    disk?.[Symbol.dispose]();
  });

  const work = [
    "mkdir -p /new/deep && echo 1 > /new/deep/file && ln /new/deep/file /new/hard && ln -s deep /new/soft",
    "rm /etc/group && chmod 0700 /home && echo more >> /etc/passwd",
    "rm -rf /var/*; touch /var/kept; rm -rf /root; mknod /new/null c 1 3; chown 5:6 /new/deep",
    // Without times of now, two runs leave the same.
    "find /new /home /var /etc/passwd -exec touch -h -d '2020-01-01 00:00:00' {} +; touch -d '2020-01-01 00:00:00' /etc /",
  ].join("; ");

  const docker = (daemon: TestDaemon, ...args: string[]): string => {
    const ran = daemon.docker(...args);
    assert.equal(ran.code, 0, `docker ${args.join(" ")}: ${ran.stderr}`);
    return ran.stdout;
  };
  /** What every driver answers; they must be alike. */
  const same = (answer: (daemon: TestDaemon) => string): string => {
    const [first = "", ...others] = drivers.map((driver) => answer(daemons.get(driver) as TestDaemon));
    for (const [index, other] of others.entries()) assert.equal(other, first, drivers[index + 1]);
    return first;
  };
  const lines = (text: string) => text.trim().split("\n").sort().join("\n");

  test("each says its name", () => {
    for (const [driver, daemon] of daemons) {
      assert.equal(docker(daemon, "info", "--format", "{{.Driver}}").trim(), driver);
      assert.equal(docker(daemon, "inspect", "--format", "{{.GraphDriver.Name}}", "work").trim(), driver);
      assert.equal(
        docker(daemon, "image", "inspect", "--format", "{{.GraphDriver.Name}}", "berth/busybox").trim(),
        driver,
      );
    }
    const vfs = daemons.get("vfs") as TestDaemon;
    assert.equal(docker(vfs, "inspect", "--format", "{{json .GraphDriver.Data}}", "work").trim(), "null");
    assert.equal(docker(vfs, "info", "--format", "{{json .DriverStatus}}").trim(), "null");
    const layers = readdirSync(join(vfs.dataRoot, "vfs", "dir"));
    assert.ok(
      layers.every((name) => /^[0-9a-f]{64}(-init)?$/.test(name)),
      layers.join(),
    );
  });

  test("docker diff", () => {
    const changes = same((daemon) => lines(docker(daemon, "diff", "work")));
    for (const change of [
      "A /new",
      "A /new/deep/file",
      "D /etc/group",
      "C /etc/passwd",
      "C /home",
      "D /root",
    ]) {
      assert.ok(changes.split("\n").includes(change), `${change} in\n${changes}`);
    }
    assert.doesNotMatch(changes, /\.dockerenv|hosts|resolv/);
  });

  const listing = "--numeric-owner -tvf -".split(" ");
  /** What is in an archive, without the times, some of which are of now. */
  const list = (archive: Buffer) => {
    const text = execFileSync("tar", listing, { input: archive, encoding: "utf8" });
    return lines(text.replace(/ \d{4}-\d\d-\d\d \d\d:\d\d /g, " "));
  };
  const archive = (daemon: TestDaemon, ...args: string[]): Buffer =>
    execFileSync("docker", args, { env: daemon.environment, maxBuffer: 1 << 28 });

  test("docker export and cp", () => {
    const all = same((daemon) => list(archive(daemon, "export", "work")));
    assert.match(all, /new\/deep\/file/);
    assert.doesNotMatch(all, /etc\/group/);
    same((daemon) => list(archive(daemon, "cp", "work:/new", "-")));
  });

  test("docker commit: the layer, its size, the history", () => {
    same((daemon) => {
      docker(daemon, "commit", "work", "committed:1");
      const saved = archive(daemon, "save", "committed:1");
      const file = (name: string) =>
        execFileSync("tar", ["-xOf", "-", name], { input: saved, maxBuffer: 1 << 28 });
      const top = JSON.parse(file("manifest.json").toString())[0].Layers.at(-1) as string;
      const size = docker(daemon, "image", "inspect", "-f", "{{.Size}}", "committed:1");
      const format = ["--no-trunc", "--format", "{{.CreatedBy}} {{.Size}}"];
      const history = docker(daemon, "history", ...format, "committed:1");
      return JSON.stringify([list(file(top)), size, history]);
    });
    const script =
      "cat /new/hard /etc/passwd; find /new /home /var | sort | xargs stat -c '%A %u %g %Y %N'; stat -c '%h %u %g %a' /new/hard; ls /etc/group";
    same((daemon) => {
      const ran = daemon.docker("run", "--rm", "--network", "none", "committed:1", "sh", "-c", script);
      return ran.stdout + ran.stderr;
    });
  });

  test("an image goes from one to the other and back, the same", () => {
    const [first, ...others] = drivers.map((driver) => daemons.get(driver) as TestDaemon);
    assert.ok(first !== undefined);
    const id = (daemon: TestDaemon) => docker(daemon, "image", "inspect", "-f", "{{.Id}}", "committed:1");
    const original = id(first);
    for (const other of others) {
      docker(other, "rmi", "committed:1");
      const loaded = other.dockerWith({ input: archive(first, "save", "committed:1") }, "load");
      assert.equal(loaded.code, 0, loaded.stderr);
      assert.equal(id(other), original);
      docker(first, "rmi", "committed:1");
      const back = first.dockerWith({ input: archive(other, "save", "committed:1") }, "load");
      assert.equal(back.code, 0, back.stderr);
      assert.equal(id(first), original);
    }
    same((daemon) =>
      docker(daemon, "run", "--rm", "--network", "none", "committed:1", "cat", "/new/soft/file"),
    );
  });

  test("docker ps --size", () => {
    same((daemon) => docker(daemon, "ps", "-as", "--filter", "name=work", "--format", "{{.Size}}"));
  });

  test("btrfs: docker info, and a subvolume for each layer", { skip: withoutBtrfs }, () => {
    const daemon = daemons.get("btrfs") as TestDaemon;
    const pairs = JSON.parse(docker(daemon, "info", "--format", "{{json .DriverStatus}}"));
    assert.deepEqual(
      pairs.map(([key]: [string, string]) => key),
      ["Build Version", "Library Version"],
    );
    assert.match(pairs[0][1], /^Btrfs v\d/);
    const subvolumes = join(daemon.dataRoot, "btrfs/subvolumes");
    const work = docker(daemon, "inspect", "-f", "{{.Id}}", "work").trim();
    const names = readdirSync(subvolumes);
    assert.ok(names.includes(work) && names.includes(`${work}-init`), names.join());
    for (const name of names) {
      // Beside the layers, what containers of an image begin as.
      assert.match(name, /^([0-9a-f]{64}(-init)?|\.init-[0-9a-f-]{36})$/);
      // Every subvolume's root has this number.
      assert.equal(statSync(join(subvolumes, name)).ino, 256);
    }
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
