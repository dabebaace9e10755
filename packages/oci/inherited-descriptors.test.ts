import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inheritedDescriptors } from "#oci/inherited-descriptors.ts";

describe("inherited descriptors", () => {
  it("are none where nobody asks and no service manager is meant", () => {
    assert.deepEqual(inheritedDescriptors(0, {}), { count: 0, env: [] });
    const other = { LISTEN_FDS: "3", LISTEN_PID: String(process.pid + 1) };
    assert.deepEqual(inheritedDescriptors(0, other), { count: 0, env: [] });
    for (const LISTEN_FDS of ["0", "-1", "x", "1e9"]) {
      assert.deepEqual(inheritedDescriptors(0, { LISTEN_FDS, LISTEN_PID: String(process.pid) }).count, 0);
    }
  });

  it("must be open", () => {
    assert.throws(() => inheritedDescriptors(60_000, {}), /unable to stat preserved-fd \d+ \(of 60000\)/);
    assert.throws(() => inheritedDescriptors(-1, {}), /--preserve-fds/);
  });
});
