import assert from "node:assert/strict";
import { test } from "node:test";
import { shortOfDescriptors } from "#test/fixtures/few-descriptors.ts";

test("a launcher that cannot be started for want of descriptors is an error, not the end of who starts it", async () => {
  const rounds = await shortOfDescriptors({
    setUp: `import { startZygote } from "#program/zygote.ts";`,
    // The last one is taken as well: Node keeps for good what it could open before a start failed.
    work: `
      const last = openSync("/dev/null");
      const error = await startZygote("/bin/true", "/nowhere").catch((error) => error);
      closeSync(last);
      throw error?.cause ?? error;
    `,
    most: 1,
  });
  assert.deepEqual(rounds, { failed: 1, done: 0, kept: 0 });
});
