import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ContentStore } from "./content-store.ts";
import { type Digest, digestOf, hexOf } from "./digest.ts";
import { BlobTransfer } from "./registry/blob-transfer.ts";
import { temporaryDirectory } from "./testing/temporary.ts";

/** A store with a blob that cannot be removed, since it is a directory, and one that can. */
async function setUp(t: TestContext) {
  const root = temporaryDirectory(t);
  const limits = { maxConcurrentDownloads: 1, maxDownloadAttempts: 1, delay: () => 1 };
  const store = new ContentStore({ root, transfer: new BlobTransfer(), ...limits });
  await store.start();
  const [stuck, other] = [digestOf(Buffer.from("stuck")), digestOf(Buffer.from("other"))];
  const path = (digest: Digest) => join(root, "blobs", "sha256", hexOf(digest));
  mkdirSync(path(stuck));
  writeFileSync(path(other), "");
  return { store, stuck, other, path };
}

test("a blob that cannot be removed keeps no other, and is told", async (t) => {
  const { store, stuck, other, path } = await setUp(t);
  await assert.rejects(store.hold([stuck, other]).close(), { code: "ERR_FS_EISDIR" });
  assert.equal(existsSync(path(other)), false);
});

test("a blob that cannot be removed is not told in place of the failure before", async (t) => {
  const { store, stuck, other, path } = await setUp(t);
  await store.hold([stuck, other]).close(new Error("the pull failed"));
  assert.equal(existsSync(path(other)), false);
});
