import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { silentLogger } from "#errors/logger-types.ts";
import { hasDeviceMapper } from "#kernel/device-mapper.ts";
import { MNT_DETACH, MS_NOEXEC, mount, umount2 } from "#kernel/mount-syscalls.ts";
import type { StorageDriver } from "#storage/driver-types.ts";
import { openStorageDriver } from "#storage/open-driver.ts";
import { LoopFileSystem } from "#test/fixtures/loop-file-system.ts";

const hasAufs = /\taufs$/m.test(readFileSync("/proc/filesystems", "utf8")) && "this kernel has AUFS";
const withoutFuse = !existsSync("/dev/fuse") && !hasAufs && "needs FUSE or AUFS in the kernel";
const withoutBtrfs = LoopFileSystem.missing("btrfs");

describe("the choice of a storage driver", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  let base: string;
  let dataRoot: string;
  const opened: StorageDriver[] = [];
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "berth-choice-"));
    dataRoot = join(base, "data");
    mkdirSync(dataRoot);
  });
  afterEach(async () => {
    for (const driver of opened.splice(0)) await driver.close();
    rmSync(base, { recursive: true, force: true });
  });
  const open = (name: string, ...options: string[]) => {
    const driver = openStorageDriver({ dataRoot, name, options, logger: silentLogger });
    opened.push(driver);
    return driver;
  };
  const layer = "a".repeat(64);

  test("overlay2 comes first", () => {
    assert.equal(open("").name, "overlay2");
  });

  test("asking for btrfs elsewhere says that the file system is wrong", () => {
    assert.throws(
      () => open("btrfs"),
      (error) =>
        isBerthError(error, "unavailable") &&
        error.message ===
          "error initializing graphdriver: prerequisites for driver not satisfied (wrong filesystem?)" &&
        /--storage-driver overlay2/.test(error.hint ?? ""),
    );
  });

  test("asking for devicemapper where the kernel has none says which one works", {
    skip: hasDeviceMapper() && "this kernel has a device mapper",
  }, () => {
    assert.throws(
      () => open("devicemapper"),
      (error) =>
        isBerthError(error, "unavailable") &&
        error.message === "error initializing graphdriver: driver not supported" &&
        /no device mapper.*--storage-driver overlay2/.test(error.hint ?? ""),
    );
    assert.throws(() => open("devicemapper", "dm.size=1"), {
      message: "error initializing graphdriver: devmapper: Unknown option dm.size",
    });
  });

  test("on btrfs it is btrfs, unless another is asked for or has layers", {
    skip: withoutBtrfs,
  }, async () => {
    using disk = LoopFileSystem.make("btrfs");
    const on = (root: string, name: string, ...options: string[]) => {
      const driver = openStorageDriver({ dataRoot: root, name, options, logger: silentLogger });
      opened.push(driver);
      return driver;
    };
    const [first, second] = ["first", "second"].map((name) => join(disk.path, name)) as [string, string];
    mkdirSync(first);
    mkdirSync(second);
    try {
      assert.equal(on(first, "").name, "btrfs");
      const overlay = on(second, "overlay2");
      await overlay.create(layer, undefined);
      assert.equal(on(second, "").name, "overlay2");
      const least = on(first, "btrfs", "btrfs.min_space=1G");
      assert.equal(least.sizeLimit({ size: "1G" }), 1 << 30);
      assert.throws(() => least.sizeLimit({ size: "512M" }), {
        message: "btrfs: storage size cannot be less than 1.074GB",
      });
      assert.throws(() => on(first, "btrfs", "btrfs.max_space=1G"), {
        message: "error initializing graphdriver: Unknown option btrfs.max_space",
      });
    } finally {
      for (const driver of opened.splice(0)) await driver.close();
    }
  });

  test("on overlayfs itself it is vfs, and asking for overlay2 says why not", () => {
    for (const part of ["lower", "upper", "work"]) mkdirSync(join(base, part));
    const layers = `lowerdir=${base}/lower,upperdir=${base}/upper,workdir=${base}/work`;
    mount("overlay", dataRoot, "overlay", 0, layers);
    try {
      const warned: unknown[] = [];
      const logger = { ...silentLogger, warn: (_: string, fields: unknown) => warned.push(fields) };
      const driver = openStorageDriver({ dataRoot, name: "", options: [], logger });
      opened.push(driver);
      assert.equal(driver.name, "vfs");
      assert.match(JSON.stringify(warned), /on file system overlayfs/);
      assert.throws(
        () => open("overlay2"),
        (error) => isBerthError(error, "unavailable") && /--storage-driver vfs/.test(error.hint ?? ""),
      );
      // What is named is what works here.
      assert.throws(
        () => open("btrfs"),
        (error) => isBerthError(error, "unavailable") && /--storage-driver vfs$/.test(error.hint ?? ""),
      );
    } finally {
      umount2(dataRoot, MNT_DETACH);
    }
  });

  test("a mount that runs no programs is told with drivers that use it as it is", () => {
    mount("tmpfs", dataRoot, "tmpfs", MS_NOEXEC, "");
    try {
      for (const [name, told] of [
        ["vfs", ["the data root is mounted noexec: no container can start a program"]],
        ["overlay2", []],
      ] as const) {
        const warned: string[] = [];
        const logger = { ...silentLogger, warn: (text: string) => warned.push(text) };
        opened.push(openStorageDriver({ dataRoot, name, options: [], logger }));
        assert.deepEqual(warned, told);
      }
    } finally {
      umount2(dataRoot, MNT_DETACH);
    }
  });

  test("a data root is opened with the driver of its layers", async () => {
    await open("vfs").create(layer, undefined);
    assert.equal(open("").name, "vfs");
    assert.throws(
      () => open("overlay2"),
      (error) =>
        isBerthError(error, "conflict") &&
        /holds layers of storage driver vfs; they cannot be used with overlay2/.test(error.message) &&
        /--storage-driver vfs/.test(error.hint ?? ""),
    );
  });

  test("and the other way round, until the layers are gone", async () => {
    const first = open("overlay2");
    await first.create(layer, undefined);
    assert.throws(() => open("vfs"), { message: /holds layers of storage driver overlay2/ });
    await first.remove(layer);
    assert.equal(open("vfs").name, "vfs");
  });

  test("layers of two drivers leave the choice to the user", () => {
    mkdirSync(join(dataRoot, "vfs", "dir", layer), { recursive: true });
    mkdirSync(join(dataRoot, "overlay2", layer), { recursive: true });
    assert.throws(() => open(""), {
      message: /contains several valid graphdrivers: overlay2, vfs; please cleanup or explicitly choose/,
    });
    assert.equal(open("vfs").name, "vfs");
  });

  const refused: [driver: string, option: string, text: string][] = [
    ["vfs", "foo", "Unable to parse key/value option: foo"],
    ["vfs", "foo=bar", "unknown option foo for vfs"],
    ["vfs", "size=1G", "Filesystem does not support, or has not enabled quotas"],
    ["vfs", "size=xyz", "invalid size: 'xyz'"],
    ["overlay2", "foo", "Unable to parse key/value option: foo"],
    ["overlay2", "foo=bar", "overlay2: unknown option foo"],
    ["overlay2", "overlay2.size=xyz", "invalid size: 'xyz'"],
    ["overlay2", "overlay2.override_kernel_check=abc", 'strconv.ParseBool: parsing "abc": invalid syntax'],
    ["aufs", "foo", "Unable to parse key/value option: foo"],
    ["aufs", "size=1G", "Unknown option size"],
    ["floppy", "", "driver not supported: floppy"],
  ];
  for (const [driver, option, text] of refused) {
    test(`${driver} refuses ${JSON.stringify(option)}`, () => {
      assert.throws(
        () => open(driver, option),
        (error) =>
          isBerthError(error, "invalid") && error.message === `error initializing graphdriver: ${text}`,
      );
    });
  }

  test("a driver nobody has is refused with the nearest there is", () => {
    assert.throws(
      () => open("zfs"),
      (error) =>
        isBerthError(error, "invalid") &&
        /^Berth has btrfs, .*; the nearest here: --storage-driver (overlay2|btrfs|vfs)$/.test(
          error.hint ?? "",
        ),
    );
  });

  test("aufs is nobody's choice but for its own layers, which it then has", {
    skip: withoutFuse,
  }, async () => {
    const first = open("aufs");
    assert.equal(open("").name, "overlay2");
    await first.create(layer, undefined);
    assert.equal(open("").name, "aufs");
    assert.throws(() => open("overlay2"), { message: /holds layers of storage driver aufs/ });
  });

  test("aufs without AUFS and FUSE names the nearest that works", { skip: hasAufs }, () => {
    const script = `
      import { silentLogger } from "#errors/logger-types.ts";
      import { openStorageDriver } from "#storage/open-driver.ts";
      try {
        openStorageDriver({ dataRoot: process.argv[1], name: "aufs", options: [], logger: silentLogger });
      } catch ({ code, message, hint }) {
        console.log(JSON.stringify({ code, message, hint }));
      }`;
    const node = [
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      "--input-type=module-typescript",
    ];
    const hidden = 'if test -e /dev/fuse; then mount --bind /dev/null /dev/fuse; fi; exec "$@"';
    const said = execFileSync("unshare", ["-m", "sh", "-ec", hidden, "sh", ...node, "-e", script, dataRoot], {
      encoding: "utf8",
      cwd: import.meta.dirname,
    });
    const { code, message, hint } = JSON.parse(said);
    assert.equal(code, "unavailable");
    assert.match(message, /^storage driver aufs cannot be used in .*: the kernel has no AUFS, and no FUSE/);
    assert.match(hint, /--storage-driver overlay2$/);
  });

  test("what Docker takes is taken", () => {
    assert.equal(open("overlay2", "overlay2.override_kernel_check=1").name, "overlay2");
  });

  test("a size on a file system without project quotas names that", () => {
    assert.throws(() => open("overlay2", "overlay2.size=10G"), { message: /overlay2\.size/ });
  });
});
