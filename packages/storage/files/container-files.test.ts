import assert from "node:assert/strict";
import { readlinkSync } from "node:fs";
import { test } from "node:test";
import { makePipe } from "#kernel/pipes.ts";
import { ContainerFiles } from "#storage/files/container-files.ts";
import type { RootRequest } from "#storage/files/root-types.ts";

test("the pipe of an archive that no worker got to read is its owner's to close", async () => {
  await using files = new ContainerFiles();
  const { read, write } = makePipe();
  using _end = write;
  const path = read.procPath;
  const root: RootRequest = { rootfs: { kind: "directory", path: "/" }, readOnly: true, mounts: [] };
  const options = { keepKinds: false, owner: undefined };
  await assert.rejects(files.extract(root, "/", read, options, AbortSignal.abort()), { name: "AbortError" });
  read.close();
  assert.throws(() => readlinkSync(path), { code: "ENOENT" });
});
