import assert from "node:assert/strict";
import { test } from "node:test";
import { DiskFlush } from "./disk-flush.ts";

test("a failure to write reaches all whose work was open, and nobody who comes later", async () => {
  const answers = [false, true, true, true];
  const disk = new DiskFlush(async () => {
    if (answers.shift() === false) throw new Error("input/output error");
  });
  const [one, other] = [disk.open(), disk.open()];
  one.flushSoon();
  await assert.rejects(other.flush(), /input\/output error/);
  await assert.rejects(one.flush(), /input\/output error/);
  await disk.open().flush();
});

test("one early flush at a time, and always one at the end", async () => {
  const open: (() => void)[] = [];
  const disk = new DiskFlush(() => new Promise((resolve) => open.push(resolve)));
  const work = disk.open();
  work.flushSoon();
  work.flushSoon();
  assert.equal(open.length, 1);
  const flushed = work.flush();
  open[0]?.();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(open.length, 2);
  open[1]?.();
  await flushed;
});
