import { createVfsDriver } from "#storage/vfs/vfs-driver.ts";
import { testStorageDriver } from "#test/contracts/storage-driver.ts";

testStorageDriver({ name: "vfs", open: async (dataRoot) => createVfsDriver({ dataRoot }) });
