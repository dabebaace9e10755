/** The answer of a wait comes behind the output of those attached. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { outputDelivered } from "#engine/containers/wait.ts";

test("an end is told when attached clients have been sent all, at once where there are none", async () => {
  await outputDelivered({ conversations: new Set() });
  const { promise, resolve } = Promise.withResolvers<void>();
  let told = false;
  const delivered = outputDelivered({ conversations: new Set([promise]) }).then(() => {
    told = true;
  });
  await turn();
  assert.equal(told, false);
  resolve();
  await delivered;
});

test("a client that takes nothing keeps nobody waiting for long", async () => {
  await outputDelivered({ conversations: new Set([new Promise<void>(() => {})]) }, 1);
});
