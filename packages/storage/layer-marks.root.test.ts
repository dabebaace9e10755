/** The same archives as layers with overlayfs's marks and with AUFS's: read, compared and packed they are the same. */
import assert from "node:assert/strict";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, before, beforeEach, describe, test } from "node:test";
import fc from "fast-check";
import { isBerthError } from "#errors/errors.ts";
import { S_IFDIR, S_IFMT } from "#kernel/file-syscalls.ts";
import { layerChanges } from "#storage/changes/layer-changes.ts";
import type { Whiteouts } from "#storage/driver-types.ts";
import { type Found, LayerStack, lookUp, visibleNames } from "#storage/layered-lookup.ts";
import { packLayerChanges } from "#storage/pack/pack-changes.ts";
import { packTree } from "#storage/pack/pack-tree.ts";
import { TarReader } from "#storage/tar/tar-reader.ts";
import { archiveOf, type Item } from "#storage/testing/tar-entries.ts";
import { LayerBuilder } from "#storage/unpack/layer-builder.ts";
import { prepareThread } from "#storage/unpack/unpack-layer.ts";

const kinds = ["overlay", "aufs"] as const;
const dir = (name: string): Item => ({ name, type: "directory" });

describe("marks of layers", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  let base: string;
  before(prepareThread);
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "berth-marks-"));
    writeFileSync(join(base, "canary"), "untouched");
  });
  afterEach(() => {
    assert.equal(readFileSync(join(base, "canary"), "utf8"), "untouched");
    rmSync(base, { recursive: true, force: true });
  });

  const layer = (whiteouts: Whiteouts, name: string) => join(base, whiteouts, name);

  /** Unpacks an archive as a layer on others, uppermost first. */
  function unpack(
    archive: Buffer,
    whiteouts: Whiteouts,
    name: string,
    lower: readonly string[] = [],
  ): string {
    const target = layer(whiteouts, name);
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target, { recursive: true });
    using builder = new LayerBuilder({ target, whiteouts, lower: [...lower] });
    builder.write(archive);
    builder.finish();
    return target;
  }

  /** All that is seen through layers: paths, kinds, modes, content. */
  function view(directories: readonly string[], whiteouts: Whiteouts): string[] {
    using stack = new LayerStack(directories, whiteouts);
    const lines: string[] = [];
    const walk = (directory: Found, above: string): void => {
      for (const name of visibleNames(directory).sort()) {
        const path = `${above}/${name}`;
        using found = lookUp(directory, name);
        assert.ok(found?.status !== undefined, `${path} is listed and not found`);
        const { mode, size } = found.status;
        const isDirectory = (mode & S_IFMT) === S_IFDIR;
        const content = isDirectory ? "" : (stack.readLink(path) ?? `${size}`);
        lines.push(`${path} ${mode.toString(8)} ${content}`);
        if (isDirectory) walk(found, path);
      }
    };
    using root = stack.root();
    walk(root, "");
    return lines;
  }

  const changes = (directories: readonly string[], whiteouts: Whiteouts): string[] => {
    const [directory = "", ...lower] = directories;
    return [...layerChanges({ directory, lower, whiteouts })].map(
      ({ kind, path }) => `${"CAD"[kind]} ${path}`,
    );
  };

  const pack = (directories: readonly string[], whiteouts: Whiteouts): Buffer => {
    const [directory = "", ...lower] = directories;
    return Buffer.concat(
      [...packLayerChanges({ directory, lower, whiteouts })].map((piece) => Buffer.from(piece)),
    );
  };

  test("AUFS's marks lie beside the names and in the directories that they are for", () => {
    const target = unpack(
      archiveOf(
        dir("d"),
        { name: "d/.wh.gone", content: "marks are empty" },
        { name: ".wh.top", mode: 0o4777 },
        dir("o"),
        { name: "o/.wh..wh..opq" },
        { name: "o/new", content: "x" },
        { name: ".wh..wh.plnk", content: "AUFS's own" },
        dir(".wh..wh.orph"),
        { name: "new/.wh.x" },
      ),
      "aufs",
      "a",
    );
    assert.deepEqual(readdirSync(target).sort(), [".wh.top", "d", "new", "o"]);
    assert.deepEqual(readdirSync(join(target, "d")), [".wh.gone"]);
    assert.deepEqual(readdirSync(join(target, "o")).sort(), [".wh..wh..opq", "new"]);
    for (const mark of ["d/.wh.gone", ".wh.top", "o/.wh..wh..opq"]) {
      const { mode, size } = lstatSync(join(target, mark));
      assert.deepEqual([mode, size], [0o100444, 0], mark);
    }
    assert.deepEqual(view([target], "aufs"), ["/d 40755 ", "/new 40755 ", "/o 40755 ", "/o/new 100644 1"]);
  });

  test("a mark goes for what the same layer brings under its name", () => {
    const lower = unpack(archiveOf(dir("d"), { name: "d/old" }, { name: "f", content: "old" }), "aufs", "a");
    const target = unpack(
      archiveOf(
        { name: ".wh.d" },
        { name: "d/x", content: "implied" },
        { name: "f", content: "new!" },
        { name: ".wh.f" },
        { name: ".wh.e" },
        dir("e"),
      ),
      "aufs",
      "b",
      [lower],
    );
    assert.deepEqual(readdirSync(target).sort(), ["d", "e", "f"]);
    assert.ok(existsSync(join(target, "d/.wh..wh..opq")));
    assert.deepEqual(
      view([target, lower], "aufs").filter((line) => !line.endsWith(" ")),
      ["/d/x 100644 7", "/f 100644 4"],
    );
  });

  test("nothing can be put behind a name that AUFS keeps for its marks", () => {
    const refused = (...items: Item[]) =>
      assert.throws(
        () => unpack(archiveOf(...items), "aufs", "a"),
        (error) => isBerthError(error, "invalid"),
        items.map(({ name }) => name).join(),
      );
    refused({ name: ".wh.d/inside" });
    refused(dir(".wh.d"), { name: ".wh.d/inside" });
    refused({ name: "d/.wh..wh..opq/inside" });
    refused({ name: ".wh..wh.plnk/inside" });
    refused({ name: ".wh." });
    refused({ name: ".wh.." });
    refused({ name: ".wh..." });
    refused({ name: ".wh.x" }, { name: "y", type: "hardlink", linkName: ".wh.x" });
    refused({ name: "d/.wh..wh..opq" }, { name: "y", type: "hardlink", linkName: "d/.wh..wh..opq" });
    refused({ name: "way", type: "symlink", linkName: ".wh.x" }, { name: ".wh.x" }, { name: "way/inside" });
    refused({ name: "way", type: "symlink", linkName: "../../canary" }, { name: "way/.wh.x" });
  });

  test("marks by way of links stay inside the layer", () => {
    const target = unpack(
      archiveOf(
        { name: "out", type: "symlink", linkName: "/../.." },
        { name: "out/.wh.canary" },
        { name: "out/.wh..wh..opq" },
        { name: "f", content: "a file" },
      ),
      "aufs",
      "a",
    );
    assert.deepEqual(readdirSync(target).sort(), [".wh..wh..opq", ".wh.canary", "f", "out"]);
    assert.deepEqual(readdirSync(base).sort(), ["aufs", "canary"]);
  });

  test("what AUFS itself has in a branch is told by nobody", () => {
    const target = unpack(archiveOf({ name: "f", content: "x" }, { name: ".wh.gone" }), "aufs", "a");
    for (const name of [".wh..wh.plnk", ".wh..wh.orph"]) {
      mkdirSync(join(target, name));
      writeFileSync(join(target, name, "inside"), "pseudo link");
    }
    for (const name of [".wh..wh.aufs", ".wh.", ".wh...", ".wh..", ".wh..wh..opq"]) {
      writeFileSync(join(target, name), "");
    }
    assert.deepEqual(view([target], "aufs"), ["/f 100644 1"]);
    const below = unpack(archiveOf({ name: "gone" }), "aufs", "below");
    assert.deepEqual(changes([target, below], "aufs"), ["A /f", "D /gone"]);
    assert.deepEqual(namesIn(Buffer.concat([...packTree(target, { whiteouts: "aufs" })])), ["f", ".wh.gone"]);
  });

  test("without marks of its own, a tree's names are names", () => {
    mkdirSync(layer("apply", "a"), { recursive: true });
    writeFileSync(join(layer("apply", "a"), ".wh.x"), "", { mode: 0o644 });
    assert.deepEqual(view([layer("apply", "a")], "apply"), ["/.wh.x 100644 0"]);
  });

  const name = fc.constantFrom(
    "a",
    "b",
    "c",
    ".wh.a",
    ".wh.b",
    ".wh.c",
    ".wh..wh..opq",
    ".wh..wh.plnk",
    ".wh.",
  );
  const item = fc.record({
    above: fc.array(fc.constantFrom("a", "b", "c", ".wh.a"), { maxLength: 2 }),
    name,
    type: fc.constantFrom("file", "file", "directory", "directory", "symlink", "hardlink", "fifo"),
    target: fc.constantFrom("a", "b/a", "/c", "../b", ".wh.a"),
    length: fc.integer({ min: 0, max: 40 }),
  });
  type AnyItem = typeof item extends fc.Arbitrary<infer T> ? T : never;
  const archive = (items: readonly AnyItem[]): Buffer =>
    archiveOf(
      ...items.map((one): Item => {
        const linked = one.type === "symlink" || one.type === "hardlink";
        return {
          name: [...one.above, one.name].join("/"),
          type: one.type as "file",
          linkName: linked ? one.target : "",
          content: one.type === "file" && !one.name.startsWith(".wh.") ? "x".repeat(one.length) : "",
        };
      }),
    );

  test("any archives, one on another, are seen the same through both", () => {
    let compared = 0;
    fc.assert(
      fc.property(fc.array(fc.array(item, { maxLength: 8 }), { minLength: 1, maxLength: 3 }), (layers) => {
        const stacks: Record<(typeof kinds)[number], string[]> = { overlay: [], aufs: [] };
        for (const [index, items] of layers.entries()) {
          const bytes = archive(items);
          const errors = kinds.map((kind) => {
            try {
              stacks[kind].unshift(unpack(bytes, kind, String(index), stacks[kind]));
              return "";
            } catch (error) {
              assert.ok(isBerthError(error), String(error));
              return error.message;
            }
          });
          const [overlayError = "", aufsError = ""] = errors;
          if (overlayError === "" && aufsError === "") continue;
          // Refused for AUFS alone are its own names; for overlayfs alone what needs the place that its mark is in.
          if (overlayError === "") assert.match(aufsError, /AUFS keeps|is not in this layer/);
          return;
        }
        compared += 1;
        const [overlay, aufs] = [stacks.overlay, stacks.aufs];
        assert.deepEqual(view(aufs, "aufs"), view(overlay, "overlay"));
        assert.deepEqual(changes(aufs, "aufs"), changes(overlay, "overlay"));
        const packed = pack(aufs, "aufs");
        assert.deepEqual(namesIn(packed), namesIn(pack(overlay, "overlay")));
        // And out of its own archive the layer is the same again.
        const again = unpack(packed, "aufs", "again", aufs.slice(1));
        assert.deepEqual(view([again, ...aufs.slice(1)], "aufs"), view(aufs, "aufs"));
        assert.ok(pack([again, ...aufs.slice(1)], "aufs").equals(packed));
      }),
      { numRuns: Number(process.env.BERTH_MARK_RUNS ?? 300) },
    );
    assert.ok(compared > 0);
  });
});

function namesIn(archive: Buffer): string[] {
  const names: string[] = [];
  const reader = new TarReader({
    entry: (entry) => {
      names.push(entry.name);
    },
    data: () => {},
    end: () => {},
  });
  reader.write(archive);
  reader.finish();
  return names;
}
