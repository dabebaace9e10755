/** A log of many files while hardly any file can be opened: all of them or none, and none stays open. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { shortOfDescriptors } from "#test/fixtures/few-descriptors.ts";

const FILES = 12;

test("without descriptors a log of many files is not opened at all, and its reader is told", async () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-few-descriptors-"));
  try {
    for (let age = 0; age < FILES; age++)
      writeFileSync(join(directory, age === 0 ? "log" : `log.${age}`), "");
    const { failed, done, kept } = await shortOfDescriptors({
      setUp: 'import { openLogFiles } from "#logs/log-files.ts";',
      work: `
        const files = await openLogFiles({ directory: process.argv[1], name: "log" });
        if (files.length !== ${FILES}) throw new Error("only " + files.length + " files");
        for (const file of files) await file[Symbol.asyncDispose]();
      `,
      args: [directory],
      most: 2 * FILES + 3,
    });
    assert.deepEqual([failed > 0, done > 0, kept], [true, true, 0]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
