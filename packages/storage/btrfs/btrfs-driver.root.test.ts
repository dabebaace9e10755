import { after, before } from "node:test";
import { createBtrfsDriver } from "#storage/btrfs/btrfs-driver.ts";
import { testStorageDriver } from "#test/contracts/storage-driver.ts";
import { LoopFileSystem } from "#test/fixtures/loop-file-system.ts";

const missing = LoopFileSystem.missing("btrfs");
let disk: LoopFileSystem | undefined;
before(() => {
  if (missing === undefined) disk = LoopFileSystem.make("btrfs");
});
after(() => disk?.[Symbol.dispose]());

testStorageDriver(
  {
    name: "btrfs",
    open: async (dataRoot) => createBtrfsDriver({ dataRoot }),
    place: () => disk?.path ?? "",
  },
  missing ?? false,
);
