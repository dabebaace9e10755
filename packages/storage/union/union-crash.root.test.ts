/**
 * The server of a union is killed while it is used: every call that waits for it comes back, the mount can be taken away,
 * and a new one has all that was written.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { eventually } from "#test/fixtures/eventually.ts";
import { UnionMountFixture } from "#test/fixtures/union-mount.ts";

const skip = UnionMountFixture.missing() ?? false;
/** Writes files one after the other, and says which are done. */
const writer = 'i=0; while :; do i=$((i+1)); echo "content $i" >file$i; cat low/* >/dev/null; echo $i; done';

test("a server killed under load leaves nobody waiting and nothing lost", { skip }, async () => {
  await using union = await UnionMountFixture.make("mkdir low; seq 1 50000 >low/a; seq 1 9 >low/b");
  const writers = ["w1", "w2", "w3"].map((name) => {
    union.shell(`mkdir ${name}; mkdir ${name}/low; cp low/b ${name}/low/`);
    return spawn("sh", ["-c", writer], {
      cwd: join(union.path, name),
      stdio: ["ignore", "pipe", "ignore"],
    });
  });
  const said = writers.map(() => "");
  for (const [index, child] of writers.entries()) {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said[index] += text;
    });
  }
  const ended = writers.map((child) => once(child, "close"));
  await eventually(() => assert.ok(said.every((text) => text.split("\n").length > 50)));
  await union.killServer();
  // What waited comes back with an error, and so does all that comes after: no writer counts on.
  await eventually(() => {
    assert.throws(() => statSync(join(union.path, "low/a")), { code: "ENOTCONN" });
  });
  for (const child of writers) child.kill("SIGKILL");
  await Promise.all(ended);

  await union.serve();
  // The dead mount is taken away by the new one.
  await union.mount();
  for (const [index, name] of ["w1", "w2", "w3"].entries()) {
    // The shell goes on counting when it can no longer write: only what it said before the end is looked at.
    const done = said[index]?.split("\n").slice(0, 40) ?? [];
    for (const number of done) {
      assert.equal(readFileSync(join(union.path, name, `file${number}`), "utf8"), `content ${number}\n`);
    }
  }
  assert.deepEqual(readdirSync(join(union.upper, ".wh..wh.orph")), []);
  writeFileSync(join(union.path, "low/a"), "after");
  assert.equal(readFileSync(join(union.path, "low/a"), "utf8"), "after");
  assert.equal(readFileSync(join(union.lower[0] as string, "low/b"), "utf8"), "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
});

test("what does not fit is refused by name, and what is there already stays", { skip }, async () => {
  await using union = await UnionMountFixture.make("echo 1 >a");
  const [lower = ""] = union.lower;
  const elsewhere = { path: union.plain, writable: false };
  const mount = (branches: { path: string; writable: boolean }[], mountPoint = union.path) =>
    union.client.mount({ mountPoint, branches });
  // The same once more.
  await union.mount();
  await assert.rejects(mount([elsewhere]), { code: "conflict" });
  await assert.rejects(mount([]), { code: "invalid" });
  await assert.rejects(mount([elsewhere, { path: lower, writable: true }], union.plain), { code: "invalid" });
  const vanished = join(union.directory, "vanished");
  await assert.rejects(mount([{ path: vanished, writable: false }]), (error: Error & { code: string }) => {
    assert.equal(error.code, "not-found");
    assert.match(error.message, /vanished/);
    return true;
  });
  await assert.rejects(mount([elsewhere], "/proc"), { code: "conflict" });
  const listed = await union.client.list();
  assert.deepEqual(
    listed.map(({ mountPoint, branches }) => ({ mountPoint, branches })),
    [{ mountPoint: union.path, branches: union.branches }],
  );
  await union.unmount();
  await union.unmount();
  assert.deepEqual(await union.client.list(), []);
  // Nobody writes this one.
  await mount([elsewhere, { path: lower, writable: false }]);
  assert.equal(readFileSync(join(union.path, "a"), "utf8"), "1\n");
  assert.throws(() => writeFileSync(join(union.path, "a"), ""), { code: "EROFS" });
});
