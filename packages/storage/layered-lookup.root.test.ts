import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { S_IFDIR, S_IFLNK, S_IFMT } from "#kernel/file-syscalls.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import { LayerStack, readLayeredFile } from "#storage/layered-lookup.ts";

describe("look-ups through layers", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  let base: string;
  let layers: string[];
  let upper: RootDirectory;
  let lower: RootDirectory;
  let stack: LayerStack;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "berth-lookup-"));
    layers = ["upper", "lower"].map((name) => join(base, name));
    for (const layer of layers) mkdirSync(layer);
    upper = new RootDirectory(layers[0] as string);
    lower = new RootDirectory(layers[1] as string);
    stack = new LayerStack(layers, "overlay");
    writeFileSync(join(base, "secret"), "outside");
  });
  afterEach(() => {
    for (const held of [upper, lower, stack]) held[Symbol.dispose]();
    rmSync(base, { recursive: true });
  });
  const put = (layer: RootDirectory, path: string, content: string) => {
    layer.mkdirAll(path.split("/").slice(0, -1).join("/"), 0o755).close();
    layer.createFile(path, Buffer.from(content), 0o644);
  };
  const text = (path: string) => stack.readFile(path, 1000)?.toString();

  test("the upper layer wins, directories merge", () => {
    put(lower, "etc/passwd", "lower");
    put(lower, "etc/group", "groups");
    put(upper, "etc/passwd", "upper");
    assert.equal(text("/etc/passwd"), "upper");
    assert.equal(text("etc/../etc//group"), "groups");
    assert.equal(text("etc/none"), undefined);
    assert.equal(text("etc/passwd/x"), undefined);
    assert.equal(text("etc/passwd/"), undefined);
    assert.equal(
      readLayeredFile({ directories: layers, whiteouts: "overlay" }, "etc/group", 100)?.toString(),
      "groups",
    );
  });

  test("whiteouts, opaque directories and replaced kinds hide what is below", () => {
    for (const path of ["gone", "o/old", "d/in"]) put(lower, path, "lower");
    put(lower, "f", "a file below");
    upper.mknod("gone", 0o020000, 0, 0);
    put(upper, "o/new", "upper");
    upper.setXattr("o", "trusted.overlay.opaque", Buffer.from("y"));
    upper.createFile("d", Buffer.from("a file above"), 0o644);
    put(upper, "f/x", "a directory above");
    assert.equal(text("gone"), undefined);
    assert.equal(text("o/old"), undefined);
    assert.equal(text("o/new"), "upper");
    assert.equal(text("d"), "a file above");
    assert.equal(text("d/in"), undefined);
    assert.equal(text("f/x"), "a directory above");
  });

  test("links are followed across layers, and never out of the root", () => {
    put(lower, "usr/lib/passwd", "found");
    lower.symlink("usr/lib", "lib");
    upper.mkdirAll("etc", 0o755).close();
    upper.symlink("../lib/passwd", "etc/passwd");
    upper.symlink("/lib", "etc/abs");
    upper.symlink("../../../../secret", "etc/escape");
    upper.symlink(join(base, "secret"), "etc/host");
    upper.symlink("loop", "loop");
    assert.equal(text("etc/passwd"), "found");
    assert.equal(text("etc/abs/passwd"), "found");
    assert.equal(text("etc/abs/../lib/passwd"), "found");
    assert.equal(text("etc/escape"), undefined);
    assert.equal(text("etc/host"), undefined);
    assert.equal(stack.readLink("lib"), "usr/lib");
    assert.equal((stack.stat("lib", { follow: false })?.mode ?? 0) & S_IFMT, S_IFLNK);
    assert.equal((stack.stat("lib")?.mode ?? 0) & S_IFMT, S_IFDIR);
    assert.throws(() => text("loop"), { code: "ELOOP" });
  });

  test("only regular files of bounded size are read", () => {
    put(upper, "big", "x".repeat(1001));
    upper.mknod("pipe", 0o010644);
    upper.mkdir("dir", 0o755);
    assert.throws(() => text("big"), { code: "EFBIG" });
    assert.throws(() => text("pipe"), { code: "EINVAL" });
    assert.throws(() => text("dir"), { code: "EINVAL" });
    upper.mkdirAll("d/".repeat(70), 0o755).close();
    assert.throws(() => text("d/".repeat(70)), { code: "ENAMETOOLONG" });
  });
});
