import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { treeSize } from "#kernel/tree-size.ts";

function directory(t: { after(f: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), "berth-size-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test("files and links count once each, directories not", (t) => {
  const root = directory(t);
  mkdirSync(join(root, "a/b"), { recursive: true });
  writeFileSync(join(root, "a/one"), "x".repeat(1000));
  writeFileSync(join(root, "a/b/two"), "y".repeat(7));
  linkSync(join(root, "a/one"), join(root, "a/b/again"));
  symlinkSync("/etc", join(root, "a/link"));
  assert.equal(treeSize(root), 1000 + 7 + 4);
});

test("a sparse file counts by its length", (t) => {
  const root = directory(t);
  execFileSync("truncate", ["-s", "1M", join(root, "hole")]);
  assert.equal(treeSize(root), 1 << 20);
});

test("nothing there is nothing", () => {
  assert.equal(treeSize("/nowhere/at/all"), 0);
});

test("a tree deeper than paths can name, with few descriptors", (t) => {
  const root = directory(t);
  // Each level has a file before and after its subdirectory.
  const script = `
import os, sys
os.chdir(sys.argv[1])
for level in range(1000):
    open("a", "w").write("1")
    open("z", "w").write("22")
    os.mkdir("m"); os.chdir("m")
`;
  execFileSync("python3", ["-c", script, root]);
  assert.equal(treeSize(root), 1000 * 3);
});
