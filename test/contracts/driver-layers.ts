/** Of a storage driver's contract: layers on layers, what they keep, names and removal. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { setXattr } from "#kernel/xattr-syscalls.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import { createLayerUnpacker } from "#storage/unpack/layer-unpacker.ts";
import { type DriverUnderTest, describeTree, driverBench, id } from "#test/contracts/driver-bench.ts";

/** A tree with everything that file systems know, made by a shell. */
const everything = [
  "mkdir -p d/e s; echo hello > d/file; ln d/file d/e/hard; ln d/file again",
  "ln -s ../d/file s/link; mknod d/char c 1 3; mknod d/block b 7 200; mknod d/fifo p",
  "truncate -s 3M d/sparse; echo data | dd of=d/sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null",
  "truncate -s 1M d/hole; : > d/empty; head -c 100000 /dev/urandom > d/random",
  "chown 12:34 d/file; chown -h 5:6 s/link; chown 100000:65534 d/e; chmod 4755 again; chmod 1777 s; chmod 2750 d",
  "printf 'a' > 'd/with space'; printf 'b' > \"$(printf 'd/\\377\\376')\"; printf 'c' > d/.hidden",
  "setcap cap_net_raw+ep d/random",
].join("; ");

const settle = "find . -depth -mindepth 1 -exec touch -h -d '2001-02-03 04:05:06.123456789Z' {} +";

