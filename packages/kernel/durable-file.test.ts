import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { writeDurably } from "#kernel/durable-file.ts";

const directory = mkdtempSync(join(tmpdir(), "berth-durable-"));
after(() => rmSync(directory, { recursive: true }));

test("a file is replaced in one step, with its mode, and nothing is left beside it", () => {
  const path = join(directory, "file");
  writeDurably(path, "first", 0o600);
  const held = statSync(path).ino;
  writeDurably(path, Buffer.from("second"), 0o600);
  assert.equal(readFileSync(path, "utf8"), "second");
  assert.notEqual(statSync(path).ino, held);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  // What another of the same number left when it was killed.
  writeFileSync(`${path}.${process.pid}.tmp`, "half");
  writeDurably(path, "third", 0o600);
  assert.deepEqual(readdirSync(directory), ["file"]);
  assert.throws(() => writeDurably(join(directory, "none", "file"), "", 0o600), /ENOENT/);
});
