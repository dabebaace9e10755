import assert from "node:assert/strict";
import { test } from "node:test";
import { humanSize, parseSize } from "#go-values/size.ts";
import { sizeOption } from "#storage/driver-options.ts";

test("sizes are in powers of 1024", () => {
  assert.equal(parseSize("10"), 10);
  assert.equal(parseSize("1.5G"), 1.5 * 2 ** 30);
  assert.equal(parseSize("20 MiB"), 20 * 2 ** 20);
  assert.equal(parseSize("7P"), 7 * 2 ** 50);
  for (const none of ["", "-1", "1e9", "G", "1X"]) assert.equal(parseSize(none), undefined, none);
});

test("a size that no number holds exactly is none", () => {
  for (const huge of ["8P", "99999999999999999G", "1".repeat(400)]) {
    assert.equal(parseSize(huge), undefined, huge);
    assert.throws(() => sizeOption("btrfs", { size: huge }), /invalid size: '/);
  }
});

test("sizes are shown with four digits and decimal units", () => {
  assert.equal(humanSize(2 ** 30), "1.074GB");
  assert.equal(humanSize(0), "0B");
});
