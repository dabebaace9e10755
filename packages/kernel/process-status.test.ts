import assert from "node:assert/strict";
import { test } from "node:test";
import { isProcessAlive, parseProcessStat, readStartTicks } from "#kernel/process-status.ts";

test("a command with spaces and parentheses does not shift the fields", () => {
  const status = parseProcessStat(
    "42 (a) S (b) Z 7 8 9 34816 10 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 123 45 6\n",
  );
  assert.equal(status?.command, "a) S (b");
  assert.equal(status?.state, "Z");
  assert.equal(status?.parentPid, 7);
  assert.equal(status?.startTicks, "987654");
});

test("cut-off text is no status", () => {
  assert.equal(parseProcessStat(""), undefined);
  assert.equal(parseProcessStat("42 (sh) S 1 2"), undefined);
});

test("a process is alive only under its own start time", () => {
  const ticks = readStartTicks(process.pid);
  assert.ok(ticks !== undefined);
  assert.ok(isProcessAlive(process.pid, ticks));
  assert.ok(!isProcessAlive(process.pid, `${ticks}0`));
  // Above the largest possible pid.
  assert.equal(readStartTicks(2 ** 22 + 1), undefined);
});
