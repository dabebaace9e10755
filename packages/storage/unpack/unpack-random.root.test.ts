/**
 * Random trees packed by GNU tar in its formats, and those archives damaged at random, unpacked in a worker as the
 * daemon has it.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { BerthError } from "#errors/errors.ts";
import { S_IFCHR, S_IFIFO } from "#kernel/file-syscalls.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import type { LayerUnpacker, Whiteouts } from "#storage/driver-types.ts";
import { createLayerUnpacker } from "#storage/unpack/layer-unpacker.ts";

const node = fc.record({
  kind: fc.constantFrom("file", "file", "directory", "symlink", "hard", "fifo", "device", "sparse"),
  name: fc.oneof(
    fc.string({ unit: fc.constantFrom(..."ab é\\\n="), minLength: 1, maxLength: 20 }),
    fc.constantFrom("n".repeat(99), "n".repeat(100), "n".repeat(101), "é".repeat(120), ".hidden"),
  ),
  content: fc.oneof(
    fc.string({ maxLength: 2000 }),
    fc.constantFrom(0, 511, 512, 513, 70_000).map((n) => "x".repeat(n)),
  ),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.constantFrom(0, 1, 65_534, 2_000_000),
  seconds: fc.integer({ min: 0, max: 8_000_000_000 }),
  nanoseconds: fc.integer({ min: 0, max: 999_999_999 }),
  target: fc.oneof(
    fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom(..."/.ab") }),
    fc.constant("t".repeat(120)),
  ),
});
type Node = typeof node extends fc.Arbitrary<infer T> ? T : never;

/** So that it fits into an old header. */
function shortened(one: Node): Node {
  return { ...one, name: one.name.slice(0, 15), target: one.target.slice(0, 50) };
}

/** Makes the tree; what cannot be (a name twice, a path too long) is left out. */
function plant(tree: string, nodes: readonly Node[]): void {
  using root = new RootDirectory(tree);
  let at = "";
  let last: string | undefined;
  const directories: [path: string, node: Node][] = [];
  for (const one of nodes) {
    const path = `${at}${one.name}`;
    if (path.length > 900 || root.lstat(path) !== undefined) continue;
    const file = join(tree, path);
    switch (one.kind) {
      case "directory":
        root.mkdir(path, 0o755);
        at = `${path}/`;
        break;
      case "symlink":
        root.symlink(one.target, path);
        break;
      case "hard":
        if (last === undefined) continue;
        linkSync(join(tree, last), file);
        continue;
      case "fifo":
        root.mknod(path, S_IFIFO | 0o600);
        break;
      case "device":
        root.mknod(path, S_IFCHR | 0o600, 5, 300);
        break;
      case "sparse":
        writeFileSync(file, one.content);
        truncateSync(file, 1_000_000);
        break;
      default:
        writeFileSync(file, one.content);
        last = path;
    }
    settle(root, path, one);
    if (one.kind === "directory") directories.push([path, one]);
  }
  for (const [path, one] of directories.reverse()) settle(root, path, one);
}

function settle(root: RootDirectory, path: string, { kind, mode, uid, seconds, nanoseconds }: Node): void {
  root.chown(path, uid, uid);
  if (kind !== "symlink") root.chmod(path, mode);
  const time = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
  root.utimes(path, time, time);
}

/** Everything but what a format cannot tell: `nanoseconds` or whole seconds. */
function describeTree(path: string, nanoseconds: boolean): string {
  const script =
    "find . -mindepth 1 -printf '%p\\0%y %m %U %G %T@ %l %n %s\\0' | tr '\\n\\0' '\\1\\n' | paste - - | sort;" +
    "find . -type f -print0 | sort -z | xargs -0r sha256sum";
  const listing = execFileSync("sh", ["-c", script], {
    cwd: path,
    encoding: "latin1",
    env: { ...process.env, LC_ALL: "C" },
  });
  return nanoseconds ? listing : listing.replace(/(-?\d+)\.\d+ /g, "$1 ");
}

