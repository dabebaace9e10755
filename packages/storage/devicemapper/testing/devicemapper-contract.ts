/** The devicemapper driver under the drivers' contract, on sparse files, with one file system or the other in its layers. */
import { after, before } from "node:test";
import { silentLogger } from "#errors/logger-types.ts";
import { hasDeviceMapper } from "#kernel/device-mapper.ts";
import { createDevicemapperDriver } from "#storage/devicemapper/devicemapper-driver.ts";
import { testStorageDriver } from "#test/contracts/storage-driver.ts";
import { LoopFileSystem } from "#test/fixtures/loop-file-system.ts";

/** `base`: how large its devices are, and how they are made. */
export function testDevicemapper(fileSystem: "ext4" | "xfs", base: readonly string[]): void {
  const options = [`dm.fs=${fileSystem}`, ...base, "dm.loopdatasize=4G", "dm.loopmetadatasize=16M"];
  const skip = hasDeviceMapper() ? LoopFileSystem.missing(fileSystem) : "needs a device mapper in the kernel";
  if (skip === undefined) {
    console.log(`note: driver devicemapper held to the drivers' contract (loop-lvm, ${fileSystem})`);
  }
  // Where it runs there may be nothing but memory for temporary files, and no attributes on them. Of the same kind, for a
  // directory to be compared with: where POSIX leaves a choice (ENOTEMPTY or EEXIST) each kind has made its own.
  let disk: LoopFileSystem | undefined;
  before(() => {
    if (skip === undefined) disk = LoopFileSystem.make(fileSystem);
  });
  after(() => disk?.[Symbol.dispose]());
  testStorageDriver(
    {
      name: "devicemapper",
      open: async (dataRoot) => createDevicemapperDriver({ dataRoot, options, logger: silentLogger }),
      place: () => disk?.path ?? "",
      options,
      // Its machine is emulated.
      randomOperations: 10_000,
    },
    skip ?? false,
  );
}
