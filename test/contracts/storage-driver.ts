/**
 * What every storage driver must do, whatever it is made of. A driver's test calls `testStorageDriver` with a way to make
 * one; needs root.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import type { StorageDriver } from "#storage/driver-types.ts";

const id = (letter: string) => letter.repeat(64);

/** `open` makes a driver on a data root, which may hold what an earlier one left. */
export function testStorageDriver(name: string, open: (dataRoot: string) => Promise<StorageDriver>): void {
  describe(`storage driver ${name}`, { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
    let base: string;
    let dataRoot: string;
    let driver: StorageDriver;
    before(() => {
      base = mkdtempSync(join(tmpdir(), "berth-driver-"));
    });
    after(() => rmSync(base, { recursive: true, force: true }));
    beforeEach(async () => {
      dataRoot = mkdtempSync(join(base, "root-"));
      driver = await open(dataRoot);
    });
    afterEach(() => driver.close());

    const reopen = async () => {
      await driver.close();
      driver = await open(dataRoot);
    };
    const put = (layer: string, path: string, content: string) => {
      const file = join(driver.diffPath(layer), path);
      mkdirSync(join(file, ".."), { recursive: true });
      writeFileSync(file, content);
    };
    /** Runs a shell script in the mounted root, inside a mount namespace of its own. */
    const inRoot = async (layer: string, script: string): Promise<string> => {
      const plan = await driver.rootfs(layer);
      const enter =
        plan.kind === "directory"
          ? `cd '${plan.path}'`
          : [
              `cd '${plan.base}'`,
              `mount -t overlay overlay -o '${[
                `lowerdir=${plan.lower.join(":")}`,
                `upperdir=${plan.upper}`,
                `workdir=${plan.work}`,
                ...plan.options,
              ].join(",")}' '${plan.merged}'`,
              `cd '${plan.merged}'`,
            ].join(" && ");
      return execFileSync("unshare", ["-m", "sh", "-ec", `${enter} && ${script}`], { encoding: "utf8" });
    };
    /** What a writable layer has that its container did not begin with. */
    const written = async (layer: string): Promise<string> => {
      const { directory, lower, whiteouts } = await driver.comparison(layer);
      if (whiteouts === "overlay") {
        return execFileSync("find", [".", "-mindepth", "1"], { cwd: directory, encoding: "utf8" });
      }
      return execFileSync("diff", ["-r", "--no-dereference", lower[0] ?? "", directory], {
        encoding: "utf8",
      });
    };
    const image = async () => {
      await driver.create(id("a"), undefined);
      put(id("a"), "etc/name", "base");
      put(id("a"), "only-base", "x");
      await driver.create(id("b"), id("a"));
      put(id("b"), "etc/name", "top");
    };

    test("a root shows its layers, the upper before the lower", async () => {
      await image();
      await driver.createWritable(id("c"), id("b"), {});
      assert.equal(await inRoot(id("c"), "cat etc/name only-base"), "topx");
    });

    test("what is written goes to the writable layer alone", async () => {
      await image();
      await driver.createWritable(id("c"), id("b"), {});
      await inRoot(id("c"), "echo new > new; echo changed > etc/name; rm only-base");
      assert.equal(readFileSync(join(driver.diffPath(id("b")), "etc/name"), "utf8"), "top");
      assert.ok(!existsSync(join(driver.diffPath(id("b")), "new")));
      assert.equal(await inRoot(id("c"), "cat new etc/name; test ! -e only-base"), "new\nchanged\n");
      // And another container of the same image sees nothing of it.
      await driver.createWritable(id("d"), id("b"), {});
      assert.equal(await inRoot(id("d"), "cat etc/name only-base; test ! -e new"), "topx");
    });

    test("mount points are there, and not in the writable layer", async () => {
      await image();
      put(id("b"), "etc/hosts", "from the image");
      await driver.createWritable(id("c"), id("b"), {});
      const listing = await inRoot(
        id("c"),
        "for f in .dockerenv dev/console etc/hosts etc/hostname etc/resolv.conf; do test -f $f && test ! -s $f; done;" +
          "for d in dev/pts dev/shm proc sys; do test -d $d; done; readlink etc/mtab",
      );
      assert.equal(listing, "/proc/mounts\n");
      assert.equal(await written(id("c")), "");
    });

    test("an image's directories keep mode and owner under the mount points", async () => {
      await image();
      const etc = join(driver.diffPath(id("a")), "etc");
      execFileSync("sh", ["-c", `chmod 2750 '${etc}' && chown 12:34 '${etc}'`]);
      execFileSync("chmod", ["0751", driver.diffPath(id("a"))]);
      await driver.create(id("e"), id("a"));
      await driver.createWritable(id("c"), id("e"), {});
      assert.equal(await inRoot(id("c"), "stat -c '%a %u %g' etc; stat -c %a ."), "2750 12 34\n751\n");
    });

    test("a link in the image cannot lead the mount points elsewhere", async () => {
      await driver.create(id("a"), undefined);
      execFileSync("ln", ["-s", base, join(driver.diffPath(id("a")), "etc")]);
      await driver.createWritable(id("c"), id("a"), {});
      assert.equal(await inRoot(id("c"), "test ! -L etc && test -f etc/hosts && echo kept"), "kept\n");
      assert.ok(!existsSync(join(base, "hosts")));
    });

    test("a container without an image has a root too", async () => {
      await driver.createWritable(id("c"), undefined, {});
      assert.equal(await inRoot(id("c"), "echo hi > file; cat file; test -d proc"), "hi\n");
    });

    test("creating again and removing again succeed", async () => {
      await image();
      await driver.createWritable(id("c"), id("b"), {});
      put(id("c"), "kept", "1");
      await driver.create(id("a"), undefined);
      await driver.createWritable(id("c"), id("b"), {});
      assert.ok(existsSync(join(driver.diffPath(id("c")), "kept")));
      await driver.remove(id("c"));
      await driver.remove(id("c"));
      assert.equal(await driver.exists(id("c")), false);
      assert.equal(await driver.exists(id("b")), true);
    });

    test("a removed name is free at once, and its files go", async () => {
      await image();
      await driver.createWritable(id("c"), id("b"), {});
      for (let i = 0; i < 500; i++) put(id("c"), `many/${i}`, "x");
      await driver.remove(id("c"));
      await driver.createWritable(id("c"), id("b"), {});
      assert.equal(await inRoot(id("c"), "test ! -e many && echo fresh"), "fresh\n");
      await driver.settled();
      const leftOver = execFileSync("find", [dataRoot, "-path", "*many*"], { encoding: "utf8" });
      assert.equal(leftOver, "");
    });

    test("a layer on an unknown one is refused and leaves nothing", async () => {
      await assert.rejects(driver.create(id("c"), id("0")), (error) => isBerthError(error, "not-found"));
      await assert.rejects(driver.createWritable(id("d"), id("0"), {}), (error) =>
        isBerthError(error, "not-found"),
      );
      assert.equal(await driver.exists(id("c")), false);
      assert.equal(await driver.exists(id("d")), false);
      await assert.rejects(driver.rootfs(id("c")), (error) => isBerthError(error, "not-found"));
    });

    test("ids that could be paths are refused", async () => {
      for (const bad of ["", "..", "../x", "a/b", "l", ".new-x", "a\0b"]) {
        await assert.rejects(driver.create(bad, undefined), (error) => isBerthError(error, "invalid"), bad);
        await assert.rejects(driver.remove(bad), (error) => isBerthError(error, "invalid"), bad);
      }
    });

    test("reconciliation removes what nobody owns and keeps the rest", async () => {
      await image();
      await driver.createWritable(id("c"), id("b"), {});
      await driver.createWritable(id("d"), id("b"), {});
      await reopen();
      await driver.reconcile(new Set([id("a"), id("b"), id("c")]));
      await driver.settled();
      assert.equal(await driver.exists(id("d")), false);
      assert.equal(await inRoot(id("c"), "cat etc/name"), "top");
    });

    test("the directories of the merged view are told uppermost first", async () => {
      await image();
      await driver.createWritable(id("c"), id("b"), {});
      const directories = await driver.layerDirectories(id("c"));
      assert.equal(directories[0], driver.diffPath(id("c")));
      assert.ok(directories.every((directory) => statSync(directory).isDirectory()));
      const metadata = await driver.metadata(id("c"));
      for (const value of Object.values(metadata ?? {})) {
        for (const path of value.split(":")) assert.ok(path.startsWith(dataRoot), path);
      }
    });
  });
}
