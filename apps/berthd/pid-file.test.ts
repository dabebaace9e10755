import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { PidFile } from "./pid-file.ts";

const directory = mkdtempSync(join(tmpdir(), "berth-pid-file-"));
after(() => rmSync(directory, { recursive: true }));

test("a second daemon with the same pid file is refused, by the number of the first", () => {
  const path = join(directory, "made/here/berth.pid");
  const first = new PidFile(path);
  assert.equal(readFileSync(path, "utf8"), String(process.pid));
  assert.throws(
    () => new PidFile(path),
    (error) =>
      isBerthError(error, "conflict") && error.message === `process with PID ${process.pid} is still running`,
  );
  first.remove();
  assert.ok(!existsSync(path));
  new PidFile(path).remove();
});

test("a file that a killed daemon left is replaced, though its number is another process's by now", () => {
  const path = join(directory, "stale.pid");
  // Alive, and a longer text than the new one.
  writeFileSync(path, `${process.ppid}\nleft by a daemon that was killed\n`);
  const mine = new PidFile(path);
  assert.equal(readFileSync(path, "utf8"), String(process.pid));
  mine.remove();
});
