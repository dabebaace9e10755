/** A log of many files while hardly any file can be opened: all of them or none, and none stays open. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

const FILES = 12;

/** Leaves itself one more descriptor in each round; tells how many rounds failed and how many descriptors stayed open. */
const script = `
import { closeSync, openSync, readdirSync } from "node:fs";
import { openLogFiles } from "#logs/log-files.ts";
const log = { directory: process.argv[1], name: "log" };
const ballast = [];
const fill = () => { try { for (;;) ballast.push(openSync("/dev/null")); } catch {} };
let failed = 0, whole = 0, kept = 0;
for (let left = 2; left < 2 * ${FILES} + 4; left++) {
  fill();
  for (const fd of ballast.splice(-left)) closeSync(fd);
  const before = readdirSync("/proc/self/fd").length;
  try {
    const files = await openLogFiles(log);
    if (files.length === ${FILES}) whole++;
    for (const file of files) await file[Symbol.asyncDispose]();
  } catch (error) {
    if (error.code !== "EMFILE") throw error;
    failed++;
  }
  await new Promise(setImmediate);
  kept += readdirSync("/proc/self/fd").length - before;
}
console.log(JSON.stringify({ failed: failed > 0, whole: whole > 0, all: failed + whole, kept }));
`;

test("without descriptors a log of many files is not opened at all, and its reader is told", async () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-few-descriptors-"));
  try {
    for (let age = 0; age < FILES; age++)
      writeFileSync(join(directory, age === 0 ? "log" : `log.${age}`), "");
    const { stdout } = await promisify(execFile)(
      "sh",
      [
        "-c",
        'ulimit -n 80 && exec "$0" "$@"',
        process.execPath,
        "--input-type=module",
        "-e",
        script,
        directory,
      ],
      { cwd: resolve(import.meta.dirname, "../..") },
    );
    assert.deepEqual(JSON.parse(stdout), { failed: true, whole: true, all: 2 * FILES + 2, kept: 0 });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