describe("archives of GNU tar", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  let base: string;
  let unpacker: LayerUnpacker;
  before(() => {
    unpacker = createLayerUnpacker({ threads: 1 });
  });
  after(() => unpacker.close());
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "berth-random-"));
    for (const name of ["tree", "outside"]) mkdirSync(join(base, name));
    writeFileSync(join(base, "canary"), "untouched");
    chmodSync(join(base, "canary"), 0o640);
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  const fresh = (name: string): string => {
    rmSync(join(base, name), { recursive: true, force: true });
    mkdirSync(join(base, name));
    return join(base, name);
  };
  const pack = (...options: string[]): Buffer => {
    const archive = join(base, "packed");
    rmSync(archive, { force: true });
    // What ustar has no room for is left out by tar, with status 2.
    const script = 'tar "$@" 2>/dev/null || test $? = 2';
    execFileSync("sh", ["-c", script, "tar", ...options, "-cf", archive, "-C", join(base, "tree"), "."]);
    return readFileSync(archive);
  };
  const unpack = (archive: Buffer, whiteouts: Whiteouts = "overlay") => {
    writeFileSync(join(base, "layer"), archive);
    return unpacker.unpack({ source: join(base, "layer"), target: fresh("out"), whiteouts });
  };

  test("a random tree comes out as it went in", async () => {
    const formats = [
      ["--format=pax", "--sparse"],
      ["--format=pax"],
      ["--format=gnu", "--sparse"],
      ["--format=gnu"],
      ["--format=ustar"],
    ];
    const compressions = [(bytes: Buffer) => bytes, gzipSync, zstdCompressSync];
    await fc.assert(
      fc.asyncProperty(
        fc.array(node, { maxLength: 14 }),
        fc.constantFrom(...formats),
        fc.constantFrom(...compressions),
        async (nodes, format, compress) => {
          plant(fresh("tree"), format[0] === "--format=ustar" ? nodes.map(shortened) : nodes);
          const archive = pack(...format);
          await unpack(compress(archive));
          // What tar itself makes of its archive: some formats have no room for some names and times.
          const reference = fresh("reference");
          execFileSync(
            "tar",
            ["--numeric-owner", "--delay-directory-restore", "-xpf", join(base, "packed"), "-C", reference],
            {
              stdio: "ignore",
            },
          );
          const precise = format[0] === "--format=pax";
          const found = describeTree(join(base, "out"), precise);
          assert.equal(found, describeTree(reference, precise));
          if (precise) assert.equal(found, describeTree(join(base, "tree"), true));
        },
      ),
      { numRuns: 60 },
    );
  });

  test("a damaged archive is unpacked or refused, never more", async () => {
    const damage = fc.record({
      kind: fc.constantFrom("byte", "block", "cut", "repeat", "zero"),
      at: fc.nat(1 << 20),
      value: fc.nat(255),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(node, { minLength: 2, maxLength: 8 }),
        fc.array(damage, { minLength: 1, maxLength: 5 }),
        fc.constantFrom("--format=pax", "--format=gnu", "--format=ustar"),
        fc.constantFrom("before", "after", "none"),
        fc.constantFrom<Whiteouts>("overlay", "aufs", "apply"),
        async (nodes, damages, format, compressed, whiteouts) => {
          plant(fresh("tree"), nodes);
          let archive = pack(format, ...(format === "--format=ustar" ? [] : ["--sparse"]));
          if (compressed === "before") archive = gzipSync(archive);
          archive = damages.reduce(damaged, archive);
          if (compressed === "after") archive = gzipSync(archive);
          await unpack(archive, whiteouts).catch((error: unknown) => {
            // Nothing of the kind "the worker failed" may come of it.
            if (!(error instanceof BerthError) || error.code === "internal") throw error;
          });
          assert.equal(readFileSync(join(base, "canary"), "utf8"), "untouched");
          const { nlink, mode, uid } = lstatSync(join(base, "canary"));
          assert.deepEqual([nlink, mode & 0o7777, uid], [1, 0o640, 0]);
          assert.deepEqual(readdirSync(join(base, "outside")), []);
          assert.deepEqual(readdirSync(base).sort(), ["canary", "layer", "out", "outside", "packed", "tree"]);
        },
      ),
      { numRuns: 250 },
    );
    // And the worker is as good as new.
    writeFileSync(join(base, "tree", "last"), "well");
    await unpack(pack("--format=gnu"));
    assert.equal(readFileSync(join(base, "out", "last"), "utf8"), "well");
  });
});

function damaged(archive: Buffer, { kind, at, value }: { kind: string; at: number; value: number }): Buffer {
  const place = at % Math.max(1, archive.length);
  const block = place - (place % 512);
  const changed = Buffer.from(archive);
  switch (kind) {
    case "byte":
      changed[place] = value;
      return changed;
    case "zero":
      return changed.fill(0, block, Math.min(block + 512, changed.length));
    case "block":
      archive.copy(changed, block, 0, 512);
      return changed;
    case "cut":
      return changed.subarray(0, place);
    default:
      return Buffer.concat([
        archive.subarray(0, block),
        archive.subarray(block, block + 1024),
        archive.subarray(block),
      ]);
  }
}
