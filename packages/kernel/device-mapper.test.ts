import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeTargets } from "#kernel/device-mapper.ts";

test("targets follow each other, each with the distance to the next", () => {
  const bytes = encodeTargets([
    { start: 0, length: 2 ** 33, type: "thin", parameters: "253:0 1" },
    { start: 2 ** 33, length: 8, type: "linear", parameters: "" },
  ]);
  // struct dm_target_spec has 40 bytes; "253:0 1" and its end fill eight.
  assert.equal(bytes.length, 48 + 48);
  assert.equal(bytes.readUInt32LE(20), 48);
  assert.equal(bytes.readBigUInt64LE(8), 2n ** 33n);
  assert.equal(bytes.toString("latin1", 24, 28), "thin");
  assert.equal(bytes.toString("latin1", 40, 48), "253:0 1\0");
  assert.equal(bytes.readBigUInt64LE(48), 2n ** 33n);
  assert.equal(bytes.toString("latin1", 72, 78), "linear");
  assert.equal(bytes[88], 0);
});
