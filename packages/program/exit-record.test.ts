import assert from "node:assert/strict";
import { test } from "node:test";
import { errnoName, errnoNumber, errnoText } from "#program/errno.ts";
import { parseExitRecord, readExitRecord } from "#program/exit-record.ts";
import { decodeWaitStatus } from "#program/wait-status.ts";

test("wait statuses", () => {
  assert.deepEqual(decodeWaitStatus(0), { exitCode: 0, signal: undefined });
  assert.deepEqual(decodeWaitStatus(7 << 8), { exitCode: 7, signal: undefined });
  assert.deepEqual(decodeWaitStatus(255 << 8), { exitCode: 255, signal: undefined });
  assert.deepEqual(decodeWaitStatus(9), { exitCode: 137, signal: 9 });
  assert.deepEqual(decodeWaitStatus(11 | 0x80), { exitCode: 139, signal: 11 }, "with a core dump");
});

test("exit records", async () => {
  assert.deepEqual(parseExitRecord("1792 1795224557 5\n"), {
    exitCode: 7,
    signal: undefined,
    at: 1795224557_000000005n,
  });
  for (const text of [
    "",
    "1792 1795224557 5",
    "1792 1795224557\n",
    "x y z\n",
    "-1 2 3\n",
    "1 2 3\n4 5 6\n",
  ]) {
    assert.equal(parseExitRecord(text), undefined, JSON.stringify(text));
  }
  assert.equal(await readExitRecord("/nonexistent/exit"), undefined);
});

test("errnos by number and name", () => {
  assert.equal(errnoName(2), "ENOENT");
  assert.equal(errnoText(2), "no such file or directory");
  assert.equal(errnoNumber("EHWPOISON"), 133);
  assert.equal(errnoNumber("ENOTHING"), undefined);
  assert.equal(errnoName(41), "E41");
});
