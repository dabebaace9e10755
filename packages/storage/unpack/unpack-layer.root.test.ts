import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, before, beforeEach, describe, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { isBerthError } from "#errors/errors.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import { getXattr, listXattr, splitNames } from "#kernel/xattr-syscalls.ts";
import type { Whiteouts } from "#storage/driver-types.ts";
import { packTree } from "#storage/pack/pack-tree.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import { archiveOf, type Item } from "#storage/testing/tar-entries.ts";
import { prepareThread, type UnpackTask, unpackLayer } from "#storage/unpack/unpack-layer.ts";

const dir = (name: string, fields: Partial<TarEntry> = {}): Item => ({ name, type: "directory", ...fields });

/** Everything about a tree that unpacking should keep. */
function describeTree(path: string): string {
  const listing = execFileSync(
    "sh",
    [
      "-c",
      "find . -mindepth 1 -printf '%p %y %m %U %G %T@ %l %n %Y\\n' | sort; find . -type f -exec sha256sum {} + | sort",
    ],
    { cwd: path, encoding: "latin1", env: { ...process.env, LC_ALL: "C" } },
  );
  const names = execFileSync("find", [".", "-mindepth", "1", "-print0"], { cwd: path });
  const attributes = splitNames(names).flatMap((name) => {
    const file = `${path}/${name}`;
    return listXattr(file).map((key) => `${name} ${key}=${getXattr(file, key)?.toString("hex")}`);
  });
  return `${listing}${attributes.sort().join("\n")}\n`;
}

