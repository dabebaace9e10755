import assert from "node:assert/strict";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { removeTree } from "#kernel/remove-tree.ts";
import { RootDirectory } from "#kernel/root-directory.ts";

let base: string;
let rootPath: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "berth-root-"));
  rootPath = join(base, "root");
  mkdirSync(rootPath);
  writeFileSync(join(base, "secret"), "outside");
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

test("links and dot-dot stay inside", () => {
  using root = new RootDirectory(rootPath);
  root.mkdirAll("etc/deep", 0o755).close();
  root.createFile("etc/passwd", Buffer.from("inside"), 0o644);
  root.symlink("/etc", "abs");
  root.symlink("../../../../etc", "etc/deep/up");
  root.symlink("../secret", "escape");
  for (const path of ["abs/passwd", "etc/deep/up/passwd", "/etc/passwd", "../../etc/passwd"]) {
    assert.equal(root.readFile(path, { maxBytes: 100 }).toString(), "inside", path);
  }
  assert.equal(root.stat("escape"), undefined);
  root.writeFile("escape", Buffer.from("new"), 0o644);
  assert.equal(readFileSync(join(base, "secret"), "utf8"), "outside");
  assert.equal(readFileSync(join(rootPath, "secret"), "utf8"), "new");
});

test("a link to the host is not followed by mkdirAll, create or remove", () => {
  mkdirSync(join(base, "host"));
  symlinkSync(join(base, "host"), join(rootPath, "link"));
  using root = new RootDirectory(rootPath);
  assert.throws(() => root.mkdirAll("link/new", 0o755), { code: "ENOENT" });
  assert.throws(() => root.createFile("link/file", Buffer.from("x"), 0o644), { code: "ENOENT" });
  root.removeAll("link");
  assert.ok(existsSync(join(base, "host")));
  assert.ok(!existsSync(join(base, "host", "new")));
});

test("readFile refuses what is no regular file, and what is too large", () => {
  using root = new RootDirectory(rootPath);
  root.mknod("fifo", 0o010644);
  root.mkdir("dir", 0o755);
  root.createFile("big", Buffer.alloc(101), 0o644);
  for (const [path, code] of [
    ["fifo", "EINVAL"],
    ["dir", "EINVAL"],
    ["big", "EFBIG"],
    ["none", "ENOENT"],
  ] as const) {
    assert.throws(() => root.readFile(path, { maxBytes: 100 }), { code }, path);
  }
  assert.equal(root.readFile("big", { maxBytes: 101 }).length, 101);
});

test("paths without a last name cannot be made or removed", () => {
  using root = new RootDirectory(rootPath);
  for (const path of ["", "/", ".", "..", "a/..", "//"]) {
    assert.throws(() => root.mkdir(path, 0o755), { code: "EINVAL" }, path);
    assert.throws(() => root.removeAll(path), { code: "EINVAL" }, path);
  }
});

test("times and modes change the file asked for, not what a link points to", () => {
  using root = new RootDirectory(rootPath);
  root.createFile("file", Buffer.from(""), 0o644);
  root.symlink("file", "link");
  root.utimes("link", 5n, 1_000_000_007n);
  assert.equal(root.lstat("link")?.modifiedAt, 1_000_000_007n);
  assert.equal(root.lstat("x".repeat(256)), undefined);
  assert.notEqual(root.stat("link")?.modifiedAt, 1_000_000_007n);
  root.chmod("link", 0o600, { follow: true });
  assert.equal(lstatSync(join(rootPath, "file")).mode & 0o777, 0o600);
  root.chmod("file", 0o4755);
  assert.equal(root.lstat("file")?.mode, 0o104755);
});

test("a tree deeper than any path is removed", () => {
  using root = new RootDirectory(rootPath);
  const name = "d".repeat(200);
  // Built from the inside out, since no path can reach the bottom.
  root.mkdir("top", 0o755);
  for (let depth = 0; depth < 300; depth++) {
    root.mkdir("next", 0o755);
    root.rename("top", `next/${name}`);
    root.rename("next", "top");
  }
  root.removeAll("top");
  assert.deepEqual(root.list("."), []);
});

test("a tree is removed with all that is in it, and once more", () => {
  using root = new RootDirectory(rootPath);
  root.mkdir("tree", 0o755);
  for (let i = 0; i < 50; i++) root.createFile(`tree/${i}`, Buffer.from(""), 0o644);
  removeTree(join(rootPath, "tree"));
  removeTree(join(rootPath, "tree"));
  assert.ok(!existsSync(join(rootPath, "tree")));
});
