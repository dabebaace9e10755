/** The daemon's own log, where it cannot be written. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";

test("a daemon whose log cannot be written serves all the same", async () => {
  // Without the set-up, which could not say what it does either.
  const through = ["sh", "-c", 'export BERTH_NO_SETUP=1; exec "$0" "$@" 2>/dev/full'];
  const daemon = await TestDaemon.start({ bridge: "none", through });
  try {
    assert.equal(await daemon.ping(), true);
  } finally {
    await daemon.stop();
  }
});
