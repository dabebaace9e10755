import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDevicemapperOptions } from "#storage/devicemapper/devicemapper-options.ts";

test("sizes, percents and switches", () => {
  const parsed = parseDevicemapperOptions([
    "dm.basesize=20G",
    "dm.fs=ext4",
    "dm.min_free_space=5%",
    "dm.thinpooldev=/dev/mapper/some-pool",
    "dm.use_deferred_deletion=false",
    "dm.use_deferred_removal=0",
    "dm.mkfsarg=-O",
    "dm.mkfsarg=^has_journal",
    "DM.blocksize=512K",
  ]);
  assert.equal(parsed.baseSize, 20 * 1024 ** 3);
  assert.equal(parsed.fileSystem, "ext4");
  assert.equal(parsed.minFreeSpace, 5);
  assert.equal(parsed.pool, "some-pool");
  assert.equal(parsed.deferredRemoval, false);
  assert.deepEqual(parsed.mkfsArguments, ["-O", "^has_journal"]);
  assert.equal(parsed.blockSize, 512 * 1024);
  assert.equal(parseDevicemapperOptions([]).loopDataSize, 100 * 1024 ** 3);
});

test("a volume group's wishes", () => {
  const parsed = parseDevicemapperOptions([
    "dm.directlvm_device=/dev/xdf",
    "dm.thinp_percent=95",
    "dm.thinp_metapercent=1%",
    "dm.thinp_autoextend_threshold=80",
    "dm.thinp_autoextend_percent=20",
    "dm.directlvm_device_force=true",
  ]);
  assert.deepEqual(parsed.directLvm, {
    device: "/dev/xdf",
    dataPercent: 95,
    metadataPercent: 1,
    extendThreshold: 80,
    extendPercent: 20,
  });
  assert.equal(parsed.force, true);
});

test("what is wrong is told in Docker's words", () => {
  const cases: [options: string[], reason: string][] = [
    [["dm.size=1"], "devmapper: Unknown option dm.size"],
    [["dm.fs=btrfs"], "devmapper: Unsupported filesystem btrfs"],
    [["dm.basesize"], "Unable to parse key/value option: dm.basesize"],
    [["dm.basesize=big"], "invalid size: 'big'"],
    [["dm.min_free_space=10"], "devmapper: Option dm.min_free_space requires % suffix"],
    [["dm.min_free_space=x%"], 'strconv.ParseUint: parsing "x": invalid syntax'],
    [["dm.min_free_space=100%"], "devmapper: Invalid value 100% for option dm.min_free_space"],
    [["dm.blkdiscard=perhaps"], 'strconv.ParseBool: parsing "perhaps": invalid syntax'],
    [["dm.libdm_log_level=9"], "dm.libdm_log_level must be in range [2,7]"],
    [["dm.thinp_percent=100"], "dm.thinp_percent must be greater than 0 and less than 100"],
    [
      ["dm.thinp_percent=95", "dm.thinp_metapercent=1"],
      "must provide device path in `dm.directlvm_device` in order to configure direct-lvm",
    ],
    [
      ["dm.directlvm_device=/dev/x", "dm.thinp_percent=95"],
      "must set both `dm.thinp_percent` and `dm.thinp_metapercent` if either is specified",
    ],
    [
      ["dm.directlvm_device=/dev/x", "dm.thinp_percent=95", "dm.thinp_metapercent=6"],
      "combined `dm.thinp_percent` and `dm.thinp_metapercent` must not be greater than 100",
    ],
    [
      ["dm.directlvm_device=/dev/x", "dm.thinpooldev=y"],
      "cannot setup direct-lvm when `dm.thinpooldev` is also specified",
    ],
    [["dm.blocksize=100K"], "devmapper: Invalid value 100K for option dm.blocksize"],
  ];
  for (const [options, reason] of cases) {
    assert.throws(() => parseDevicemapperOptions(options), {
      code: "invalid",
      message: `error initializing graphdriver: ${reason}`,
    });
  }
  assert.throws(
    () => parseDevicemapperOptions(["dm.use_deferred_removal=false"]),
    /Deferred deletion can not be/,
  );
});
