import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { mknodat, S_IFCHR } from "#kernel/file-syscalls.ts";
import { AT_FDCWD } from "#kernel/syscalls.ts";
import { setXattr } from "#kernel/xattr-syscalls.ts";
import { layerChanges } from "#storage/changes/layer-changes.ts";

const past = 1_000_000_000;

describe("changes of a layer", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  let base: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "berth-changes-"));
    for (const layer of ["upper", "lower", "lowest"]) mkdirSync(join(base, layer));
  });
  afterEach(() => rmSync(base, { recursive: true }));

  const directory = (layer: string, path: string) => mkdirSync(join(base, layer, path), { recursive: true });
  const file = (layer: string, path: string, content = "x") => {
    writeFileSync(join(base, layer, path), content);
    utimesSync(join(base, layer, path), past, past);
  };
  const whiteout = (layer: string, path: string) => mknodat(AT_FDCWD, join(base, layer, path), S_IFCHR, 0, 0);
  const opaque = (layer: string, path: string) => {
    setXattr(join(base, layer, path), "trusted.overlay.opaque", Buffer.from("y"));
  };
  const told = (whiteouts: "overlay" | "apply" = "overlay") => {
    const comparison = {
      directory: join(base, "upper"),
      lower: [join(base, "lower"), join(base, "lowest")],
      whiteouts,
    };
    return [...layerChanges(comparison)].map(({ path, kind }) => `${"CAD"[kind]} ${path}`);
  };

  test("what is new, changed and gone, with the directories it is in", () => {
    directory("lower", "etc/deep");
    directory("lowest", "var/log");
    file("lower", "etc/same");
    file("lower", "etc/grown");
    file("lower", "etc/gone");
    file("lowest", "var/log/old");
    directory("upper", "etc/deep");
    directory("upper", "new/sub");
    file("upper", "new/sub/file");
    file("upper", "etc/same");
    file("upper", "etc/grown", "longer");
    file("upper", "etc/added");
    whiteout("upper", "etc/gone");
    whiteout("upper", "etc/never-was");
    whiteout("upper", "var");
    assert.deepEqual(told(), [
      "C /etc",
      "A /etc/added",
      "C /etc/grown",
      "D /etc/gone",
      "A /new",
      "A /new/sub",
      "A /new/sub/file",
      "D /var",
    ]);
  });

  test("a copied directory that only holds the unchanged is not told; one of another mode is", () => {
    directory("lower", "a/b");
    directory("upper", "a/b");
    assert.deepEqual(told(), []);
    chmodSync(join(base, "upper/a/b"), 0o700);
    assert.deepEqual(told(), ["C /a", "C /a/b"]);
  });

  test("an opaque directory has lost what it doesn't have, in lower layers that are hidden themselves too", () => {
    directory("lowest", "d/sub");
    file("lowest", "d/below");
    file("lowest", "d/hidden-in-lower");
    directory("lower", "d");
    whiteout("lower", "d/hidden-in-lower");
    file("lower", "d/kept");
    directory("upper", "d/sub");
    file("upper", "d/kept");
    file("upper", "d/new");
    opaque("upper", "d");
    assert.deepEqual(told(), ["C /d", "A /d/new", "D /d/below"]);
  });

  test("a directory in the place of a file, and the other way round", () => {
    file("lower", "was-file");
    directory("lower", "was-directory/inside");
    symlinkSync("/target", join(base, "lower/link"));
    directory("upper", "was-file");
    file("upper", "was-file/inside");
    file("upper", "was-directory");
    symlinkSync("/elsewhere", join(base, "upper/link"));
    assert.deepEqual(told(), ["C /link", "C /was-directory", "C /was-file", "A /was-file/inside"]);
  });

  test("whole trees are compared name by name", () => {
    directory("lower", "etc");
    directory("lower", "empty");
    directory("upper", "etc");
    for (const layer of ["lower", "upper"]) file(layer, "etc/same");
    file("lower", "etc/gone");
    file("upper", "etc/new");
    assert.deepEqual(told("apply"), ["C /etc", "A /etc/new", "D /etc/gone", "D /empty"]);
  });

  test("fractions of seconds that one side doesn't know are no change", () => {
    file("lower", "f");
    file("upper", "f");
    utimesSync(join(base, "upper/f"), past, past + 0.25);
    assert.deepEqual(told(), []);
    utimesSync(join(base, "lower/f"), past, past + 0.75);
    assert.deepEqual(told(), ["C /f"]);
  });

  test("file capabilities are compared where all else is the same", () => {
    const capability = Buffer.from("0100000200040000000000000000000000000000", "hex");
    file("lower", "f");
    file("upper", "f");
    setXattr(join(base, "upper/f"), "security.capability", capability);
    assert.deepEqual(told(), ["C /f"]);
    setXattr(join(base, "lower/f"), "security.capability", capability);
    assert.deepEqual(told(), []);
  });
});
