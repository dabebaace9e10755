/** A server that is stopped, or hangs: nobody who gives it an order waits for ever, and once it goes on all is as it was. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { silentLogger } from "#errors/logger-types.ts";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { createAufsDriver } from "#storage/aufs/aufs-driver.ts";
import { holdLayers } from "#storage/hold-layers.ts";
import { UnionClient } from "#storage/union/union-client.ts";
import { UnionMountFixture } from "#test/fixtures/union-mount.ts";

const skip = UnionMountFixture.missing() ?? false;
const id = (letter: string) => letter.repeat(64);
const isSilent = (error: unknown) =>
  isBerthError(error, "unavailable") &&
  /does not answer/.test(error.message) &&
  /kill -CONT/.test(error.hint ?? "");

test("orders to a server that is stopped fail, and say why; later ones are obeyed", { skip }, async () => {
  await using union = await UnionMountFixture.make("echo 1 >a");
  const elsewhere = { mountPoint: union.plain, branches: union.branches.slice(1) };
  const client = new UnionClient({
    socketPath: join(union.directory, "union.sock"),
    program: ["false"],
    patience: 200,
    onEnd: () => assert.fail("it has not ended"),
  });
  await union.stopServer();
  try {
    // All that wait hear of it, and who comes later does again.
    await Promise.all([
      assert.rejects(client.mount(elsewhere), isSilent),
      assert.rejects(client.list(), isSilent),
    ]);
    await assert.rejects(client.unmount(union.path), isSilent);
  } finally {
    union.continueServer();
    client.close();
  }
  await union.mount();
  assert.equal(union.shell("cat a"), "1\n");
});

test("a driver whose server is stopped refuses roots and removals, and starts all the same", {
  skip,
}, async () => {
  await using union = await UnionMountFixture.make("");
  const socketPath = join(union.directory, "union.sock");
  const said: string[] = [];
  const logger: Logger = { ...silentLogger, error: (message) => said.push(message) };
  const open = (patience?: number) =>
    createAufsDriver({
      dataRoot: join(union.directory, "root"),
      logger,
      unions: new UnionClient({
        socketPath,
        program: ["false"],
        ...(patience === undefined ? {} : { patience }),
      }),
    });
  const first = open();
  await first.create(id("a"), undefined);
  await first.createWritable(id("b"), id("a"), {});
  await first.createWritable(id("c"), id("a"), {});
  const { path } = (await first.rootfs(id("b"))) as { path: string };
  await holdLayers(first, "root", id("b"));
  // So that the kernel would have to ask who looks at the mount's root.
  writeFileSync(join(path, "made"), "");
  await first.close();

  const impatient = open(200);
  await union.stopServer();
  try {
    await impatient.releaseUnheld();
    assert.deepEqual(said, ["what earlier daemons have mounted stays"]);
    await assert.rejects(holdLayers(impatient, "root", id("b")), isSilent);
    await assert.rejects(holdLayers(impatient, "root", id("c")), isSilent);
    await assert.rejects(impatient.remove(id("b")), isSilent);
    // As a daemon that starts now: what is left of b stays for the next.
    said.length = 0;
    await impatient.reconcile(new Set([id("a"), id("c")]));
    assert.deepEqual([...new Set(said)], ["a layer that nobody knows stays"]);
    assert.equal(await impatient.exists(id("c")), true);
  } finally {
    union.continueServer();
    await impatient.close();
  }
  // What was refused is done by who asks again.
  const second = open();
  await second.remove(id("b"));
  const held = await holdLayers(second, "root", id("c"));
  await held[Symbol.asyncDispose]();
  await second.remove(id("c"));
  await second.remove(id("a"));
  await second.close();
  const left = readMountInfo().filter(({ mountPoint }) =>
    mountPoint.startsWith(join(union.directory, "root")),
  );
  assert.deepEqual(left, []);
});
