import assert from "node:assert/strict";
import { test } from "node:test";
import { LaunchQueue } from "./launch-queue.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("so many at once, the others in order; a failure gives its place back", async () => {
  const queue = new LaunchQueue(2);
  const begun: number[] = [];
  const ends: PromiseWithResolvers<number>[] = [];
  const starts = Array.from({ length: 6 }, (_, n) =>
    queue.run(() => {
      begun.push(n);
      ends[n] = Promise.withResolvers<number>();
      return ends[n].promise;
    }),
  );
  await turn();
  assert.deepEqual([begun, queue.length], [[0, 1], 4]);
  ends[1]?.resolve(1);
  await turn();
  assert.deepEqual(begun, [0, 1, 2]);
  const failed = assert.rejects(starts[0] as Promise<number>, /broken/);
  ends[0]?.reject(new Error("broken"));
  await failed;
  await turn();
  assert.deepEqual([begun, queue.length], [[0, 1, 2, 3], 2]);
  for (let n = 2; n < 6; n++) {
    ends[n]?.resolve(n);
    await turn();
  }
  assert.deepEqual(await Promise.all(starts.slice(1)), [1, 2, 3, 4, 5]);
  assert.equal(await queue.run(async () => "free again"), "free again");
});

test("one that waits for somebody else gives its place up, and is still answered", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const queue = new LaunchQueue(1);
  const plugin = Promise.withResolvers<string>();
  const slow = queue.run(() => plugin.promise);
  let ran = false;
  const next = queue.run(async () => {
    ran = true;
  });
  await turn();
  assert.ok(!ran);
  context.mock.timers.tick(2000);
  await next;
  plugin.resolve("at last");
  assert.equal(await slow, "at last");
  // Its place was given back once, not twice.
  const held = Promise.withResolvers<void>();
  const first = queue.run(() => held.promise);
  const second = queue.run(async () => {});
  await turn();
  assert.equal(queue.length, 1);
  held.resolve();
  await Promise.all([first, second]);
});
