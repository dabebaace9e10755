import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { silentLogger } from "#errors/logger-types.ts";
import { LoopDevice } from "#kernel/block-devices.ts";
import { DeviceMapper, hasDeviceMapper } from "#kernel/device-mapper.ts";
import { createDevicemapperDriver } from "#storage/devicemapper/devicemapper-driver.ts";
import type { StorageDriver } from "#storage/driver-types.ts";
import { holdLayers } from "#storage/hold-layers.ts";

const small = ["dm.fs=ext4", "dm.basesize=64M", "dm.loopdatasize=4G", "dm.loopmetadatasize=16M"];
const skip = !hasDeviceMapper() && "needs a device mapper in the kernel";

if (skip === false) console.log("note: driver devicemapper: its pools (loop-lvm, direct-lvm, xfs)");

const id = (letter: string) => letter.repeat(64);

describe("pools of the devicemapper driver", { skip }, () => {
  let dataRoot: string;
  const opened: StorageDriver[] = [];
  beforeEach(() => {
    dataRoot = mkdtempSync(join(tmpdir(), "berth-pools-"));
  });
  afterEach(async () => {
    for (const driver of opened.splice(0)) await driver.close();
    using mapper = new DeviceMapper();
    assert.deepEqual(
      (await mapper.list()).filter((name) => name.startsWith("docker-0:")),
      [],
    );
    rmSync(dataRoot, { recursive: true });
  });
  const start = async (...options: string[]) => {
    const driver = createDevicemapperDriver({ dataRoot, options, logger: silentLogger });
    opened.push(driver);
    await driver.start?.();
    return driver;
  };
  const again = async (...options: string[]) => {
    for (const driver of opened.splice(0)) await driver.close();
    return await start(...options);
  };
  const inside = async <T>(driver: StorageDriver, layer: string, work: (root: string) => T): Promise<T> => {
    await using _held = await holdLayers(driver, "content", layer);
    return work(driver.diffPath(layer));
  };
  /** Adds to a file; throws ENOSPC where its file system is full, something else where the pool is. */
  const write = (mebibytes: number) => (root: string) => {
    const fd = openSync(join(root, "file"), "a");
    try {
      for (let count = 0; count < mebibytes; count++) writeSync(fd, randomBytes(1 << 20));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  };

  test("docker info's pairs", async () => {
    const driver = await start(...small);
    const pairs = new Map(await driver.status());
    assert.match(pairs.get("Pool Name") ?? "", /^docker-\d+:\d+-\d+-pool$/);
    assert.equal(pairs.get("Pool Blocksize"), "65.54kB");
    assert.equal(pairs.get("Base Device Size"), "67.11MB");
    assert.equal(pairs.get("Backing Filesystem"), "ext4");
    assert.match(pairs.get("Data file") ?? "", /^\/dev\/loop\d+$/);
    assert.equal(pairs.get("Data loop file"), join(dataRoot, "devicemapper/devicemapper/data"));
    assert.equal(pairs.get("Metadata loop file"), join(dataRoot, "devicemapper/devicemapper/metadata"));
    assert.equal(pairs.get("Data Space Total"), "4.295GB");
    assert.equal(pairs.get("Metadata Space Total"), "16.78MB");
    assert.equal(pairs.get("Thin Pool Minimum Free Space"), "429.5MB");
    assert.equal(pairs.get("Deferred Removal Enabled"), "true");
    assert.equal(pairs.get("Deferred Deleted Device Count"), "0");
    assert.deepEqual([...pairs.keys()].slice(9), [
      "Data Space Used",
      "Data Space Total",
      "Data Space Available",
      "Metadata Space Used",
      "Metadata Space Total",
      "Metadata Space Available",
      "Thin Pool Minimum Free Space",
      "Deferred Removal Enabled",
      "Deferred Deletion Enabled",
      "Deferred Deleted Device Count",
      "Library Version",
    ]);
    await driver.create(id("a"), undefined);
    const data = (await driver.metadata(id("a"))) ?? {};
    assert.deepEqual(Object.keys(data), ["DeviceId", "DeviceName", "DeviceSize"]);
    assert.ok(data.DeviceName?.endsWith(`-${id("a")}`));
    assert.equal(data.DeviceSize, String(64 << 20));
  });

  test("a pool that is nearly full takes no more, and what is in it stays readable", async () => {
    const options = [
      "dm.fs=ext4",
      "dm.basesize=128M",
      "dm.loopdatasize=96M",
      "dm.loopmetadatasize=8M",
      "dm.min_free_space=30%",
    ];
    const driver = await start(...options);
    await driver.create(id("a"), undefined);
    await inside(driver, id("a"), (root) => writeFileSync(join(root, "kept"), "whole"));
    await driver.createWritable(id("c"), id("a"), {});
    await inside(driver, id("c"), write(60));
    const refusal =
      /^devmapper: Thin Pool has \d+ free data blocks which is less than minimum required 460 free data blocks\. Create more free space in thin pool or use dm\.min_free_space option to change behavior$/;
    const refused = (error: Error) => refusal.test(error.message);
    await assert.rejects(driver.create(id("b"), id("a")), refused);
    await assert.rejects(driver.createWritable(id("d"), id("a"), {}), refused);
    assert.equal(await driver.exists(id("d")), false);
    // To the very end: who writes is told, and nothing hangs.
    await inside(driver, id("c"), (root) => assert.throws(() => write(60)(root)));
    await driver.remove(id("c"));
    await driver.settled();
    const after = await again(...options);
    assert.equal(await inside(after, id("a"), (root) => readFileSync(join(root, "kept"), "utf8")), "whole");
    await after.createWritable(id("d"), id("a"), {});
    await inside(after, id("d"), write(4));
  });

  test("sizes of containers: larger than the base, never smaller", async () => {
    const driver = await start(...small);
    assert.throws(() => driver.sizeLimit({ size: "10M" }), {
      message: "devmapper: Container size cannot be smaller than 67.11MB",
    });
    assert.throws(() => driver.sizeLimit({ colour: "red" }), { message: "Unknown option colour" });
    await driver.createWritable(id("c"), undefined, {});
    await driver.createWritable(id("d"), undefined, { size: driver.sizeLimit({ size: "200M" }) });
    const noSpace = { code: "ENOSPC" };
    await inside(driver, id("c"), (root) => assert.throws(() => write(100)(root), noSpace));
    await inside(driver, id("d"), write(100));
    assert.equal((await driver.metadata(id("d")))?.DeviceSize, String(200 << 20));
  });

  test("xfs, and a base that grows for what comes after", async () => {
    const options = ["dm.fs=xfs", "dm.loopdatasize=2G", "dm.loopmetadatasize=16M"];
    const driver = await start(...options, "dm.basesize=320M");
    await driver.create(id("a"), undefined);
    await inside(driver, id("a"), write(2));
    await driver.createWritable(id("c"), id("a"), { size: driver.sizeLimit({ size: "400M" }) });
    // Two file systems with one identity at once.
    await inside(driver, id("a"), () => inside(driver, id("c"), write(2)));
    await assert.rejects(
      again(...options, "dm.basesize=300M"),
      /Base fs size: 314\.6MB cannot be smaller than 335\.5MB/,
    );
    const larger = await again(...options, "dm.basesize=400M");
    await larger.create(id("b"), undefined);
    assert.equal((await larger.metadata(id("b")))?.DeviceSize, String(400 << 20));
    const blocks = await inside(larger, id("b"), (root) =>
      execFileSync("stat", ["-f", "-c", "%b %S", root], { encoding: "utf8" }),
    );
    const [count = 0, size = 0] = blocks.split(" ").map(Number);
    assert.ok(count * size > 300 << 20);
    assert.equal(new Map(await larger.status()).get("Backing Filesystem"), "xfs");
  });

  test("damaged metadata is told of, and left as it is", async () => {
    const driver = await start(...small);
    await driver.create(id("a"), undefined);
    await inside(driver, id("a"), (root) => writeFileSync(join(root, "kept"), "whole"));
    const metadata = join(dataRoot, "devicemapper/devicemapper/metadata");
    const row = join(dataRoot, "devicemapper/metadata", id("a"));
    await driver.close();
    const damage = async (path: string, bytes: Buffer, said: RegExp) => {
      copyFileSync(path, `${path}.whole`);
      const fd = openSync(path, "r+");
      writeSync(fd, bytes, 0, bytes.length, 0);
      closeSync(fd);
      const before = readFileSync(path);
      await assert.rejects(again(...small), said);
      assert.ok(readFileSync(path).equals(before));
      copyFileSync(`${path}.whole`, path);
      rmSync(`${path}.whole`);
    };
    await damage(metadata, Buffer.alloc(4096), /metadata is empty$/);
    await damage(metadata, Buffer.from("nothing of the kind".repeat(10)), /is no metadata of a thin pool$/);
    // The sum of the first block is wrong.
    await damage(metadata, Buffer.from([1, 2, 3, 4]), /makes no thin pool/);
    await damage(row, Buffer.from("{{{"), /Error loading device metadata file a+$/);
    rmSync(join(dataRoot, "devicemapper/devicemapper/data.whole"), { force: true });
    const after = await again(...small);
    assert.equal(await inside(after, id("a"), (root) => readFileSync(join(root, "kept"), "utf8")), "whole");
  });

  test("a device that is in use is refused, and left as it is", async () => {
    const blocks = (name: string) => {
      const file = join(dataRoot, name);
      writeFileSync(file, "");
      truncateSync(file, 128 << 20);
      return LoopDevice.attach(file);
    };
    using used = blocks("used");
    using spare = blocks("spare");
    const mounted = join(dataRoot, "mounted");
    mkdirSync(mounted);
    execFileSync("mkfs.ext4", ["-q", used.path]);
    execFileSync("mount", ["-t", "ext4", used.path, mounted]);
    try {
      writeFileSync(join(mounted, "kept"), "whole");
      await assert.rejects(
        start(`dm.datadev=${used.path}`, `dm.metadatadev=${spare.path}`),
        /devmapper: \/dev\/loop\d+ or \/dev\/loop\d+ is in use$/,
      );
      // Its first block is no pool's.
      await assert.rejects(
        start(`dm.datadev=${spare.path}`, `dm.metadatadev=${used.path}`),
        /devmapper: \/dev\/loop\d+ is no metadata of a thin pool$/,
      );
      const direct = [`dm.directlvm_device=${used.path}`, "dm.directlvm_device_force=true"];
      await assert.rejects(start(...direct), /setting up direct-lvm: |executable file not found/);
    } finally {
      execFileSync("umount", [mounted]);
    }
    execFileSync("mount", ["-t", "ext4", used.path, mounted]);
    const kept = readFileSync(join(mounted, "kept"), "utf8");
    execFileSync("umount", [mounted]);
    assert.equal(kept, "whole");
  });

  test("direct-lvm: a device becomes a volume group, once", {
    skip: !existsSync("/bin/lvm") && !existsSync("/usr/sbin/lvm") && "needs lvm2",
  }, async () => {
    const file = join(dataRoot, "disk");
    writeFileSync(file, "");
    truncateSync(file, 1024 ** 3);
    using device = LoopDevice.attach(file);
    execFileSync("mkfs.ext4", ["-q", device.path]);
    const options = (percent: number) => [
      "dm.fs=ext4",
      "dm.basesize=64M",
      `dm.directlvm_device=${device.path}`,
      `dm.thinp_percent=${percent}`,
      "dm.thinp_metapercent=2",
      "dm.thinp_autoextend_threshold=80",
      "dm.thinp_autoextend_percent=20",
    ];
    try {
      await assert.rejects(
        start(...options(90)),
        /has a filesystem already, use dm.directlvm_device_force=true/,
      );
      const driver = await start(...options(90), "dm.directlvm_device_force=true");
      const pairs = new Map(await driver.status());
      assert.equal(pairs.get("Pool Name"), "docker-thinpool");
      assert.equal(pairs.get("Pool Blocksize"), "524.3kB");
      assert.equal(pairs.get("Data loop file"), undefined);
      await driver.create(id("a"), undefined);
      await inside(driver, id("a"), write(5));
      await assert.rejects(again(...options(80)), /changing direct-lvm config is not supported/);
      const after = await again(...options(90));
      assert.ok(await inside(after, id("a"), (root) => existsSync(join(root, "file"))));
      // And for somebody else the pool is taken.
      const [first] = opened;
      await first?.close();
      opened.length = 0;
      const other = join(dataRoot, "other");
      mkdirSync(other);
      const stranger = createDevicemapperDriver({
        dataRoot: other,
        options: ["dm.thinpooldev=/dev/mapper/docker-thinpool"],
        logger: silentLogger,
      });
      await assert.rejects(
        async () => stranger.start?.(),
        /Unable to take ownership of thin-pool \(docker-thinpool\)/,
      );
      await assert.rejects(
        start("dm.thinpooldev=no-such-pool"),
        /devmapper: Non existing device no-such-pool$/,
      );
    } finally {
      for (const driver of opened.splice(0)) await driver.close();
      execFileSync("vgremove", ["-f", "docker"], { stdio: "ignore" });
    }
  });
});