describe("unpacking layers", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  let base: string;
  let target: string;
  before(prepareThread);
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "berth-unpack-"));
    target = join(base, "target");
    mkdirSync(target);
    // Canaries: nothing around the target may change.
    writeFileSync(join(base, "canary"), "untouched");
    mkdirSync(join(base, "outside"));
  });
  afterEach(() => {
    assert.equal(readFileSync(join(base, "canary"), "utf8"), "untouched");
    assert.deepEqual(readdirSync(join(base, "outside")), []);
    assert.deepEqual(readdirSync(base).sort(), ["canary", "layer", "outside", "target"]);
    rmSync(base, { recursive: true, force: true });
  });

  const unpack = (archive: Buffer, options: Partial<UnpackTask> = {}) => {
    const source = join(base, "layer");
    writeFileSync(source, archive);
    return unpackLayer({ source, target, whiteouts: "overlay", ...options });
  };
  const refused = (archive: Buffer, options: Partial<UnpackTask> = {}) =>
    assert.rejects(unpack(archive, options), (error) => isBerthError(error, "invalid"));
  const text = (path: string) => readFileSync(join(target, path), "utf8");
  const stat = (path: string) => lstatSync(join(target, path));
  const isWhiteout = (path: string) => stat(path).isCharacterDevice() && stat(path).rdev === 0;
  const xattr = (path: string, name: string) => {
    using root = new RootDirectory(target);
    return root.getXattr(path, name)?.toString();
  };

  test("kinds, owners, modes, times and attributes arrive exactly", async () => {
    const capability = Buffer.from("0100000200040000000000000000000000000000", "hex");
    await unpack(
      archiveOf(
        dir("d", { mode: 0o3775, uid: 5, gid: 6, modifiedAt: 1_500_000_000_123_456_789n }),
        { name: "d/in", content: "hello", uid: 1234, gid: 70_000, mode: 0o600 },
        { name: "suid", mode: 0o4755, uid: 1000, content: "x" },
        { name: "cap", mode: 0o755, uid: 1000, xattrs: new Map([["security.capability", capability]]) },
        { name: "attr", xattrs: new Map([["user.k", Buffer.from("v")]]) },
        { name: "link", type: "symlink", linkName: "/d/in", uid: 7, gid: 8 },
        { name: "hard", type: "hardlink", linkName: "d/in" },
        { name: "null", type: "character-device", major: 1, minor: 3, mode: 0o666 },
        { name: "disk", type: "block-device", major: 259, minor: 70_000 },
        { name: "pipe", type: "fifo", mode: 0o620 },
        { name: "none", mode: 0 },
      ),
    );
    assert.equal(stat("d").mode, 0o043775);
    assert.deepEqual([stat("d").uid, stat("d").gid], [5, 6]);
    assert.equal(lstatSync(join(target, "d"), { bigint: true }).mtimeNs, 1_500_000_000_123_456_789n);
    assert.equal(text("d/in"), "hello");
    assert.deepEqual([stat("d/in").uid, stat("d/in").gid, stat("d/in").mode], [1234, 70_000, 0o100600]);
    assert.equal(stat("suid").mode, 0o104755);
    using root = new RootDirectory(target);
    assert.deepEqual(root.getXattr("cap", "security.capability"), capability);
    assert.equal(xattr("attr", "user.k"), "v");
    assert.equal(readlinkSync(join(target, "link")), "/d/in");
    assert.equal(stat("link").uid, 7);
    assert.equal(stat("hard").ino, stat("d/in").ino);
    assert.deepEqual(root.lstat("null")?.special, { major: 1, minor: 3 });
    assert.equal(stat("null").mode, 0o020666);
    assert.deepEqual(root.lstat("disk")?.special, { major: 259, minor: 70_000 });
    assert.ok(stat("pipe").isFIFO());
    assert.equal(stat("none").mode, 0o100000);
    assert.equal(lstatSync(join(target, "link"), { bigint: true }).mtimeNs, 1_600_000_000_000_000_000n);
  });

  test("below a set-group-id directory entries still get their own group and mode", async () => {
    await unpack(
      archiveOf(dir("s", { mode: 0o2755, gid: 50 }), { name: "s/f" }, dir("s/d", { mode: 0o755 }), {
        name: "s/d/f",
      }),
    );
    assert.deepEqual([stat("s/f").gid, stat("s/d").gid, stat("s/d").mode], [0, 0, 0o040755]);
    assert.equal(stat("s/d/f").gid, 0);
  });

  test("the result names the hash and the size; a wrong hash is refused", async () => {
    const archive = archiveOf({ name: "a", content: "12345" }, { name: "b", content: "123" });
    const diffId = `sha256:${createHash("sha256").update(archive).digest("hex")}`;
    for (const packed of [archive, gzipSync(archive), zstdCompressSync(archive)]) {
      assert.deepEqual(await unpack(packed, { expectedDiffId: diffId }), { diffId, size: 8 });
    }
    await refused(archive, { expectedDiffId: `sha256:${"0".repeat(64)}` });
    // What follows the end mark counts as content, too.
    const longer = Buffer.concat([archive, Buffer.alloc(5000)]);
    assert.equal(
      (await unpack(longer)).diffId,
      `sha256:${createHash("sha256").update(longer).digest("hex")}`,
    );
  });

  test("several gzip members are one stream", async () => {
    const archive = archiveOf({ name: "a", content: "x".repeat(2000) });
    await unpack(Buffer.concat([gzipSync(archive.subarray(0, 700)), gzipSync(archive.subarray(700))]));
    assert.equal(text("a").length, 2000);
  });

  test("damaged, cut-off and unsupported compression is refused", async () => {
    const archive = archiveOf({ name: "a", content: "x".repeat(100_000) });
    for (const packed of [gzipSync(archive), zstdCompressSync(archive)]) {
      await refused(packed.subarray(0, packed.length - 10));
      const broken = Buffer.from(packed);
      broken.fill(0x55, 20, 60);
      await refused(broken);
    }
    await refused(Buffer.from("BZh91AY&SY"));
    await refused(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0]));
    await refused(archive.subarray(0, 50_000));
    await refused(Buffer.from("not an archive at all".repeat(50)));
  });

  test("whiteouts become overlay's", async () => {
    await unpack(
      archiveOf(
        dir("d"),
        { name: "d/.wh.gone" },
        { name: ".wh.top" },
        dir("o"),
        { name: "o/.wh..wh..opq" },
        {
          name: "new/.wh.x",
        },
      ),
    );
    assert.ok(isWhiteout("d/gone"));
    assert.ok(isWhiteout("top"));
    assert.ok(isWhiteout("new/x"));
    assert.equal(xattr("o", "trusted.overlay.opaque"), "y");
    assert.deepEqual(readdirSync(join(target, "o")), []);
  });

  test("a name that is hidden and brought anew hides only the lower one", async () => {
    await unpack(
      archiveOf(
        { name: ".wh.a" },
        dir("a"),
        { name: "a/f" },
        dir("b"),
        { name: ".wh.b" },
        { name: ".wh.c" },
        { name: "c", content: "new" },
        { name: "e", content: "kept" },
        { name: ".wh.e" },
      ),
    );
    assert.equal(xattr("a", "trusted.overlay.opaque"), "y");
    assert.ok(stat("a/f").isFile());
    assert.equal(xattr("b", "trusted.overlay.opaque"), "y");
    assert.equal(text("c"), "new");
    assert.equal(text("e"), "kept");
  });

  test("whiteouts can be applied by removal", async () => {
    await unpack(
      archiveOf(
        { name: "lower/sub/x" },
        { name: "lower/y" },
        { name: "keep/old" },
        { name: "o/sub/old" },
        { name: "o/z" },
      ),
    );
    await unpack(
      archiveOf(
        { name: ".wh.lower" },
        { name: "keep/.wh.old" },
        { name: "keep/new" },
        { name: "o/sub/new" },
        { name: "o/.wh..wh..opq" },
        { name: "nowhere/.wh.x" },
      ),
      { whiteouts: "apply" },
    );
    assert.ok(!existsSync(join(target, "lower")));
    assert.deepEqual(readdirSync(join(target, "keep")), ["new"]);
    assert.deepEqual(readdirSync(join(target, "o")), ["sub"]);
    assert.deepEqual(readdirSync(join(target, "o/sub")), ["new"]);
    assert.ok(!existsSync(join(target, "nowhere")));
  });

  test("overlay's own attributes are not taken from an archive", async () => {
    const xattrs = new Map([
      ["trusted.overlay.redirect", Buffer.from("/etc")],
      ["trusted.overlay.opaque", Buffer.from("y")],
    ]);
    await unpack(archiveOf(dir("d", { xattrs })));
    assert.equal(xattr("d", "trusted.overlay.redirect"), undefined);
    assert.equal(xattr("d", "trusted.overlay.opaque"), undefined);
  });

  test("later entries replace earlier ones of any kind", async () => {
    await unpack(
      archiveOf(
        { name: "f", content: "1" },
        { name: "f", content: "second" },
        dir("d"),
        { name: "d/in" },
        { name: "d", content: "now a file" },
        { name: "x" },
        dir("x"),
        { name: "x/in" },
        { name: "l", type: "symlink", linkName: "x" },
        dir("l"),
        { name: "l/own" },
        dir("same", { mode: 0o700 }),
        { name: "same/kept" },
        dir("same", { mode: 0o711 }),
      ),
    );
    assert.equal(text("f"), "second");
    assert.equal(text("d"), "now a file");
    assert.deepEqual(readdirSync(join(target, "x")), ["in"]);
    assert.ok(stat("l").isDirectory() && stat("l/own").isFile());
    assert.deepEqual(readdirSync(join(target, "same")), ["kept"]);
    assert.equal(stat("same").mode, 0o040711);
  });

  test("names are cleaned; absolute ones start at the root; climbing out is refused", async () => {
    await unpack(
      archiveOf(
        { name: "/abs", content: "a" },
        { name: "./x/../y", content: "y" },
        { name: "//double//slash", content: "d" },
        { name: "/../../up", content: "u" },
      ),
    );
    assert.deepEqual(readdirSync(target).sort(), ["abs", "double", "up", "y"]);
    for (const name of ["../out", "a/../../outside/x", ".."])
      await refused(archiveOf({ name, content: "bad" }));
    await refused(archiveOf({ name: ".", content: "a file as root" }));
    for (const name of [".wh..", ".wh...", "d/.wh."]) await refused(archiveOf({ name }));
  });

  test("the root's own entry sets its mode", async () => {
    await unpack(archiveOf(dir("./", { mode: 0o711, uid: 3, modifiedAt: 77n * 10n ** 9n }), { name: "./f" }));
    assert.equal(stat(".").mode, 0o040711);
    assert.equal(stat(".").uid, 3);
    assert.equal(stat(".").mtimeMs, 77_000);
  });

  test("links lead nowhere but inside", async () => {
    symlinkSync(join(base, "outside"), join(target, "planted"));
    await unpack(
      archiveOf(
        { name: "abs", type: "symlink", linkName: join(base, "outside") },
        { name: "rel", type: "symlink", linkName: "../outside" },
        dir("outside"),
        { name: "rel/inside", content: "in" },
      ),
    );
    assert.equal(text("outside/inside"), "in");
    // Their targets do not exist inside, and are not made.
    await refused(archiveOf({ name: "abs/x", content: "bad" }));
    await refused(archiveOf({ name: "planted/x", content: "bad" }));
    await refused(archiveOf({ name: "h", type: "hardlink", linkName: "../canary" }));
    await refused(archiveOf({ name: "h", type: "hardlink", linkName: "/../canary" }));
    await refused(archiveOf({ name: "h", type: "hardlink", linkName: join(base, "canary") }));
    await refused(
      archiveOf(
        { name: "s", type: "symlink", linkName: "../" },
        { name: "h", type: "hardlink", linkName: "s/canary" },
      ),
    );
    await refused(archiveOf(dir("dd"), { name: "h", type: "hardlink", linkName: "dd" }));
    await refused(
      archiveOf({ name: "loop", type: "symlink", linkName: "loop" }, { name: "loop/x", content: "bad" }),
    );
  });

  test("a link through which the target of a write is swapped does not help", async () => {
    // A hard link to a symbolic link, then writing "through" it: the name is replaced, not what it points to.
    await unpack(
      archiveOf(
        { name: "s", type: "symlink", linkName: join(base, "canary") },
        { name: "h", type: "hardlink", linkName: "s" },
        { name: "h", content: "bad" },
        { name: "s", content: "bad" },
      ),
    );
    assert.equal(text("h"), "bad");
    assert.ok(stat("s").isFile());
  });

  test("directories that are only implied look as in the layer below", async () => {
    const lower = join(base, "target", "lower");
    mkdirSync(join(lower, "tmp", "deep"), { recursive: true });
    execFileSync("sh", [
      "-c",
      `chmod 1777 '${lower}/tmp'; chmod 2750 '${lower}/tmp/deep'; chown 5:6 '${lower}/tmp/deep'`,
    ]);
    mkdirSync(join(target, "upper"));
    await unpack(archiveOf({ name: "tmp/deep/new/f" }), { lower: [lower], target: join(target, "upper") });
    assert.equal(stat("upper/tmp").mode, 0o041777);
    assert.equal(stat("upper/tmp/deep").mode, 0o042750);
    assert.deepEqual([stat("upper/tmp/deep").uid, stat("upper/tmp/deep").gid], [5, 6]);
    assert.equal(stat("upper/tmp/deep/new").mode & 0o777, 0o755);
  });

  test("GNU tar's formats unpack to the same tree", async () => {
    const tree = join(base, "target", "tree");
    mkdirSync(join(tree, "sub", "n".repeat(120), "m".repeat(120)), { recursive: true });
    writeFileSync(join(tree, "sub", "n".repeat(120), "m".repeat(120), "long"), "long");
    writeFileSync(join(tree, "Főtanúsítvány"), "utf8");
    writeFileSync(Buffer.concat([Buffer.from(`${tree}/latin-`), Buffer.from([0xe9])]), "latin1");
    symlinkSync("t".repeat(150), join(tree, "longlink"));
    linkSync(join(tree, "Főtanúsítvány"), join(tree, "hard"));
    execFileSync(
      "sh",
      [
        "-c",
        "mkfifo p; mknod c c 1 3; mknod b b 7 9; truncate -s 1M sparse;" +
          "printf mid | dd of=sparse bs=1 seek=500000 conv=notrunc; printf end | dd of=sparse bs=1 seek=1048570 conv=notrunc;" +
          "for i in $(seq 40); do printf x | dd of=many bs=1 seek=$((i * 20000)) conv=notrunc; done; touch -d '1960-01-02 03:04:05.5' old",
      ],
      { cwd: tree, stdio: "ignore" },
    );
    {
      using root = new RootDirectory(tree);
      root.setXattr("hard", "user.a", Buffer.from("\0=\n"));
    }
    const expected = describeTree(tree);
    assert.match(expected, /user\.a=003d0a/);
    mkdirSync(join(target, "out"));
    const variants = [
      ["--format=pax", "--xattrs", "--xattrs-include=*"],
      ["--format=gnu"],
      ["--format=gnu", "--sparse"],
      ["--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=0.0"],
      ["--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=0.1"],
      ["--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=1.0"],
    ];
    for (const [index, variant] of variants.entries()) {
      const out = join(target, "out", String(index));
      mkdirSync(out);
      const archive = execFileSync("tar", ["-C", tree, ...variant, "-cf", "-", "."], { maxBuffer: 1 << 28 });
      await unpack(archive, { target: out });
      const found = describeTree(out);
      // GNU's own format has whole seconds and no attributes.
      if (variant[0] === "--format=pax") assert.equal(found, expected, variant.join(" "));
      else {
        const strip = (listing: string) =>
          listing
            .replace(/(-?\d+)\.\d+ /g, "$1 ")
            .split("\n")
            .filter((line) => line !== "" && !line.includes(" user.a=") && !line.includes("/old "))
            .join("\n");
        assert.equal(strip(found), strip(expected), variant.join(" "));
      }
    }
  });

  test("a random tree packed by us unpacks the same by GNU tar and by us", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            name: fc.string({ unit: fc.constantFrom(..."ab é\n="), minLength: 1, maxLength: 60 }),
            content: fc.string({ maxLength: 1500 }),
            mode: fc.integer({ min: 0, max: 0o7777 }),
            uid: fc.constantFrom(0, 1000, 3_000_000),
            seconds: fc.integer({ min: -1000, max: 2_000_000_000 }),
            directory: fc.boolean(),
          }),
          { maxLength: 8 },
        ),
        async (specs) => {
          const work = mkdtempSync(join(target, "run-"));
          const [tree, ours, gnus] = ["tree", "ours", "gnus"].map((name) => join(work, name)) as [
            string,
            string,
            string,
          ];
          for (const path of [tree, ours, gnus]) mkdirSync(path);
          using root = new RootDirectory(tree);
          let at = "";
          for (const { name, content, mode, uid, seconds, directory } of specs) {
            const path = `${at}${name}`;
            if (root.lstat(path) !== undefined) continue;
            if (directory) root.mkdir(path, 0o755);
            else root.createFile(path, Buffer.from(content), 0o644);
            root.chown(path, uid, uid);
            root.chmod(path, mode);
            root.utimes(path, 0n, BigInt(seconds) * 1_000_000_000n + 5n);
            if (directory) at = `${path}/`;
          }
          const archive = Buffer.concat([...packTree(tree)]);
          await unpack(archive, { target: ours });
          execFileSync("tar", [
            "-C",
            gnus,
            "--numeric-owner",
            "--warning=no-timestamp",
            "-xpf",
            join(base, "layer"),
          ]);
          const expected = describeTree(tree);
          assert.equal(describeTree(ours), expected);
          assert.equal(describeTree(gnus), expected);
          // Packed again, it is the same archive.
          assert.ok(Buffer.concat([...packTree(ours)]).equals(archive));
          rmSync(work, { recursive: true });
        },
      ),
      { numRuns: 25 },
    );
  });

  test("an overlay layer survives packing and unpacking", async () => {
    const archive = archiveOf(
      { name: "a/.wh.gone" },
      dir("o"),
      { name: "o/.wh..wh..opq" },
      { name: "o/f", content: "x" },
      { name: "o/g", type: "hardlink", linkName: "o/f" },
    );
    mkdirSync(join(target, "1"));
    mkdirSync(join(target, "2"));
    await unpack(archive, { target: join(target, "1") });
    await unpack(Buffer.concat([...packTree(join(target, "1"), { whiteouts: "overlay" })]), {
      target: join(target, "2"),
    });
    assert.equal(describeTree(join(target, "2")), describeTree(join(target, "1")));
    assert.match(describeTree(join(target, "2")), /trusted\.overlay\.opaque=79/);
  });

  test("whatever a hostile archive says, nothing outside changes", async () => {
    const names = fc.array(
      fc.constantFrom("..", ".", "", "a", "b", "l", ".wh.a", ".wh..wh..opq", "outside", "canary"),
      {
        minLength: 1,
        maxLength: 5,
      },
    );
    const path = fc
      .tuple(fc.constantFrom("", "/", "../", "./"), names)
      .map(([start, parts]) => `${start}${parts.join("/")}` || ".");
    const item = fc.record({
      type: fc.constantFrom<TarEntry["type"]>(
        "file",
        "directory",
        "symlink",
        "hardlink",
        "fifo",
        "character-device",
      ),
      name: path,
      linkName: fc.oneof(path, fc.constantFrom("../outside", "../../canary", "/", "..")),
      content: fc.constantFrom("", "hostile"),
    });
    const damage = fc.array(fc.tuple(fc.nat(10_000), fc.nat(255)), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(item, { minLength: 1, maxLength: 12 }),
        damage,
        fc.constantFrom<Whiteouts>("overlay", "aufs", "apply"),
        async (items, changes, whiteouts) => {
          rmSync(target, { recursive: true });
          mkdirSync(target);
          const usable = items.map(({ content, ...fields }) =>
            fields.type === "file" ? { ...fields, linkName: "", content } : fields,
          );
          const archive = archiveOf(...usable);
          for (const [at, byte] of changes) if (at < archive.length) archive[at] = byte;
          try {
            await unpack(archive, { whiteouts });
          } catch (error) {
            if (!isBerthError(error, "invalid")) throw error;
          }
          assert.equal(readFileSync(join(base, "canary"), "utf8"), "untouched");
          assert.equal(lstatSync(join(base, "canary")).nlink, 1);
          assert.deepEqual(readdirSync(join(base, "outside")), []);
          assert.deepEqual(readdirSync(base).sort(), ["canary", "layer", "outside", "target"]);
        },
      ),
      { numRuns: 400 },
    );
  });
});