export function testDriverLayers(driver: DriverUnderTest): void {
  const bench = driverBench(driver);

  test("a layer keeps everything of those below it", async () => {
    await bench.driver.create(id("a"), undefined);
    const before = await bench.content(id("a"), (root) => {
      execFileSync("sh", ["-ec", everything], { cwd: root });
      setXattr(join(root, "d/random"), "user.key", Buffer.from("value"));
      setXattr(join(root, "d"), "trusted.key", Buffer.from("of a directory"));
      setXattr(join(root, "s/link"), "trusted.key", Buffer.from("of a link"));
      execFileSync("sh", ["-ec", settle], { cwd: root });
      return execFileSync("sh", ["-ec", describeTree], { cwd: root, encoding: "latin1" });
    });
    assert.match(before, /again f 4755 12 34 981173106\.1234567890/);
    await bench.driver.create(id("b"), id("a"));
    await bench.driver.create(id("e"), id("b"));
    await bench.driver.createWritable(id("c"), id("e"), {});
    // Which names of an inode are in how many layers is the driver's business below a container, not in one.
    const own = "rm -rf .dockerenv dev etc proc sys";
    const after = await bench.inRoot(id("c"), `${own}; ${describeTree}`, "latin1");
    assert.equal(after, before);
  });

  test("archives unpacked one on another make the merged tree, hidden names hidden", async () => {
    const scratch = mkdtempSync(join(tmpdir(), "berth-archives-"));
    const unpacker = createLayerUnpacker({ threads: 1 });
    const { whiteouts } = bench.driver;
    try {
      const add = async (layer: string, parent: string | undefined, script: string) => {
        const tree = join(scratch, layer.slice(0, 1));
        mkdirSync(tree);
        execFileSync("sh", ["-ec", script], { cwd: tree });
        execFileSync("tar", ["-cf", `${tree}.tar`, "-C", tree, "."]);
        await bench.driver.create(layer, parent);
        await bench.content(layer, (target) => unpacker.unpack({ source: `${tree}.tar`, target, whiteouts }));
      };
      await add(
        id("a"),
        undefined,
        "mkdir -p etc opt/old; echo 1 > etc/one; echo 2 > etc/two; echo 3 > opt/old/f",
      );
      await add(
        id("b"),
        id("a"),
        "mkdir -p etc opt; : > etc/.wh.one; : > opt/.wh..wh..opq; echo n > opt/new",
      );
      await add(
        id("e"),
        id("b"),
        "mkdir -p etc; echo again > etc/one; : > etc/.wh.two; ln etc/one etc/three",
      );
      await bench.driver.createWritable(id("c"), id("e"), {});
      const listing = "cd etc && cat one three && ls | grep -v host | grep -v resolv; cd ../opt && ls -A";
      assert.equal(await bench.inRoot(id("c"), listing), "again\nagain\nmtab\none\nthree\nnew\n");
      await bench.driver.createWritable(id("d"), id("a"), {});
      assert.equal(await bench.inRoot(id("d"), "cat etc/one etc/two opt/old/f"), "1\n2\n3\n");
    } finally {
      await unpacker.close();
      rmSync(scratch, { recursive: true });
    }
  });

  test("creating again and removing again succeed", async () => {
    await bench.image();
    await bench.driver.createWritable(id("c"), id("b"), {});
    await bench.put(id("c"), "kept", "1");
    await bench.driver.create(id("a"), undefined);
    await bench.driver.createWritable(id("c"), id("b"), {});
    assert.ok(await bench.content(id("c"), (directory) => existsSync(join(directory, "kept"))));
    await bench.driver.remove(id("c"));
    await bench.driver.remove(id("c"));
    assert.equal(await bench.driver.exists(id("c")), false);
    assert.equal(await bench.driver.exists(id("b")), true);
  });

  test("many at once, and the same one twice, are made once each", async () => {
    await bench.image();
    const names = Array.from({ length: 12 }, (_, index) => id(String.fromCharCode(102 + (index % 6))));
    await Promise.all(names.map((name) => bench.driver.createWritable(name, id("b"), {})));
    for (const name of new Set(names)) assert.equal(await bench.inRoot(name, "cat etc/name"), "top");
    await Promise.all(names.map((name) => bench.driver.remove(name)));
    for (const name of new Set(names)) assert.equal(await bench.driver.exists(name), false);
  });

  test("a layer is removed while it is being made", async () => {
    await bench.image();
    const made = bench.driver.createWritable(id("c"), id("b"), {}).catch(() => {});
    await bench.driver.remove(id("c"));
    await made;
    await bench.driver.remove(id("c"));
    await bench.driver.createWritable(id("c"), id("b"), {});
    assert.equal(await bench.inRoot(id("c"), "cat etc/name"), "top");
  });

  test("a removed name is free at once, and its files go", async () => {
    await bench.image();
    await bench.driver.createWritable(id("c"), id("b"), {});
    await bench.content(id("c"), (directory) => {
      mkdirSync(join(directory, "many"));
      for (let i = 0; i < 500; i++) writeFileSync(join(directory, `many/${i}`), "x");
    });
    await bench.driver.remove(id("c"));
    await bench.driver.createWritable(id("c"), id("b"), {});
    assert.equal(await bench.inRoot(id("c"), "test ! -e many && echo fresh"), "fresh\n");
    await bench.driver.settled();
    const leftOver = execFileSync("find", [bench.dataRoot, "-path", "*many*"], { encoding: "utf8" });
    assert.equal(leftOver, "");
  });

  test("the layer below outlives those that go", async () => {
    await bench.image();
    await bench.driver.create(id("e"), id("b"));
    await bench.driver.remove(id("e"));
    await bench.driver.settled();
    await bench.driver.createWritable(id("c"), id("b"), {});
    assert.equal(await bench.inRoot(id("c"), "cat etc/name only-base"), "topx");
  });

  test("a layer on an unknown one is refused and leaves nothing", async () => {
    const unknown = (error: unknown) => isBerthError(error, "not-found");
    await assert.rejects(bench.driver.create(id("c"), id("0")), unknown);
    await assert.rejects(bench.driver.createWritable(id("d"), id("0"), {}), unknown);
    assert.equal(await bench.driver.exists(id("c")), false);
    assert.equal(await bench.driver.exists(id("d")), false);
    await assert.rejects(bench.driver.rootfs(id("c")), unknown);
    await assert.rejects(bench.driver.layerDirectories(id("c")), unknown);
    await assert.rejects(bench.driver.comparison(id("c")), unknown);
  });

  test("ids that could be paths are refused", async () => {
    const invalid = (error: unknown) => isBerthError(error, "invalid");
    for (const bad of ["", "..", "../x", "a/b", "l", ".new-x", "a\0b"]) {
      await assert.rejects(bench.driver.create(bad, undefined), invalid, bad);
      await assert.rejects(bench.driver.createWritable(bad, undefined, {}), invalid, bad);
      await assert.rejects(bench.driver.remove(bad), invalid, bad);
    }
  });

  test("nobody but root sees into the driver's directory", async () => {
    await bench.image();
    const users = execFileSync(
      "find",
      [bench.dataRoot, "-mindepth", "1", "-maxdepth", "2", "-type", "d", "-perm", "/o=rwx"],
      {
        encoding: "utf8",
      },
    );
    for (const path of users.split("\n").filter(Boolean)) {
      // What others may enter has to lie below a directory that they may not.
      assert.equal(statSync(join(path, "..")).mode & 0o007, 0, path);
    }
  });

  test("reconciliation removes what nobody owns and keeps the rest", async () => {
    await bench.image();
    await bench.driver.createWritable(id("c"), id("b"), {});
    await bench.driver.createWritable(id("d"), id("b"), {});
    await bench.reopen();
    await bench.driver.reconcile(new Set([id("a"), id("b"), id("c")]));
    await bench.driver.settled();
    assert.equal(await bench.driver.exists(id("d")), false);
    assert.equal(await bench.inRoot(id("c"), "cat etc/name"), "top");
  });

  test("the directories of the merged view are told uppermost first", async () => {
    await bench.image();
    await bench.driver.createWritable(id("c"), id("b"), {});
    await using _held = await holdLayers(bench.driver, "content", id("c"));
    const directories = await bench.driver.layerDirectories(id("c"));
    assert.equal(directories[0], bench.driver.diffPath(id("c")));
    assert.ok(directories.every((directory) => statSync(directory).isDirectory()));
    const metadata = await bench.driver.metadata(id("c"));
    for (const value of Object.values(metadata ?? {})) {
      const paths = value.split(":").filter((part) => part.startsWith("/"));
      for (const path of paths) assert.ok(path.startsWith(bench.dataRoot), path);
    }
  });

  test("docker info's pairs are texts", async () => {
    for (const pair of (await bench.driver.status()) ?? []) {
      assert.deepEqual(
        pair.map((part) => typeof part),
        ["string", "string"],
      );
    }
    writeFileSync(join(bench.base, "stray"), "");
    assert.equal(existsSync(join(bench.dataRoot, "stray")), false);
  });
}
