/** Of a storage driver's contract: what containers see, and what becomes of what they write. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type DriverUnderTest, driverBench, id } from "#test/contracts/driver-bench.ts";

export function testDriverRoots(driver: DriverUnderTest): void {
  const bench = driverBench(driver);
  const mountPoints =
    "for f in .dockerenv dev/console etc/hosts etc/hostname etc/resolv.conf; do test -f $f && test ! -s $f; done;" +
    "for d in dev/pts dev/shm proc sys; do test -d $d; done; readlink etc/mtab";

  test("a root shows its layers, the upper before the lower", async () => {
    await bench.image();
    await bench.driver.createWritable(id("c"), id("b"), {});
    assert.equal(await bench.inRoot(id("c"), "cat etc/name only-base"), "topx");
  });

  test("what is written goes to the writable layer alone", async () => {
    await bench.image();
    await bench.driver.createWritable(id("c"), id("b"), {});
    await bench.inRoot(id("c"), "echo new > new; echo changed > etc/name; rm only-base");
    await bench.content(id("b"), (image) => {
      assert.equal(readFileSync(join(image, "etc/name"), "utf8"), "top");
      assert.ok(!existsSync(join(image, "new")));
    });
    assert.equal(await bench.inRoot(id("c"), "cat new etc/name; test ! -e only-base"), "new\nchanged\n");
    // And another container of the same image sees nothing of it.
    await bench.driver.createWritable(id("d"), id("b"), {});
    assert.equal(await bench.inRoot(id("d"), "cat etc/name only-base; test ! -e new"), "topx");
  });

  test("appending, truncating, changing mode and owner leave the image alone", async () => {
    await bench.image();
    await bench.driver.createWritable(id("c"), id("b"), {});
    const before = await bench.inRoot(id("c"), "stat -c '%a %u %g %s' etc/name only-base");
    await bench.driver.createWritable(id("d"), id("b"), {});
    await bench.inRoot(
      id("d"),
      "echo y >> only-base; : > etc/name; chmod 0600 etc/name; chown 5:6 only-base",
    );
    await bench.driver.createWritable(id("e"), id("b"), {});
    assert.equal(await bench.inRoot(id("e"), "stat -c '%a %u %g %s' etc/name only-base"), before);
    assert.equal(await bench.inRoot(id("c"), "cat etc/name only-base"), "topx");
  });

  test("what is written is there again the next time", async () => {
    await bench.image();
    await bench.driver.createWritable(id("c"), id("b"), {});
    await bench.inRoot(id("c"), "mkdir -p deep/er; echo 1 > deep/er/file; rm -r etc; mkdir etc");
    await bench.reopen();
    assert.equal(await bench.inRoot(id("c"), "cat deep/er/file; test ! -e etc/name; ls -A etc"), "1\n");
  });

  test("mount points are there, and not in the writable layer", async () => {
    await bench.image();
    await bench.put(id("b"), "etc/hosts", "from the image");
    await bench.driver.createWritable(id("c"), id("b"), {});
    assert.equal(await bench.inRoot(id("c"), mountPoints), "/proc/mounts\n");
    assert.deepEqual(await bench.changes(id("c")), []);
  });

  test("whatever the image has in their place", async () => {
    await bench.driver.create(id("a"), undefined);
    const odd =
      "mkdir -p etc/hosts/deep dev/console; echo x > etc/hosts/deep/file; ln -s nowhere proc; echo file > sys; " +
      "mknod .dockerenv p; mkdir etc/mtab";
    await bench.content(id("a"), (root) => execFileSync("sh", ["-ec", odd], { cwd: root }));
    await bench.driver.createWritable(id("c"), id("a"), {});
    assert.equal(await bench.inRoot(id("c"), mountPoints), "/proc/mounts\n");
    assert.deepEqual(await bench.changes(id("c")), []);
    assert.ok(await bench.content(id("a"), (root) => existsSync(join(root, "etc/hosts/deep/file"))));
  });

  test("an image's directories keep mode and owner under the mount points", async () => {
    await bench.image();
    const change = "chown 12:34 etc && chmod 2750 etc && chmod 0751 .";
    await bench.content(id("a"), (root) => execFileSync("sh", ["-ec", change], { cwd: root }));
    await bench.driver.create(id("e"), id("a"));
    await bench.driver.createWritable(id("c"), id("e"), {});
    assert.equal(await bench.inRoot(id("c"), "stat -c '%a %u %g' etc; stat -c %a ."), "2750 12 34\n751\n");
  });

  test("the mount points belong to the root of the container's user namespace", async () => {
    await bench.driver.createWritable(id("c"), undefined, { uid: 100_000, gid: 100_001 });
    const owners = await bench.inRoot(
      id("c"),
      "stat -c '%u:%g' .dockerenv etc etc/hosts etc/mtab proc dev/pts",
    );
    assert.deepEqual(new Set(owners.trim().split("\n")), new Set(["100000:100001"]));
  });

  test("a link in the image cannot lead the mount points elsewhere", async () => {
    await bench.driver.create(id("a"), undefined);
    await bench.content(id("a"), (root) => execFileSync("ln", ["-s", bench.base, join(root, "etc")]));
    await bench.driver.createWritable(id("c"), id("a"), {});
    assert.equal(await bench.inRoot(id("c"), "test ! -L etc && test -f etc/hosts && echo kept"), "kept\n");
    assert.ok(!existsSync(join(bench.base, "hosts")));
  });

  test("a container without an image has a root too", async () => {
    await bench.driver.createWritable(id("c"), undefined, {});
    assert.equal(await bench.inRoot(id("c"), "echo hi > file; cat file; test -d proc"), "hi\n");
  });

  test("changes are told as Docker tells them, and their bytes", async () => {
    await bench.image();
    await bench.driver.createWritable(id("c"), id("b"), {});
    assert.equal(await bench.driver.size(id("c")), 0);
    await bench.inRoot(
      id("c"),
      "mkdir -p new/dir; echo 12345 > new/dir/file; ln new/dir/file new/again; rm only-base; chmod 600 etc/name",
    );
    assert.deepEqual(await bench.changes(id("c")), [
      "A /new",
      "A /new/again",
      "A /new/dir",
      "A /new/dir/file",
      "C /etc",
      "C /etc/name",
      "D /only-base",
    ]);
    // "12345\n", once; and "top", which belongs to the container now.
    assert.equal(await bench.driver.size(id("c")), 9);
  });

  test("the size of what is not there is nothing", async () => {
    assert.equal(await bench.driver.size(id("c")), 0);
  });
}
