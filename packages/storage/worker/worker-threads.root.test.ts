import assert from "node:assert/strict";
import { test } from "node:test";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";
import { keepThreadReady, threadCount, tidyThreads } from "#storage/worker/worker-threads.ts";

const root = process.geteuid?.() === 0;

test("in quiet all threads end but the one that is kept, which goes on working", {
  skip: !root && "needs root",
}, async () => {
  await using workers = new StorageWorkers(3);
  const measure = () => workers.run({ kind: "measure", path: import.meta.dirname });
  const sizes = await Promise.all([measure(), measure(), measure()]);
  assert.ok(threadCount() >= 1);
  await tidyThreads();
  assert.equal(threadCount(), 0);

  keepThreadReady();
  await Promise.all([measure(), measure()]);
  await tidyThreads();
  assert.equal(threadCount(), 1);
  // While it collects it is at work, and nobody else's.
  const tidied = tidyThreads();
  assert.deepEqual(await Promise.all([measure(), measure()]), sizes.slice(1));
  await tidied;
  assert.ok(threadCount() <= 3);
  await tidyThreads();
  assert.equal(threadCount(), 1);
});
